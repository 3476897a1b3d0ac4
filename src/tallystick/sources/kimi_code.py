"""Kimi Code's wire files: every record of an agent, a usage.record behind each call; pure.

Input, cache reads and cache writes are disjoint already.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

import msgspec

from tallystick.observation import ORIGIN_MAIN_LINE, ORIGIN_SIDECHAIN_LINE, Observation
from tallystick.sources.call_lines import CallState, count_other, fingerprint, parts_of, read_lines, settle, stem_of
from tallystick.sources.formats import Parsed
from tallystick.sources.json_walk import is_whole_record
from tallystick.sources.members import CountReader, part_of, text_of
from tallystick.sources.times import time_of_number

__all__ = ["KNOWN_LINE_TYPES", "SOURCE", "ParserState", "is_whole_record", "new_state", "parse"]

SOURCE: Final = "kimi-code"
KNOWN_LINE_TYPES: Final = frozenset(
    {
        *("config.update", "context.append_loop_event", "context.append_message", "context.apply_compaction"),
        *("context.clear", "context.undo", "context.update_token_count", "forked", "full_compaction.begin"),
        *("full_compaction.cancel", "full_compaction.complete", "goal.clear", "goal.create", "goal.update"),
        *("llm.request", "llm.tools_snapshot", "mcp.tools_discovered", "metadata", "micro_compaction.apply"),
        *("permission.record_approval_result", "permission.set_mode", "plan_mode.cancel", "plan_mode.enter"),
        *("plan_mode.exit", "profile.bind", "swarm_mode.enter", "swarm_mode.exit", "tools.register_user_tool"),
        *("tools.reset_active_tools", "tools.set_active_tools", "tools.unregister_user_tool", "tools.update_store"),
        *("turn.cancel", "turn.prompt", "turn.steer", "usage.record"),
    }
)

_MAIN_AGENT: Final = "main"
# People name few models; the limit only bounds what a file could make of the state.
_MAX_MODELS: Final = 50


class ParserState(CallState, kw_only=True):
    """`models` are the provider and the name of the models that were asked, by the aliases that a user gave them."""

    is_subagent: bool = False
    models: dict[str, tuple[str, str]] = msgspec.field(default_factory=dict)


def new_state(path: str) -> ParserState:
    *_, session, _, agent, _ = ("", "", "", *parts_of(path))
    return ParserState(stem=stem_of(path), session_id=session, is_subagent=agent != _MAIN_AGENT)


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
    return b'"usage.record"' in line or b'"llm.request"' in line or b'"config.update"' in line


def _is_record(record: dict[str, object]) -> bool:
    return text_of(record, "type") in KNOWN_LINE_TYPES


def _observe(
    record: dict[str, object], position: str, *, state: ParserState, project_of: Callable[[str], str], device: str
) -> list[Observation]:
    kind, usage = record.get("type"), part_of(record, "usage")
    if kind == "usage.record" and usage is not None:
        return _observe_call(record, usage, position, state=state, project_of=project_of, device=device)
    if kind == "config.update":
        state.cwd = text_of(record, "cwd") or state.cwd
    elif kind == "llm.request":
        _take_model(state, record)
    count_other(state, record)
    return []


def _take_model(state: ParserState, request: dict[str, object]) -> None:
    alias, model = text_of(request, "modelAlias"), text_of(request, "model")
    if alias and model and (alias in state.models or len(state.models) < _MAX_MODELS):
        state.models[alias] = (text_of(request, "provider") or "", model)


def _observe_call(
    record: dict[str, object],
    usage: dict[str, object],
    position: str,
    *,
    state: ParserState,
    project_of: Callable[[str], str],
    device: str,
) -> list[Observation]:
    """A record of either scope: `turn` is a call of a turn, `session` one beside it, as for compaction."""
    reader, alias = CountReader(), text_of(record, "model") or ""
    provider, model = state.models.get(alias, ("", alias))
    labels = Observation(
        occurred_at=time_of_number(record.get("time"), per_second=1000),
        source=SOURCE,
        provider=provider,
        model=model.strip(),
        session_id=state.session_id,
        project=project_of(state.cwd),
        device=device,
        is_sidechain=state.is_subagent,
        input_tokens=reader.count(usage, "inputOther"),
        cache_creation_5m_tokens=reader.count(usage, "inputCacheCreation"),
        cache_read_tokens=reader.count(usage, "inputCacheRead"),
        output_tokens=reader.count(usage, "output"),
        origin_rank=ORIGIN_SIDECHAIN_LINE if state.is_subagent else ORIGIN_MAIN_LINE,
        flags=("weak_key",),
        position=position,
    )
    key = f"{SOURCE}:{fingerprint(labels, state=state)}"
    return settle(msgspec.structs.replace(labels, event_key=key), reader, state=state)
