"""Grok Build's updates of a session: a line for each, and the usage of a turn when it is completed."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Final
from urllib.parse import unquote

from tallystick.observation import Observation
from tallystick.sources.calls import Calls, cost_of, time_of, uncached
from tallystick.sources.formats import FileState, Parsed
from tallystick.sources.json_lines import storable_text
from tallystick.sources.json_walk import is_whole_record, walk
from tallystick.sources.members import CountReader, part_of, text_of

__all__ = ["KNOWN_LINE_TYPES", "SOURCE", "ParserState", "is_whole_record", "new_state", "parse"]

SOURCE: Final = "grok-build"
PROVIDER: Final = "xai"
KNOWN_LINE_TYPES: Final = frozenset[str]()

_COMPLETED: Final = "turn_completed"
_OTHER: Final = "(update)"
_USD_PER_TICK: Final = Decimal("1e-10")


class ParserState(FileState, kw_only=True):
    """The session and its working directory, which are the names of the folders, and the time of the last update."""

    session_id: str = ""
    cwd: str = ""
    occurred_at: str = ""


def new_state(path: str, /) -> ParserState:
    *_, cwd, session_id, _ = ("", "", *path.replace("\\", "/").split("/"))
    return ParserState(session_id=session_id, cwd=unquote(cwd))


def parse(
    lines: memoryview, *, offset: int, state: ParserState, project_of: Callable[[str], str], device: str
) -> Parsed:
    """Every turn that was completed in some lines, and each model in it by itself."""
    labels = Observation(
        source=SOURCE,
        provider=PROVIDER,
        session_id=state.session_id,
        project=project_of(state.cwd),
        device=device,
        grain="turn",
    )
    calls = Calls(labels, state, occurred_at=state.occurred_at)
    for found in walk(
        lines,
        offset=offset,
        stem=state.session_id,
        state=state,
        is_wanted=lambda line: b'"usage"' in line,
        is_record=lambda record: "params" in record,
        other=_OTHER,
    ):
        if found.fault:
            calls.reject(found.position, found.fault)
        else:
            _take(found.record, found.position, calls, state)
    state.occurred_at = calls.occurred_at
    return Parsed(calls.observations)


def _take(record: dict[str, object], position: str, calls: Calls, state: ParserState) -> None:
    params = part_of(record, "params") or {}
    update, meta = part_of(params, "update") or {}, part_of(params, "_meta") or {}
    occurred_at = time_of(meta.get("agentTimestampMs"), per_second=1000) or time_of(
        record.get("timestamp"), per_second=1
    )
    usage = part_of(update, "usage")
    if update.get("sessionUpdate") != _COMPLETED or usage is None:
        calls.see_time(occurred_at)
        state.count_lines(_OTHER)
        return
    turn_id = (text_of(update, "prompt_id") or text_of(meta, "eventId") or "").strip()
    if not turn_id:
        calls.see_time(occurred_at)
        calls.reject(position, "no_key")
        return
    key = f"{SOURCE}:{state.session_id}:{turn_id}"
    by_model = {name: part for name in part_of(usage, "modelUsage") or {} if (part := _model_usage(usage, name))}
    if len(by_model) < 2:
        _add(key, usage, calls, occurred_at=occurred_at, model=next(iter(by_model), text_of(update, "model") or ""))
    else:
        for name, part in by_model.items():
            _add(f"{key}:{storable_text(name)}", part, calls, occurred_at=occurred_at, model=name)


def _add(key: str, usage: dict[str, object], calls: Calls, *, occurred_at: str, model: str) -> None:
    reader = CountReader()
    read, written = reader.count(usage, "cachedReadTokens"), reader.count(usage, "cacheCreationTokens")
    ticks = cost_of(usage, "costUsdTicks")
    calls.add(
        key,
        occurred_at=occurred_at,
        reader=reader,
        model=storable_text(model.strip()),
        input_tokens=uncached(reader.count(usage, "inputTokens"), read + written),
        cache_creation_5m_tokens=written,
        cache_read_tokens=read,
        output_tokens=reader.count(usage, "outputTokens"),
        thinking_tokens=reader.count(usage, "reasoningTokens"),
        reported_cost_usd=None if ticks is None else ticks * _USD_PER_TICK,
    )


def _model_usage(usage: dict[str, object], name: str) -> dict[str, object] | None:
    return part_of(part_of(usage, "modelUsage") or {}, name)
