"""Answers that Google's own client made of what the GenerateContent and Interactions APIs send."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tallystick.observation import Observation
from tallystick.sources.api_answers import read_answer
from tests.model_api import CALLED_AT, ModelApi, call, counts_of

RESPONSE_ID = "mAitaLmkHPPlz7IPvtfUqQ4"
MODEL = "gemini-3.5-flash"
USAGE = {
    "promptTokenCount": 10_001,
    "cachedContentTokenCount": 8001,
    "candidatesTokenCount": 51,
    "thoughtsTokenCount": 300,
    "toolUsePromptTokenCount": 7,
    "totalTokenCount": 10_359,
}
# by hand: 10,001 - 8,001 + 7 = 2,007; 51 + 300 = 351; all of it 2,007 + 8,001 + 351 = 10,359
COUNTS = {"input_tokens": 2007, "cache_read_tokens": 8001, "output_tokens": 351, "thinking_tokens": 300}


def answer(**members: Any) -> dict[str, Any]:
    return {
        "candidates": [candidate("384,400 km", "STOP")],
        "usageMetadata": USAGE,
        "modelVersion": MODEL,
        "responseId": RESPONSE_ID,
        **members,
    }


def candidate(text: str, finish_reason: str | None = None, **members: Any) -> dict[str, Any]:
    reason = {} if finish_reason is None else {"finishReason": finish_reason}
    return {"content": {"role": "model", "parts": [{"text": text}]}, "index": 0, **reason, **members}


def chunks() -> list[dict[str, Any]]:
    """Every chunk has the totals so far; only the last one says why it ended."""
    begun = {"promptTokenCount": 10_001, "cachedContentTokenCount": 8001, "totalTokenCount": 10_001}
    more = {**begun, "candidatesTokenCount": 20, "thoughtsTokenCount": 300, "totalTokenCount": 10_321}
    return [
        answer(candidates=[candidate("384")], usageMetadata=begun),
        answer(candidates=[candidate(",400")], usageMetadata=more),
        answer(candidates=[candidate(" km", "STOP")]),
    ]


def grounded(*queries: str) -> dict[str, Any]:
    return candidate("384,400 km", "STOP", groundingMetadata={"webSearchQueries": list(queries)})


def generated(**members: Any) -> Any:
    """The answer as the client's own class."""
    from google.genai import types

    return types.GenerateContentResponse.model_validate(answer(**members))


def only(observations: list[Observation] | None) -> Observation:
    assert observations is not None
    (observation,) = observations
    return observation


def ask(model_api: ModelApi, **members: Any) -> Any:
    model_api.answers = [answer(**members)]
    with model_api.google() as client:
        return client.models.generate_content(model=MODEL, contents="how far is the moon?")


def test_an_answer_gives_every_bucket(model_api: ModelApi) -> None:
    observation = only(read_answer(ask(model_api), call()))
    assert counts_of(observation) == COUNTS
    assert (observation.event_key, observation.provider) == (f"google:{RESPONSE_ID}", "google")
    assert (observation.model, observation.service_tier) == (MODEL, "")
    assert (observation.occurred_at, observation.is_final, observation.flags) == (CALLED_AT, True, ())


def test_the_wire_and_either_dump_of_the_object_are_the_same(model_api: ModelApi) -> None:
    made = ask(model_api)
    whole = read_answer(made, call())
    assert read_answer(answer(), call()) == whole
    assert read_answer(made.model_dump(mode="json"), call()) == whole
    assert read_answer(made.model_dump(mode="json", by_alias=True), call()) == whole


def test_the_chunks_of_a_stream_make_the_same_call(model_api: ModelApi) -> None:
    model_api.answers = [chunks()]
    with model_api.google() as client:
        streamed = list(client.models.generate_content_stream(model=MODEL, contents="how far?"))
    whole = read_answer(answer(), call())
    assert read_answer(streamed, call()) == read_answer(chunks(), call()) == whole


def test_the_async_client_gives_the_same(model_api: ModelApi) -> None:
    model_api.answers = [answer(), chunks()]

    async def ask_twice() -> tuple[Any, list[Any]]:
        async with model_api.google().aio as client:
            made = await client.models.generate_content(model=MODEL, contents="how far?")
            stream = await client.models.generate_content_stream(model=MODEL, contents="how far?")
            return made, [chunk async for chunk in stream]

    made, streamed = asyncio.run(ask_twice())
    assert read_answer(made, call()) == read_answer(streamed, call()) == read_answer(answer(), call())


def test_a_stream_that_was_left_has_what_its_last_chunk_knew() -> None:
    observation = only(read_answer(chunks()[:2], call()))
    assert (observation.is_final, observation.flags) == (False, ("not_final",))
    assert (observation.input_tokens, observation.output_tokens) == (2000, 320)


def test_a_stream_in_which_the_client_answers_a_function_call_is_two_calls() -> None:
    second = answer(
        responseId="nBjubMnlIQQma8JQwugVrR5", usageMetadata={"promptTokenCount": 50, "candidatesTokenCount": 5}
    )
    observations = read_answer([*chunks(), second], call())
    assert observations is not None
    assert [(o.event_key, o.output_tokens) for o in observations] == [
        (f"google:{RESPONSE_ID}", 351),
        ("google:nBjubMnlIQQma8JQwugVrR5", 5),
    ]


def test_every_query_is_billed_from_gemini_3_on_and_every_grounded_answer_before(model_api: ModelApi) -> None:
    made = ask(model_api, candidates=[grounded("moon", "moon distance")])
    assert only(read_answer(made, call())).web_search_requests == 2
    made = ask(model_api, candidates=[grounded("moon", "moon distance")], modelVersion="gemini-2.5-flash")
    assert only(read_answer(made, call())).web_search_requests == 1
    streamed = [*chunks()[:2], answer(candidates=[grounded("moon", "moon distance")])]
    assert only(read_answer(streamed, call())).web_search_requests == 2


@pytest.mark.parametrize(
    ("traffic_type", "service_tier"),
    [
        ("ON_DEMAND", ""),
        ("ON_DEMAND_FLEX", "flex"),
        ("ON_DEMAND_PRIORITY", "priority"),
        ("PROVISIONED_THROUGHPUT", "provisioned_throughput"),
    ],
)
def test_the_traffic_type_of_vertex_is_the_service_tier(traffic_type: str, service_tier: str) -> None:
    made = generated(usageMetadata={**USAGE, "trafficType": traffic_type})
    assert only(read_answer(made, call())).service_tier == service_tier


def test_the_time_of_vertex_is_taken() -> None:
    made = generated(createTime="2026-11-22T10:11:12.131415Z")
    assert only(read_answer(made, call())).occurred_at == "2026-11-22T10:11:12.131415Z"


def test_a_prompt_that_was_blocked_was_read(model_api: ModelApi) -> None:
    blocked = ask(
        model_api,
        candidates=[],
        promptFeedback={"blockReason": "SAFETY"},
        usageMetadata={"promptTokenCount": 40, "totalTokenCount": 40},
    )
    observation = only(read_answer(blocked, call()))
    assert (counts_of(observation), observation.is_final) == ({"input_tokens": 40}, True)


def test_a_result_of_a_batch_is_priced_as_one() -> None:
    from google.genai import types

    result = types.InlinedResponse.model_validate({"response": answer()})
    observation = only(read_answer(result, call()))
    assert (observation.service_tier, counts_of(observation)) == ("batch", COUNTS)
    line = {"key": "mine", "response": answer()}
    assert only(read_answer(line, call())) == observation


INTERACTION = {
    "id": "v1_ChdtQWl0YUxta0hQUGx6N0lQdnRmVXFRNA",
    "object": "interaction",
    "status": "completed",
    "model": MODEL,
    "created": "2026-11-22T10:11:12Z",
    "usage": {
        "total_input_tokens": 10_001,
        "total_cached_tokens": 8001,
        "total_output_tokens": 51,
        "total_thought_tokens": 300,
        "total_tool_use_tokens": 7,
        "total_tokens": 10_359,
        "grounding_tool_count": [{"type": "google_search", "count": 2}, {"type": "google_maps", "count": 4}],
    },
}


def test_an_interaction_gives_every_bucket(model_api: ModelApi) -> None:
    model_api.answers = [INTERACTION]
    with model_api.google() as client:
        made = client.interactions.create(model=MODEL, input="how far is the moon?")
    observation = only(read_answer(made, call()))
    assert counts_of(observation) == {**COUNTS, "web_search_requests": 2}
    assert (observation.event_key, observation.model) == (f"google:{INTERACTION['id']}", MODEL)
    assert (observation.occurred_at, observation.flags) == ("2026-11-22T10:11:12.000Z", ())


def test_the_events_of_an_interaction_make_the_same_call(model_api: ModelApi) -> None:
    begun = {name: value for name, value in INTERACTION.items() if name != "usage"} | {"status": "in_progress"}
    events = [
        {"event_type": "interaction.created", "interaction": begun},
        {"event_type": "interaction.completed", "interaction": INTERACTION},
    ]
    model_api.answers = [events]
    with model_api.google() as client:
        streamed = list(client.interactions.create(model=MODEL, input="how far?", stream=True))
    assert read_answer(streamed, call()) == read_answer(INTERACTION, call())


def test_an_answer_without_usage_gives_nothing() -> None:
    assert read_answer(answer(usageMetadata=None), call()) == []
    assert read_answer({"error": {"code": 429, "status": "RESOURCE_EXHAUSTED"}}, call()) == []


def test_a_count_that_is_none_rejects_the_answer() -> None:
    observation = only(read_answer(answer(usageMetadata={**USAGE, "thoughtsTokenCount": "many"}), call()))
    assert (observation.reject_reason, observation.position) == ("not_an_integer", f"google:{RESPONSE_ID}")
