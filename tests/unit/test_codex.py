"""Codex's rollouts of every era: what counts, once, and what it is labelled with."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick.catalog import CODEX, expand, layout_of
from tallystick.sources.codex import BESIDE_RECORDS, RECORD_COUNTED, REPEATED, WITHOUT_TOTALS, new_state
from tests.corpus.codex_reading import events, read, seen_in, sums
from tests.corpus.codex_rollouts import ERA, ERAS, MODEL, Call, Era, Thread, total, written

FIRST = Call(10_004, 8000, 0, 704, 300)
SECOND = Call(10_009, 8192, 0, 709, 250)
THIRD = Call(10_016, 9000, 0, 716, 0)
EACH_ERA = pytest.mark.parametrize("era", ERAS, ids=lambda era: era.version)


def two_calls(era: Era, **options: Any) -> Thread:
    thread = Thread(era, **options)
    thread.begin_turn()
    thread.call(FIRST)
    thread.call(SECOND)
    return thread


def mixed(**options: Any) -> Thread:
    """A thread begun with 0.145 and gone on with in 0.155."""
    thread = two_calls(ERA["0.145.0"], **options)
    thread.resume(ERA["0.155.0"])
    return thread


@EACH_ERA
def test_each_call_of_every_era_counts_once(era: Era) -> None:
    thread = two_calls(era)
    thread.resume()
    thread.begin_turn()
    thread.call(THIRD)
    found = seen_in(thread)
    assert [seen.grain for seen in found] == ["call"] * 3
    # by hand: 10,004 + 10,009 + 10,016; 8,000 + 8,192 + 9,000; 704 + 709 + 716; 300 + 250
    assert sums(found) == Call(30_029, 25_192, 0, 2129, 550)
    assert [seen.flags for seen in found] == [()] * 3


def test_the_buckets_are_apart_from_each_other() -> None:
    thread = Thread(ERA["0.169.0"])
    thread.begin_turn()
    thread.call(Call(10_004, 8000, 1500, 704, 300))
    (seen,) = seen_in(thread)
    # by hand: 10,004 - 8,000 - 1,500 = 504
    assert (seen.input_tokens, seen.cache_read_tokens, seen.cache_creation_5m_tokens) == (504, 8000, 1500)
    assert (seen.cache_creation_1h_tokens, seen.output_tokens, seen.thinking_tokens) == (0, 704, 300)


def test_cache_writes_of_running_totals_are_differenced_too() -> None:
    thread = Thread(ERA["0.145.0"])
    thread.begin_turn()
    thread.call(Call(1000, 0, 900, 10))
    thread.call(Call(2000, 900, 1000, 20))
    first, second = seen_in(thread)
    assert (first.input_tokens, first.cache_creation_5m_tokens) == (100, 900)
    assert (second.input_tokens, second.cache_read_tokens, second.cache_creation_5m_tokens) == (100, 900, 1000)


@EACH_ERA
def test_a_call_has_the_place_and_the_labels_that_its_file_names(era: Era) -> None:
    thread = two_calls(era)
    for seen in seen_in(thread):
        assert (seen.source, seen.provider, seen.model, seen.service_tier) == ("codex", "openai", MODEL, "")
        assert (seen.session_id, seen.is_sidechain) == (thread.id, False)
        assert (seen.project, seen.device, seen.git_branch) == ("at /w/shop", "laptop", "main")
        assert (seen.agent_version, seen.is_final) == (era.version, True)


def test_a_call_has_the_model_and_the_folder_of_its_turn() -> None:
    thread = two_calls(ERA["0.145.0"])
    thread.begin_turn(model="codex-auto-review", cwd="/w/shop/api")
    thread.call(THIRD)
    assert [(seen.model, seen.project) for seen in seen_in(thread)] == [
        (MODEL, "at /w/shop"),
        (MODEL, "at /w/shop"),
        ("codex-auto-review", "at /w/shop/api"),
    ]


def test_a_file_that_names_no_model_has_none() -> None:
    thread = Thread(ERA["0.42.0"])
    thread.begin_turn(model=None)
    thread.call(FIRST)
    assert [seen.model for seen in seen_in(thread)] == [""]


@pytest.mark.parametrize(("written_as", "provider"), [("openai", "openai"), ("OpenAI", "openai"), ("Azure", "Azure")])
def test_the_provider_is_named_as_the_file_names_it(written_as: str, provider: str) -> None:
    thread = Thread(ERA["0.169.0"], model_provider=written_as)
    thread.begin_turn()
    thread.call(FIRST)
    assert [seen.provider for seen in seen_in(thread)] == [provider]


@pytest.mark.parametrize("version", ["0.42.0", "0.80.0"])
def test_totals_that_are_told_again_at_each_request_count_once(version: str) -> None:
    thread = two_calls(ERA[version])
    told = [line for line in thread.lines if line["payload"].get("type") == "token_count"]
    assert len({line["timestamp"] for line in told}) == len(told) == 4
    found, state = read(thread.content, thread.name)
    assert sums(found) == total([FIRST, SECOND])
    assert (state.line_counts[REPEATED], state.line_counts[WITHOUT_TOTALS]) == (1, 1)


def test_a_compaction_adds_nothing_and_takes_nothing_away() -> None:
    thread = two_calls(ERA["0.131.0"])
    thread.compact()
    thread.call(THIRD)
    found = seen_in(thread)
    assert len(found) == 3
    assert sums(found) == total([FIRST, SECOND, THIRD])


def test_a_counter_that_starts_anew_loses_nothing() -> None:
    thread = two_calls(ERA["0.131.0"])
    thread.reset()
    # the same totals as at first, and again
    for call in (FIRST, SECOND):
        thread.call(call)
    found = seen_in(thread)
    assert len(events(found)) == 4
    assert sums(found) == total([FIRST, SECOND, FIRST, SECOND])


def test_a_context_that_is_full_takes_the_counter_back_to_nothing() -> None:
    thread = two_calls(ERA["0.131.0"])
    thread.reset()
    thread.last = Call(0)
    thread.repeat_totals()
    thread.call(THIRD)
    assert sums(seen_in(thread)) == total([FIRST, SECOND, THIRD])


def test_an_event_that_is_missing_is_in_the_growth_of_the_next_and_no_call_by_itself() -> None:
    thread = two_calls(ERA["0.131.0"])
    thread.call(THIRD)
    lines = [line for line in thread.lines if line["payload"].get("type") == "token_count"]
    thread.lines.remove(lines[1])
    first, rest = seen_in(thread)
    assert (first.grain, rest.grain) == ("call", "session_delta")
    assert sums([first, rest]) == total([FIRST, SECOND, THIRD])


def test_beside_records_running_totals_do_not_count() -> None:
    thread = two_calls(ERA["0.169.0"])
    found, state = read(thread.content, thread.name)
    assert [seen.event_key for seen in found] == [f"openai:{thread.response_id(n)}" for n in (1, 2)]
    assert state.line_counts[BESIDE_RECORDS] == 2


@pytest.mark.parametrize("totals_first", [False, True])
@pytest.mark.parametrize("is_stale_total_told", [False, True])
@pytest.mark.parametrize("do_totals_start_anew", [False, True])
def test_the_seam_of_a_mixed_file_counts_no_call_twice(
    *, totals_first: bool, is_stale_total_told: bool, do_totals_start_anew: bool
) -> None:
    thread = mixed()
    if is_stale_total_told:
        thread.repeat_totals()
    if do_totals_start_anew:
        thread.reset()
    thread.begin_turn()
    thread.call(THIRD, totals_first=totals_first)
    thread.call(FIRST, totals_first=totals_first)
    found, state = read(thread.content, thread.name)
    assert sums(found) == total([FIRST, SECOND, THIRD, FIRST])
    assert state.line_counts.get(RECORD_COUNTED, 0) == totals_first


@pytest.mark.parametrize("has_turn_ids", [False, True])
def test_a_record_of_another_call_with_the_same_usage_counts(*, has_turn_ids: bool) -> None:
    thread = mixed()
    thread.begin_turn()
    thread.call(SECOND)
    for line in thread.lines:
        if not has_turn_ids:
            line["payload"].pop("turn_id", None)
    assert sums(seen_in(thread)) == total([FIRST, SECOND, SECOND])


def test_records_alone_tell_which_call_they_are_of_by_their_usage() -> None:
    thread = mixed()
    thread.begin_turn()
    thread.call(THIRD, totals_first=True)
    for line in thread.lines:
        line["payload"].pop("thread_token_usage", None)
    assert sums(seen_in(thread)) == total([FIRST, SECOND, THIRD])


def test_a_record_of_another_turn_is_of_another_call() -> None:
    thread = mixed()
    thread.begin_turn()
    thread.call(SECOND)
    for line in thread.lines:
        line["payload"].pop("thread_token_usage", None)
    assert sums(seen_in(thread)) == total([FIRST, SECOND, SECOND])


def test_only_the_first_record_can_be_of_a_call_that_totals_told_of() -> None:
    thread = mixed()
    thread.begin_turn()
    thread.call(THIRD)
    thread.call(SECOND)
    for line in thread.lines:
        for name in ("thread_token_usage", "turn_id"):
            line["payload"].pop(name, None)
    assert sums(seen_in(thread)) == total([FIRST, SECOND, THIRD, SECOND])


def test_the_totals_of_a_record_tell_its_call_where_those_before_it_are_missing() -> None:
    thread = mixed()
    lost = next(line for line in reversed(thread.lines) if line["payload"].get("type") == "token_count")
    thread.lines = [line for line in thread.lines if line["payload"] != lost["payload"]]
    thread.begin_turn()
    thread.call(THIRD, totals_first=True)
    assert sums(seen_in(thread)) == total([FIRST, SECOND, THIRD])


LONG_ID = "resp_" + "x" * 300


@pytest.mark.parametrize(
    ("response_id", "key"),
    [
        ("resp_0a1b2c3d4e5f60718293a4b5c6d7e8f9", "openai:resp_0a1b2c3d4e5f60718293a4b5c6d7e8f9"),
        # as openai_api.py has it, so that a call seen by both is one event
        (LONG_ID, f"openai:sha256:{hashlib.sha256(LONG_ID.encode()).hexdigest()}"),
        ("resp_0004", "codex:{thread}:r:5"),
        ("chatcmpl-12", "codex:{thread}:r:5"),
        ("", "codex:{thread}:r:5"),
        (None, "codex:{thread}:r:5"),
    ],
)
def test_the_key_is_the_providers_id_where_it_is_of_one_call_only(response_id: str | None, key: str) -> None:
    thread = Thread(ERA["0.169.0"])
    thread.begin_turn()
    thread.call(FIRST)
    for line in thread.lines:
        if line["type"] == "token_usage_record":
            line["payload"]["response_id"] = response_id
    assert [seen.event_key for seen in seen_in(thread)] == [key.format(thread=thread.id)]


def test_a_record_without_an_id_and_a_place_has_no_key() -> None:
    thread = Thread(ERA["0.169.0"])
    thread.begin_turn()
    thread.call(FIRST)
    for line in thread.lines:
        del line["ordinal"]
        line["payload"].pop("response_id", None)
    assert [seen.reject_reason for seen in seen_in(thread)] == ["no_key"]


def test_neither_the_folder_nor_the_name_of_a_copy_is_in_the_key() -> None:
    thread = two_calls(ERA["0.145.0"])
    keys = {seen.event_key for seen in seen_in(thread)}
    assert {seen.event_key for seen in read(thread.content, "saved.jsonl")[0]} == keys
    assert {seen.event_key for seen in read(thread.content, f"{thread.name}.zst")[0]} == keys
    assert all(key.startswith(f"codex:{thread.id}:0:") for key in keys)


def test_the_name_of_the_file_names_a_thread_that_no_line_names() -> None:
    thread = two_calls(ERA["0.145.0"])
    keys = {seen.event_key for seen in seen_in(thread)}
    del thread.lines[0]
    assert {seen.event_key for seen in seen_in(thread)} == keys
    assert {seen.reject_reason for seen in read(thread.content, "saved.jsonl")[0]} == {"no_key"}


def test_a_call_without_a_folder_says_so() -> None:
    thread = two_calls(ERA["0.145.0"])
    for line in thread.lines:
        line["payload"].pop("cwd", None)
    assert {(seen.project, seen.flags) for seen in seen_in(thread)} == {("", ("no_cwd",))}


@EACH_ERA
def test_spaces_and_another_order_of_members_change_nothing(era: Era) -> None:
    thread = two_calls(era)
    other = [dict(reversed(line.items())) for line in thread.lines]
    found, again = seen_in(thread), read(written(other, spaces=True), thread.name)[0]
    assert [seen.event_key for seen in again] == [seen.event_key for seen in found]
    assert sums(again) == total([FIRST, SECOND])


def test_words_in_a_text_are_no_event() -> None:
    thread = two_calls(ERA["0.145.0"])
    told = json.dumps({"type": "event_msg", "payload": thread.lines[-1]["payload"]})
    thread.write("response_item", {"type": "message", "role": "user", "content": [{"type": "text", "text": told}]})
    assert sums(seen_in(thread)) == total([FIRST, SECOND])


@EACH_ERA
@given(
    calls=st.lists(
        st.builds(
            lambda fresh, cached, output: Call(fresh + cached, cached, 0, output, output // 2),
            st.integers(1, 10**6),
            st.integers(0, 10**6),
            st.integers(0, 10**5),
        ),
        max_size=6,
    ),
    turns=st.lists(st.integers(0, 6), max_size=3),
    cuts=st.lists(st.integers(0, 80)),
)
def test_however_a_file_is_cut_the_calls_are_the_same(
    era: Era, calls: list[Call], turns: list[int], cuts: list[int]
) -> None:
    thread = Thread(era)
    thread.begin_turn()
    for number, call in enumerate(calls):
        if number in turns:
            thread.compact()
            thread.begin_turn()
        thread.call(call)
    whole, state = read(thread.content, thread.name)
    assert sums(whole) == total(calls)
    assert read(thread.content, thread.name, cuts=cuts) == (whole, state)
    # what was read before may be read again from the start
    assert events([*whole, *seen_in(thread)]) == events(whole)


@given(
    totals_first=st.booleans(),
    has_turn_ids=st.booleans(),
    before=st.integers(0, 3),
    behind=st.integers(0, 3),
    cuts=st.lists(st.integers(0, 80)),
)
def test_however_a_mixed_file_is_cut_the_calls_are_the_same(
    *, totals_first: bool, has_turn_ids: bool, before: int, behind: int, cuts: list[int]
) -> None:
    calls = [Call(1000 + n, 500, 0, 10 + n, 0) for n in range(before + behind)]
    thread = Thread(ERA["0.145.0"])
    thread.begin_turn()
    for call in calls[:before]:
        thread.call(call)
    thread.resume(ERA["0.155.0"])
    thread.begin_turn()
    for call in calls[before:]:
        thread.call(call, totals_first=totals_first)
    for line in thread.lines:
        if not has_turn_ids:
            line["payload"].pop("turn_id", None)
    whole, state = read(thread.content, thread.name, cuts=cuts)
    assert (whole, state) == read(thread.content, thread.name)
    assert sums(whole) == total(calls)


def test_the_catalog_knows_the_files() -> None:
    thread = Thread(ERA["0.169.0"])
    for folder in ("/home/ann/.codex/sessions/2026/11/22", "/home/ann/.codex/archived_sessions"):
        for suffix in ("", ".zst"):
            assert layout_of(f"{folder}/{thread.name}{suffix}") == CODEX
    assert not CODEX.has("/home/ann/.codex/sessions/history.jsonl")
    roots = [expand(root, variables={}, home="/home/ann") for root in CODEX.roots]
    assert roots == ["/home/ann/.codex/sessions", "/home/ann/.codex/archived_sessions"]
    assert expand(CODEX.roots[0], variables={"CODEX_HOME": "/c"}, home="/home/ann") == "/c/sessions"


def test_a_name_that_is_not_utf_8_does_no_harm() -> None:
    assert new_state("/w/rollout-\udcff.jsonl").file_stem == "rollout-?"
