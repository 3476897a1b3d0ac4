"""Zed's threads as running totals, out of compressed JSON."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tallystick.observation import Snapshot
from tallystick.sources import zed
from tests.corpus.asking import ask
from tests.corpus.zed import MODEL, compress, save, thread, thread_history

HISTORY = thread_history(1, 6)
THREAD = thread(HISTORY.calls)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "threads.db"


def only(path: Path) -> Snapshot:
    asked = ask(zed, path)
    (snapshot,) = asked.snapshots
    assert asked.observations == []
    return snapshot


def test_a_thread_has_its_sum_its_model_its_times_and_its_first_folder(path: Path) -> None:
    save(path, "t1", compress(THREAD))
    tokens = HISTORY.tokens
    assert only(path) == Snapshot(
        session_id="t1",
        source="zed",
        model_used=MODEL,
        session_started_at="2026-09-01T08:00:00.000Z",
        last_activity_at="2026-09-01T08:00:00.123456Z",
        project="at /w/shop",
        device="laptop",
        input_tokens=tokens.input,
        output_tokens=tokens.output,
        cache_creation_tokens=tokens.written,
        cache_read_tokens=tokens.read,
    )


def test_a_database_of_an_older_version_names_no_folder_and_no_start(path: Path) -> None:
    save(path, "t1", json.dumps(THREAD), is_old=True, data_type="json")
    snapshot = only(path)
    assert (snapshot.project, snapshot.session_started_at) == ("at ", "")
    assert snapshot.output_tokens == HISTORY.tokens.output


@pytest.mark.parametrize(
    ("folders", "order", "first"),
    [
        ("/w/a", "0", "/w/a"),
        ("/w/a\n/w/b\n/w/c", "2,0,1", "/w/b"),
        ("/w/a\n/w/b", None, "/w/a"),
        ("/w/a\n/w/b", "3,4,0", "/w/a"),
        ("/w/a\n/w/b", "one", "/w/a"),
        (None, None, ""),
        (None, "0", ""),
    ],
)
def test_the_project_is_the_folder_that_was_opened_first(
    folders: str | None, order: str | None, first: str, path: Path
) -> None:
    save(path, "t1", compress(THREAD), folder_paths=folders, folder_paths_order=order)
    assert only(path).project == f"at {first}"


def test_a_thread_whose_version_kept_no_sum_is_named_and_not_counted_by_its_last_requests(path: Path) -> None:
    save(path, "t1", compress(thread(HISTORY.calls, cumulative_token_usage={})))
    asked = ask(zed, path)
    assert (asked.observations, asked.snapshots, asked.state.line_counts) == ([], [], {"(no totals)": 1})
    assert ask(zed, path, state=asked.state).state.line_counts == {"(no totals)": 1}


@pytest.mark.parametrize("members", [{}, {"cumulative_token_usage": None}, {"cumulative_token_usage": 5}])
def test_a_thread_that_used_nothing_gives_nothing(members: dict[str, Any], path: Path) -> None:
    save(path, "t1", compress(thread([], **members)))
    asked = ask(zed, path)
    assert (asked.snapshots, asked.state.line_counts) == ([], {"(no usage)": 1})


def test_a_thread_is_read_again_when_it_changed_whatever_its_time_says(path: Path) -> None:
    many = 3 * zed.LATEST_THREADS
    for number in range(many):
        save(path, f"t{number:03d}", compress(THREAD), minutes=number)
    first = ask(zed, path)
    assert len(first.snapshots) == many
    latest = {f"t{number:03d}" for number in range(many - zed.LATEST_THREADS, many)}
    second = ask(zed, path, state=first.state)
    assert {snapshot.session_id for snapshot in second.snapshots} == latest
    longer = thread(thread_history(1, 7).calls)
    save(path, "t000", compress(longer), minutes=-1440)
    third = ask(zed, path, state=second.state)
    assert {snapshot.session_id for snapshot in third.snapshots} == {"t000", *latest}


def test_the_sum_of_a_thread_in_the_making_is_seen_though_its_mark_and_size_stay(path: Path) -> None:
    save(path, "t1", json.dumps(thread([], cumulative_token_usage={"output_tokens": 10})), data_type="json")
    first = ask(zed, path)
    save(path, "t1", json.dumps(thread([], cumulative_token_usage={"output_tokens": 99})), data_type="json")
    assert [snapshot.output_tokens for snapshot in ask(zed, path, state=first.state).snapshots] == [99]


@settings(max_examples=15, deadline=None)
@given(
    steps=st.lists(st.tuples(st.integers(0, 2), st.integers(-9, 9), st.booleans()), max_size=8), rows=st.integers(1, 4)
)
def test_looks_in_between_and_handfuls_of_any_size_tell_the_same_in_the_end(
    steps: list[tuple[int, int, bool]], rows: int
) -> None:
    with TemporaryDirectory() as folder:
        path, state = Path(folder, "threads.db"), None
        told: dict[str, Snapshot] = {}
        for number, (thread_number, minutes, is_looked_at) in enumerate([(0, 0, False), *steps], 1):
            made = thread(thread_history(thread_number, number).calls)
            save(path, f"t{thread_number}", compress(made), minutes=minutes)
            if is_looked_at:
                asked = ask(zed, path, state=state, rows_at_once=rows)
                told |= {snapshot.session_id: snapshot for snapshot in asked.snapshots}
                state = asked.state
        told |= {each.session_id: each for each in ask(zed, path, state=state, rows_at_once=rows).snapshots}
        assert told == {each.session_id: each for each in ask(zed, path).snapshots}


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"data": b"no zstd"}, "not_json"),
        ({"data": b""}, "not_json"),
        ({"data": "text"}, "not_json"),
        ({"data": compress(THREAD)[:-40]}, "not_json"),
        ({"data": compress(THREAD), "data_type": "brotli"}, "not_json"),
        ({"data": b"[]", "data_type": "json"}, "not_json"),
        ({"data": compress(thread([], cumulative_token_usage={"output_tokens": "many"}))}, "not_an_integer"),
        ({"data": compress(thread([], cumulative_token_usage={"output_tokens": 10**30}))}, "too_large"),
        ({"data": compress(thread([], title="x" * zed.MAX_THREAD_BYTES))}, "too_large"),
    ],
    ids=["other bytes", "empty", "text", "torn", "other kind", "a list", "a word", "a great number", "a bomb"],
)
def test_a_damaged_thread_is_rejected_once_by_its_id_and_the_others_are_read(
    row: dict[str, Any], reason: str, path: Path
) -> None:
    save(path, "t1", **row)
    save(path, "t2", compress(THREAD))
    asked = ask(zed, path)
    assert [(each.position, each.reject_reason) for each in asked.observations] == [("zed:t1", reason)]
    assert [snapshot.session_id for snapshot in asked.snapshots] == ["t2"]
    assert ask(zed, path, state=asked.state).observations == []


def test_another_database_is_asked_nothing(path: Path) -> None:
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("create table threads (id text, title text)")
    assert ask(zed, path)[:2] == ([], [])
