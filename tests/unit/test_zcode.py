"""ZCode's calls: a row each, when it is complete."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tallystick.observation import Observation
from tallystick.sources import zcode
from tests.corpus.asking import ask
from tests.corpus.ledger_order import winners
from tests.corpus.zcode import STARTED_AT, STARTED_MS, make_usage, save_call


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "db.sqlite"


@pytest.fixture
def usage(path: Path) -> Iterator[sqlite3.Connection]:
    connection = make_usage(path)
    yield connection
    connection.close()


def test_a_row_is_a_call_with_disjoint_counts(usage: sqlite3.Connection, path: Path) -> None:
    save_call(usage)
    assert ask(zcode, path).observations == [
        Observation(
            event_key="zcode:usage_1",
            occurred_at=STARTED_AT,
            source="zcode",
            model="GLM-5.3",
            session_id="sess_1",
            project="at /w/shop",
            device="laptop",
            # 9,000 sent, of which 8,000 were read from the cache and 100 put into it
            input_tokens=900,
            cache_creation_5m_tokens=100,
            cache_read_tokens=8000,
            output_tokens=700,
            thinking_tokens=300,
            is_final=True,
            position="model_usage:usage_1",
        )
    ]


def test_a_call_in_the_making_waits_until_it_is_complete(usage: sqlite3.Connection, path: Path) -> None:
    save_call(usage, 1)
    save_call(usage, 2, status="running", completed_at=None, input_tokens=0, output_tokens=0)
    first = ask(zcode, path)
    save_call(usage, 2)
    second = ask(zcode, path, state=first.state)
    assert [len(first.observations), len(winners(first.observations + second.observations))] == [1, 2]


def test_only_what_was_completed_lately_is_asked_again_and_all_of_another_database(
    usage: sqlite3.Connection, path: Path
) -> None:
    save_call(usage, 1, completed_at=STARTED_MS - 90_000)
    save_call(usage, 2)
    first = ask(zcode, path)
    again = ask(zcode, path, state=first.state)
    assert [each.event_key for each in again.observations] == ["zcode:usage_2"]
    usage.execute("delete from model_usage where id = 'usage_2'")
    assert [each.event_key for each in ask(zcode, path, state=first.state).observations] == ["zcode:usage_1"]


def test_calls_are_seen_where_the_clock_was_put_back(usage: sqlite3.Connection, path: Path) -> None:
    save_call(usage, 1)
    save_call(usage, 2, status="running", completed_at=None)
    first = ask(zcode, path)
    hours_before = STARTED_MS - 10_000_000
    save_call(usage, 2, completed_at=hours_before)
    save_call(usage, 3, completed_at=hours_before)
    second = ask(zcode, path, state=first.state)
    keys = {each.event_key for each in second.observations}
    assert keys >= {"zcode:usage_2", "zcode:usage_3"}


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"session_id": "sess_2"}, {"is_sidechain": True}),
        ({"session_id": "unknown"}, {"flags": ("no_cwd",)}),
        ({"input_tokens": 8099}, {"input_tokens": -1}),
        ({"started_at": "soon"}, {"reject_reason": "no_time"}),
        ({"output_tokens": "many"}, {"reject_reason": "not_an_integer"}),
    ],
)
def test_a_row_is_read_as_it_is_written(
    usage: sqlite3.Connection, path: Path, columns: dict[str, Any], expected: dict[str, Any]
) -> None:
    save_call(usage, **columns)
    (observation,) = ask(zcode, path).observations
    assert {name: getattr(observation, name) for name in expected} == expected


def test_what_was_cancelled_used_nothing(usage: sqlite3.Connection, path: Path) -> None:
    names = ("input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
    save_call(usage, status="cancelled", **dict.fromkeys(names, 0))
    asked = ask(zcode, path)
    assert (asked.observations, asked.state.line_counts) == ([], {"(no tokens)": 1})


def test_a_database_that_is_not_zcodes_is_not_asked(usage: sqlite3.Connection, path: Path) -> None:
    usage.execute("drop table session")
    assert ask(zcode, path).observations == []
