"""The parameters of the reports: those of the command line, under the same names.

HTTP and MCP read them by these models, which describe them too.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from datetime import date
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from tallystick.errors import ConfigError, InvalidRequest
from tallystick.ledger import Ledger
from tallystick.model import LedgerState, Page, UsageFilter
from tallystick.ranges import BREAKDOWNS, WEEK_DAYS, read_last, since_of
from tallystick.zones import find_zone, today_in

MAX_LABEL_LENGTH = 500
MAX_FAULTS_TOLD = 5


def _read_day(value: Any) -> Any:
    if isinstance(value, str) and not re.fullmatch(r"\d{4}-\d{2}-\d{2}", value, re.ASCII):
        raise ValueError("write a day as YYYY-MM-DD")
    return value


def _read_text(value: Any) -> Any:
    if isinstance(value, str) and "\x00" in value:
        raise ValueError("a text holds no NUL")
    return value


def _read_last_days(value: Any) -> Any:
    if isinstance(value, str) and not re.fullmatch(r"\d{1,4}[dwm]", value, re.ASCII):
        raise ValueError("write 7d, 4w or 3m")
    return value


def _read_week_day(value: Any) -> Any:
    if isinstance(value, str) and value.lower() in WEEK_DAYS:
        return WEEK_DAYS.index(value.lower()) + 1
    if isinstance(value, str) and re.fullmatch("[0-9]{1,9}", value):
        return int(value)
    raise ValueError("write monday to sunday, or 1 to 7")


Day = Annotated[date, BeforeValidator(_read_day)]
Last = Annotated[str, BeforeValidator(_read_last_days)]
Text = Annotated[str, BeforeValidator(_read_text), Field(max_length=MAX_LABEL_LENGTH)]
# Postgres' integer; which of them it takes is for the ledger to say, in the same words on every road
Count = Annotated[int, Field(ge=-(2**31), le=2**31 - 1)]
WeekDay = Annotated[
    int,
    BeforeValidator(_read_week_day),
    Field(json_schema_extra={"type": "string", "enum": [*WEEK_DAYS, *"1234567"], "default": "monday"}),
]


class RangeQuery(BaseModel):
    """Which usage: inclusive days and labels."""

    model_config = ConfigDict(extra="forbid")

    since: Day | None = Field(None, description="First day, inclusive.", examples=["2026-11-01"])
    until: Day | None = Field(None, description="Last day, inclusive.")
    last: Last | None = Field(
        None,
        json_schema_extra={"pattern": r"^\d{1,4}[dwm]$"},
        description="So many days, weeks or months up to today: 7d, 4w, 3m.",
    )
    timezone: Text | None = Field(
        None, description="Days of this zone; left out, the books' own.", examples=["Europe/Berlin"]
    )
    source: list[Text] = Field([], max_length=100, description="Only this source; may be repeated.")
    project: list[Text] = Field(
        [], max_length=100, description="Only this project, by its whole name; may be repeated."
    )
    model: list[Text] = Field([], max_length=100, description="Only this model; may be repeated.")
    device: list[Text] = Field([], max_length=100, description="Only this device; may be repeated.")

    def sessions(self) -> list[str] | None:
        """The sessions that are meant, where a question may name some."""
        return None

    def usage(self, state: LedgerState, *, period: str = "", week_start: int = 1) -> UsageFilter:
        """The filter of the ledger; raises InvalidRequest."""
        since, until = self.since, self.until
        zone = state.time_zone if self.timezone is None else self.timezone
        if self.last:
            if since or until:
                raise InvalidRequest(
                    "`last` says both ends of the range",
                    hint="Leave out since and until, or last.",
                    constraint="range_is_said_once",
                )
            until = _today_in(zone or "UTC")
            since = since_of(read_last(self.last), today=until, period=period, week_start=week_start)
        return UsageFilter(
            since=since,
            until=until,
            time_zone=zone,
            sources=self.source or None,
            projects=self.project or None,
            models=self.model or None,
            sessions=self.sessions(),
            devices=self.device or None,
        )


def _today_in(zone: str) -> date:
    try:
        return today_in(find_zone(zone))
    except ConfigError as error:
        raise InvalidRequest(error.message, hint=error.hint, constraint="time_zone_is_known") from None


# a row's longest labels, where JSON spells each byte of them in six signs
MAX_AFTER_LENGTH = 12_000


class PageQuery(RangeQuery):
    """Which page of a report."""

    limit: Count = Field(1000, description="Rows of a page.", json_schema_extra={"minimum": 1, "maximum": 10_000})
    after: str | None = Field(None, max_length=MAX_AFTER_LENGTH, description="`next` of the page before, as JSON.")

    @property
    def page(self) -> Page:
        """The page; raises InvalidRequest."""
        return Page(after=_page_key(self.after), limit=self.limit)


class FilterQuery(RangeQuery):
    """The same, of some sessions."""

    session: list[Text] = Field([], max_length=100, description="Only this session; may be repeated.")

    def sessions(self) -> list[str] | None:
        return self.session or None


class ReportQuery(PageQuery, FilterQuery):
    """What a report may be asked."""

    by: Text | None = Field(
        None,
        description="Break every row down by this.",
        json_schema_extra={"anyOf": [{"type": "string", "enum": list(BREAKDOWNS)}, {"type": "null"}]},
    )

    @property
    def first_week_day(self) -> int:
        """The ISO number of the day that a week begins with."""
        return 1


class WeekQuery(ReportQuery):
    """The same by week."""

    week_start: WeekDay = Field(1, description="First day of a week.")

    @property
    def first_week_day(self) -> int:
        return self.week_start


def _page_key(after: str | None) -> dict[str, str] | None:
    if after is None:
        return None
    try:
        key = json.loads(after)
    except (ValueError, RecursionError):
        key = None
    if not isinstance(key, dict) or not all(_is_label(value) for value in key.values()):
        raise InvalidRequest(
            "`after` is no row of this report", hint="Give `next` of the page before.", constraint="after_is_a_row"
        )
    return key


def _is_label(value: object) -> bool:
    """Whether Postgres can have it as a text: JSON may spell a NUL, or half of a surrogate pair."""
    return isinstance(value, str) and not re.search("[\x00\ud800-\udfff]", value)


def usage_of(ledger: Ledger, query: RangeQuery, *, period: str = "", week_start: int = 1) -> UsageFilter:
    """The filter that a query describes, in the zone of the books."""
    return query.usage(ledger.ledger_state(), period=period, week_start=week_start)


def told_faults(faults: Iterable[tuple[Sequence[object], str]]) -> str:
    """The places and the words of what pydantic refuses, without the values: one may be a secret in the wrong place."""
    words = [f"{'.'.join(str(part) for part in place)}: {message}" for place, message in faults]
    return "; ".join(words[:MAX_FAULTS_TOLD])
