"""Codebuff's chats: where the usage of an answer stands, and what its input contains."""

from __future__ import annotations

import json

import pytest

from tallystick.sources import codebuff
from tests.corpus.codebuff import chat
from tests.corpus.reading_documents import Outcome, read_document, tokens_of

PATH = chat(0, 1).path
CHAT = "2026-09-01T08-00-00.000Z"
AT = "2026-09-01T08:00:05.000Z"


def read(metadata: object, **members: object) -> Outcome:
    message = {"id": "ai-1", "variant": "ai", "timestamp": AT, "metadata": metadata, **members}
    return read_document(codebuff, json.dumps([message]).encode(), PATH)


def test_an_answer_is_a_call() -> None:
    call = read({"model": " openai/gpt-5.2 ", "usage": {"inputTokens": 5, "outputTokens": 6}}).only
    assert (call.event_key, call.session_id, call.occurred_at) == (f"codebuff:{CHAT}:ai-1", CHAT, AT)
    assert (call.model, call.provider, call.flags) == ("openai/gpt-5.2", "", ("no_cwd",))


def test_what_one_place_lacks_another_has_and_nothing_is_added() -> None:
    metadata = {
        "usage": {"inputTokens": 100, "outputTokens": 0},
        "codebuff": {"usage": {"input_tokens": 7, "output_tokens": 50}},
    }
    assert tokens_of(read(metadata).only) == (100, 0, 0, 50)


def test_a_prompt_contains_what_was_cached_and_an_input_does_not() -> None:
    details = {"cached_tokens": 700}
    prompt = {"prompt_tokens": 1000, "completion_tokens": 9, "prompt_tokens_details": details}
    assert tokens_of(read({"codebuff": {"usage": prompt}}).only) == (300, 0, 700, 9)
    assert tokens_of(read({"usage": {"inputTokens": 300, "cacheReadInputTokens": 700}}).only) == (300, 0, 700, 0)


def test_of_a_run_the_last_answer_counts_because_those_before_are_messages_of_their_own() -> None:
    history = [
        {"role": "assistant", "providerOptions": {"usage": {"inputTokens": 111}}},
        {"role": "assistant", "providerOptions": {"codebuff": {"model": "x/y", "usage": {"inputTokens": 222}}}},
        {"role": "tool"},
    ]
    call = read({"runState": {"sessionState": {"mainAgentState": {"messageHistory": history}}}}).only
    assert (call.input_tokens, call.model) == (222, "x/y")


@pytest.mark.parametrize("kind", [{"variant": "user"}, {"variant": None}, {"variant": ["ai"]}])
def test_what_is_no_answer_is_no_call(kind: dict[str, object]) -> None:
    assert read({"usage": {"inputTokens": 5}}, **kind).calls == []


@pytest.mark.parametrize("kind", [{"variant": "agent"}, {"variant": None, "role": "assistant"}])
def test_an_answer_may_be_an_agents(kind: dict[str, object]) -> None:
    assert read({"usage": {"inputTokens": 5}}, **kind).only.input_tokens == 5


def test_credits_are_no_money() -> None:
    assert read({"usage": {"inputTokens": 5, "credits": 3}}, credits=3).only.reported_cost_usd is None
    assert read({"usage": {"credits": 3}}, credits=3).calls == []


def test_an_answer_without_a_time_has_that_of_the_chat() -> None:
    call = read({"usage": {"inputTokens": 5}}, timestamp=None).only
    assert (call.occurred_at, call.flags) == ("2026-09-01T08:00:00.000Z", ("no_cwd", "time_inherited"))


def test_an_answer_without_an_id_is_known_by_its_time() -> None:
    call = read({"usage": {"inputTokens": 5}}, id=None).only
    assert (call.event_key, call.flags) == (f"codebuff:{CHAT}:{AT}", ("no_cwd", "weak_key"))
