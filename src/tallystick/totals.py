"""Adding up report rows, exactly."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Context, Decimal, Inexact, InvalidOperation, localcontext
from typing import NamedTuple

from tallystick.model import BlockRow, SessionEventRow, SessionRow, UsageRow

ReportRow = UsageRow | SessionRow | SessionEventRow | BlockRow

# Far more digits than any sum of costs has; should one ever need more, it raises instead of rounding.
_EXACT = Context(prec=1000, traps=[Inexact, InvalidOperation])


class Totals(NamedTuple):
    """Sums over the rows of a report; the cost is None where there is usage and nothing of it is priced."""

    input_tokens: int
    output_tokens: int
    thinking_tokens: int
    cache_creation_tokens: int
    cache_read_tokens: int
    web_search_requests: int
    message_count: int
    cost_usd: Decimal | None
    unpriced_event_count: int


def all_tokens(row: ReportRow | Totals) -> int:
    """The tokens of all buckets, which are disjoint; thinking is part of the output."""
    return row.input_tokens + row.output_tokens + row.cache_creation_tokens + row.cache_read_tokens


def add_up(rows: Iterable[ReportRow]) -> Totals:
    """Sum every count as integers and the cost as exact decimals."""
    rows = list(rows)
    costs = [row.cost_usd for row in rows if row.cost_usd is not None]
    unpriced_event_count = sum(row.unpriced_event_count for row in rows)
    return Totals(
        input_tokens=sum(row.input_tokens for row in rows),
        output_tokens=sum(row.output_tokens for row in rows),
        thinking_tokens=sum(row.thinking_tokens for row in rows),
        cache_creation_tokens=sum(row.cache_creation_tokens for row in rows),
        cache_read_tokens=sum(row.cache_read_tokens for row in rows),
        web_search_requests=sum(row.web_search_requests for row in rows),
        message_count=sum(row.message_count for row in rows),
        cost_usd=None if unpriced_event_count and not costs else add_exactly(*costs),
        unpriced_event_count=unpriced_event_count,
    )


def add_exactly(*amounts: Decimal) -> Decimal:
    """The sum, with every digit."""
    with localcontext(_EXACT):
        return sum(amounts, Decimal(0))
