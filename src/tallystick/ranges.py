"""Ranges of days as people ask for them: the last 7 days, 4 weeks or 3 months, up to today."""

from __future__ import annotations

import re
from datetime import date, timedelta
from typing import NamedTuple

from tallystick.errors import InvalidRequest

WEEK_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
BREAKDOWNS = ("model", "project", "source", "session", "device")


class Last(NamedTuple):
    """`--last 4w`: how many of which unit."""

    number: int
    unit: str


def read_last(text: str) -> Last:
    """A number of days, weeks or months: 7d, 4w, 3m. Raises InvalidRequest."""
    match = re.fullmatch(r"(\d{1,4})([dwm])", text.lower(), re.ASCII)
    if match is None or int(match[1]) == 0:
        raise InvalidRequest(f"{text!r} is no number of days, weeks or months", hint="write 7d, 4w or 3m.")
    return Last(int(match[1]), match[2])


def since_of(last: Last, *, today: date, period: str, week_start: int) -> date:
    """The first day of `--last`, whose last day is today.

    Whole weeks in the report by week, whole months in the one by month: this one and those before it.
    """
    if last.unit == "m":
        return _months_before(today.replace(day=1), last.number - 1) if period == "month" else _month_span(today, last)
    days = last.number * 7 if last.unit == "w" else last.number
    if last.unit == "w" and period == "week":
        week_day = (today.isoweekday() - week_start) % 7
        return _days_before(today, week_day + days - 7)
    return _days_before(today, days - 1)


def _month_span(today: date, last: Last) -> date:
    """The day after the same day `count` months ago: of 30 November, one month began on 31 October."""
    month = _months_before(today.replace(day=1), last.number)
    following = _months_before(month, -1)
    return min(month + timedelta(days=today.day), following)


def _months_before(first_of_month: date, count: int) -> date:
    months = first_of_month.year * 12 + first_of_month.month - 1 - count
    return date.min if months < 12 else date(months // 12, months % 12 + 1, 1)


def _days_before(day: date, count: int) -> date:
    return date.min if day.toordinal() <= count else day - timedelta(days=count)
