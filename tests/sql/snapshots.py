"""Running totals of sessions as a caller sends them, and what the ledger makes of them."""

from __future__ import annotations

import json
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from tests.sql.keeper import Keeper, Row

COUNTERS = (
    *("input_tokens", "output_tokens", "cache_creation_tokens", "cache_read_tokens", "thinking_tokens"),
    "message_count",
)
# model-b of tests.sql.books, whose price never changes: dollars per token
RATES = {
    "input_tokens": Decimal("0.00000025"),
    "output_tokens": Decimal("0.000002"),
    "cache_creation_tokens": Decimal("0.0000003125"),
    "cache_read_tokens": Decimal("0.0000000375"),
}
TWELFTH, THIRTEENTH = date(2026, 3, 12), date(2026, 3, 13)
# the columns that the tables have had from the first draft on
SESSION_COLUMNS = (
    *("user_id", "session_id", *COUNTERS, "session_started_at", "last_updated_at", "estimated_cost_usd", "model_used"),
)
DAILY_COLUMNS = (
    *("user_id", "usage_date", "daily_input_tokens", "daily_output_tokens", "daily_cache_creation_tokens"),
    *("daily_cache_read_tokens", "daily_thinking_tokens", "daily_session_count", "daily_message_count"),
    *("daily_cost_usd", "updated_at"),
)


def snapshot(**members: Any) -> Row:
    """A session's totals at half past nine UTC on the 12th of March 2026."""
    return {
        "session_id": "s1",
        "model_used": "model-b",
        "session_started_at": "2026-03-12T09:30:00Z",
        "input_tokens": 1000,
        "output_tokens": 100,
        "cache_creation_tokens": 10,
        "cache_read_tokens": 5000,
        "thinking_tokens": 40,
        "message_count": 3,
        "estimated_cost_usd": "0.5",
        **members,
    }


def grown(factor: int, **members: Any) -> Row:
    """The same session with so many times the counts."""
    first = snapshot()
    return {**first, **{name: factor * first[name] for name in COUNTERS}, **members}


def cost_of(totals: Row) -> Decimal:
    """US dollars for these counts of model-b."""
    return sum((totals[name] * rate for name, rate in RATES.items()), Decimal(0))


def send(keeper: Keeper, *snapshots: Any, on: str | None = "2026-03-12") -> Row:
    """The receipt for these totals of the keeper's user, used up to that day; None is today."""
    named = [{"user_id": keeper.user_id, **one} if isinstance(one, dict) else one for one in snapshots]
    return send_as_is(keeper, named, on and {"usage_date": on})


def send_as_is(keeper: Keeper, session_data: Any, daily_data: Any = None) -> Row:
    answer: Row = keeper.call("upsert_token_usage", json.dumps(session_data), json.dumps(daily_data))
    return answer


def receipt(received: int = 1, *, unpriced: int = 0, rejects: list[Row] | None = None, **counts: int) -> Row:
    """What a call answers; what is not named is a duplicate, or rejected."""
    rejects = rejects or []
    named = {"new": 0, "revised": 0, **counts, "rejected": len(rejects)}
    duplicate = received - sum(named.values())
    return {"received": received, **named, "duplicate": duplicate, "unpriced": unpriced, "rejects": rejects}


def reject(keeper: Keeper, reason: str, session_id: str | None = "s1") -> Row:
    return {"user_id": keeper.user_id, "session_id": session_id, "reason": reason}


def day_counts(keeper: Keeper, day: date) -> Row:
    """The counters of one day."""
    row = keeper.days()[day]
    return {name: row[f"daily_{name}"] for name in COUNTERS}


def session_counts(keeper: Keeper, session_id: str = "s1") -> Row:
    row = keeper.session(session_id)
    return {name: row[name] for name in COUNTERS}


def counts_of(totals: Row) -> Row:
    return {name: totals[name] for name in COUNTERS}


def difference(totals: Row, earlier: Row) -> Row:
    return {name: totals[name] - earlier[name] for name in COUNTERS}


def deltas(keeper: Keeper) -> dict[str, Row]:
    """The events by their keys, in the order of time."""
    return {row["event_key"]: row for row in keeper.rows("events", order="occurred_at, event_key")}


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text)
