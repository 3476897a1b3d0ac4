"""The events of a Copilot CLI session: `session.usage_record` is a call.

`session.shutdown` has running totals, and older versions wrote no more than these here. Their calls are in the session
store, and nothing here says whether they are: the totals are not counted.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from tallystick.observation import Observation
from tallystick.sources import json_walk
from tallystick.sources.copilot_calls import SOURCE, Usage
from tallystick.sources.formats import FileState, Parsed, reject
from tallystick.sources.json_walk import Found, is_whole_record
from tallystick.sources.members import CountReader, part_of, text_of
from tallystick.sources.times import utc_time

__all__ = ["KNOWN_LINE_TYPES", "SOURCE", "ParserState", "is_whole_record", "new_state", "parse"]

USAGE: Final = "session.usage_record"
# the events that say where the session works, and with which version
CONTEXTS: Final = frozenset({"session.start", "session.resume", "session.context_changed"})

KNOWN_LINE_TYPES: Final = CONTEXTS | {
    "abort",
    "assistant.intent",
    "assistant.message",
    "assistant.reasoning",
    "assistant.turn_end",
    "assistant.turn_start",
    "hook.end",
    "hook.start",
    "session.compaction_complete",
    "session.compaction_start",
    "session.error",
    "session.info",
    "session.mode_changed",
    "session.model_change",
    "session.shutdown",
    "session.truncation",
    "session.usage_checkpoint",
    "skill.invoked",
    "subagent.completed",
    "subagent.failed",
    "subagent.selected",
    "subagent.started",
    "system.message",
    "system.notification",
    "tool.execution_complete",
    "tool.execution_start",
    "tool.user_requested",
    "user.message",
}

_WANTED: Final = (USAGE.encode(), *(name.encode() for name in sorted(CONTEXTS)))


class ParserState(FileState, kw_only=True):
    """The session, by the name of its folder; its folder of work and version; the last time that a record told."""

    session_id: str = ""
    cwd: str = ""
    version: str = ""
    last_time: str = ""


def new_state(path: str, /) -> ParserState:
    return ParserState(session_id=("", *path.replace("\\", "/").split("/"))[-2])


def parse(
    lines: memoryview, *, offset: int, state: ParserState, project_of: Callable[[str], str], device: str
) -> Parsed:
    """The calls in whole lines."""
    observations: list[Observation] = []
    found_records = json_walk.walk(
        lines, offset=offset, stem=state.session_id, state=state, is_wanted=_is_wanted, is_record=_is_record
    )
    for found in found_records:
        if found.fault:
            observations.append(reject(state, source=SOURCE, position=found.position, reason=found.fault))
            continue
        told_at = utc_time(text_of(found.record, "timestamp"))
        state.last_time = told_at or state.last_time
        kind, data = text_of(found.record, "type"), part_of(found.record, "data") or {}
        if kind == USAGE:
            observations.append(_observe(found, data, state, told_at, project_of=project_of, device=device))
            continue
        state.count_lines(kind if kind is not None else json_walk.NO_TYPE)
        if kind in CONTEXTS:
            _take_context(data, state)
    return Parsed(observations)


def _is_wanted(line: bytes) -> bool:
    return any(name in line for name in _WANTED)


def _is_record(record: dict[str, object]) -> bool:
    return "type" in record and "data" in record


def _take_context(data: dict[str, Any], state: ParserState) -> None:
    context = part_of(data, "context") or data
    state.cwd = text_of(context, "cwd") or state.cwd
    state.version = text_of(data, "copilotVersion") or state.version


def _observe(
    found: Found,
    data: dict[str, Any],
    state: ParserState,
    told_at: str,
    *,
    project_of: Callable[[str], str],
    device: str,
) -> Observation:
    reported = part_of(data, "usage") or {}
    accounting = part_of(reported, "accounting") or {}
    reader = CountReader()
    usage = Usage(
        reader.count(reported, "inputTokens"),
        reader.count(reported, "outputTokens"),
        reader.count(reported, "cacheReadTokens"),
        reader.count(reported, "cacheWriteTokens"),
        reader.count(reported, "reasoningTokens"),
    )
    fault = reader.fault or ("" if state.last_time else "no_time")
    if fault:
        return reject(state, source=SOURCE, position=found.position, reason=fault)
    # a record that was copied into another session keeps the name of its own
    session_id = text_of(accounting, "sourceSessionId") or state.session_id
    flags = (("coerced", reader.is_coerced), ("time_inherited", not told_at), ("no_cwd", not state.cwd))
    observation = Observation(
        event_key=usage.event_key(session_id),
        occurred_at=told_at or state.last_time,
        source=SOURCE,
        provider=text_of(reported, "modelProvider") or "",
        model=(text_of(reported, "model") or "").strip(),
        session_id=session_id,
        project=project_of(state.cwd),
        device=device,
        agent_version=state.version,
        is_sidechain=bool(reported.get("parentToolCallId") or data.get("agentId")),
        request_id=text_of(accounting, "usageId") or text_of(reported, "apiCallId") or "",
        is_final=True,
        flags=tuple(flag for flag, is_so in flags if is_so),
        position=found.position,
    )
    return usage.laid_over(observation)
