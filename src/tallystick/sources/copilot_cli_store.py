"""The session store of Copilot CLI: a row of `assistant_usage_events` is a call."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from tallystick.observation import Observation
from tallystick.sources.copilot_calls import SOURCE, Usage
from tallystick.sources.formats import FileState, Parsed, Query, reject
from tallystick.sources.members import CountReader, text_of
from tallystick.sources.times import utc_time

__all__ = ["KNOWN_LINE_TYPES", "SOURCE", "ParserState", "new_state", "queries", "take_rows"]

KNOWN_LINE_TYPES: Final[frozenset[str]] = frozenset()
# rows are added and not changed; the last ones are asked again all the same
OVERLAP_ROWS: Final = 100

_COLUMNS: Final = (
    "id",
    "session_id",
    "agent_id",
    "parent_tool_call_id",
    "model",
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "reasoning_tokens",
    "created_at",
)
_NEEDED: Final = {"assistant_usage_events": frozenset(_COLUMNS), "sessions": frozenset({"id", "cwd"})}
_CALLS: Final = """\
select e.id, e.session_id, e.agent_id, e.parent_tool_call_id, e.model, e.input_tokens, e.output_tokens,
  e.cache_read_tokens, e.cache_write_tokens, e.reasoning_tokens, e.created_at, s.cwd
from assistant_usage_events as e left join sessions as s on s.id = e.session_id
where e.id > ?1 or not exists (
  select 1 from assistant_usage_events where id = ?2 and session_id = ?3 and created_at = ?4
)
order by e.id
"""


class ParserState(FileState, kw_only=True):
    """The last row that was seen: another database in the place of this one has another there, or none."""

    last_id: int = 0
    last_session_id: str = ""
    last_created_at: str = ""


def new_state(_path: str, /) -> ParserState:
    return ParserState()


def queries(columns: Mapping[str, frozenset[str]], state: ParserState, /) -> list[Query]:
    if any(not needed <= columns.get(table, frozenset()) for table, needed in _NEEDED.items()):
        return []
    arguments = (state.last_id - OVERLAP_ROWS, state.last_id, state.last_session_id, state.last_created_at)
    return [Query("calls", _CALLS, arguments)]


def take_rows(
    _query: Query,
    rows: Sequence[tuple[Any, ...]],
    *,
    state: ParserState,
    project_of: Callable[[str], str],
    device: str,
) -> Parsed:
    observations = []
    for values in rows:
        row: dict[str, Any] = dict(zip((*_COLUMNS, "cwd"), values, strict=True))
        state.last_id, state.last_session_id = row["id"], str(row["session_id"])
        state.last_created_at = str(row["created_at"])
        observations.append(_observe(row, state, project_of=project_of, device=device))
    return Parsed(observations)


def _observe(row: dict[str, Any], state: ParserState, *, project_of: Callable[[str], str], device: str) -> Observation:
    position, session_id = f"assistant_usage_events:{row['id']}", text_of(row, "session_id") or ""
    reader = CountReader()
    usage = Usage(
        reader.count(row, "input_tokens"),
        reader.count(row, "output_tokens"),
        reader.count(row, "cache_read_tokens"),
        reader.count(row, "cache_write_tokens"),
        reader.count(row, "reasoning_tokens"),
    )
    occurred_at = _time(text_of(row, "created_at") or "")
    if fault := reader.fault or ("" if occurred_at else "no_time"):
        return reject(state, source=SOURCE, position=position, reason=fault)
    cwd = text_of(row, "cwd") or ""
    observation = Observation(
        event_key=usage.event_key(session_id),
        occurred_at=occurred_at,
        source=SOURCE,
        model=(text_of(row, "model") or "").strip(),
        session_id=session_id,
        project=project_of(cwd),
        device=device,
        is_sidechain=bool(row["agent_id"] or row["parent_tool_call_id"]),
        is_final=True,
        flags=(*(("coerced",) if reader.is_coerced else ()), *(() if cwd else ("no_cwd",))),
        position=position,
    )
    return usage.laid_over(observation)


def _time(created_at: str) -> str:
    """Older versions leave the time to SQLite, which writes UTC and does not say so."""
    return utc_time(created_at) or utc_time(f"{created_at}Z")
