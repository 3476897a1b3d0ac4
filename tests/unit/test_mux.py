"""Mux' chats: whose an answer is, what its input contains, and lines cut and damaged in every way."""

from __future__ import annotations

import json
from itertools import permutations

import pytest

from tallystick.sources import mux
from tests.corpus.histories import make_calls
from tests.corpus.mux import answer, chat
from tests.corpus.reading_documents import Outcome, read_lines, tokens_of

PATH = "/home/ann/.mux/sessions/ws-1/chat.jsonl"
CALL = make_calls(1, 1)[0]


def read(*messages: dict[str, object], path: str = PATH) -> Outcome:
    return read_lines(mux, "".join(json.dumps(each) + "\n" for each in messages).encode(), path)


def test_an_answer_is_a_call() -> None:
    call = read(answer(CALL)).only
    assert (call.event_key, call.occurred_at, call.session_id) == ("mux:ws-1:assistant-0", CALL.at_text, "ws-1")
    assert (call.provider, call.model, call.flags) == ("anthropic", "claude-sonnet-4-6", ("no_cwd",))
    assert (tokens_of(call), call.thinking_tokens) == (CALL.tokens, CALL.tokens.output // 2)


def test_every_answer_is_a_call_at_its_time_with_its_tokens() -> None:
    history = chat(4, 12)
    outcome = read_lines(mux, history.content, history.path)
    assert {call.occurred_at: tokens_of(call) for call in outcome.calls} == {
        call.at_text: call.tokens for call in history.calls
    }
    assert outcome.state.line_counts == {"(message)": 12}


@pytest.mark.parametrize(
    ("written", "provider", "model"),
    [("ollama:gpt-oss:20b", "ollama", "gpt-oss:20b"), ("gpt-5.2", "", "gpt-5.2"), ("", "", ""), (None, "", "")],
)
def test_a_model_has_its_provider_before_it(written: object, provider: str, model: str) -> None:
    call = read(answer(CALL, model=written)).only
    assert (call.provider, call.model) == (provider, model)


def test_a_sub_agents_chat_belongs_to_its_parent_and_has_the_keys_that_it_had_before() -> None:
    alone = read(answer(CALL), path="/home/ann/.mux/sessions/child/chat.jsonl").only
    kept = read(answer(CALL), path="/home/ann/.mux/sessions/ws-1/subagent-transcripts/child/chat.jsonl").only
    assert alone.event_key == kept.event_key == "mux:child:assistant-0"
    assert (alone.session_id, alone.is_sidechain, kept.session_id, kept.is_sidechain) == ("child", False, "ws-1", True)


def test_an_input_that_is_smaller_than_the_cache_is_written_without_it() -> None:
    usage = {"inputTokens": 12, "cachedInputTokens": 5000, "outputTokens": 3}
    assert read(answer(CALL, usage=usage, providerMetadata=None)).only.input_tokens == 12


def test_an_answer_without_an_id_is_rejected() -> None:
    assert read(answer(CALL) | {"id": None}).rejects == [("ws-1:0", "no_key")]


def test_an_answer_without_a_time_takes_that_of_the_answer_before() -> None:
    first, second = read(answer(CALL), answer(CALL, timestamp=None) | {"id": "other"}).calls
    assert (second.occurred_at, second.flags) == (first.occurred_at, ("no_cwd", "time_inherited"))
    assert read(answer(CALL, timestamp=None)).rejects == [("mux:ws-1:assistant-0", "no_time")]


def test_a_question_with_the_word_usage_in_it_is_none() -> None:
    question = {"id": "u", "role": "user", "parts": [{"text": '"usage"'}], "metadata": {"usage": {"outputTokens": 5}}}
    assert read(question).calls == []


LINES = chat(4, 3).content.splitlines(keepends=True)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"".join(LINES).replace(b"\n", b"\r\n"), id="crlf"),
        pytest.param(b"".join(LINES).replace(b": ", b":").replace(b", ", b","), id="no blanks"),
        pytest.param(b"\xef\xbb\xbf" + b"".join(LINES), id="byte order mark"),
        pytest.param((bytes(4096) + b"\n").join(LINES), id="NULs between lines"),
        pytest.param(bytes(4096).join(LINES), id="NULs in front of lines"),
        pytest.param(b"".join(LINES).replace(b'"parts": []', b'"parts": ["\xff"]'), id="invalid UTF-8"),
        pytest.param(b"".join(LINES).replace(b'"parts": []', b'"parts": ["\\ud800"]'), id="lone surrogate"),
        pytest.param(b"".join(LINES).replace(b"}\n{", b"}{"), id="lines glued"),
        pytest.param(b"".join(reversed(LINES)), id="another order"),
        pytest.param(b"".join(LINES) + b"".join(LINES), id="twice"),
    ],
)
def test_no_call_is_lost_or_changed_by_what_has_happened_to_a_chat(content: bytes) -> None:
    path = chat(4, 3).path
    whole = {call.event_key: call for call in read_lines(mux, b"".join(LINES), path).calls}
    met = read_lines(mux, content, path)
    known = {call.event_key: call for call in met.calls}
    assert met.rejects == []
    assert {key: (call.occurred_at, tokens_of(call)) for key, call in known.items()} == {
        key: (call.occurred_at, tokens_of(call)) for key, call in whole.items()
    }


def test_a_torn_answer_is_named_and_the_others_count() -> None:
    torn = LINES[1][: LINES[1].index(b'"usage"') + 9] + b"\n"
    outcome = read_lines(mux, b"".join([LINES[0], torn, *LINES[2:]]), chat(4, 3).path)
    assert [why for _, why in outcome.rejects] == ["not_json"]
    assert len(outcome.calls) == 2


def test_the_order_of_files_is_of_no_matter() -> None:
    histories = [chat(seed, 3) for seed in range(3)]
    readings = [
        {call.event_key: call for each in order for call in read_lines(mux, each.content, each.path).calls}
        for order in permutations(histories)
    ]
    assert all(reading == readings[0] for reading in readings)
    assert len(readings[0]) == 9


@pytest.mark.parametrize("cuts", [[], [1], [2]])
def test_a_time_is_inherited_also_from_before_a_cut(cuts: list[int]) -> None:
    second = answer(CALL, timestamp=None) | {"id": "other"}
    content = "".join(json.dumps(each) + "\n" for each in (answer(CALL), second)).encode()
    assert [call.occurred_at for call in read_lines(mux, content, PATH, cuts).calls] == [CALL.at_text] * 2


def test_usage_of_a_question_is_no_call() -> None:
    assert read(answer(CALL) | {"role": "user"}).calls == []
