"""Answers of Anthropic's Messages API, also as Bedrock, Vertex and Azure give them; pure, and without the SDK.

What the members of `usage` mean is the same in Claude Code's transcripts, so that it stands there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final

import msgspec

from tallystick.observation import Observation
from tallystick.sources.api_calls import ApiCall, event_key
from tallystick.sources.claude_code_calls import cache_writes, observe_iterations, provider_of, thinking_tokens
from tallystick.sources.claude_code_lines import Usage, mend_line
from tallystick.sources.members import part_of, text_of

PREFIX: Final = "anthropic"
# the events of a stream that tell something about usage
USAGE_EVENTS: Final = frozenset({"message_start", "message_delta"})


def is_answer(record: dict[str, object]) -> bool:
    return record.get("type") == "message"


def join_events(events: Sequence[dict[str, object]]) -> dict[str, object] | None:
    """The answer that the events of a stream make up, as far as it came; None without its first event.

    The figures of a message_delta are totals, so that they replace; what it leaves out keeps the value it had.
    """
    starts = [message for event in events if (message := part_of(event, "message")) is not None]
    if not starts:
        return None
    answer: dict[str, object] = {"type": "message", **starts[0]}
    usage = dict(part_of(answer, "usage") or {})
    for event in events:
        if event.get("type") != "message_delta":
            continue
        usage |= {name: value for name, value in (part_of(event, "usage") or {}).items() if value is not None}
        answer["stop_reason"] = (part_of(event, "delta") or {}).get("stop_reason") or answer.get("stop_reason")
    return answer | {"usage": usage}


def observe(answer: dict[str, object], call: ApiCall) -> list[Observation]:
    """The observations of one answer: the call, and what its top level leaves out. None of an answer without usage."""
    if part_of(answer, "usage") is None:
        return []
    mended = mend_line({"message": answer})
    message, labels = mended.line.message, call.labels
    assert message is not None
    assert message.usage is not None
    usage, model = message.usage, (message.model or "").strip()
    answer_id = text_of(answer, "id") or ""
    key, flags = event_key(
        PREFIX, answer_id, weak_key=lambda: call.key_apart(PREFIX, answer_id, _digest_of(model, usage))
    )
    if mended.fault:
        return [Observation(source=labels.source, position=key, reject_reason=mended.fault)]
    output_tokens = usage.output_tokens or 0
    write_5m_tokens, write_1h_tokens = cache_writes(usage.cache_creation_input_tokens or 0, usage.cache_creation)
    flags += ("not_final",) if message.stop_reason is None else ()
    flags += ("coerced",) if mended.is_coerced else ()
    observation = msgspec.structs.replace(
        labels,
        event_key=key,
        occurred_at=labels.occurred_at or call.called_at,
        provider=labels.provider or provider_of(model) or PREFIX,
        model=model,
        service_tier=labels.service_tier or usage.service_tier or "",
        speed=usage.speed or "",
        inference_geo="" if usage.inference_geo == "not_available" else usage.inference_geo or "",
        input_tokens=usage.input_tokens or 0,
        cache_creation_5m_tokens=write_5m_tokens,
        cache_creation_1h_tokens=write_1h_tokens,
        cache_read_tokens=usage.cache_read_input_tokens or 0,
        output_tokens=output_tokens,
        thinking_tokens=thinking_tokens(usage, output_tokens),
        web_search_requests=0 if usage.server_tool_use is None else usage.server_tool_use.web_search_requests or 0,
        is_final=message.stop_reason is not None,
        flags=flags,
        position=key,
    )
    parts = observe_iterations(usage.iterations or [], observation, mended.iteration_faults)
    # who served the call served its parts; without the caller's word a part's model tells, as the call's does
    return [
        observation,
        *(
            part if part.reject_reason else msgspec.structs.replace(part, provider=observation.provider)
            for part in parts
        ),
    ]


def _digest_of(model: str, usage: Usage) -> str:
    """What tells two answers apart that have a server's mere counter for an id: such answers have no time."""
    return hashlib.sha256(msgspec.json.encode([model, usage], order="deterministic")).hexdigest()[:16]
