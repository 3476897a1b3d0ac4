"""Gemini CLI's chats: lines and documents, what is written twice, and what a rewind does not take back."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tallystick.observation import Observation
from tallystick.sources import gemini_cli
from tallystick.sources.formats import NotWhole
from tests.corpus.gemini_cli import DOCUMENT, MAIN, SESSION, SUBAGENT, header, message, prompt, tokens
from tests.corpus.ledger_order import winners
from tests.corpus.reading import Outcome, only, read, written


def read_lines(*records: dict[str, Any], path: str = MAIN) -> Outcome:
    return read(gemini_cli, written(*records), path=path)


def read_document(content: bytes, *, path: str = DOCUMENT) -> list[Observation]:
    state = gemini_cli.new_state(path)
    return gemini_cli.parse_document(content, state=state, project_of=str, device="laptop").observations


def document(*messages: dict[str, Any]) -> bytes:
    return json.dumps(header() | {"messages": list(messages)}, indent=2).encode()


def test_a_call_is_read_with_everything_that_is_known_of_it() -> None:
    measured = {"input": 10001, "output": 51, "cached": 4001, "thoughts": 300, "tool": 7, "total": 10359}
    call = only(gemini_cli, written(header(), prompt(1), message(1, tokens=measured)), path=MAIN)
    assert call == Observation(
        event_key="gemini-cli:b2630001-1111-4222-8333-444455556666",
        occurred_at="2026-11-22T18:06:01.000Z",
        source="gemini-cli",
        provider="google",
        model="gemini-2.5-pro",
        session_id=SESSION,
        device="laptop",
        # by hand: 10,001 - 4,001 + 7 and 51 + 300
        input_tokens=6007,
        cache_read_tokens=4001,
        output_tokens=351,
        thinking_tokens=300,
        is_final=True,
        position=call.position,
    )
    total = call.input_tokens + call.cache_read_tokens + call.output_tokens
    assert total == measured["total"]


def test_two_calls_come_to_what_was_measured() -> None:
    first = {"input": 10001, "output": 51, "cached": 4001, "thoughts": 0, "tool": 0, "total": 10052}
    second = {"input": 10002, "output": 52, "cached": 4002, "thoughts": 0, "tool": 11, "total": 10065}
    calls = read_lines(header(), message(1, tokens=first), message(2, tokens=second)).calls
    assert sum(call.input_tokens for call in calls) == 20003 - 8003 + 11
    assert sum(call.cache_read_tokens for call in calls) == 8003
    assert sum(call.output_tokens for call in calls) == 103


def test_a_message_written_again_with_its_tool_calls_is_one_call() -> None:
    again = message(1, toolCalls=[{"id": "t1"}])
    outcome = read_lines(header(), message(1, tokens=None), message(1), again)
    assert outcome.keys == [outcome.keys[0]] * 2
    assert len(winners(outcome.calls)) == 1


def test_of_two_copies_with_different_tokens_the_larger_holds_in_either_order() -> None:
    lines = [message(1, tokens=tokens(output=3)), message(1, tokens=tokens(output=300))]
    folds = [winners(read_lines(header(), *order).calls) for order in (lines, lines[::-1])]
    assert folds[0] == folds[1]
    assert [event.output_tokens for event in folds[0].values()] == [300]


def test_messages_in_an_update_are_calls_and_the_same_ones() -> None:
    update = {"$set": {"messages": [prompt(1), message(1), message(2)], "lastUpdated": "2026-11-22T18:07:00.000Z"}}
    outcome = read_lines(header(), message(1), update)
    assert sorted(winners(outcome.calls)) == sorted(each.keys[0] for each in (read_lines(message(n)) for n in (1, 2)))
    assert [call.session_id for call in outcome.calls] == [SESSION] * 3


def test_a_rewind_refunds_nothing() -> None:
    outcome = read_lines(header(), message(1), {"$rewindTo": message(1)["id"]}, message(2))
    assert outcome.output_tokens == 200
    assert outcome.rejects == []


def test_a_chat_moved_from_a_document_to_lines_keeps_its_calls() -> None:
    as_document = read_document(document(prompt(1), message(1), message(2)))
    as_lines = read_lines(header(), prompt(1), message(1), message(2)).calls
    assert winners(as_document) == winners(as_lines)
    assert len(as_document) == 2


def test_the_chat_of_a_sub_agent_belongs_to_its_parents_session() -> None:
    call = only(gemini_cli, written(header(sessionId="sub", kind="subagent"), message(1)), path=SUBAGENT)
    assert (call.session_id, call.is_sidechain, call.origin_rank) == (SESSION, True, 1)


def test_a_header_that_names_directories_names_the_project() -> None:
    call = only(gemini_cli, written(header(directories=["/w/shop", "/w/other"]), message(1)), path=MAIN)
    assert call.project == "/w/shop"


def test_a_session_goes_on_under_the_id_that_an_update_gives_it() -> None:
    outcome = read_lines(header(), message(1), {"$set": {"sessionId": "other"}}, message(2))
    assert [call.session_id for call in outcome.calls] == [SESSION, "other"]


def test_tokens_that_are_all_zero_are_no_call() -> None:
    nothing = dict.fromkeys(tokens(), 0)
    outcome = read_lines(header(), message(1, tokens=nothing))
    assert (outcome.calls, outcome.rejects) == ([], [])
    assert outcome.state.line_counts == {"(header)": 1, "(no usage)": 1}


def test_cache_reads_beyond_the_input_are_left_for_the_ledger_to_reject() -> None:
    assert only(gemini_cli, written(message(1, tokens={"input": 3, "cached": 5})), path=MAIN).input_tokens == -2


def test_a_message_without_an_id_is_rejected() -> None:
    assert [reason for _, reason in read_lines(header(), message(1, id=None)).rejects] == ["no_key"]


@pytest.mark.parametrize("damage", ["byte order mark", "invalid UTF-8", "NaN", "control characters"])
def test_a_damaged_document_is_mended(damage: str) -> None:
    plain = document(message(1), message(2))
    damaged = {
        "byte order mark": b"\xef\xbb\xbf" + plain,
        "invalid UTF-8": plain.replace(b"words", b"w\xffords"),
        "NaN": plain.replace(b'"words"', b"NaN"),
        "control characters": plain.replace(b"words", b"w\x01ords"),
    }[damage]
    assert read_document(damaged) == read_document(plain)


@pytest.mark.parametrize("content", [document(message(1))[:-20], b"", b"[]", b"{}{}"])
def test_a_document_that_is_not_whole_is_left_for_later(content: bytes) -> None:
    with pytest.raises(NotWhole):
        read_document(content)


def test_a_document_in_utf_16_is_flagged() -> None:
    (rejected,) = read_document(document(message(1)).decode().encode("utf-16"))
    assert rejected.reject_reason == "encoding"


def test_a_document_read_again_says_only_what_it_holds_now() -> None:
    state = gemini_cli.new_state(DOCUMENT)
    contents = [document(message(1), prompt(2), prompt(3)), document(message(1, timestamp=None), prompt(2))]
    for content in contents:
        observations = gemini_cli.parse_document(content, state=state, project_of=str, device="").observations
    assert [each.reject_reason for each in observations] == ["no_time"]
    assert state.line_counts == {"user": 1}
