"""What the ledger holds of each call, whatever came first: the two orders of DESIGN.md, written down a second time."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from msgspec import structs

from tallystick.observation import Observation

COUNTS = ["input_tokens", "cache_creation_5m_tokens", "cache_creation_1h_tokens", "cache_read_tokens"]
COUNTS += ["thinking_tokens", "web_search_requests", "message_count"]
PRICE_LABELS = ["provider", "model", "service_tier", "speed", "inference_geo", "grain"]
PLACE_LABELS = ["place_order", "source", "session_id", "project", "device", "git_branch", "agent_version"]
LIMITS = {"event_key": 300, "session_id": 200, "project": 500, "model": 200, "place_order": 300}
OTHER_LABELS = ["source", "provider", "device", "git_branch", "agent_version", "request_id", "service_tier", "speed"]
OTHER_LABELS += ["inference_geo"]
TIME_FLAGS = {"time_inherited", "clock_skew", "implausible"}


def instant(text: str) -> datetime | None:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return None
    return None if time.tzinfo is None else time.astimezone(UTC)


def is_rejected(o: Observation) -> bool:
    counts = [getattr(o, name) for name in [*COUNTS, "output_tokens"]]
    limits = LIMITS | dict.fromkeys(OTHER_LABELS, 200)
    return (
        o.reject_reason != ""
        or "" in (o.source, o.event_key)
        or instant(o.occurred_at) is None
        or min(counts) < 0
        or max(counts) > 10**12
        or o.thinking_tokens > o.output_tokens
        or (o.reported_cost_usd is not None and o.reported_cost_usd < 0)
        or o.grain not in ("call", "turn", "session_delta", "import")
        or any(len(getattr(o, name).encode("utf-8", "surrogatepass")) > limit for name, limit in limits.items())
        or any("\0" in getattr(o, name) or "\ud800" in getattr(o, name) for name in limits)
        or len(",".join(o.flags).encode()) > 200
    )


def how_much(o: Observation) -> tuple[Any, ...]:
    return (
        o.is_final,
        o.output_tokens,
        o.origin_rank,
        *(getattr(o, name) for name in COUNTS),
        *(getattr(o, name).encode() for name in PRICE_LABELS),
        Decimal(-1) if o.reported_cost_usd is None else o.reported_cost_usd,
        sorted(set(o.flags) - TIME_FLAGS),
    )


def when_and_where(o: Observation) -> tuple[Any, ...]:
    time = instant(o.occurred_at)
    assert time is not None
    return (
        time < datetime(2023, 1, 1, tzinfo=UTC),
        time,
        *(getattr(o, name).encode() for name in PLACE_LABELS),
        o.is_sidechain,
        o.request_id.encode(),
        "time_inherited" in o.flags,
    )


def winners(observations: Iterable[Observation]) -> dict[str, Observation]:
    """The events by their keys: of the copies of a call what is most, and where it was first."""
    calls: dict[str, list[Observation]] = {}
    for observation in observations:
        if not is_rejected(observation):
            calls.setdefault(observation.event_key, []).append(observation)
    return {key: _event_of(max(copies, key=how_much), min(copies, key=when_and_where)) for key, copies in calls.items()}


def _event_of(amount: Observation, place: Observation) -> Observation:
    time, flags = instant(place.occurred_at), set(amount.flags) - TIME_FLAGS
    assert time is not None
    labels = {name: getattr(place, name) for name in (*PLACE_LABELS, "is_sidechain", "request_id")}
    flags |= {"time_inherited"} & set(place.flags)
    return structs.replace(amount, **labels, occurred_at=time.isoformat(), flags=tuple(sorted(flags)), position="")
