"""Hermes' running totals, out of real databases."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tallystick.collector.database import open_database
from tallystick.sources import hermes
from tallystick.sources.formats import Parsed
from tests.corpus.hermes import session, write
from tests.corpus.reading_documents import Outcome, outcome_of

LATER = "update sessions set {} where id = '20260901_0800_000000'"


def read(path: Path, state: Any = None) -> Outcome:
    state = state or hermes.new_state(str(path))
    state.reject_counts = {}
    parsed = Parsed([], [])
    with open_database(str(path)) as database:
        for query in hermes.queries(database.columns(), state):
            for rows in database.ask(query, rows_at_once=2):
                part = hermes.take_rows(query, rows, state=state, project_of="at {}".format, device="laptop")
                parsed = Parsed(parsed.observations + part.observations, [*parsed.snapshots, *part.snapshots])
    return outcome_of(parsed, state)


def run(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path)) as database, database:
        database.executescript(statement)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "state.db"
    write(path, [session(1, 4)])
    return path


def test_a_session_has_its_totals_its_model_and_the_time_of_its_last_message(path: Path) -> None:
    snapshot = read(path).only_snapshot
    history = session(1, 4)
    assert (snapshot.session_id, snapshot.source, snapshot.device) == ("20260901_0800_000000", "hermes", "laptop")
    assert (snapshot.model_used, snapshot.message_count) == ("anthropic/claude-opus-4.6", 4)
    counts = (snapshot.input_tokens, snapshot.cache_creation_tokens, snapshot.cache_read_tokens, snapshot.output_tokens)
    assert counts == history.tokens
    assert (snapshot.session_started_at, snapshot.last_activity_at) == (
        history.calls[0].at_text,
        history.calls[-1].at_text,
    )


def test_reasoning_is_not_told_because_the_output_may_or_may_not_contain_it(path: Path) -> None:
    assert read(path).only_snapshot.thinking_tokens == 0


@pytest.mark.parametrize(
    ("costs", "cost"),
    [
        ("actual_cost_usd = 0.25, estimated_cost_usd = 0.5", Decimal("0.25")),
        ("actual_cost_usd = 0.0, estimated_cost_usd = 0.5", Decimal("0.5")),
        ("actual_cost_usd = null, estimated_cost_usd = 0.0", None),
    ],
)
def test_the_actual_cost_comes_first_and_nothing_is_unknown(path: Path, costs: str, cost: Decimal | None) -> None:
    run(path, LATER.format(costs))
    assert read(path).only_snapshot.estimated_cost_usd == cost


def test_a_session_that_has_long_been_read_is_not_read_again(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    histories = [session(seed, 3) for seed in range(7)]
    write(path, histories)
    first = read(path)
    assert len(first.snapshots) == 7
    run(path, "update messages set timestamp = timestamp + 172800.0 where session_id = '20260901_0800_000003'")
    again = read(path, first.state)
    assert {snapshot.session_id for snapshot in again.snapshots} >= {"20260901_0800_000003"}
    third = read(path, again.state)
    assert [snapshot.session_id for snapshot in third.snapshots] == ["20260901_0800_000003"]


def test_a_session_is_read_though_the_clock_was_put_back(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    write(path, [session(1, 3), session(2, 3)])
    run(path, "update messages set timestamp = timestamp + 1e9 where session_id = '20260901_0800_000000'")
    first = read(path)
    run(
        path,
        "insert into messages (session_id, role, timestamp) values ('20260901_0800_000001', 'assistant', 1788250000.0)",
    )
    again = read(path, first.state)
    assert "20260901_0800_000001" in {snapshot.session_id for snapshot in again.snapshots}


def test_without_messages_every_session_is_read_each_time_and_was_active_at_its_end(path: Path) -> None:
    run(path, "drop table messages; " + LATER.format("ended_at = started_at + 60"))
    first = read(path)
    assert first.only_snapshot.last_activity_at > first.only_snapshot.session_started_at
    assert read(path, first.state).snapshots == first.snapshots


def test_an_older_database_may_lack_what_is_not_needed(path: Path) -> None:
    for column in ("ended_at", "api_call_count", "actual_cost_usd", "estimated_cost_usd"):
        run(path, f"alter table sessions drop column {column}")
    assert read(path).only_snapshot.message_count == 0


def test_another_database_is_asked_nothing(tmp_path: Path) -> None:
    run(tmp_path / "state.db", "create table sessions (id text, title text)")
    assert read(tmp_path / "state.db")[:3] == ([], [], [])


def test_a_session_that_used_nothing_gives_nothing(tmp_path: Path) -> None:
    write(tmp_path / "state.db", [session(1, 0)])
    assert read(tmp_path / "state.db").state.line_counts == {"(no usage)": 1}


def test_totals_that_are_none_are_rejected(path: Path) -> None:
    run(path, LATER.format("output_tokens = 'many'"))
    assert read(path).rejects == [("hermes:20260901_0800_000000", "not_an_integer")]
