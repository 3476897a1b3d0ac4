"""Codex's forks and sub-agents: what their files copy counts in the thread that it is of, and nowhere else."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick.sources.codex import INHERITED, RECORD_INHERITED
from tests.corpus.codex_reading import events, read, seen_in, sums
from tests.corpus.codex_rollouts import BEGIN_MS, ERA, ERAS, Call, Era, Thread, total, uuid_7

FIRST = Call(10_004, 8000, 0, 704, 300)
SECOND = Call(10_009, 8192, 0, 709, 250)
THIRD = Call(10_016, 9000, 0, 716, 0)
EACH_ERA = pytest.mark.parametrize("era", ERAS, ids=lambda era: era.version)
WITH_TURN_IDS = pytest.mark.parametrize("version", ["0.131.0", "0.145.0"])
WITHOUT_TURN_IDS = pytest.mark.parametrize("version", ["0.42.0", "0.80.0"])


def parent_of(era: Era, **options: Any) -> Thread:
    thread = Thread(era, **options)
    thread.begin_turn()
    thread.call(FIRST)
    thread.call(SECOND)
    return thread


def go_on(thread: Thread, *calls: Call, after_ms: int = 5000) -> Thread:
    thread.begin_turn(after_ms=after_ms)
    for call in calls:
        thread.call(call)
    return thread


def truth(*threads: Thread) -> Call:
    return total(call for thread in threads for call in thread.truth)


def by_session(threads: Iterable[Thread]) -> dict[str, int]:
    found: dict[str, int] = {}
    for seen in events(seen_in(*threads)).values():
        found[seen.session_id] = found.get(seen.session_id, 0) + seen.output_tokens
    return found


@EACH_ERA
def test_what_a_fork_copies_counts_once_and_in_its_parent(era: Era) -> None:
    parent = parent_of(era)
    fork = go_on(parent.fork(number=2), THIRD)
    go_on(parent, FIRST)
    # by hand: 704 + 709 + 704 in the parent, 716 in the fork
    assert by_session([parent, fork]) == by_session([fork, parent]) == {parent.id: 2117, fork.id: 716}
    assert sums(seen_in(fork)) == THIRD


@EACH_ERA
def test_a_fork_of_a_fork_copies_both(era: Era) -> None:
    parent = parent_of(era)
    fork = go_on(parent.fork(number=2), THIRD)
    last = go_on(fork.fork(number=3), SECOND)
    assert by_session([last, fork, parent]) == {parent.id: 1413, fork.id: 716, last.id: 709}


def test_what_is_copied_bears_the_time_of_the_fork() -> None:
    parent = parent_of(ERA["0.145.0"])
    fork = parent.fork(number=2)
    times = {line["timestamp"][:19] for line in fork.lines}
    assert len(times) == 1
    assert times.isdisjoint({line["timestamp"][:19] for line in parent.lines})


@WITH_TURN_IDS
def test_turn_ids_tell_a_copy_however_long_it_takes_to_write(version: str) -> None:
    parent = parent_of(ERA[version])
    fork = go_on(parent.fork(number=2, pause_ms=1500), THIRD)
    found, state = read(fork.content, fork.name)
    assert sums(found) == THIRD
    assert [seen.flags for seen in found] == [()]
    assert state.line_counts[INHERITED] == 2


@WITH_TURN_IDS
@pytest.mark.parametrize("is_spawned", [False, True])
def test_a_copy_without_the_parents_session_meta_is_told_all_the_same(version: str, *, is_spawned: bool) -> None:
    parent = parent_of(ERA[version])
    fork = go_on(parent.spawn(number=2) if is_spawned else parent.fork(number=2), THIRD)
    assert fork.lines[1]["payload"]["id"] == parent.id
    del fork.lines[1]
    assert sums(seen_in(fork)) == THIRD


@WITH_TURN_IDS
def test_behind_the_first_turn_of_its_own_everything_is_the_forks(version: str) -> None:
    parent = parent_of(ERA[version])
    fork = go_on(parent.fork(number=2), THIRD)
    # the clock was set back
    fork.now_ms -= 86_400_000
    go_on(fork, FIRST)
    assert sums(seen_in(fork)) == total([THIRD, FIRST])


@WITH_TURN_IDS
def test_a_fork_that_copies_no_totals_counts_its_first_call_by_itself(version: str) -> None:
    parent = parent_of(ERA[version])
    fork = parent.fork(number=2)
    fork.lines = [line for line in fork.lines if line["payload"].get("type") != "token_count"]
    go_on(fork, THIRD)
    assert sums(seen_in(fork)) == THIRD


def test_a_base_is_no_copy_whatever_the_clock_says() -> None:
    era = ERA["0.155.0"]._replace(has_records=False, has_turn_ids=False)
    fork = parent_of(era).fork(number=2)
    fork.begin_turn(after_ms=1)
    fork.call(THIRD, takes_ms=1)
    found = seen_in(fork)
    assert sums(found) == THIRD
    assert [seen.flags for seen in found] == [()]


@WITH_TURN_IDS
def test_turn_ids_tell_what_is_the_forks_own_however_fast_it_is(version: str) -> None:
    parent = parent_of(ERA[version])
    fork = parent.fork(number=2)
    fork.begin_turn(after_ms=1)
    fork.call(THIRD, takes_ms=1)
    assert sums(seen_in(fork)) == THIRD


def test_an_older_part_without_turn_ids_is_copied_with_the_rest() -> None:
    parent = parent_of(ERA["0.80.0"])
    parent.resume(ERA["0.131.0"])
    go_on(parent, THIRD)
    fork = go_on(parent.fork(number=2), FIRST)
    assert by_session([parent, fork]) == {parent.id: 2129, fork.id: 704}


@WITHOUT_TURN_IDS
@pytest.mark.parametrize("is_named", [False, True])
def test_without_turn_ids_the_clock_tells_a_copy_and_the_rest_is_flagged(version: str, *, is_named: bool) -> None:
    parent = parent_of(ERA[version])
    # the copy goes over the end of a second
    fork = go_on(parent.fork(number=2, after_ms=90_990, is_named=is_named), THIRD, FIRST)
    found, state = read(fork.content, fork.name)
    assert sums(found) == total([THIRD, FIRST])
    assert [seen.flags for seen in found] == [("fork_heuristic",)] * 2
    assert state.line_counts[INHERITED] == len([line for line in parent.lines if "info" in line["payload"]]) - 1
    assert [seen.flags for seen in seen_in(parent)] == [()] * 2


@WITHOUT_TURN_IDS
def test_a_fork_that_is_asked_at_once_has_its_answer_counted(version: str) -> None:
    parent = parent_of(ERA[version])
    fork = go_on(parent.fork(number=2), THIRD, after_ms=5)
    assert sums(seen_in(parent, fork)) == total([FIRST, SECOND, THIRD])


@WITHOUT_TURN_IDS
def test_a_fork_that_goes_on_with_turn_ids_is_told_by_them(version: str) -> None:
    fork = go_on(parent_of(ERA[version]).fork(number=2), THIRD)
    fork.resume(ERA["0.131.0"])
    go_on(fork, FIRST)
    found = seen_in(fork)
    assert sums(found) == total([THIRD, FIRST])
    assert [seen.flags for seen in found] == [("fork_heuristic",), ()]


def test_a_fork_before_the_first_answer_has_nothing_to_copy() -> None:
    parent = Thread(ERA["0.145.0"])
    parent.begin_turn()
    fork = go_on(parent.fork(number=2), THIRD)
    assert sums(seen_in(fork)) == THIRD


def test_totals_told_again_at_the_start_of_a_fork_with_a_base_are_the_parents() -> None:
    parent = parent_of(ERA["0.169.0"])
    fork = parent.fork(number=2)
    fork.repeat_totals()
    go_on(fork, THIRD)
    assert by_session([parent, fork]) == {parent.id: 1413, fork.id: 716}


def test_a_fork_with_a_base_and_without_records_counts_its_own_calls() -> None:
    era = ERA["0.155.0"]._replace(has_records=False)
    parent = parent_of(era)
    fork = go_on(parent.fork(number=2), THIRD)
    assert by_session([parent, fork]) == {parent.id: 1413, fork.id: 716}


def test_records_that_are_copied_count_where_they_were_written_first() -> None:
    era = ERA["0.155.0"]._replace(history_mode="legacy")
    parent = parent_of(era)
    fork = go_on(parent.fork(number=2), THIRD)
    assert by_session([fork, parent]) == {parent.id: 1413, fork.id: 716}
    found = events(seen_in(fork, parent))
    first = found[f"openai:{parent.response_id(1)}"]
    assert first.occurred_at == next(seen for seen in seen_in(parent)).occurred_at


def test_copied_records_without_an_id_of_the_providers_are_left_to_their_own_file() -> None:
    era = ERA["0.155.0"]._replace(history_mode="legacy")
    parent = parent_of(era)
    fork = go_on(parent.fork(number=2), THIRD)
    for line in parent.lines + fork.lines:
        if line["type"] == "token_usage_record":
            line["payload"]["response_id"] = line["payload"]["response_id"].replace("resp_", "gen-")
    assert by_session([fork, parent]) == {parent.id: 1413, fork.id: 716}
    assert read(fork.content, fork.name)[1].line_counts[RECORD_INHERITED] == 2


@EACH_ERA
@pytest.mark.parametrize("has_history", [False, True])
def test_a_sub_agent_counts_in_the_session_that_spawned_it(era: Era, *, has_history: bool) -> None:
    parent = parent_of(era)
    agent = go_on(parent.spawn(number=2, has_history=has_history), THIRD)
    go_on(parent, FIRST)
    found = events(seen_in(parent, agent))
    assert {seen.session_id for seen in found.values()} == {parent.id}
    assert sorted(seen.output_tokens for seen in found.values() if seen.is_sidechain) == [716]
    assert sums(found.values()) == total([FIRST, SECOND, FIRST, THIRD])


def test_a_sub_agent_of_a_sub_agent_counts_in_the_first_session() -> None:
    parent = parent_of(ERA["0.169.0"])
    agent = go_on(parent.spawn(number=2, has_history=False), THIRD)
    last = go_on(agent.spawn(number=3, has_history=False), FIRST)
    assert by_session([parent, agent, last]) == {parent.id: 1413 + 716 + 704}


def test_a_sub_agent_may_be_named_by_the_source_of_its_thread() -> None:
    parent_id = uuid_7(BEGIN_MS, 7)
    spawned = {"subagent": {"thread_spawn": {"parent_thread_id": parent_id, "depth": 1}}}
    agent = go_on(Thread(ERA["0.145.0"], source=spawned), FIRST)
    reviewer = go_on(Thread(ERA["0.145.0"], number=2, source={"subagent": "review"}), FIRST)
    assert [(seen.session_id, seen.is_sidechain) for seen in seen_in(agent, reviewer)] == [
        (parent_id, True),
        (reviewer.id, True),
    ]


def test_a_fork_whose_first_line_is_torn_is_no_second_parent() -> None:
    parent = parent_of(ERA["0.145.0"])
    fork = go_on(parent.fork(number=2), THIRD)
    torn = fork.content.replace(b'"originator"', b'"origin', 1)
    found, state = read(torn, fork.name)
    assert sums(found) == THIRD
    assert found[0].session_id == fork.id
    assert state.line_counts["(not json)"] == 1


@EACH_ERA
def test_in_any_order_and_read_again_and_again_the_calls_are_the_same(era: Era) -> None:
    parent = parent_of(era)
    fork = go_on(parent.fork(number=2), THIRD)
    agent = go_on(fork.spawn(number=3), FIRST)
    go_on(parent, SECOND)
    expected = events(seen_in(parent, fork, agent))
    assert sums(expected.values()) == truth(parent, fork, agent)
    for threads in permutations([parent, fork, agent]):
        assert events(seen_in(*threads, *threads)) == expected


@EACH_ERA
@given(data=st.data(), cuts=st.lists(st.integers(0, 120)))
def test_any_tree_of_threads_counts_every_call_once_however_its_files_are_cut(
    era: Era, data: st.DataObject, cuts: list[int]
) -> None:
    threads = [Thread(era)]
    for number in range(2, data.draw(st.integers(2, 12))):
        thread = data.draw(st.sampled_from(threads))
        move = data.draw(st.sampled_from(["call", "turn", "fork", "spawn", "compact", "resume"]))
        if move == "fork":
            threads.append(go_on(thread.fork(number=number), FIRST))
        elif move == "spawn" and era.has_turn_ids:
            threads.append(go_on(thread.spawn(number=number), SECOND))
        elif move == "compact" and thread.truth:
            thread.compact()
        elif move == "resume":
            thread.resume()
        else:
            go_on(thread, Call(1000 + number, 100, 0, 10 + number, 3))
    found = events(seen_in(*threads))
    assert sums(found.values()) == truth(*threads)
    for thread in threads:
        assert read(thread.content, thread.name, cuts=cuts) == read(thread.content, thread.name)
