"""What the live view shows, read by the methods of a Ledger alone, so that it is the same on every road."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo
from typing import NamedTuple

from tallystick.ledger import Ledger
from tallystick.model import BlockRow, LedgerState, SessionEventRow, SessionRow, UsageFilter, UsageLimitRow, UsageRow
from tallystick.pace import active_block
from tallystick.totals import Totals, add_up
from tallystick.zones import find_zone

RUNS_FOR = timedelta(minutes=30)
# their ids fit the address of one question to a server
MAX_SESSIONS = 50
MAX_CALLS = 50


class Figures(NamedTuple):
    """One reading of the books: days are those of `zone`, lists have the latest or dearest first.

    `models` are of today; `limits` are what the providers themselves say of windows that run. `sessions` are those with
    a call within RUNS_FOR, each with all that it ever used.
    """

    read_at: datetime
    zone: tzinfo
    zone_name: str
    today: Totals
    yesterday: Totals
    models: tuple[UsageRow, ...]
    block: BlockRow | None
    limits: tuple[UsageLimitRow, ...]
    sessions: tuple[SessionRow, ...]
    calls: tuple[SessionEventRow, ...]


def read_figures(ledger: Ledger, state: LedgerState, *, fallback_zone: str, now: datetime | None = None) -> Figures:
    """Read everything anew; `fallback_zone` is for books that do not exist yet."""
    zone_name = state.time_zone or fallback_zone
    zone = find_zone(zone_name)
    now = now or datetime.now(UTC)
    today = now.astimezone(zone).date()
    day = timedelta(days=1)
    models = ledger.usage_models(UsageFilter(since=today, until=today))
    return Figures(
        read_at=now,
        zone=zone,
        zone_name=zone_name,
        today=add_up(models),
        yesterday=add_up(ledger.usage_daily(UsageFilter(since=today - day, until=today - day))),
        models=tuple(sorted(models, key=lambda row: (-(row.cost_usd or 0), -row.output_tokens, row.model or ""))),
        block=active_block(ledger, today=today),
        limits=tuple(ledger.usage_limits()),
        sessions=tuple(_running_sessions(ledger, zone, now)),
        calls=tuple(ledger.usage_recent(limit=MAX_CALLS)),
    )


def _running_sessions(ledger: Ledger, zone: tzinfo, now: datetime) -> list[SessionRow]:
    since = now - RUNS_FOR
    listed = ledger.usage_sessions(UsageFilter(since=since.astimezone(zone).date()))
    running = [row for row in listed if since <= row.last_activity_at <= now][-MAX_SESSIONS:]
    ids = sorted({row.session_id for row in running if row.session_id})
    if ids:
        # the range cuts off what a session used before it
        sources = sorted({row.source for row in running})
        whole = {
            (row.source, row.session_id): row
            for row in ledger.usage_sessions(UsageFilter(sessions=ids, sources=sources))
        }
        running = [whole.get((row.source, row.session_id), row) for row in running]
    return running[::-1]
