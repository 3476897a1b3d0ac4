"""Amp's threads: one call in two places, and its names."""

from __future__ import annotations

import json

import pytest

from tallystick.sources import amp
from tests.corpus.reading_documents import Outcome, read_document, tokens_of

PATH = "/home/ann/.local/share/amp/threads/T-1.json"
AT = "2026-09-01T08:00:05.000Z"
CREATED_MS = 1_788_249_600_000  # 2026-09-01 08:00 UTC


def read(*, events: object = (), messages: object = (), **members: object) -> Outcome:
    thread = {"id": "T-1", "created": CREATED_MS, "messages": messages, "usageLedger": {"events": events}, **members}
    return read_document(amp, json.dumps(thread).encode(), PATH)


def event(**members: object) -> dict[str, object]:
    known = {"id": "0190b5c4-0000-7000-8000-000000000001", "timestamp": AT, "model": "claude-sonnet-4-5", "credits": 2}
    return {**known, "tokens": {"input": 10, "output": 20}, "toMessageId": 3, **members}


def answer(message_id: object = 3, **usage: object) -> dict[str, object]:
    counts = {"inputTokens": 10, "outputTokens": 20, "cacheCreationInputTokens": 5, "cacheReadInputTokens": 90}
    known = {"model": "claude-sonnet-4-5", "totalInputTokens": 105, "credits": 2, "timestamp": AT}
    return {"role": "assistant", "messageId": message_id, "usage": counts | known | usage}


def test_the_cache_of_a_call_may_stand_in_its_message_alone() -> None:
    call = read(events=[event()], messages=[answer()]).only
    assert tokens_of(call) == (10, 5, 90, 20)
    assert (call.event_key, call.occurred_at, call.model, call.session_id) == (
        "amp:T-1:3",
        AT,
        "claude-sonnet-4-5",
        "T-1",
    )


def test_the_ledgers_own_cache_comes_first_even_where_it_is_nothing() -> None:
    tokens = {"input": 10, "output": 20, "cacheReadInputTokens": 0, "cacheCreationInputTokens": None}
    assert tokens_of(read(events=[event(tokens=tokens)], messages=[answer()]).only) == (10, 0, 0, 20)


def test_credits_are_no_money() -> None:
    assert read(events=[event()]).only.reported_cost_usd is None


def test_a_call_has_one_key_whichever_place_names_it_first() -> None:
    before = read(messages=[answer()]).only
    after = read(events=[event()], messages=[answer()]).only
    assert before == after


def test_several_calls_on_the_way_to_one_answer_are_several_events() -> None:
    second = event(id="0190b5c4-0000-7000-8000-000000000002", tokens={"input": 1, "output": 2})
    calls = read(events=[event(), second], messages=[answer()]).calls
    assert [call.event_key for call in calls] == ["amp:T-1:3", "amp:T-1:event:0190b5c4-0000-7000-8000-000000000002"]
    assert [tokens_of(call) for call in calls] == [(10, 5, 90, 20), (1, 0, 0, 2)]


def test_an_event_of_no_message_is_known_by_its_id() -> None:
    call = read(events=[event(toMessageId=None)]).only
    assert (call.event_key, call.flags) == ("amp:T-1:event:0190b5c4-0000-7000-8000-000000000001", ("no_cwd",))
    assert read(events=[event(toMessageId=None, id=None)]).only.flags == ("no_cwd", "weak_key")


def test_an_answer_without_a_time_has_that_of_the_message_before_or_of_the_thread() -> None:
    question = {"role": "user", "messageId": 2, "meta": {"sentAt": CREATED_MS + 4000}}
    later = event(toMessageId=9, timestamp="2026-09-02T08:00:00.000Z")
    asked = next(
        c for c in read(events=[later], messages=[question, answer(timestamp=None)]).calls if "T-1:3" in c.event_key
    )
    assert (asked.occurred_at, asked.flags) == ("2026-09-01T08:00:04.000Z", ("no_cwd", "time_inherited"))
    assert read(messages=[answer(timestamp=None)]).only.occurred_at == "2026-09-01T08:00:00.000Z"
    assert read(messages=[answer(timestamp=None)], created=None).rejects == [("amp:T-1:3", "no_time")]


@pytest.mark.parametrize(
    ("uri", "project"),
    [
        ("file:///home/ann/my%20shop", "at /home/ann/my shop"),
        ("vscode-remote://ssh/home/ann", "at "),
        ("file://[", "at "),
        (None, "at "),
    ],
)
def test_a_thread_belongs_to_the_folder_in_which_it_began(uri: object, project: str) -> None:
    call = read(events=[event()], env={"initial": {"trees": [{"uri": uri}, {"uri": "file:///other"}]}}).only
    assert (call.project, "no_cwd" in call.flags) == (project, project == "at ")


@pytest.mark.parametrize("count", [1.5, "many", True])
def test_a_count_that_is_none_rejects_its_call_and_no_other(count: object) -> None:
    outcome = read(events=[event(tokens={"input": count}), event(id="x", toMessageId=5)])
    assert outcome.rejects == [("amp:T-1:3", "not_an_integer")]
    assert [call.event_key for call in outcome.calls] == ["amp:T-1:5"]


def test_a_question_is_no_call() -> None:
    assert read(messages=[{"role": "user", "messageId": 1, "usage": {"outputTokens": 5}}]).calls == []
