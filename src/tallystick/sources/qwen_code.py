"""Qwen Code's two records of its calls: the monthly usage file, and the chats; pure.

A call stands in up to three lines: in the usage file, in its chat as telemetry, and in its chat as the answer. Nothing
in them names the call, but all give the same session and the same counts. So the key is made of these, and of how many
other calls of the session with the same counts stand above the line, among lines of its sort.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from hashlib import blake2b
from typing import Final, NamedTuple

import msgspec

from tallystick.observation import ORIGIN_MAIN_LINE, ORIGIN_SIDECHAIN_LINE, Observation
from tallystick.sources.call_lines import CallState, count_other, read_lines, settle, stem_of
from tallystick.sources.formats import Parsed
from tallystick.sources.json_walk import is_whole_record
from tallystick.sources.members import CountReader, part_of, text_of
from tallystick.sources.times import utc_time

__all__ = ["KNOWN_LINE_TYPES", "SOURCE", "ParserState", "is_whole_record", "new_state", "parse"]

SOURCE: Final = "qwen-code"
KNOWN_LINE_TYPES: Final = frozenset({"assistant", "system", "tool_result", "user"})

# Our name for what a branch of a session copied: its calls stand where they were made.
COPIED: Final = "(copied)"
_MAIN_SOURCE: Final = "main"
_UNKNOWN_MODEL: Final = "unknown"
# Other words for the back end say who speaks like whom, and not who bills.
_PROVIDERS: Final = {"anthropic": "anthropic", "gemini": "google", "vertex-ai": "google"}
_MAX_DURATION_MS: Final = 86_400_000
_MAX_GROUPS: Final = 1000
_MAX_IDS: Final = 4


class Equals(msgspec.Struct, array_like=True):
    """Calls of one session with the same counts: how many there are so far, and the last ones' ids, by digest."""

    count: int = 0
    last_ids: list[str] = msgspec.field(default_factory=list)


class ParserState(CallState, kw_only=True):
    """`equals` are the calls seen of late, by sort of line, session and counts, the latest last."""

    equals: dict[str, Equals] = msgspec.field(default_factory=dict)


class _Names(NamedTuple):
    """What a sort of line calls the counts."""

    prompt: str
    output: str
    cached: str
    thoughts: str
    total: str


_USAGE_NAMES: Final = _Names("inputTokens", "outputTokens", "cachedTokens", "thoughtsTokens", "totalTokens")
_TELEMETRY_NAMES: Final = _Names(
    *("input_token_count", "output_token_count", "cached_content_token_count"),
    *("thoughts_token_count", "total_token_count"),
)
_ANSWER_NAMES: Final = _Names(
    *("promptTokenCount", "candidatesTokenCount", "cachedContentTokenCount"),
    *("thoughtsTokenCount", "totalTokenCount"),
)


def new_state(path: str) -> ParserState:
    return ParserState(stem=stem_of(path))


def parse(
    lines: memoryview, *, offset: int, state: ParserState, project_of: Callable[[str], str], device: str
) -> Parsed:
    """The calls that whole lines report, of a usage file or of a chat."""
    return read_lines(
        lines,
        offset=offset,
        state=state,
        is_wanted=_is_wanted,
        is_record=_is_record,
        source=SOURCE,
        observe=partial(_observe, state=state, project_of=project_of, device=device),
    )


def _is_wanted(line: bytes) -> bool:
    return b'"inputTokens"' in line or b'api_response"' in line or b'"usageMetadata"' in line


def _is_record(record: dict[str, object]) -> bool:
    return "sessionId" in record


def _observe(
    record: dict[str, object], position: str, *, state: ParserState, project_of: Callable[[str], str], device: str
) -> list[Observation]:
    labels = Observation(
        source=SOURCE,
        occurred_at=utc_time(text_of(record, "timestamp")),
        session_id=text_of(record, "sessionId") or "",
        project=project_of(text_of(record, "cwd") or ""),
        device=device,
        git_branch=text_of(record, "gitBranch") or "",
        agent_version=text_of(record, "version") or "",
        flags=("weak_key",),
        position=position,
    )
    if part_of(record, "forkedFrom") is not None:
        state.count_lines(COPIED)
        return []
    if "inputTokens" in record:
        return _observe_usage(labels, record, state=state)
    if (telemetry := _telemetry_of(record)) is not None:
        return _observe_telemetry(labels, record, telemetry, state=state)
    usage = part_of(record, "usageMetadata")
    if record.get("type") == "assistant" and usage is not None:
        labels = _with_model(labels, record, is_sidechain=record.get("isSidechain") is True)
        return _settle(labels, usage, _ANSWER_NAMES, record_id=text_of(record, "uuid"), state=state)
    count_other(state, record)
    return []


def _observe_usage(labels: Observation, record: dict[str, object], *, state: ParserState) -> list[Observation]:
    labels = _with_model(
        labels,
        record,
        provider=_PROVIDERS.get(text_of(record, "authType") or "", ""),
        is_sidechain=record.get("source", _MAIN_SOURCE) != _MAIN_SOURCE,
    )
    return _settle(labels, record, _USAGE_NAMES, record_id=text_of(record, "id"), state=state)


def _observe_telemetry(
    labels: Observation, record: dict[str, object], telemetry: dict[str, object], *, state: ParserState
) -> list[Observation]:
    """The call as of its beginning, so that of all its lines this one, which knows the project, is the earliest."""
    labels = _with_model(
        labels,
        telemetry,
        occurred_at=_begun_at(labels.occurred_at, telemetry.get("duration_ms")),
        provider=_PROVIDERS.get(text_of(telemetry, "auth_type") or "", ""),
        is_sidechain=bool(telemetry.get("subagent_name")),
    )
    return _settle(labels, telemetry, _TELEMETRY_NAMES, record_id=text_of(record, "uuid"), state=state)


def _telemetry_of(record: dict[str, object]) -> dict[str, object] | None:
    event = part_of(part_of(record, "systemPayload") or {}, "uiEvent") or {}
    return event if (text_of(event, "event.name") or "").endswith("api_response") else None


def _with_model(labels: Observation, part: dict[str, object], *, is_sidechain: bool, **others: str) -> Observation:
    model = (text_of(part, "model") or "").strip()
    return msgspec.structs.replace(
        labels,
        model="" if model == _UNKNOWN_MODEL else model,
        is_sidechain=is_sidechain,
        origin_rank=ORIGIN_SIDECHAIN_LINE if is_sidechain else ORIGIN_MAIN_LINE,
        **others,
    )


def _begun_at(time: str, duration_ms: object) -> str:
    if not time or type(duration_ms) is not int or not 0 < duration_ms <= _MAX_DURATION_MS:
        return time
    return utc_time((datetime.fromisoformat(time) - timedelta(milliseconds=duration_ms)).isoformat())


def _settle(
    labels: Observation, usage: dict[str, object], names: _Names, *, record_id: str | None, state: ParserState
) -> list[Observation]:
    """The prompt contains what was read from the cache; whether the output contains the thoughts, the total tells."""
    reader = CountReader()
    prompt, output, cached, thoughts, total = (reader.count(usage, name) for name in names)
    told = f"{labels.session_id}:{prompt}-{cached}-{output}-{thoughts}"
    number = 0 if reader.fault else _number_among_equals(state, f"{names.prompt}:{told}", record_id or "")
    is_extra = total >= prompt + output + thoughts
    labels = msgspec.structs.replace(
        labels,
        event_key=f"{SOURCE}:{told}:{number}",
        input_tokens=prompt - cached,
        cache_read_tokens=cached,
        output_tokens=output + thoughts if is_extra else output,
        thinking_tokens=thoughts,
    )
    return settle(labels, reader, state=state)


def _number_among_equals(state: ParserState, group: str, record_id: str) -> int:
    """How many calls of a group stand above this one; a line that stands there again has the number that it had."""
    group, record_id = _digest(group, size=8), record_id and _digest(record_id, size=4)
    equals = state.equals.pop(group, None) or Equals()
    state.equals[group] = equals
    if len(state.equals) > _MAX_GROUPS:
        del state.equals[next(iter(state.equals))]
    if record_id and record_id in equals.last_ids:
        return equals.count - len(equals.last_ids) + equals.last_ids.index(record_id)
    equals.count += 1
    equals.last_ids = [*equals.last_ids, record_id][-_MAX_IDS:]
    return equals.count - 1


def _digest(text: str, *, size: int) -> str:
    return blake2b(text.encode("utf-8", "replace"), digest_size=size).hexdigest()
