"""The five-hour block that runs: how fast it is used, and where that leads to by its end."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import NamedTuple

from tallystick.ledger import Ledger
from tallystick.model import BlockRow, UsageFilter
from tallystick.totals import all_tokens


class Pace(NamedTuple):
    """What a block used from its first call to its latest, per time, and what it comes to if that goes on to its end.

    Tokens are those of all buckets; dollars are None where nothing of the block is priced.
    """

    tokens_per_minute: int
    usd_per_hour: Decimal | None
    tokens_at_end: int
    usd_at_end: Decimal | None


def active_block(ledger: Ledger, *, today: date) -> BlockRow | None:
    """The block that runs now; one that began yesterday may."""
    blocks = ledger.usage_blocks(UsageFilter(since=today - timedelta(days=1)))
    return next((block for block in reversed(blocks) if block.is_active and not block.is_gap), None)


def pace_of(block: BlockRow, *, now: datetime) -> Pace | None:
    """The pace of a block that runs; one call alone has none."""
    assert block.first_activity_at is not None
    assert block.last_activity_at is not None
    seconds = (block.last_activity_at - block.first_activity_at) // timedelta(seconds=1)
    if seconds <= 0:
        return None
    tokens, cost = all_tokens(block), block.cost_usd
    left_s = max((block.block_end - now) // timedelta(seconds=1), 0)
    return Pace(
        tokens_per_minute=tokens * 60 // seconds,
        usd_per_hour=None if cost is None else cost * 3600 / seconds,
        tokens_at_end=tokens + tokens * left_s // seconds,
        usd_at_end=None if cost is None else cost + cost * left_s / seconds,
    )
