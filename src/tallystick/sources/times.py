"""Times as transcripts write them, as the one form in which the ledger is told them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Final

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
# The form itself; all others, and the 29th of February, go through datetime.
is_exact_time: Final = re.compile(
    r"[12][0-9]{3}-(?:(?:0[1-9]|1[0-2])-(?:0[1-9]|1[0-9]|2[0-8])|(?:0[13-9]|1[0-2])-(?:29|30)|(?:0[13578]|1[02])-31)"
    r"T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]\.[0-9]{3}Z"
).fullmatch


def utc_time(timestamp: str | None) -> str:
    """The same instant as `2026-11-22T18:06:44.758Z`, with microseconds only where it has some; '' if it is none.

    A time without an offset is none: nobody can say which instant it means.
    """
    if timestamp is None or is_exact_time(timestamp):
        return timestamp or ""
    try:
        instant = datetime.fromisoformat(timestamp.upper())
        if instant.tzinfo is None:
            return ""
        instant = instant.astimezone(UTC)
    except (ValueError, OverflowError):
        return ""
    return _text(instant)


def time_of_number(value: object, *, per_second: int) -> str:
    """The instant of a number since 1970, in seconds (1) or milliseconds (1000) and to the microsecond; '' if none."""
    if isinstance(value, bool) or not isinstance(value, (int, float, Decimal)):
        return ""
    try:
        return _text(_EPOCH + timedelta(microseconds=int(Decimal(value) * 1_000_000 / per_second)))
    except (ValueError, OverflowError, ArithmeticError):
        return ""


def _text(instant: datetime) -> str:
    precision = "microseconds" if instant.microsecond % 1_000 else "milliseconds"
    return instant.isoformat(timespec=precision).removesuffix("+00:00") + "Z"
