"""What a report says to a program: the same members on the command line (--json) and over HTTP."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import NamedTuple

from tallystick.ledger import Ledger
from tallystick.model import SessionEventRow, UsageFilter
from tallystick.totals import ReportRow, Totals

Plain = None | bool | int | str | list["Plain"] | dict[str, "Plain"]

_PLAIN_TYPES = frozenset({type(None), bool, int, str})


def plain(value: object) -> Plain:
    """A member as JSON has it: costs as exact decimal strings, days as YYYY-MM-DD, times in UTC."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, Decimal):
        return exact(value)
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, date):
        return value.isoformat()
    assert isinstance(value, list), value
    return [plain(item) for item in value]


def plain_row(row: NamedTuple) -> dict[str, Plain]:
    """A row by the names of its columns."""
    # most members need nothing done, and a year has six thousand of them
    return {
        name: value if type(value) in _PLAIN_TYPES else plain(value)
        for name, value in zip(row._fields, row, strict=True)
    }


def exact(amount: Decimal) -> str:
    """Every digit and none too many: 0.0300 -> 0.03, never with an exponent."""
    text = format(amount, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text


class Unpriced(NamedTuple):
    """A model without a price, and how many events it has in the range of the report."""

    model: str | None
    unpriced_event_count: int


def unpriced_models(ledger: Ledger, usage: UsageFilter, rows: Sequence[ReportRow]) -> list[Unpriced]:
    """The models behind the unpriced events, most events first."""
    if rows and isinstance(rows[0], SessionEventRow):
        counts: dict[str | None, int] = {}
        for row in rows:
            assert isinstance(row, SessionEventRow)
            counts[row.model] = counts.get(row.model, 0) + row.unpriced_event_count
    else:
        counts = {row.model: row.unpriced_event_count for row in ledger.usage_models(usage)}
    unpriced = [Unpriced(model, count) for model, count in counts.items() if count]
    return sorted(unpriced, key=lambda one: (-one.unpriced_event_count, one.model or ""))


def report_document(
    list_name: str,
    rows: Sequence[ReportRow],
    *,
    totals: Totals,
    unpriced: Sequence[Unpriced],
    usage: UsageFilter,
    by: str | None,
) -> dict[str, Plain]:
    """A report as JSON has it; the list is named after the report, its members after the columns of the ledger."""
    return {
        list_name: [plain_row(row) for row in rows],
        "totals": plain_row(totals),
        "unpriced_models": [plain_row(one) for one in unpriced],
        "range": {"since": plain(usage.since), "until": plain(usage.until)},
        "time_zone": usage.time_zone,
        "by": by,
    }
