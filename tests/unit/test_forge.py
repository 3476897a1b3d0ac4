"""Forge's conversations as running totals, which a compaction does not change."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tallystick.observation import Snapshot
from tallystick.sources import forge
from tallystick.sources.seen_rows import MAX_SEEN_ROWS, note_mark
from tests.corpus.asking import ask
from tests.corpus.forge import MODEL, compacted, conversation, message, messages_of, save, usage

CALLS = conversation(1, 9).calls


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / ".forge.db"


def only(path: Path) -> Snapshot:
    asked = ask(forge, path)
    (snapshot,) = asked.snapshots
    assert asked.observations == []
    return snapshot


def test_a_conversation_has_the_sum_of_its_answers_with_the_cache_taken_off(path: Path) -> None:
    save(path, "c1", messages_of(CALLS))
    assert only(path) == Snapshot(
        session_id="2026-09-01T08:00:00.000123Z",
        source="forge",
        model_used=MODEL,
        session_started_at="2026-09-01T08:00:00.000123Z",
        last_activity_at="2026-09-01T08:01:00.500Z",
        device="laptop",
        input_tokens=sum(call.tokens.input for call in CALLS),
        output_tokens=sum(call.tokens.output for call in CALLS),
        cache_read_tokens=sum(call.tokens.read for call in CALLS),
    )


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(kept=st.integers(0, 9))
def test_a_compaction_changes_no_total(kept: int, path: Path) -> None:
    save(path, "c1", messages_of(CALLS))
    before = only(path)
    save(path, "c1", compacted(CALLS, kept))
    after = only(path)
    assert (after.input_tokens, after.cache_read_tokens, after.output_tokens) == (
        before.input_tokens,
        before.cache_read_tokens,
        before.output_tokens,
    )


def test_a_clone_is_told_as_the_session_that_it_was_cloned_from(path: Path) -> None:
    save(path, "c1", messages_of(CALLS[:5]))
    save(path, "c2", messages_of(CALLS))
    save(path, "c3", messages_of(CALLS), seed=1)
    sessions = [snapshot.session_id for snapshot in ask(forge, path).snapshots]
    assert (len(sessions), len(set(sessions))) == (3, 2)


def test_a_conversation_is_read_again_when_it_was_written_again_and_only_then(path: Path) -> None:
    save(path, "c1", messages_of(CALLS[:3]))
    save(path, "c2", messages_of(CALLS[3:]), seed=1)
    first = ask(forge, path)
    assert len(first.snapshots) == 2
    assert ask(forge, path, state=first.state).snapshots == []
    # as after the clock was put back by a day
    save(path, "c1", messages_of(CALLS[:4]), updates=-1440)
    again = ask(forge, path, state=first.state)
    assert [snapshot.output_tokens for snapshot in again.snapshots] == [sum(c.tokens.output for c in CALLS[:4])]
    assert ask(forge, path, state=again.state).snapshots == []


@settings(max_examples=15, deadline=None)
@given(
    steps=st.lists(st.tuples(st.integers(0, 2), st.integers(1, 3), st.booleans()), max_size=8), rows=st.integers(1, 4)
)
def test_looks_in_between_and_handfuls_of_any_size_tell_the_same_in_the_end(
    steps: list[tuple[int, int, bool]], rows: int
) -> None:
    with TemporaryDirectory() as folder:
        path, lengths = Path(folder, ".forge.db"), [1, 1, 1]
        told: dict[str, Snapshot] = {}
        state = None
        for number, (conversation_number, more, is_looked_at) in enumerate([(0, 0, False), (1, 0, False), *steps]):
            length = lengths[conversation_number] = min(lengths[conversation_number] + more, len(CALLS))
            messages = compacted(CALLS[:length], 1) if number % 2 else messages_of(CALLS[:length])
            save(path, f"c{conversation_number}", messages, seed=conversation_number, updates=number)
            if is_looked_at:
                asked = ask(forge, path, state=state, rows_at_once=rows)
                told |= {snapshot.session_id: snapshot for snapshot in asked.snapshots}
                state = asked.state
        told |= {each.session_id: each for each in ask(forge, path, state=state, rows_at_once=rows).snapshots}
        assert told == {each.session_id: each for each in ask(forge, path).snapshots}


def test_the_rows_of_another_database_are_all_read(path: Path, tmp_path: Path) -> None:
    save(path, "c1", messages_of(CALLS))
    save(tmp_path / "other.db", "c9", messages_of(CALLS))
    assert len(ask(forge, tmp_path / "other.db", state=ask(forge, path).state).snapshots) == 1


def test_what_is_remembered_of_rows_has_a_limit_and_the_oldest_go_first() -> None:
    seen: dict[str, str] = {}
    for number in range(MAX_SEEN_ROWS):
        note_mark(seen, str(number), f"{number} then")
    for row_id in ("0", "new", "newer"):
        note_mark(seen, row_id, f"{row_id} now")
    assert len(seen) == MAX_SEEN_ROWS
    assert seen["0"] == "0 now"
    assert {"1", "2"}.isdisjoint(seen)


@pytest.mark.parametrize("form", ["actual", "Actual", "approx", None])
def test_a_count_is_read_in_every_form_that_it_was_written_in(form: str | None, path: Path) -> None:
    counts = {"prompt_tokens": 100, "cached_tokens": 60, "completion_tokens": 7}
    written = {name: value if form is None else {form: value} for name, value in counts.items()}
    save(path, "c1", [message("Assistant", usage=written)])
    snapshot = only(path)
    assert (snapshot.input_tokens, snapshot.cache_read_tokens, snapshot.output_tokens) == (40, 60, 7)


def test_what_providers_said_it_cost_is_summed_and_nothing_is_unknown(path: Path) -> None:
    save(path, "c1", [message("Assistant", usage=usage(call, cost=0.1)) for call in CALLS[:3]])
    assert only(path).estimated_cost_usd == Decimal("0.3")
    for messages in (messages_of(CALLS[:3]), [message("Assistant", usage=usage(CALLS[0], cost=0.0))]):
        save(path, "c1", messages)
        assert only(path).estimated_cost_usd is None


def test_the_model_is_the_one_that_was_asked_last(path: Path) -> None:
    save(path, "c1", [*messages_of(CALLS[:1]), message("User", model="gpt-5.2"), *messages_of(CALLS[1:2])[1:]])
    assert only(path).model_used == "gpt-5.2"


@pytest.mark.parametrize(
    "context",
    [
        "{}",
        '{"messages": null}',
        '{"messages": []}',
        # the form before a message had its usage beside it, of which only the last call's was kept
        json.dumps({"messages": [{"text": {"role": "Assistant"}}], "usage": usage(CALLS[0])}),
    ],
)
def test_a_conversation_that_names_no_usage_gives_nothing(context: str, path: Path) -> None:
    save(path, "c1", [], context=context)
    asked = ask(forge, path)
    assert (asked.observations, asked.snapshots, asked.state.line_counts) == ([], [], {"(no usage)": 1})


def test_a_conversation_without_a_context_is_not_read(path: Path) -> None:
    save(path, "c1", [], context=None, updated_at=None)
    asked = ask(forge, path)
    assert (asked.observations, asked.snapshots, asked.state.line_counts) == ([], [], {})


@pytest.mark.parametrize(
    ("context", "reason"),
    [
        ('{"messages": [{"usage": {"prompt', "not_json"),
        ("[]", "not_json"),
        (b"\x00\xff", "not_json"),
        (json.dumps({"messages": [{"usage": {"prompt_tokens": {"actual": "many"}}}]}), "not_an_integer"),
        (json.dumps({"messages": [{"usage": {"prompt_tokens": {"actual": True}}}]}), "not_an_integer"),
        (json.dumps({"messages": [{"usage": {"prompt_tokens": {"actual": 10**30}}}]}), "too_large"),
    ],
)
def test_a_damaged_conversation_is_rejected_by_its_id_and_the_others_are_read(
    context: Any, reason: str, path: Path
) -> None:
    save(path, "c1", [], context=context)
    save(path, "c2", messages_of(CALLS), seed=1)
    asked = ask(forge, path)
    assert [(each.position, each.reject_reason) for each in asked.observations] == [("forge:c1", reason)]
    assert len(asked.snapshots) == 1


def test_other_members_of_any_kind_do_no_harm(path: Path) -> None:
    odd: list[Any] = [None, 5, [], {"message": 5}, {"message": {"text": None}, "usage": 7}, {"usage": []}]
    save(path, "c1", [*odd, *messages_of(CALLS)])
    assert only(path).output_tokens == sum(call.tokens.output for call in CALLS)


def test_a_start_that_is_no_time_leaves_the_conversations_own_id(path: Path) -> None:
    save(path, "c1", messages_of(CALLS), created_at="long ago", updated_at="later")
    snapshot = only(path)
    assert (snapshot.session_id, snapshot.session_started_at, snapshot.last_activity_at) == ("c1", "", "")


def test_another_database_is_asked_nothing(path: Path) -> None:
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("create table conversations (id text, title text)")
    assert ask(forge, path)[:2] == ([], [])
