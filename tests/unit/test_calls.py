"""What the calls of all agents with plain JSON have in common."""

from __future__ import annotations

from decimal import Decimal

import pytest

from tallystick.observation import Observation
from tallystick.sources.calls import Calls, cost_of
from tallystick.sources.formats import FileState
from tallystick.sources.json_walk import is_utf_16
from tallystick.sources.members import CountReader


@pytest.mark.parametrize("cost", [Decimal("1e-31"), 10**12 + 1, -1, True, "1", None])
def test_a_cost_that_no_ledger_takes_is_unknown(cost: object) -> None:
    assert cost_of({"cost": cost}, "cost") is None


@pytest.mark.parametrize("cost", [Decimal("1e-30"), 10**12, 0])
def test_a_cost_that_a_ledger_takes_is_kept(cost: int | Decimal) -> None:
    assert cost_of({"cost": cost}, "cost") == cost


@pytest.mark.parametrize(("output_tokens", "kept"), [(10, 10), (99, 50), (-5, 0)])
def test_thinking_is_cut_to_the_output(output_tokens: int, kept: int) -> None:
    calls = Calls(Observation(source="x"), FileState(), occurred_at="2026-09-01T08:00:00.000Z")
    calls.add("k", occurred_at="", reader=CountReader(), thinking_tokens=50, output_tokens=output_tokens)
    assert calls.observations[0].thinking_tokens == kept


def test_a_nul_in_front_of_a_bracket_is_damage_and_no_encoding() -> None:
    assert not is_utf_16(b'\x00{"')
    assert is_utf_16(b"\x00[\x00")
