"""Answers of OpenAI's Responses, Chat Completions and Embeddings APIs, and of whoever speaks like them; pure.

Their input contains what was read from the cache and what was written to it, so that both are taken off. A difference
below zero stays below zero: the ledger rejects it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import msgspec

from tallystick.observation import Observation
from tallystick.sources.api_calls import ApiCall, event_key, time_of_seconds
from tallystick.sources.members import CountReader, items_of, part_of, text_of

PREFIX: Final = "openai"
# the events of a Responses stream that carry the whole answer
LAST_EVENTS: Final = frozenset({"response.completed", "response.incomplete", "response.failed"})

_OBJECTS: Final = frozenset({"response", "chat.completion", "chat.completion.chunk", "text_completion", "list"})
_LAST_STATUSES: Final = frozenset({"completed", "incomplete", "failed", "cancelled"})
# whose the other models are that answer in this format, nobody can tell from the answer
_is_openai_model = re.compile(r"(?:ft:)?(?:gpt-|o\d|chatgpt-|codex-|text-embedding-|computer-use-).*").fullmatch


def is_answer(record: dict[str, object]) -> bool:
    return record.get("object") in _OBJECTS or "choices" in record


def join_events(events: Sequence[dict[str, object]]) -> dict[str, object] | None:
    """The answer in the last event of a Responses stream; None where the stream did not come to its end."""
    answers = [answer for event in events if (answer := part_of(event, "response")) is not None]
    return answers[-1] if answers else None


def join_chunks(chunks: Sequence[dict[str, object]]) -> dict[str, object] | None:
    """The answer that the chunks of a Chat Completions stream make up: of each member the last that says anything."""
    answer: dict[str, object] = {}
    choices: list[dict[str, object]] = []
    for chunk in chunks:
        answer |= {name: value for name, value in chunk.items() if value}
        choices += items_of(chunk, "choices")
    return answer | {"choices": choices} if answer else None


def observe(answer: dict[str, object], call: ApiCall) -> list[Observation]:
    """The observations of one answer: the model's, and that of a model for images that it called."""
    usage = part_of(answer, "usage")
    if usage is None:
        return []
    labels, model = call.labels, (text_of(answer, "model") or "").strip()
    created = answer.get("created_at", answer.get("created"))
    created_at = time_of_seconds(created)
    answer_id = text_of(answer, "id") or ""
    key, flags = event_key(
        PREFIX, answer_id, weak_key=lambda: call.key_apart(PREFIX, answer_id, str(created) if created_at else "")
    )
    reader = CountReader()
    counts = _counts(usage, reader)
    searches = _web_search_requests(answer, reader)
    if reader.fault:
        return [Observation(source=labels.source, position=key, reject_reason=reader.fault)]
    is_final = _is_final(answer)
    flags += () if is_final else ("not_final",)
    flags += ("coerced",) if reader.is_coerced else ()
    flags += ("output_from_total",) if counts["output_tokens"] > counts.pop("completion_tokens") else ()
    observation = msgspec.structs.replace(
        labels,
        event_key=key,
        occurred_at=labels.occurred_at or created_at or call.called_at,
        provider=labels.provider or (PREFIX if _is_openai_model(model) else ""),
        model=model,
        service_tier=labels.service_tier or text_of(answer, "service_tier") or "",
        web_search_requests=searches,
        is_final=is_final,
        flags=flags,
        position=key,
        **counts,
    )
    return [observation, *_observe_images(answer, observation)]


def _counts(usage: dict[str, object], reader: CountReader) -> dict[str, int]:
    """The buckets, and `completion_tokens` as the answer gives them.

    Where the total is more than prompt and completion, the completion leaves out what was thought (xAI's models, and
    Gemini behind several gateways): all of it was output.
    """
    sent, received = ("input", "output") if "input_tokens" in usage else ("prompt", "completion")
    sent_details = part_of(usage, f"{sent}_tokens_details") or {}
    received_details = part_of(usage, f"{received}_tokens_details") or {}
    prompt_tokens = reader.count(usage, f"{sent}_tokens")
    completion_tokens = reader.count(usage, f"{received}_tokens")
    cached_tokens = reader.count(sent_details, "cached_tokens")
    written_tokens = reader.count(sent_details, "cache_write_tokens")
    long_written_tokens = reader.count(part_of(sent_details, "cache_write_tokens_details") or {}, "ttl_12h_tokens")
    output_tokens = max(completion_tokens, reader.count(usage, "total_tokens") - prompt_tokens)
    return {
        "input_tokens": prompt_tokens - cached_tokens - written_tokens,
        "cache_creation_5m_tokens": written_tokens - long_written_tokens,
        "cache_creation_1h_tokens": long_written_tokens,
        "cache_read_tokens": cached_tokens,
        "output_tokens": output_tokens if completion_tokens >= 0 else completion_tokens,
        "thinking_tokens": min(reader.count(received_details, "reasoning_tokens"), max(output_tokens, 0)),
        "completion_tokens": completion_tokens,
    }


def _web_search_requests(answer: dict[str, object], reader: CountReader) -> int:
    """The searches that are billed; an older answer says only which ones were made. Opening a page is no search."""
    billed = part_of(part_of(answer, "tool_usage") or {}, "web_search")
    if billed is not None:
        return reader.count(billed, "num_requests")
    calls = [item for item in items_of(answer, "output") if item.get("type") == "web_search_call"]
    return sum((part_of(made, "action") or {}).get("type", "search") == "search" for made in calls)


def _observe_images(answer: dict[str, object], observation: Observation) -> list[Observation]:
    """What the tool for images used: another model's call, and not in the answer's own figures."""
    usage = part_of(part_of(answer, "tool_usage") or {}, "image_gen")
    if usage is None:
        return []
    reader = CountReader()
    prompt_tokens = reader.count(usage, "input_tokens")
    cached_tokens = reader.count(usage, "cached_tokens")
    output_tokens = reader.count(usage, "output_tokens")
    key = f"{observation.event_key}:image_gen"
    if reader.fault:
        return [Observation(source=observation.source, position=key, reject_reason=reader.fault)]
    if not prompt_tokens and not output_tokens:
        return []
    models = [text_of(tool, "model") for tool in items_of(answer, "tools") if tool.get("type") == "image_generation"]
    return [
        msgspec.structs.replace(
            observation,
            event_key=key,
            model=(models[0] if models else None) or "",
            input_tokens=prompt_tokens - cached_tokens,
            cache_creation_5m_tokens=0,
            cache_creation_1h_tokens=0,
            cache_read_tokens=cached_tokens,
            output_tokens=output_tokens,
            thinking_tokens=0,
            web_search_requests=0,
            position=key,
        )
    ]


def _is_final(answer: dict[str, object]) -> bool:
    if answer.get("object") == "response":
        return answer.get("status", "completed") in _LAST_STATUSES
    choices = items_of(answer, "choices")
    return not choices or any(choice.get("finish_reason") for choice in choices)
