"""Answers that OpenAI's own client made of what the Responses, Chat Completions and Embeddings APIs send."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tallystick.observation import Observation
from tallystick.sources.api_answers import read_answer
from tests.model_api import CALLED_AT, ModelApi, call, counts_of

CREATED = 1_795_370_803  # 2026-11-22 18:06:43 UTC
CREATED_AT = "2026-11-22T18:06:43.000Z"
CHAT_ID = "chatcmpl-CfKq7TzBmNcRdSfGhJkL2xYvWp"
RESPONSE_ID = "resp_0a1b2c3d4e5f60718293a4b5c6d7e8f9"
CHAT_QUESTION: dict[str, Any] = {"model": "gpt-5.6-sol", "messages": [{"role": "user", "content": "how far?"}]}
QUESTION: dict[str, Any] = {"model": "gpt-5.6-sol", "input": "how far is the moon?"}

CHAT_USAGE = {
    "prompt_tokens": 10_004,
    "completion_tokens": 704,
    "total_tokens": 10_708,
    "prompt_tokens_details": {"cached_tokens": 8000, "cache_write_tokens": 1500, "audio_tokens": 4},
    "completion_tokens_details": {"reasoning_tokens": 300, "audio_tokens": 0, "rejected_prediction_tokens": 12},
}
RESPONSE_USAGE = {
    "input_tokens": 10_004,
    "input_tokens_details": {"cached_tokens": 8000, "cache_write_tokens": 1500},
    "output_tokens": 704,
    "output_tokens_details": {"reasoning_tokens": 300},
    "total_tokens": 10_708,
}
# by hand: 10,004 - 8,000 - 1,500 = 504; reasoning is a part of the 704
COUNTS = {
    "input_tokens": 504,
    "cache_creation_5m_tokens": 1500,
    "cache_read_tokens": 8000,
    "output_tokens": 704,
    "thinking_tokens": 300,
}


def chat(**members: Any) -> dict[str, Any]:
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "384,400 km"}}
    return {
        "id": CHAT_ID,
        "object": "chat.completion",
        "created": CREATED,
        "model": "gpt-5.6-sol",
        "choices": [choice],
        "service_tier": "default",
        "usage": CHAT_USAGE,
        **members,
    }


def chat_chunks(*, with_usage: bool = True) -> list[dict[str, Any]]:
    base = {
        "id": CHAT_ID,
        "object": "chat.completion.chunk",
        "created": CREATED,
        "model": "gpt-5.6-sol",
        "service_tier": "default",
    }

    def chunk(text: str | None, finish_reason: str | None) -> dict[str, Any]:
        delta = {} if text is None else {"role": "assistant", "content": text}
        return {**base, "choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}], "usage": None}

    chunks = [chunk("384,400", None), chunk(" km", None), chunk(None, "stop")]
    return [*chunks, {**base, "choices": [], "usage": CHAT_USAGE}] if with_usage else chunks


def response(**members: Any) -> dict[str, Any]:
    text = {"type": "output_text", "text": "384,400 km", "annotations": [], "logprobs": []}
    return {
        "id": RESPONSE_ID,
        "object": "response",
        "created_at": CREATED,
        "status": "completed",
        "model": "gpt-5.6-sol",
        "output": [{"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": [text]}],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "service_tier": "default",
        "usage": RESPONSE_USAGE,
        **members,
    }


def response_events(last: str = "response.completed", **members: Any) -> list[dict[str, Any]]:
    begun = response(status="in_progress", usage=None, output=[])
    delta = {"item_id": "msg_1", "output_index": 0, "content_index": 0, "delta": "384,400 km", "logprobs": []}
    item = {"type": "message", "id": "msg_1", "role": "assistant", "status": "in_progress", "content": []}
    part = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
    events = [
        {"type": "response.created", "response": begun},
        {"type": "response.in_progress", "response": begun},
        {"type": "response.output_item.added", "output_index": 0, "item": item},
        {
            "type": "response.content_part.added",
            "item_id": "msg_1",
            "output_index": 0,
            "content_index": 0,
            "part": part,
        },
        {"type": "response.output_text.delta", **delta},
        {"type": last, "response": response(status=last.removeprefix("response."), **members)},
    ]
    return [{**event, "sequence_number": number} for number, event in enumerate(events)]


def only(observations: list[Observation] | None) -> Observation:
    assert observations is not None
    (observation,) = observations
    return observation


def test_a_chat_completion_gives_every_bucket(model_api: ModelApi) -> None:
    model_api.answers = [chat()]
    with model_api.openai() as client:
        answer = client.chat.completions.create(**CHAT_QUESTION)
    observation = only(read_answer(answer, call()))
    assert counts_of(observation) == COUNTS
    assert observation.event_key == f"openai:{CHAT_ID}"
    assert (observation.provider, observation.model, observation.service_tier) == ("openai", "gpt-5.6-sol", "default")
    assert (observation.occurred_at, observation.is_final, observation.flags) == (CREATED_AT, True, ())


def test_the_chunks_of_a_chat_make_the_same_call(model_api: ModelApi) -> None:
    model_api.answers = [chat_chunks()]
    with model_api.openai() as client:
        options = {"include_usage": True}
        with client.chat.completions.create(**CHAT_QUESTION, stream=True, stream_options=options) as stream:  # type: ignore[call-overload]
            chunks = list(stream)
    assert read_answer(chunks, call()) == read_answer(chat_chunks(), call()) == read_answer(chat(), call())


def test_the_events_of_the_chat_helper_make_the_same_call(model_api: ModelApi) -> None:
    model_api.answers = [chat_chunks()]
    with model_api.openai() as client, client.chat.completions.stream(**CHAT_QUESTION) as stream:
        events = list(stream)
        answer = stream.get_final_completion()
    assert read_answer(events, call()) == read_answer(chat(), call())
    assert counts_of(only(read_answer(answer, call()))) == COUNTS


def test_a_chat_streamed_without_asking_for_usage_gives_nothing(model_api: ModelApi) -> None:
    model_api.answers = [chat_chunks(with_usage=False)]
    with model_api.openai() as client, client.chat.completions.create(**CHAT_QUESTION, stream=True) as stream:
        assert read_answer(list(stream), call()) == []


def test_usage_on_every_chunk_is_a_total_and_a_chat_that_was_left_is_not_final() -> None:
    chunks = [
        {**chunk, "usage": {"prompt_tokens": 100, "completion_tokens": n}} for n, chunk in enumerate(chat_chunks())
    ]
    whole = only(read_answer(chunks, call()))
    assert (counts_of(whole), whole.is_final) == ({"input_tokens": 100, "output_tokens": 3}, True)
    left = only(read_answer(chunks[:2], call()))
    assert (counts_of(left), left.is_final) == ({"input_tokens": 100, "output_tokens": 1}, False)
    assert left.flags == ("not_final",)


def test_a_chunk_that_says_nothing_of_usage_takes_nothing_back() -> None:
    *begun, finish, usage = chat_chunks()
    assert read_answer([*begun, usage, finish], call()) == read_answer(chat(), call())


def test_the_first_chunk_of_azure_has_no_id() -> None:
    first = {"id": "", "object": "", "created": 0, "model": "", "choices": [], "prompt_filter_results": []}
    observation = only(read_answer([first, *chat_chunks()], call(provider="azure")))
    assert (observation.event_key, observation.occurred_at) == (f"openai:{CHAT_ID}", CREATED_AT)
    assert (observation.provider, counts_of(observation)) == ("azure", COUNTS)


def test_a_response_gives_every_bucket(model_api: ModelApi) -> None:
    model_api.answers = [response()]
    with model_api.openai() as client:
        answer = client.responses.create(**QUESTION)
    observation = only(read_answer(answer, call()))
    assert counts_of(observation) == COUNTS
    assert (observation.event_key, observation.occurred_at) == (f"openai:{RESPONSE_ID}", CREATED_AT)
    assert (observation.is_final, observation.flags) == (True, ())


def test_the_events_of_a_response_make_the_same_call(model_api: ModelApi) -> None:
    model_api.answers = [response_events(), response_events()]
    with model_api.openai() as client:
        with client.responses.create(**QUESTION, stream=True) as stream:
            raw = list(stream)
        with client.responses.stream(**QUESTION) as helper:
            events = list(helper)
            answer = helper.get_final_response()
    whole = read_answer(response(), call())
    assert read_answer(raw, call()) == read_answer(events, call()) == read_answer(answer, call()) == whole


def test_the_async_client_gives_the_same(model_api: ModelApi) -> None:
    model_api.answers = [chat(), response_events()]

    async def ask() -> tuple[Any, list[Any]]:
        async with model_api.async_openai() as client:
            answer = await client.chat.completions.create(**CHAT_QUESTION)
            async with await client.responses.create(**QUESTION, stream=True) as stream:
                return answer, [event async for event in stream]

    answer, events = asyncio.run(ask())
    assert counts_of(only(read_answer(answer, call()))) == COUNTS
    assert read_answer(events, call()) == read_answer(response(), call())


@pytest.mark.parametrize("last", ["response.incomplete", "response.failed"])
def test_a_response_that_was_cut_off_still_counts(last: str, model_api: ModelApi) -> None:
    model_api.answers = [response_events(last)]
    with model_api.openai() as client, client.responses.create(**QUESTION, stream=True) as stream:
        observation = only(read_answer(list(stream), call()))
    assert (counts_of(observation), observation.is_final) == (COUNTS, True)


def test_a_stream_of_a_response_that_was_left_tells_nothing() -> None:
    assert read_answer(response_events()[:-1], call()) == []


def test_a_response_in_the_background_is_not_there_yet() -> None:
    assert read_answer(response(status="queued", usage=None), call()) == []
    assert only(read_answer(response(status="in_progress"), call())).flags == ("not_final",)


def test_searches_are_counted_as_they_are_billed(model_api: ModelApi) -> None:
    def made(action: dict[str, Any]) -> dict[str, Any]:
        return {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": action}

    output = [
        made({"type": "search", "query": "moon"}),
        made({"type": "open_page", "url": "http://127.0.0.1/"}),
        made({"type": "search", "query": "moon distance"}),
    ]
    model_api.answers = [
        response(output=output),
        response(output=output, tool_usage={"web_search": {"num_requests": 1}, "image_gen": image_usage(0, 0)}),
    ]
    with model_api.openai() as client:
        older, newer = client.responses.create(**QUESTION), client.responses.create(**QUESTION)
    assert only(read_answer(older, call())).web_search_requests == 2
    assert only(read_answer(newer, call())).web_search_requests == 1


def image_usage(input_tokens: int, output_tokens: int) -> dict[str, Any]:
    return {
        "input_tokens": input_tokens,
        "input_tokens_details": {"image_tokens": 0, "text_tokens": input_tokens},
        "output_tokens": output_tokens,
        "total_tokens": input_tokens + output_tokens,
    }


def test_a_model_for_images_is_a_call_of_its_own(model_api: ModelApi) -> None:
    tool_usage = {"web_search": {"num_requests": 0}, "image_gen": image_usage(50, 4160)}
    tools = [{"type": "image_generation", "model": "gpt-image-2"}]
    model_api.answers = [response(tool_usage=tool_usage, tools=tools)]
    with model_api.openai() as client:
        observations = read_answer(client.responses.create(**QUESTION), call())
    assert observations is not None
    text, image = observations
    assert counts_of(text) == COUNTS
    assert (image.event_key, image.model) == (f"openai:{RESPONSE_ID}:image_gen", "gpt-image-2")
    assert counts_of(image) == {"input_tokens": 50, "output_tokens": 4160}


def test_writes_that_live_half_a_day_are_the_long_ones(model_api: ModelApi) -> None:
    written = {"ttl_30m_tokens": 500, "ttl_12h_tokens": 1000}
    details = {"cached_tokens": 8000, "cache_write_tokens": 1500, "cache_write_tokens_details": written}
    model_api.answers = [response(usage={**RESPONSE_USAGE, "input_tokens_details": details})]
    with model_api.openai() as client:
        observation = only(read_answer(client.responses.create(**QUESTION), call()))
    assert (observation.cache_creation_5m_tokens, observation.cache_creation_1h_tokens) == (500, 1000)


def test_embeddings_count_as_input_under_a_weak_key(model_api: ModelApi) -> None:
    model_api.answers = [
        {
            "object": "list",
            "model": "text-embedding-3-small",
            "data": [{"object": "embedding", "index": 0, "embedding": [0.5]}],
            "usage": {"prompt_tokens": 8, "total_tokens": 8},
        }
    ]
    with model_api.openai() as client:
        answer = client.embeddings.create(model="text-embedding-3-small", input="moon", encoding_format="float")
    observation = only(read_answer(answer, call()))
    assert (counts_of(observation), observation.provider) == ({"input_tokens": 8}, "openai")
    assert (observation.event_key, observation.flags) == ("api:made-once", ("weak_key",))


def test_thoughts_that_the_completion_leaves_out_are_output() -> None:
    usage = {
        "prompt_tokens": 32,
        "completion_tokens": 9,
        "total_tokens": 135,
        "completion_tokens_details": {"reasoning_tokens": 94},
    }
    observation = only(read_answer(chat(model="grok-4", usage=usage), call(provider="x-ai")))
    # by hand: 135 - 32 = 103 = 9 + 94
    assert counts_of(observation) == {"input_tokens": 32, "output_tokens": 103, "thinking_tokens": 94}
    assert observation.flags == ("output_from_total",)


def test_more_cached_than_sent_stays_below_zero_for_the_ledger_to_reject() -> None:
    usage = {**CHAT_USAGE, "prompt_tokens": 100}
    assert only(read_answer(chat(usage=usage), call())).input_tokens == 100 - 8000 - 1500


def test_a_line_of_a_batch_is_priced_as_one() -> None:
    line = {
        "id": "batch_req_1",
        "custom_id": "mine",
        "response": {"status_code": 200, "request_id": "r", "body": chat(service_tier=None)},
        "error": None,
    }
    observation = only(read_answer(line, call()))
    assert (observation.event_key, observation.service_tier) == (f"openai:{CHAT_ID}", "batch")


@pytest.mark.parametrize(
    ("model", "provider"),
    [
        ("gpt-5.6", "openai"),
        ("o4-mini", "openai"),
        ("ft:gpt-4o:acme::x", "openai"),
        ("llama3.3", ""),
        ("openai/o3", ""),
    ],
)
def test_a_model_of_another_maker_is_not_said_to_be_openais(model: str, provider: str) -> None:
    assert only(read_answer(chat(model=model), call())).provider == provider


def test_ids_that_come_round_again_count_together_with_their_time() -> None:
    first = only(read_answer(chat(id="chatcmpl-373"), call()))
    assert (first.event_key, first.flags) == (f"openai:chatcmpl-373:{CREATED}", ("weak_key",))
    assert only(read_answer(chat(id="chatcmpl-373", created=CREATED + 60), call())).event_key != first.event_key


def test_a_very_long_id_is_kept_as_its_digest() -> None:
    observation = only(read_answer(response(id="resp_" + "x" * 500), call()))
    assert observation.event_key.startswith("openai:sha256:")
    assert (len(observation.event_key), observation.flags) == (len("openai:sha256:") + 64, ())


@pytest.mark.parametrize("created", [0, None, CREATED * 1000, "2026", True])
def test_a_time_that_is_none_is_that_of_the_call(created: object) -> None:
    assert only(read_answer(chat(created=created), call())).occurred_at == CALLED_AT
    assert only(read_answer(chat(), call(occurred_at=CALLED_AT))).occurred_at == CALLED_AT


def test_a_refused_request_gives_nothing() -> None:
    assert read_answer({"error": {"message": "no", "type": "invalid_request_error"}}, call()) == []
