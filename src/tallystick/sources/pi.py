"""Sessions of pi, and of the agents that write them as pi does: a header line, then messages; pure.

Input, cache reads and cache writes are disjoint already, and the output contains what was thought.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

import msgspec

from tallystick.observation import Observation
from tallystick.sources.api_calls import event_key
from tallystick.sources.call_lines import CallState, count_other, fingerprint, read_lines, settle, stem_of
from tallystick.sources.calls import cost_of
from tallystick.sources.formats import Parsed
from tallystick.sources.json_walk import is_whole_record
from tallystick.sources.members import CountReader, part_of, text_of
from tallystick.sources.times import time_of_number, utc_time

__all__ = ["KNOWN_LINE_TYPES", "SOURCE", "ParserState", "is_whole_record", "new_state", "parse"]

SOURCE: Final = "pi"
KNOWN_LINE_TYPES: Final = frozenset(
    {
        *("branch_summary", "compaction", "custom", "custom_message", "label", "message", "model_change", "session"),
        *("session_info", "thinking_level_change"),
    }
)

# Whose id a response has tells the API that was spoken; where that is not known, the provider does.
_PREFIXES_BY_API: Final = {
    "anthropic-messages": "anthropic",
    "azure-openai-responses": "openai",
    "google-generative-ai": "google",
    "google-vertex": "google",
    "openai-completions": "openai",
    "openai-responses": "openai",
}
_PREFIXES: Final = frozenset({"anthropic", "google", "openai"})


class ParserState(CallState, kw_only=True):
    """`begun_at` is when the session's file was begun; the rest is the model that the session last changed to."""

    source: str = SOURCE
    begun_at: str = ""
    provider: str = ""
    model: str = ""


def new_state(path: str, *, source: str = SOURCE) -> ParserState:
    return ParserState(stem=stem_of(path), source=source)


def parse(
    lines: memoryview, *, offset: int, state: ParserState, project_of: Callable[[str], str], device: str
) -> Parsed:
    """The calls that whole lines report."""
    return read_lines(
        lines,
        offset=offset,
        state=state,
        is_wanted=_is_wanted,
        is_record=_is_record,
        source=state.source,
        observe=partial(_observe, state=state, project_of=project_of, device=device),
    )


def _is_wanted(line: bytes) -> bool:
    return b'"usage"' in line or b'"session"' in line or b'"model_change"' in line or b'"model-snapshot"' in line


def _is_record(record: dict[str, object]) -> bool:
    return part_of(record, "message") is not None


def _observe(
    record: dict[str, object], position: str, *, state: ParserState, project_of: Callable[[str], str], device: str
) -> list[Observation]:
    kind = record.get("type")
    message = part_of(record, "message") or {}
    usage = part_of(message, "usage")
    if kind == "message" and message.get("role") == "assistant" and usage is not None:
        labels = _labels(record, message, position, state=state, project_of=project_of, device=device)
        return _observe_call(labels, message, usage, state=state)
    if kind == "session":
        state.session_id = text_of(record, "id") or ""
        state.cwd = text_of(record, "cwd") or ""
        state.begun_at = utc_time(text_of(record, "timestamp"))
    elif kind == "model_change":
        _take_model(state, record)
    elif kind == "custom" and record.get("customType") == "model-snapshot":
        _take_model(state, part_of(record, "data") or {})
    count_other(state, record)
    return []


def _take_model(state: ParserState, part: dict[str, object]) -> None:
    state.provider = text_of(part, "provider") or ""
    state.model = text_of(part, "modelId") or ""


def _labels(
    record: dict[str, object],
    message: dict[str, object],
    position: str,
    *,
    state: ParserState,
    project_of: Callable[[str], str],
    device: str,
) -> Observation:
    """A copy that a branch or a fork made bears the call's own time, so the session that began first is its place."""
    model = (text_of(message, "model") or "").strip()
    return Observation(
        occurred_at=time_of_number(message.get("timestamp"), per_second=1000) or utc_time(text_of(record, "timestamp")),
        source=state.source,
        provider=text_of(message, "provider") or ("" if model else state.provider),
        model=model or state.model,
        session_id=state.session_id,
        project=project_of(state.cwd),
        device=device,
        place_order=state.begun_at,
        position=position,
    )


def _observe_call(
    labels: Observation, message: dict[str, object], usage: dict[str, object], *, state: ParserState
) -> list[Observation]:
    reader = CountReader()
    counts = {
        "input_tokens": reader.count(usage, "input"),
        "cache_creation_5m_tokens": reader.count(usage, "cacheWrite"),
        "cache_read_tokens": reader.count(usage, "cacheRead"),
        "output_tokens": reader.count(usage, "output"),
    }
    labels = msgspec.structs.replace(labels, **counts, reported_cost_usd=cost_of(part_of(usage, "cost") or {}, "total"))
    key, flags = _event_key(labels, message, state=state)
    return settle(msgspec.structs.replace(labels, event_key=key, flags=flags), reader, state=state)


def _event_key(labels: Observation, message: dict[str, object], *, state: ParserState) -> tuple[str, tuple[str, ...]]:
    """The provider's id of the response, as every other source would give it, else what a copy has in common with it.

    The fingerprint holds nothing of the file, and the same whoever of pi's family wrote it.
    """
    prefix = _PREFIXES_BY_API.get(text_of(message, "api") or "", labels.provider)
    if prefix not in _PREFIXES:
        prefix = SOURCE
    answer_id = text_of(message, "responseId") or ""
    return event_key(prefix, answer_id, weak_key=lambda: f"{SOURCE}:{fingerprint(labels, state=state)}")
