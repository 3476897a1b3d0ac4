"""Answers that Anthropic's own client made of what the Messages API sends."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pydantic import field_serializer

from tallystick.observation import Observation
from tallystick.sources.api_answers import read_answer
from tallystick.sources.api_calls import event_key
from tests.model_api import CALLED_AT, ModelApi, call, counts_of

MESSAGE_ID = "msg_01Hx5vKq7TzBmNcRdSfGhJkL"
KEY = f"anthropic:{MESSAGE_ID}"
QUESTION: dict[str, Any] = {
    "model": "claude-opus-4-8",
    "max_tokens": 1000,
    "messages": [{"role": "user", "content": "how far is the moon?"}],
}
USAGE = {
    "input_tokens": 11,
    "cache_creation_input_tokens": 1000,
    "cache_creation": {"ephemeral_5m_input_tokens": 400, "ephemeral_1h_input_tokens": 600},
    "cache_read_input_tokens": 20_001,
    "output_tokens": 501,
    "output_tokens_details": {"thinking_tokens": 320},
    "server_tool_use": {"web_search_requests": 3, "web_fetch_requests": 5},
    "service_tier": "standard",
    "inference_geo": "us",
}
# by hand: all buckets are disjoint as they come, thinking is a part of the 501, and fetches cost nothing
COUNTS = {
    "input_tokens": 11,
    "cache_creation_5m_tokens": 400,
    "cache_creation_1h_tokens": 600,
    "cache_read_tokens": 20_001,
    "output_tokens": 501,
    "thinking_tokens": 320,
    "web_search_requests": 3,
}


def message(**members: Any) -> dict[str, Any]:
    return {
        "id": MESSAGE_ID,
        "type": "message",
        "role": "assistant",
        "model": "claude-opus-4-8-20260416",
        "content": [{"type": "text", "text": "384,400 km"}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": USAGE,
        **members,
    }


def stream_of(*deltas: dict[str, Any]) -> list[dict[str, Any]]:
    """The events of a stream: the output is a placeholder at first, and every figure of a delta is a total."""
    start = {**USAGE, "output_tokens": 2, "output_tokens_details": None, "server_tool_use": None}
    return [
        {"type": "message_start", "message": message(content=[], stop_reason=None, usage=start)},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "ping"},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "384,400 km"}},
        {"type": "content_block_stop", "index": 0},
        *deltas,
        {"type": "message_stop"},
    ]


def delta(stop_reason: str | None, **usage: Any) -> dict[str, Any]:
    return {"type": "message_delta", "delta": {"stop_reason": stop_reason, "stop_sequence": None}, "usage": usage}


LAST_DELTA = delta(
    "end_turn",
    output_tokens=501,
    output_tokens_details={"thinking_tokens": 320},
    server_tool_use={"web_search_requests": 3, "web_fetch_requests": 5},
)


def only(observations: list[Observation] | None) -> Observation:
    assert observations is not None
    (observation,) = observations
    return observation


def test_a_message_gives_every_bucket(model_api: ModelApi) -> None:
    model_api.answers = [message()]
    with model_api.anthropic() as client:
        answer = client.messages.create(**QUESTION)
    observation = only(read_answer(answer, call()))
    assert counts_of(observation) == COUNTS
    assert (observation.event_key, observation.position) == (KEY, KEY)
    assert (observation.provider, observation.model) == ("anthropic", "claude-opus-4-8-20260416")
    assert (observation.service_tier, observation.speed, observation.inference_geo) == ("standard", "", "us")
    assert (observation.occurred_at, observation.is_final, observation.flags) == (CALLED_AT, True, ())


def test_a_dict_of_a_message_is_the_same(model_api: ModelApi) -> None:
    model_api.answers = [message()]
    with model_api.anthropic() as client:
        answer = client.messages.create(**QUESTION)
    assert read_answer(answer.to_dict(), call()) == read_answer(answer, call()) == read_answer(message(), call())


def test_an_answer_is_not_asked_for_what_was_said() -> None:
    from anthropic.types import Message

    class Secretive(Message):
        @field_serializer("content")
        def refuse(self, content: object) -> object:
            raise AssertionError(f"asked for {content}")

    assert read_answer(Secretive.model_validate(message()), call()) == read_answer(message(), call())


def test_raw_events_make_the_same_call_as_the_whole_message(model_api: ModelApi) -> None:
    model_api.answers = [stream_of(LAST_DELTA)]
    with model_api.anthropic() as client, client.messages.create(**QUESTION, stream=True) as stream:
        events = list(stream)
    assert read_answer(events, call()) == read_answer(message(), call())


def test_the_events_and_the_message_of_a_stream_helper_make_the_same_call(model_api: ModelApi) -> None:
    model_api.answers = [stream_of(LAST_DELTA)]
    with model_api.anthropic() as client, client.messages.stream(**QUESTION) as stream:
        events = tuple(stream)
        answer = stream.get_final_message()
    assert read_answer(answer, call()) == read_answer(events, call()) == read_answer(message(), call())


def test_the_async_client_gives_the_same(model_api: ModelApi) -> None:
    model_api.answers = [message(), stream_of(LAST_DELTA)]

    async def ask() -> tuple[Any, list[Any]]:
        async with model_api.async_anthropic() as client:
            answer = await client.messages.create(**QUESTION)
            async with await client.messages.create(**QUESTION, stream=True) as stream:
                return answer, [event async for event in stream]

    answer, events = asyncio.run(ask())
    assert read_answer(answer, call()) == read_answer(events, call()) == read_answer(message(), call())


def test_totals_of_several_deltas_are_not_added() -> None:
    first = delta(None, output_tokens=200, cache_read_input_tokens=20_001)
    events = stream_of(first, LAST_DELTA)
    assert counts_of(only(read_answer(events, call()))) == COUNTS


def test_a_delta_that_says_more_of_the_input_is_believed() -> None:
    last = delta("end_turn", output_tokens=9, input_tokens=5000, cache_creation_input_tokens=1500)
    observation = only(read_answer(stream_of(last), call()))
    # the 500 that the split of the first event does not explain live 5 minutes
    assert (observation.input_tokens, observation.cache_creation_5m_tokens) == (5000, 900)
    assert (observation.cache_creation_1h_tokens, observation.output_tokens) == (600, 9)


def test_a_stream_that_was_left_is_not_final() -> None:
    events = stream_of(LAST_DELTA)[:4]
    observation = only(read_answer(events, call()))
    assert (observation.is_final, observation.flags) == (False, ("not_final",))
    assert (observation.input_tokens, observation.output_tokens) == (11, 2)


def test_an_advisor_and_a_compaction_are_calls_of_their_own(model_api: ModelApi) -> None:
    step = {"cache_creation_input_tokens": 0, "cache_read_input_tokens": 0}
    iterations = [
        {"type": "message", "input_tokens": 11, "output_tokens": 501, **step},
        {"type": "advisor_message", "model": "claude-opus-5", "input_tokens": 70, "output_tokens": 30, **step},
        {"type": "compaction", "input_tokens": 5000, "output_tokens": 50, **step},
    ]
    model_api.answers = [message(usage={**USAGE, "iterations": iterations, "speed": "fast"})]
    with model_api.anthropic() as client:
        answer = client.beta.messages.create(**QUESTION)
    observations = read_answer(answer, call(provider="aws"))
    assert observations is not None
    assert [(o.event_key, o.model, o.input_tokens, o.output_tokens, o.speed) for o in observations] == [
        (KEY, "claude-opus-4-8-20260416", 11, 501, "fast"),
        (f"{KEY}:advisor:1", "claude-opus-5", 70, 30, ""),
        (f"{KEY}:compaction:2", "claude-opus-4-8-20260416", 5000, 50, "fast"),
    ]
    assert {observation.provider for observation in observations} == {"aws"}


@pytest.mark.parametrize(
    ("model", "provider"),
    [
        ("claude-opus-4-8", "anthropic"),
        ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", "aws"),
        ("claude-sonnet-4-5@20250929", "google"),
        ("a-model-of-somebody", "anthropic"),
    ],
)
def test_the_name_of_the_model_tells_who_serves_it(model: str, provider: str) -> None:
    assert only(read_answer(message(model=model), call())).provider == provider
    assert only(read_answer(message(model=model), call(provider="azure"))).provider == "azure"


def test_a_result_of_a_batch_is_priced_as_one() -> None:
    from anthropic.types.messages import MessageBatchIndividualResponse

    result = {"custom_id": "mine", "result": {"type": "succeeded", "message": message()}}
    assert only(read_answer(result, call())).service_tier == "batch"
    observation = only(read_answer(MessageBatchIndividualResponse.model_validate(result), call()))
    assert (observation.service_tier, observation.event_key) == ("batch", KEY)
    failed = {"custom_id": "mine", "result": {"type": "errored", "error": {"type": "error", "error": {}}}}
    assert read_answer(failed, call()) == []


def test_what_the_caller_says_is_kept() -> None:
    labels = {
        "session_id": "s",
        "project": "p",
        "device": "d",
        "agent_version": "1.2",
        "git_branch": "b",
        "request_id": "r",
        "source": "my-app",
        "occurred_at": "2026-01-02T03:04:05.000Z",
    }
    observation = only(read_answer(message(), call(**labels)))
    assert {name: getattr(observation, name) for name in labels} == labels


@pytest.mark.parametrize(
    "answer",
    [
        {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}},
        {"type": "message", "id": MESSAGE_ID, "usage": None},
    ],
)
def test_an_answer_without_usage_gives_nothing(answer: dict[str, Any]) -> None:
    assert read_answer(answer, call()) == []


def test_a_count_that_is_none_rejects_the_answer() -> None:
    observation = only(read_answer(message(usage={**USAGE, "output_tokens": 1.5}), call()))
    assert (observation.reject_reason, observation.position) == ("not_an_integer", KEY)
    assert only(read_answer(message(usage={**USAGE, "output_tokens": 501.0}), call())).flags == ("coerced",)


@pytest.mark.parametrize("answer_id", ["", None])
def test_an_answer_without_an_id_gets_a_weak_key(answer_id: str | None) -> None:
    observation = only(read_answer(message(id=answer_id), call()))
    assert (observation.event_key, observation.flags) == ("api:made-once", ("weak_key",))


@pytest.mark.parametrize("message_id", ["m1", "msg_1", "7", "chat-0001-résumé"])
def test_an_id_of_any_look_is_the_key(message_id: str) -> None:
    first, again = (read_answer(message(id=message_id), call(weak_key=key)) for key in ("api:one", "api:two"))
    assert first == again
    assert first is not None
    assert [f"{observation.event_key}:".startswith(f"anthropic:{message_id}:") for observation in first] == [True]


def test_what_tells_short_ids_apart_is_worked_out_for_no_other() -> None:
    asked: list[str] = []
    assert event_key("anthropic", MESSAGE_ID, weak_key=lambda: asked.append("in vain") or "") == (KEY, ())
    assert asked == []
    assert event_key("anthropic", "msg_1", weak_key=lambda: "apart") == ("apart", ("weak_key",))


def test_two_answers_with_one_short_id_are_two_calls() -> None:
    answers = [message(id="msg_1"), message(id="msg_1", usage={"input_tokens": 10, "output_tokens": 21})]
    (first,), (second,) = (read_answer(answer, call()) or [] for answer in answers)
    assert first.event_key != second.event_key
