"""Kimi CLI's wire files: the messages of a session as they went to its face, a StatusUpdate behind each call; pure.

Input, cache reads and cache writes are disjoint already. No line names a model.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

import msgspec

from tallystick.observation import ORIGIN_MAIN_LINE, ORIGIN_SIDECHAIN_LINE, Observation
from tallystick.sources.api_calls import event_key
from tallystick.sources.call_lines import CallState, fingerprint, parts_of, read_lines, settle, stem_of
from tallystick.sources.formats import Parsed
from tallystick.sources.json_walk import is_whole_record
from tallystick.sources.members import CountReader, part_of, text_of
from tallystick.sources.times import time_of_number

__all__ = ["KNOWN_LINE_TYPES", "SOURCE", "ParserState", "is_whole_record", "new_state", "parse"]

SOURCE: Final = "kimi-cli"
KNOWN_LINE_TYPES: Final = frozenset({"metadata"})

_SUBAGENTS_FOLDER: Final = "subagents"
# A sub-agent's sub-agent is the deepest that there is; the limit only ends a chain that somebody made up.
_MAX_NESTED_EVENTS: Final = 8


class ParserState(CallState, kw_only=True):
    """`is_subagent` tells the file of a sub-agent, whose session is its parent's."""

    is_subagent: bool = False


def new_state(path: str) -> ParserState:
    *_, session, folder, agent, _ = ("", "", "", *parts_of(path))
    is_subagent = folder == _SUBAGENTS_FOLDER
    return ParserState(stem=stem_of(path), session_id=session if is_subagent else agent, is_subagent=is_subagent)


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
        source=SOURCE,
        observe=partial(_observe, state=state, project_of=project_of, device=device),
    )


def _is_wanted(line: bytes) -> bool:
    return b'"token_usage"' in line


def _is_record(record: dict[str, object]) -> bool:
    return part_of(record, "message") is not None


def _observe(
    record: dict[str, object], position: str, *, state: ParserState, project_of: Callable[[str], str], device: str
) -> list[Observation]:
    message, depth = part_of(record, "message") or {}, 0
    while message.get("type") == "SubagentEvent" and depth < _MAX_NESTED_EVENTS:
        message, depth = part_of(part_of(message, "payload") or {}, "event") or {}, depth + 1
    payload = part_of(message, "payload") or {}
    usage = part_of(payload, "token_usage")
    if message.get("type") != "StatusUpdate" or usage is None:
        state.count_lines(f"({text_of(message, 'type') or 'other'})")
        return []
    reader, is_sidechain = CountReader(), state.is_subagent or depth > 0
    labels = Observation(
        occurred_at=time_of_number(record.get("timestamp"), per_second=1),
        source=SOURCE,
        session_id=state.session_id,
        project=project_of(state.cwd),
        device=device,
        is_sidechain=is_sidechain,
        input_tokens=reader.count(usage, "input_other"),
        cache_creation_5m_tokens=reader.count(usage, "input_cache_creation"),
        cache_read_tokens=reader.count(usage, "input_cache_read"),
        output_tokens=reader.count(usage, "output"),
        origin_rank=ORIGIN_SIDECHAIN_LINE if is_sidechain else ORIGIN_MAIN_LINE,
        position=position,
    )
    key, flags = _event_key(labels, text_of(payload, "message_id") or "", state=state)
    return settle(msgspec.structs.replace(labels, event_key=key, flags=flags), reader, state=state)


def _event_key(labels: Observation, message_id: str, *, state: ParserState) -> tuple[str, tuple[str, ...]]:
    """The id of the answer; without one the time and the counts, which the copy in a fork has too."""
    prefix = (
        "openai" if message_id.startswith("chatcmpl-") else "anthropic" if message_id.startswith("msg_") else SOURCE
    )
    return event_key(prefix, message_id, weak_key=lambda: f"{SOURCE}:{fingerprint(labels, state=state)}")
