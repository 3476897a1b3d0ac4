"""Goose's calls, its older sessions' totals, and the change from the one to the other."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tallystick.observation import Observation, Snapshot
from tallystick.sources import goose
from tests.corpus.asking import ask
from tests.corpus.goose import CREATED_AT, CREATED_S, SESSION, GooseHistory
from tests.corpus.ledger_order import winners


@pytest.fixture
def history(tmp_path: Path) -> Iterator[GooseHistory]:
    made = GooseHistory(tmp_path / "sessions.db")
    made.save_session()
    yield made
    made.close()


@pytest.fixture
def old_history(tmp_path: Path) -> Iterator[GooseHistory]:
    made = GooseHistory(tmp_path / "sessions.db", is_renewed=False)
    made.save_session()
    yield made
    made.close()


def only(history: GooseHistory) -> Observation:
    (observation,) = ask(goose, history.path).observations
    return observation


def test_a_row_of_the_ledger_is_a_call_with_disjoint_counts(history: GooseHistory) -> None:
    history.save_call()
    observation = only(history)
    assert msgspec.structs.replace(observation, event_key="") == Observation(
        occurred_at=CREATED_AT,
        source="goose",
        provider="anthropic",
        model="claude-sonnet-4-5-20250929",
        session_id=SESSION,
        project="at /w/shop",
        device="laptop",
        # 40,800 sent, of which 38,000 were read from the cache and 2,100 put into it
        input_tokens=700,
        cache_creation_5m_tokens=2100,
        cache_read_tokens=38_000,
        output_tokens=450,
        reported_cost_usd=Decimal("0.0291"),
        is_final=True,
        place_order="00000000000000000001",
        position="usage_ledger:1",
    )
    assert observation.event_key.startswith("goose:")


def test_the_totals_of_a_session_with_calls_are_not_added(history: GooseHistory) -> None:
    history.save_call()
    history.save_totals(input_tokens=40_800, output_tokens=450)
    asked = ask(goose, history.path)
    assert (len(asked.observations), asked.snapshots) == (1, [])


def test_an_old_session_has_its_running_totals(old_history: GooseHistory) -> None:
    old_history.save_totals(input_tokens=1000, output_tokens=100)
    asked = ask(goose, old_history.path)
    assert asked.observations == []
    assert asked.snapshots == [
        Snapshot(
            session_id=f"{SESSION}@2026-11-22T17:54:00.000Z",
            source="goose",
            model_used="claude-sonnet-4-5",
            session_started_at="2026-11-22T17:54:00.000Z",
            last_activity_at="2026-11-22T18:00:00.000Z",
            project="at /w/shop",
            device="laptop",
            input_tokens=1000,
            output_tokens=100,
        )
    ]


def test_what_is_carried_forward_stays_the_total_that_it_was(old_history: GooseHistory) -> None:
    old_history.save_totals(input_tokens=1000, output_tokens=100)
    before = ask(goose, old_history.path)
    old_history.renew()
    old_history.save_call()
    old_history.save_totals(input_tokens=41_800, output_tokens=550, updated_at="2026-11-24 10:00:00")
    after = ask(goose, old_history.path, state=before.state)
    assert [each.input_tokens + each.cache_read_tokens for each in after.observations] == [38_700]
    (carried,) = after.snapshots
    assert msgspec.structs.replace(carried, last_activity_at="") == msgspec.structs.replace(
        before.snapshots[0], last_activity_at=""
    )
    # the day on which it was carried, where the session went on behind that
    assert carried.last_activity_at == "2026-11-23T17:54:14.000Z"


def test_several_rows_that_carry_forward_are_one_total(history: GooseHistory) -> None:
    for tokens in (300, 500):
        history.save_call(
            model=None,
            cost_source="carried_forward",
            input_tokens=tokens,
            output_tokens=50,
            cache_read_tokens=None,
            cache_write_tokens=None,
            cost=0.01,
        )
    asked = ask(goose, history.path)
    ((snapshot), *others) = asked.snapshots
    assert (snapshot.input_tokens, snapshot.output_tokens, snapshot.estimated_cost_usd) == (800, 100, Decimal("0.02"))
    assert (others, asked.observations) == ([], [])


def test_what_was_carried_is_asked_for_when_it_is_new_and_not_for_ever(history: GooseHistory) -> None:
    history.save_call()
    first = ask(goose, history.path)
    assert first.snapshots == []
    history.save_call(model=None, cost_source="carried_forward")
    second = ask(goose, history.path, state=first.state)
    assert len(second.snapshots) == 1
    for number in range(150):
        history.save_call(input_tokens=50_000 + number)
    third = ask(goose, history.path, state=second.state)
    assert ask(goose, history.path, state=third.state).snapshots == []


def test_totals_that_know_the_cache_are_disjoint(tmp_path: Path) -> None:
    history = GooseHistory(tmp_path / "sessions.db")
    history.connection.execute("drop table usage_ledger")
    history.save_session()
    history.save_totals(input_tokens=1000, output_tokens=100, cache_read_tokens=600, cache_write_tokens=30)
    (snapshot,) = ask(goose, history.path).snapshots
    assert (snapshot.input_tokens, snapshot.cache_read_tokens, snapshot.cache_creation_tokens) == (370, 600, 30)
    history.close()


def test_sessions_of_two_machines_with_one_name_are_two(old_history: GooseHistory, tmp_path: Path) -> None:
    other = GooseHistory(tmp_path / "other" / "sessions.db", is_renewed=False)
    other.save_session(created_at="2026-11-22 09:00:00")
    for each in (old_history, other):
        each.save_totals(input_tokens=1000, output_tokens=100)
    ids = {ask(goose, each.path).snapshots[0].session_id for each in (old_history, other)}
    assert len(ids) == 2
    other.close()


def test_a_session_that_used_nothing_has_no_total(old_history: GooseHistory) -> None:
    assert ask(goose, old_history.path).snapshots == []


def test_old_sessions_are_asked_again_only_when_they_were_touched(old_history: GooseHistory) -> None:
    for number in range(2, 5):
        old_history.save_session(f"20261122_{number}")
        old_history.save_totals(
            f"20261122_{number}", updated_at=f"2026-11-22 1{number}:00:00", input_tokens=number, output_tokens=1
        )
    state = ask(goose, old_history.path).state
    assert state.last_updated_at == "2026-11-22 18:00:00"
    old_history.save_totals(updated_at="2026-11-22 19:00:00", input_tokens=9, output_tokens=1)
    assert [each.input_tokens for each in ask(goose, old_history.path, state=state).snapshots] == [9]
    old_history.connection.execute("delete from sessions where id = ?", [SESSION])
    assert len(ask(goose, old_history.path, state=state).snapshots) == 3


def test_a_call_copied_into_another_session_is_one_call(history: GooseHistory) -> None:
    history.save_session("20261122_2", working_dir="/w/else")
    history.save_call()
    history.save_call("20261122_2")
    observations = ask(goose, history.path).observations
    held = winners(observations)
    assert (len(observations), len(held)) == (2, 1)
    (event,) = held.values()
    assert (event.session_id, event.project, event.is_sidechain) == (SESSION, "at /w/shop", False)


@pytest.mark.parametrize("name", ["created_timestamp", "input_tokens", "output_tokens", "cache_read_tokens", "model"])
def test_calls_that_differ_in_anything_measured_are_two(history: GooseHistory, name: str) -> None:
    history.save_call()
    history.save_call(**{name: "other" if name == "model" else 7})
    assert len({each.event_key for each in ask(goose, history.path).observations}) == 2


def test_the_key_does_not_change_when_sessions_are_deleted(history: GooseHistory) -> None:
    history.save_session("20261122_2")
    history.save_call(created_timestamp=CREATED_S - 9)
    history.save_call("20261122_2")
    first = ask(goose, history.path)
    history.connection.execute("pragma foreign_keys = on")
    history.connection.execute("delete from sessions where id = ?", [SESSION])
    (left,) = ask(goose, history.path, state=first.state).observations
    assert left.event_key == first.observations[1].event_key


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"created_timestamp": CREATED_S * 1000 + 5}, {"occurred_at": "2026-11-22T17:54:14.005Z"}),
        ({"cache_read_tokens": None, "cache_write_tokens": None}, {"input_tokens": 40_800}),
        ({"cost": None}, {"reported_cost_usd": None}),
        ({"cost": 0.0}, {"reported_cost_usd": None}),
        ({"input_tokens": 40_099}, {"input_tokens": -1}),
        ({"session_id": "unknown"}, {"flags": ("no_cwd",)}),
        ({"input_tokens": "many"}, {"reject_reason": "not_an_integer"}),
        ({"created_timestamp": "soon"}, {"reject_reason": "no_time"}),
        ({"is_compaction": 1}, {"output_tokens": 450}),
    ],
)
def test_a_row_is_read_as_it_is_written(
    history: GooseHistory, columns: dict[str, Any], expected: dict[str, Any]
) -> None:
    history.save_call(**columns)
    observation = only(history)
    assert {name: getattr(observation, name) for name in expected} == expected


def test_the_calls_of_a_sub_agent_are_beside_the_main_line(history: GooseHistory) -> None:
    history.save_session("20261122_2", session_type="sub_agent")
    history.save_call("20261122_2")
    assert only(history).is_sidechain


def test_a_database_that_is_not_gooses_is_not_asked(history: GooseHistory) -> None:
    history.connection.executescript("drop table usage_ledger; drop table sessions; create table sessions (id)")
    assert ask(goose, history.path) == ([], [], goose.new_state(""))
