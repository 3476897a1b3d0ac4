"""Goose's database: a row of `usage_ledger` is a call; before there was that table, a session had its totals.

What a session had used by then is carried forward into the new table, in a row that names no model. It stays the
running total that it was, so that nothing is counted twice over the change.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from tallystick.observation import Observation, Snapshot
from tallystick.sources.claude_code_lines import usable_cost
from tallystick.sources.database_rows import sort_out
from tallystick.sources.formats import FileState, Parsed, Query, reject
from tallystick.sources.json_values import decode_object
from tallystick.sources.members import CountReader, text_of
from tallystick.sources.times import time_of_number, utc_time

SOURCE: Final = "goose"
KNOWN_LINE_TYPES: Final[frozenset[str]] = frozenset()
OVERLAP_ROWS: Final = 100
# a number of seconds beyond this one is a number of milliseconds
_LAST_SECOND: Final = 10**11

_COUNTS: Final = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens")
_COLUMNS: Final = (
    *("id", "session_id", "created_timestamp", "model", *_COUNTS, "is_compaction", "cost"),
    *("working_dir", "created_at", "updated_at", "session_type", "provider_name", "model_config_json"),
)
_SESSION: Final = frozenset({"id", *_COLUMNS[-6:]})
_LEDGER: Final = frozenset({"cost_source", *_COLUMNS[:-6]})
_TOTALS: Final = frozenset({"accumulated_input_tokens", "accumulated_output_tokens"})
_CACHE_TOTALS: Final = frozenset({"accumulated_cache_read_tokens", "accumulated_cache_write_tokens"})

# all rows, where the last that was seen is another now
_CALLS_SQL: Final = """\
select u.id, u.session_id, u.created_timestamp, u.model, u.input_tokens, u.output_tokens, u.cache_read_tokens,
  u.cache_write_tokens, u.is_compaction, u.cost,
  s.working_dir, s.created_at, s.updated_at, s.session_type, s.provider_name, s.model_config_json
from usage_ledger as u left join sessions as s on s.id = u.session_id
where u.model is not null and u.cost_source is not 'carried_forward' and (u.id > ?1 or not exists (
  select 1 from usage_ledger where id = ?2 and session_id = ?3 and created_timestamp = ?4
))
order by u.id
"""
# of the other columns SQLite takes those of the row with the greatest id
_CARRIED_SQL: Final = """\
select max(u.id), u.session_id, u.created_timestamp, u.model, sum(u.input_tokens), sum(u.output_tokens),
  sum(u.cache_read_tokens), sum(u.cache_write_tokens), u.is_compaction, sum(u.cost),
  s.working_dir, s.created_at, s.updated_at, s.session_type, s.provider_name, s.model_config_json
from usage_ledger as u join sessions as s on s.id = u.session_id
where u.model is null or u.cost_source is 'carried_forward'
group by u.session_id
having max(u.id) > ?1 or not exists (
  select 1 from usage_ledger where id = ?2 and session_id = ?3 and created_timestamp = ?4
)
order by 1
"""
_TOTALS_SQL: Final = """\
select 0, s.id, null, null, s.accumulated_input_tokens, s.accumulated_output_tokens, 0, 0, 0, null,
  s.working_dir, s.created_at, s.updated_at, s.session_type, s.provider_name, s.model_config_json
from sessions as s
where s.updated_at >= ?1 or not exists (select 1 from sessions where id = ?2 and updated_at >= ?1)
"""
_CACHE_TOTALS_SQL: Final = """\
select 0, s.id, null, null, s.accumulated_input_tokens, s.accumulated_output_tokens, s.accumulated_cache_read_tokens,
  s.accumulated_cache_write_tokens, 0, null,
  s.working_dir, s.created_at, s.updated_at, s.session_type, s.provider_name, s.model_config_json
from sessions as s
where s.updated_at >= ?1 or not exists (select 1 from sessions where id = ?2 and updated_at >= ?1)
"""


class ParserState(FileState, kw_only=True):
    """The last row of the ledger that was seen, or the session that was touched last: another database has others."""

    last_id: int = 0
    last_session_id: str = ""
    last_created: int = 0
    last_updated_at: str = ""


def new_state(_path: str, /) -> ParserState:
    return ParserState()


def queries(columns: Mapping[str, frozenset[str]], state: ParserState, /) -> list[Query]:
    sessions = columns.get("sessions", frozenset())
    if not sessions >= _SESSION:
        return []
    if columns.get("usage_ledger", frozenset()) >= _LEDGER:
        arguments = (state.last_id - OVERLAP_ROWS, state.last_id, state.last_session_id, state.last_created)
        return [Query("calls", _CALLS_SQL, arguments), Query("carried", _CARRIED_SQL, arguments)]
    if not sessions >= _TOTALS:
        return []
    sql = _CACHE_TOTALS_SQL if sessions >= _CACHE_TOTALS else _TOTALS_SQL
    return [Query("totals", sql, (state.last_updated_at, state.last_session_id))]


def take_rows(
    query: Query,
    rows: Sequence[tuple[Any, ...]],
    *,
    state: ParserState,
    project_of: Callable[[str], str],
    device: str,
) -> Parsed:
    read = _observe if query.name == "calls" else _sum_up
    named = [dict(zip(_COLUMNS, row, strict=True)) for row in rows]
    for row in named:
        _remember(row, state)
    return sort_out(read(row, state, project=project_of, device=device) for row in named)


def _remember(row: dict[str, Any], state: ParserState) -> None:
    if row["id"] > state.last_id:
        state.last_id, state.last_session_id = row["id"], str(row["session_id"])
        state.last_created = row["created_timestamp"] if isinstance(row["created_timestamp"], int) else 0
    elif row["id"] == 0 and (updated_at := str(row["updated_at"])) >= state.last_updated_at:
        state.last_updated_at, state.last_session_id = updated_at, str(row["session_id"])


def _observe(
    row: dict[str, Any], state: ParserState, *, project: Callable[[str], str], device: str
) -> Observation | None:
    position, reader = f"usage_ledger:{row['id']}", CountReader()
    prompt_tokens, output_tokens, read_tokens, written_tokens = (reader.count(row, name) for name in _COUNTS)
    occurred_at = _time(row["created_timestamp"])
    if fault := reader.fault or ("" if occurred_at else "no_time"):
        return reject(state, source=SOURCE, position=position, reason=fault)
    folder = text_of(row, "working_dir") or ""
    return Observation(
        event_key=_key(row),
        occurred_at=occurred_at,
        source=SOURCE,
        provider=text_of(row, "provider_name") or "",
        model=(text_of(row, "model") or "").strip(),
        session_id=str(row["session_id"]),
        project=project(folder),
        device=device,
        is_sidechain=row["session_type"] in ("sub_agent", "subagent"),
        input_tokens=prompt_tokens - read_tokens - written_tokens,
        cache_creation_5m_tokens=written_tokens,
        cache_read_tokens=read_tokens,
        output_tokens=output_tokens,
        reported_cost_usd=_cost(row["cost"]),
        is_final=True,
        # the first of several copies has the least number
        place_order=f"{row['id']:020d}",
        flags=(*(("coerced",) if reader.is_coerced else ()), *(() if folder else ("no_cwd",))),
        position=position,
    )


def _sum_up(
    row: dict[str, Any], state: ParserState, *, project: Callable[[str], str], device: str
) -> Observation | Snapshot | None:
    reader = CountReader()
    prompt_tokens, output_tokens, read_tokens, written_tokens = (reader.count(row, name) for name in _COUNTS)
    started_at, updated_at = _time(row["created_at"]), _time(row["updated_at"])
    if reader.fault:
        return reject(state, source=SOURCE, position=f"sessions:{row['session_id']}", reason=reader.fault)
    if not prompt_tokens and not output_tokens:
        return None
    # carried forward when the program was renewed, perhaps long after the session was left
    active_at = min(filter(None, (updated_at, _time(row["created_timestamp"]))), default="")
    config = decode_object(row["model_config_json"]) or {}
    return Snapshot(
        # ids count the sessions of a day, and every machine has a first one
        session_id=f"{row['session_id']}@{started_at}",
        source=SOURCE,
        model_used=(text_of(config, "model_name") or "").strip(),
        session_started_at=started_at,
        last_activity_at=active_at,
        project=project(text_of(row, "working_dir") or ""),
        device=device,
        input_tokens=prompt_tokens - read_tokens - written_tokens,
        output_tokens=output_tokens,
        cache_creation_tokens=written_tokens,
        cache_read_tokens=read_tokens,
        estimated_cost_usd=_cost(row["cost"]),
    )


def _key(row: dict[str, Any]) -> str:
    """The fingerprint of a call: numbers of rows and ids of sessions are given anew on every machine."""
    measured = [row[name] for name in ("created_timestamp", "model", *_COUNTS, "is_compaction")]
    written = json.dumps(measured, separators=(",", ":"), default=str)
    return f"{SOURCE}:{hashlib.sha256(written.encode()).hexdigest()[:40]}"


def _time(value: object) -> str:
    """A number of seconds, or a text of SQLite's own, which is UTC and does not say so."""
    if isinstance(value, str):
        return utc_time(value) or utc_time(f"{value}Z")
    return time_of_number(value, per_second=1000 if isinstance(value, int) and value > _LAST_SECOND else 1)


def _cost(cost: object) -> Decimal | None:
    return usable_cost(Decimal(repr(cost))) if isinstance(cost, float) and cost else None
