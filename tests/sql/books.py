"""The books kept a second time, in Python straight from the rules, for the properties to compare the ledger with."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

Observation = dict[str, Any]

COUNTS = (
    "input_tokens",
    "cache_creation_5m_tokens",
    "cache_creation_1h_tokens",
    "cache_read_tokens",
    "output_tokens",
    "thinking_tokens",
    "web_search_requests",
)
PLACE_LABELS = ("source", "session_id", "project", "device", "git_branch", "agent_version")
FIRST_PLAUSIBLE_TIME = datetime(2023, 1, 1, tzinfo=UTC)

# what the tests' own prices say, US dollars per million tokens: from this time on, by model
RATES: dict[str, list[tuple[datetime, dict[str, Decimal]]]] = {
    "model-a": [
        (datetime(2020, 1, 1, tzinfo=UTC), {"input": Decimal(3), "output": Decimal(15), "read": Decimal("0.3")}),
        (
            datetime(2026, 3, 12, 22, 30, tzinfo=UTC),
            {"input": Decimal(1), "output": Decimal(5), "read": Decimal("0.1")},
        ),
    ],
    "model-b": [
        (datetime(2020, 1, 1, tzinfo=UTC), {"input": Decimal("0.25"), "output": Decimal(2), "read": Decimal("0.0375")}),
    ],
}


def price_rows() -> list[dict[str, str]]:
    """RATES as add_token_prices takes them; writes to the cache cost 1.25 and 2 times the input."""
    return [
        {
            "provider": "test",
            "model": model,
            "valid_from": since.isoformat(),
            "input_usd_per_mtok": str(rates["input"]),
            "output_usd_per_mtok": str(rates["output"]),
            "cache_read_usd_per_mtok": str(rates["read"]),
            "cache_creation_5m_usd_per_mtok": str(rates["input"] * Decimal("1.25")),
            "cache_creation_1h_usd_per_mtok": str(rates["input"] * 2),
            "web_search_usd": "0.01",
            "fast_multiplier": "2",
            "us_multiplier": "1.1",
            "origin": "test",
        }
        for model, periods in RATES.items()
        for since, rates in periods
    ]


def occurred_at(observation: Observation) -> datetime:
    return datetime.fromisoformat(observation["occurred_at"])


def how_much(observation: Observation) -> tuple[Any, ...]:
    """The greatest gives all counts and the price context: final, then most output, then main line before the rest."""
    return (
        observation["is_final"],
        observation["output_tokens"],
        observation["origin_rank"],
        *(observation[name] for name in COUNTS if name != "output_tokens"),
        *(observation[name].encode() for name in ("model", "speed", "inference_geo")),
    )


def when_and_where(observation: Observation) -> tuple[Any, ...]:
    """The least gives the time and the labels: a plausible time, then the earliest, then the source's own order."""
    moment = occurred_at(observation)
    return (
        moment < FIRST_PLAUSIBLE_TIME,
        moment,
        observation["place_order"].encode(),
        *(observation[name].encode() for name in PLACE_LABELS),
        observation["is_sidechain"],
    )


def true_events(observations: Iterable[Observation]) -> dict[str, Observation]:
    """What each call must be in the end, by event key, whatever order the observations came in."""
    by_key: dict[str, list[Observation]] = defaultdict(list)
    for observation in observations:
        by_key[observation["event_key"]].append(observation)
    events = {}
    for key, copies in by_key.items():
        amount = max(copies, key=how_much)
        place = min(copies, key=when_and_where)
        where = {name: place[name] for name in (*PLACE_LABELS, "occurred_at", "is_sidechain")}
        events[key] = {**amount, **where}
    return events


def cost_of(event: Observation) -> Decimal | None:
    """US dollars at the rates of the time, None where the model has none."""
    moment = occurred_at(event)
    rates = [rate for since, rate in RATES.get(event["model"], []) if since <= moment]
    if not rates:
        return None
    rate = rates[-1]
    per_million = (
        event["input_tokens"] * rate["input"]
        + event["cache_creation_5m_tokens"] * rate["input"] * Decimal("1.25")
        + event["cache_creation_1h_tokens"] * rate["input"] * 2
        + event["cache_read_tokens"] * rate["read"]
        + event["output_tokens"] * rate["output"]
    )
    multiplier = (2 if event["speed"] == "fast" else 1) * (Decimal("1.1") if event["inference_geo"] == "us" else 1)
    return per_million / 1_000_000 * multiplier + event["web_search_requests"] * Decimal("0.01")


def usage_date(event: Observation, zone: str) -> date:
    return occurred_at(event).astimezone(ZoneInfo(zone)).date()


def totals(events: Iterable[Observation]) -> tuple[Any, ...]:
    """(events, input, output, cache writes, cache reads, thinking, searches, unpriced, cost) of some events."""
    chosen = list(events)
    costs = [cost_of(event) for event in chosen]
    return (
        len(chosen),
        sum(event["input_tokens"] for event in chosen),
        sum(event["output_tokens"] for event in chosen),
        sum(event["cache_creation_5m_tokens"] + event["cache_creation_1h_tokens"] for event in chosen),
        sum(event["cache_read_tokens"] for event in chosen),
        sum(event["thinking_tokens"] for event in chosen),
        sum(event["web_search_requests"] for event in chosen),
        sum(cost is None for cost in costs),
        sum((cost for cost in costs if cost is not None), Decimal(0)),
    )
