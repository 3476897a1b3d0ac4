"""Answers of Google's GenerateContent and Interactions APIs, of Gemini as of Vertex; pure, and without the SDK.

The prompt contains what was read from the cache, which is taken off, and neither what tools gave back to the model nor
what the model thought, which are added: total = prompt + tool use + candidates + thoughts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from tallystick.observation import Observation
from tallystick.sources.api_calls import ApiCall, event_key
from tallystick.sources.members import CountReader, items_of, part_of, text_of
from tallystick.sources.times import utc_time

PREFIX: Final = "google"
# the event of an Interactions stream that carries the whole answer
LAST_EVENTS: Final = frozenset({"interaction.completed"})

# The wire writes camelCase and the SDK snake_case; an interaction has names of its own.
_PROMPT: Final = ("prompt_token_count", "promptTokenCount", "total_input_tokens")
_CACHED: Final = ("cached_content_token_count", "cachedContentTokenCount", "total_cached_tokens")
_TOOL_USE: Final = ("tool_use_prompt_token_count", "toolUsePromptTokenCount", "total_tool_use_tokens")
_CANDIDATES: Final = (
    *("candidates_token_count", "candidatesTokenCount", "total_output_tokens"),
    *("response_token_count", "responseTokenCount"),
)
_THOUGHTS: Final = ("thoughts_token_count", "thoughtsTokenCount", "total_thought_tokens")
# What the price list calls the standard tier, and what Google calls it.
_STANDARD_TIERS: Final = frozenset({"", "on_demand", "traffic_type_unspecified", "unspecified", "standard"})
_OPEN_STATUSES: Final = frozenset({"in_progress", "queued"})


def is_answer(record: dict[str, object]) -> bool:
    names = ("usage_metadata", "usageMetadata", "candidates", "response_id", "responseId")
    return any(name in record for name in names) or _is_interaction(record)


def join_events(events: Sequence[dict[str, object]]) -> dict[str, object] | None:
    """The answer in the last event of an Interactions stream; None where the stream did not come to its end."""
    answers = [answer for event in events if (answer := part_of(event, "interaction")) is not None]
    return {"object": "interaction", **answers[-1]} if answers else None


def join_chunks(chunks: Sequence[dict[str, object]]) -> dict[str, object] | None:
    """The answer that chunks make up: of each member the last that says anything, for all figures are totals."""
    answer: dict[str, object] = {}
    finished: list[dict[str, object]] = []
    grounded: list[dict[str, object]] = []
    for chunk in chunks:
        answer |= {name: value for name, value in chunk.items() if value}
        candidates = items_of(chunk, "candidates")
        finished += [{"finish_reason": _text(candidate, "finish_reason", "finishReason")} for candidate in candidates]
        grounded = [{"grounding_metadata": part} for item in candidates if (part := _grounding(item))] or grounded
    return answer | {"candidates": finished + grounded} if answer else None


def observe(answer: dict[str, object], call: ApiCall) -> list[Observation]:
    """The observation of one answer; none where it has no usage."""
    usage = part_of(answer, "usage_metadata") or part_of(answer, "usageMetadata") or part_of(answer, "usage")
    if usage is None:
        return []
    labels = call.labels
    model = _text(answer, "model_version", "modelVersion", "model").strip()
    created_at = utc_time(_text(answer, "create_time", "createTime", "created"))
    answer_id = _text(answer, "response_id", "responseId", "id")
    key, flags = event_key(PREFIX, answer_id, weak_key=lambda: call.key_apart(PREFIX, answer_id, created_at))
    reader = CountReader()
    cached_tokens, thinking_tokens = _count(reader, usage, _CACHED), _count(reader, usage, _THOUGHTS)
    input_tokens = _count(reader, usage, _PROMPT) - cached_tokens + _count(reader, usage, _TOOL_USE)
    output_tokens = _count(reader, usage, _CANDIDATES) + thinking_tokens
    searches = _web_search_requests(answer, usage, reader, model)
    if reader.fault:
        return [Observation(source=labels.source, position=key, reject_reason=reader.fault)]
    is_final = _is_final(answer)
    flags += () if is_final else ("not_final",)
    flags += ("coerced",) if reader.is_coerced else ()
    return [
        msgspec.structs.replace(
            labels,
            event_key=key,
            occurred_at=labels.occurred_at or created_at or call.called_at,
            provider=labels.provider or PREFIX,
            model=model,
            service_tier=labels.service_tier or _service_tier(answer, usage),
            input_tokens=input_tokens,
            cache_read_tokens=cached_tokens,
            output_tokens=output_tokens,
            thinking_tokens=thinking_tokens,
            web_search_requests=searches,
            is_final=is_final,
            flags=flags,
            position=key,
        )
    ]


def _count(reader: CountReader, usage: dict[str, object], names: tuple[str, ...]) -> int:
    """The first of the names that is there; 0 where none is."""
    return next((reader.count(usage, name) for name in names if usage.get(name) is not None), 0)


def _text(answer: dict[str, object], *names: str) -> str:
    return next((text for name in names if (text := text_of(answer, name))), "")


def _grounding(candidate: dict[str, object]) -> dict[str, object]:
    return part_of(candidate, "grounding_metadata") or part_of(candidate, "groundingMetadata") or {}


def _is_interaction(record: dict[str, object]) -> bool:
    return record.get("object") == "interaction" or "total_input_tokens" in (part_of(record, "usage") or {})


def _service_tier(answer: dict[str, object], usage: dict[str, object]) -> str:
    """`flex` and `priority` as the price list calls them, '' for the standard tier, any other as it is written."""
    tier = _text(usage, "traffic_type", "trafficType", "service_tier", "serviceTier") or _text(answer, "service_tier")
    tier = tier.lower()
    return "" if tier in _STANDARD_TIERS else tier.removeprefix("on_demand_")


def _web_search_requests(answer: dict[str, object], usage: dict[str, object], reader: CountReader, model: str) -> int:
    """The searches that are billed: each query from Gemini 3 on, each grounded answer before."""
    counts = [item for item in items_of(usage, "grounding_tool_count") if item.get("type") == "google_search"]
    if counts:
        return sum(reader.count(item, "count") for item in counts)
    groundings = [_grounding(candidate) for candidate in items_of(answer, "candidates")]
    queries = [grounding.get("web_search_queries") or grounding.get("webSearchQueries") for grounding in groundings]
    made = sum(len(made) for made in queries if isinstance(made, list))
    return min(made, 1) if model.startswith(("gemini-1", "gemini-2")) else made


def _is_final(answer: dict[str, object]) -> bool:
    """Only a chunk of a stream has candidates that name no reason why they ended."""
    if _is_interaction(answer):
        return answer.get("status") not in _OPEN_STATUSES
    candidates = items_of(answer, "candidates")
    return not candidates or any(item.get("finish_reason") or item.get("finishReason") for item in candidates)
