"""ZCode's database: a completed row of `model_usage` is a call."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from tallystick.observation import Observation
from tallystick.sources.formats import FileState, Parsed, Query, reject
from tallystick.sources.members import CountReader, text_of
from tallystick.sources.open_rows import argument_of, note_row
from tallystick.sources.times import time_of_number

SOURCE: Final = "zcode"
KNOWN_LINE_TYPES: Final[frozenset[str]] = frozenset()
OVERLAP_MS: Final = 60_000

_COLUMNS: Final = (
    *("id", "session_id", "model_id", "started_at", "completed_at", "input_tokens", "output_tokens"),
    *("reasoning_tokens", "cache_creation_input_tokens", "cache_read_input_tokens"),
)
_NEEDED: Final = {"model_usage": frozenset(_COLUMNS), "session": frozenset({"id", "parent_id", "directory"})}
_CALLS: Final = """\
select u.id, u.session_id, u.model_id, u.started_at, u.completed_at, u.input_tokens, u.output_tokens,
  u.reasoning_tokens, u.cache_creation_input_tokens, u.cache_read_input_tokens, s.directory, s.parent_id, u.rowid
from model_usage as u left join session as s on s.id = u.session_id
where u.completed_at >= ?1 or u.rowid > ?2 or instr(?3, char(10) || u.id || char(10))
  or not exists (select 1 from model_usage where id = ?4)
"""


class ParserState(FileState, kw_only=True):
    """Of the call that was completed last: when, and its id; the greatest number of a row, and rows in the making."""

    last_completed: int = 0
    last_id: str = ""
    last_rowid: int = 0
    open_ids: list[str] = msgspec.field(default_factory=list)


def new_state(_path: str, /) -> ParserState:
    return ParserState()


def queries(columns: Mapping[str, frozenset[str]], state: ParserState, /) -> list[Query]:
    if any(not needed <= columns.get(table, frozenset()) for table, needed in _NEEDED.items()):
        return []
    since, open_ids = state.last_completed - OVERLAP_MS, argument_of(state.open_ids)
    return [Query("calls", _CALLS, (since, state.last_rowid, open_ids, state.last_id))]


def take_rows(
    _query: Query,
    rows: Sequence[tuple[Any, ...]],
    *,
    state: ParserState,
    project_of: Callable[[str], str],
    device: str,
) -> Parsed:
    observations = []
    for *values, rowid in rows:
        row: dict[str, Any] = dict(zip((*_COLUMNS, "directory", "parent_id"), values, strict=True))
        completed = row["completed_at"]
        state.last_rowid = max(state.last_rowid, rowid)
        note_row(state.open_ids, str(row["id"]), is_open=completed is None)
        if completed is None:
            continue
        if isinstance(completed, int) and completed >= state.last_completed:
            state.last_completed, state.last_id = completed, str(row["id"])
        if observation := _observe(row, state, project_of=project_of, device=device):
            observations.append(observation)
    return Parsed(observations)


def _observe(
    row: dict[str, Any], state: ParserState, *, project_of: Callable[[str], str], device: str
) -> Observation | None:
    position, reader = f"model_usage:{row['id']}", CountReader()
    prompt_tokens, output_tokens = reader.count(row, "input_tokens"), reader.count(row, "output_tokens")
    read_tokens = reader.count(row, "cache_read_input_tokens")
    written_tokens = reader.count(row, "cache_creation_input_tokens")
    reasoning_tokens = reader.count(row, "reasoning_tokens")
    occurred_at = time_of_number(row["started_at"], per_second=1000)
    if fault := reader.fault or ("" if occurred_at else "no_time"):
        return reject(state, source=SOURCE, position=position, reason=fault)
    if not any((prompt_tokens, output_tokens, read_tokens, written_tokens)):
        # what failed or was cancelled used nothing that anybody counted
        state.count_lines("(no tokens)")
        return None
    folder = text_of(row, "directory") or ""
    return Observation(
        event_key=f"{SOURCE}:{row['id']}",
        occurred_at=occurred_at,
        source=SOURCE,
        model=(text_of(row, "model_id") or "").strip(),
        session_id=text_of(row, "session_id") or "",
        project=project_of(folder),
        device=device,
        is_sidechain=row["parent_id"] is not None,
        input_tokens=prompt_tokens - read_tokens - written_tokens,
        cache_creation_5m_tokens=written_tokens,
        cache_read_tokens=read_tokens,
        output_tokens=output_tokens,
        thinking_tokens=min(reasoning_tokens, max(output_tokens, 0)),
        is_final=True,
        flags=(*(("coerced",) if reader.is_coerced else ()), *(() if folder else ("no_cwd",))),
        position=position,
    )
