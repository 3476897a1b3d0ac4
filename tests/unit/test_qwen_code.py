"""Qwen Code: a call that stands in the usage file, in the telemetry and as the answer is one event."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable
from itertools import chain
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick.observation import Observation
from tallystick.sources import qwen_code
from tests.corpus.ledger_order import winners
from tests.corpus.qwen_code import CHAT_PATH, SESSION, USAGE_PATH, Call, make_calls
from tests.corpus.reading import only, read, written

MEASURED = [
    Call(1, prompt=10001, output=701, cached=8001, thoughts=300),
    Call(2, prompt=10002, output=702, cached=8002, thoughts=300),
]


def usage_file(calls: Iterable[Call]) -> bytes:
    return written(*(call.usage_line() for call in calls))


def chats(calls: Iterable[Call]) -> dict[str, bytes]:
    """The chat of each session, with the telemetry and the answer of every call."""
    by_session: dict[str, bytes] = defaultdict(bytes)
    for call in calls:
        by_session[call.session_id] += written(call.telemetry_line(), call.answer_line())
    return {CHAT_PATH.replace(SESSION, session_id): content for session_id, content in by_session.items()}


def read_all(files: dict[str, bytes], cuts: Iterable[int] = ()) -> list[list[Observation]]:
    cuts = list(cuts)
    return [read(qwen_code, content, path=path, cuts=cuts).calls for path, content in files.items()]


def totals(calls: Iterable[Observation]) -> tuple[int, int, int, int]:
    """Events, and their input, cache reads and output."""
    events = winners(calls).values()
    sums = [sum(getattr(event, f"{name}_tokens") for event in events) for name in ("input", "cache_read", "output")]
    return len(events), sums[0], sums[1], sums[2]


def truth(calls: Iterable[Call]) -> tuple[int, int, int, int]:
    calls = list(calls)
    prompt, cached = sum(call.prompt for call in calls), sum(call.cached for call in calls)
    return len(calls), prompt - cached, cached, sum(call.output for call in calls)


LINES = [
    pytest.param(Call.usage_line, USAGE_PATH, id="usage"),
    pytest.param(Call.telemetry_line, CHAT_PATH, id="telemetry"),
    pytest.param(Call.answer_line, CHAT_PATH, id="answer"),
]


@pytest.mark.parametrize(("line", "path"), LINES)
def test_every_sort_of_line_gives_a_call_the_same_key_and_counts(line: Any, path: str) -> None:
    call = only(qwen_code, written(line(MEASURED[0])), path=path)
    assert call.event_key == f"qwen-code:{SESSION}:10001-8001-701-300:0"
    counts = (call.input_tokens, call.cache_read_tokens, call.output_tokens, call.thinking_tokens)
    assert counts == (2000, 8001, 701, 300)
    assert (call.model, call.session_id, call.is_final, call.flags) == (
        "qwen3-coder-plus",
        SESSION,
        True,
        ("weak_key",),
    )


def test_two_calls_come_to_what_was_measured_and_the_cache_counts_once() -> None:
    files = {USAGE_PATH: usage_file(MEASURED)} | chats(MEASURED)
    events, input_tokens, cache_read_tokens, output_tokens = totals(chain.from_iterable(read_all(files)))
    assert (events, input_tokens + cache_read_tokens + output_tokens) == (2, 21_406)


def test_the_project_and_the_branch_come_from_the_chat_whatever_is_read_first() -> None:
    files = {USAGE_PATH: usage_file(MEASURED)} | chats(MEASURED)
    usage, chat = read_all(files)
    for order in (usage + chat, chat + usage):
        for event in winners(order).values():
            assert (event.project, event.git_branch) == ("/w/shop", "main")


def test_telemetry_places_a_call_at_its_beginning() -> None:
    call = only(qwen_code, written(Call(1).telemetry_line()), path=CHAT_PATH)
    # 18:06:41 and 2 ms less 383 ms
    assert call.occurred_at == "2026-11-22T18:06:40.619Z"


@pytest.mark.parametrize("duration_ms", [None, 0, -5, "383", True, 10**30])
def test_telemetry_without_a_duration_keeps_its_time(duration_ms: object) -> None:
    line = Call(1).telemetry_line()
    line["systemPayload"]["uiEvent"]["duration_ms"] = duration_ms
    call = only(qwen_code, written(line), path=CHAT_PATH)
    assert call.occurred_at == "2026-11-22T18:06:41.002Z"


@pytest.mark.parametrize(
    ("total", "output_tokens"),
    [(10_702, 701), (11_002, 1001), (11_009, 1001), (0, 701), (None, 701)],
)
def test_the_total_tells_whether_the_thoughts_are_in_the_output(total: int | None, output_tokens: int) -> None:
    line = MEASURED[0].usage_line(totalTokens=total)
    call = only(qwen_code, written(line), path=USAGE_PATH)
    assert (call.output_tokens, call.thinking_tokens) == (output_tokens, 300)


def test_thoughts_beyond_the_output_that_holds_them_are_cut_to_it() -> None:
    call = only(qwen_code, written(Call(1, output=100, thoughts=300).usage_line()), path=USAGE_PATH)
    assert (call.output_tokens, call.thinking_tokens) == (100, 100)


@pytest.mark.parametrize(
    ("back_end", "provider"), [("openai", ""), ("qwen-oauth", ""), ("gemini", "google"), ("anthropic", "anthropic")]
)
def test_only_a_back_end_that_is_one_makers_names_the_provider(back_end: str, provider: str) -> None:
    call = only(qwen_code, written(Call(1).usage_line(authType=back_end, model="unknown")), path=USAGE_PATH)
    assert (call.provider, call.model) == (provider, "")


def test_a_sub_agents_call_is_a_sidechain_in_every_file_that_says_so() -> None:
    call = Call(1, subagent="explorer")
    usage = only(qwen_code, written(call.usage_line()), path=USAGE_PATH)
    telemetry = only(qwen_code, written(call.telemetry_line()), path=CHAT_PATH)
    assert (usage.is_sidechain, telemetry.is_sidechain) == (True, True)
    assert usage.event_key == telemetry.event_key


def test_what_a_branch_copied_is_no_call_of_the_branch() -> None:
    copied = {"sessionId": "branch", "forkedFrom": {"sessionId": SESSION, "messageUuid": "u"}}
    lines = [MEASURED[0].telemetry_line(**copied), MEASURED[0].answer_line(**copied), MEASURED[1].answer_line()]
    outcome = read(qwen_code, written(*lines), path=CHAT_PATH)
    assert totals(outcome.calls) == truth(MEASURED[1:])
    assert outcome.state.line_counts == {"(copied)": 2}


def test_telemetry_of_an_answer_that_used_nothing_is_no_call() -> None:
    outcome = read(qwen_code, written(Call(1, prompt=0, cached=0, output=0).telemetry_line()), path=CHAT_PATH)
    assert (outcome.calls, outcome.rejects) == ([], [])


def test_equal_calls_are_as_many_as_they_are() -> None:
    calls = [Call(number) for number in range(7)]
    files = {USAGE_PATH: usage_file(calls)} | chats(calls)
    assert totals(chain.from_iterable(read_all(files))) == truth(calls)


def test_a_line_that_stands_in_its_file_again_is_the_same_call() -> None:
    lines = [Call(number).usage_line() for number in (1, 2)]
    assert len(winners(read(qwen_code, written(*lines, *lines), path=USAGE_PATH).calls)) == 2


def test_equal_calls_on_both_sides_of_a_month_are_told_apart_by_the_chat_only() -> None:
    """What can go wrong, and no further: the two usage files alone make one event of two calls with equal counts."""
    calls = [Call(1), Call(2)]
    months = [{USAGE_PATH: usage_file([call])} for call in calls]
    usage = [read_all(month)[0] for month in months]
    assert totals(chain.from_iterable(usage))[0] == 1
    assert totals(chain(*usage, *read_all(chats(calls)))) == truth(calls)


def test_the_state_stays_small_and_forgets_what_is_long_ago() -> None:
    calls = [Call(0), *(Call(number, prompt=1000 + number) for number in range(1, 1500)), Call(1500)]
    outcome = read(qwen_code, usage_file(calls), path=USAGE_PATH)
    assert len(outcome.state.equals) == 1000
    assert len(msgspec.json.encode(outcome.state)) < 60_000
    assert len(winners(outcome.calls)) == 1500
    near = [Call(0), *(Call(number, prompt=1000 + number) for number in range(1, 900)), Call(1500)]
    assert len(winners(read(qwen_code, usage_file(near), path=USAGE_PATH).calls)) == 901


@given(
    st.integers(0, 2**32),
    st.integers(0, 25),
    st.lists(st.integers(0, 60), max_size=6),
    st.sampled_from(["usage", "chats", "both"]),
    st.data(),
)
def test_any_order_cut_and_repetition_of_both_files_gives_each_call_once(
    seed: int, count: int, cuts: list[int], kept: str, data: st.DataObject
) -> None:
    calls = make_calls(random.Random(seed), count=count)
    usage, chat = {USAGE_PATH: usage_file(calls)}, chats(calls)
    files = {"usage": usage, "chats": chat, "both": usage | chat}[kept]
    seen = read_all(files)
    assert seen == read_all(files, cuts)
    order = data.draw(st.permutations(seen)) + data.draw(st.lists(st.sampled_from(seen or [[]])))
    assert totals(chain.from_iterable(order)) == truth(calls)
    assert winners(chain.from_iterable(order)) == winners(chain.from_iterable(seen))


@given(st.integers(0, 2**32), st.data())
def test_a_line_lost_from_one_file_costs_nothing_while_the_other_has_it(seed: int, data: st.DataObject) -> None:
    calls = make_calls(random.Random(seed), count=20)
    lost = data.draw(st.sets(st.integers(0, 19)))
    rest = [call for call in calls if call.number not in lost]
    for usage, chat in ((calls, rest), (rest, calls)):
        files = {USAGE_PATH: usage_file(usage)} | chats(chat)
        assert totals(chain.from_iterable(read_all(files))) == truth(calls)


@given(st.integers(0, 2**32), st.data())
def test_a_prefix_read_first_and_the_whole_later_give_each_call_once(seed: int, data: st.DataObject) -> None:
    calls = make_calls(random.Random(seed), count=20)
    prefix = calls[: data.draw(st.integers(0, 20))]
    seen = chain(*read_all(chats(prefix)), *read_all({USAGE_PATH: usage_file(calls)}), *read_all(chats(calls)))
    assert totals(seen) == truth(calls)
