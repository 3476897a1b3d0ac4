"""Sums of report rows."""

from __future__ import annotations

from decimal import Decimal

from tallystick.model import UsageRow
from tallystick.totals import add_up

NOTHING: dict[str, int] = {name: 0 for name in UsageRow._fields if name.endswith(("_count", "_tokens", "_requests"))}


def row(*, cost_usd: Decimal | None, **counts: int) -> UsageRow:
    labels = dict.fromkeys(set(UsageRow._fields) - NOTHING.keys() - {"cost_usd"})
    return UsageRow(**{**labels, **NOTHING, **counts, "cost_usd": cost_usd})


def test_where_nothing_has_a_price_no_cost_is_known_though_nobody_knows_of_messages() -> None:
    assert add_up([row(cost_usd=None, unpriced_event_count=1)]).cost_usd is None


def test_nothing_used_costs_nothing_and_what_is_priced_is_added() -> None:
    assert add_up([]).cost_usd == 0
    assert add_up([row(cost_usd=None)]).cost_usd == 0
    rows = [
        row(cost_usd=Decimal("0.1"), output_tokens=5),
        row(cost_usd=Decimal("0.2")),
        row(cost_usd=None, unpriced_event_count=1),
    ]
    assert add_up(rows).cost_usd == Decimal("0.3")
