"""Hermes' database, in which each session has the sums of what its main conversation has used so far.

What it used beside that, to name or to shorten a session, stands elsewhere, mixed with the same sums, and is not read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from tallystick.observation import Observation, Snapshot
from tallystick.sources.calls import NO_USAGE, cost_of, time_of
from tallystick.sources.database_rows import select_list, sort_out
from tallystick.sources.formats import FileState, Parsed, Query, reject
from tallystick.sources.members import CountReader, text_of

SOURCE: Final = "hermes"
KNOWN_LINE_TYPES: Final = frozenset[str]()

_COUNTS: Final = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens")
_SUMS: Final = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_creation_tokens")
_NEEDED: Final = ("id", "model", "started_at", *_COUNTS)
_OPTIONAL: Final = ("ended_at", "api_call_count", "actual_cost_usd", "estimated_cost_usd")
# sums are written beside the messages, though not in one go with them
_OVERLAP_S: Final = 86_400

_SESSIONS: Final = "select {columns}, null as last_message_at, 0 as last_rowid from sessions"
_SESSIONS_SINCE: Final = """\
select {columns}, m.last_message_at, coalesce(m.last_rowid, 0)
from sessions
left join (
  select session_id, max(timestamp) as last_message_at, max(rowid) as last_rowid from messages group by session_id
) as m on m.session_id = sessions.id
where coalesce(m.last_message_at, sessions.started_at) >= ? or m.last_rowid > ?
"""


class ParserState(FileState, kw_only=True):
    """The last activity of all sessions that were read, in seconds since 1970, and the greatest number of a message."""

    last_activity_s: float = 0
    last_rowid: int = 0


def new_state(path: str, /) -> ParserState:
    del path
    return ParserState()


def queries(columns: Mapping[str, frozenset[str]], state: ParserState, /) -> list[Query]:
    sessions, messages = columns.get("sessions", frozenset()), columns.get("messages", frozenset())
    if not sessions.issuperset(_NEEDED):
        return []
    names = select_list(sessions, _NEEDED, _OPTIONAL)
    if not messages.issuperset(("session_id", "timestamp")):
        return [Query("sessions", _SESSIONS.format(columns=names))]
    since = max(0.0, state.last_activity_s - _OVERLAP_S)
    return [Query("sessions", _SESSIONS_SINCE.format(columns=names), (since, state.last_rowid))]


def take_rows(
    query: Query,
    rows: Sequence[tuple[Any, ...]],
    *,
    state: ParserState,
    project_of: Callable[[str], str],
    device: str,
) -> Parsed:
    """The totals of sessions; `project_of` is not asked, because no session names a folder.

    Reasoning is left out: whether the output contains it is not known.
    """
    del query, project_of
    columns = (*_NEEDED, *_OPTIONAL, "last_message_at", "last_rowid")
    return sort_out(_read(dict(zip(columns, row, strict=True)), state, device=device) for row in rows)


def _read(row: dict[str, Any], state: ParserState, *, device: str) -> Observation | Snapshot | None:
    state.last_rowid = max(state.last_rowid, row["last_rowid"])
    state.last_activity_s = max(state.last_activity_s, _seconds(row["last_message_at"]))
    reader = CountReader()
    snapshot = _snapshot(row, reader, device=device)
    if reader.fault or not snapshot.session_id:
        position = f"{SOURCE}:{snapshot.session_id}"
        return reject(state, source=SOURCE, position=position, reason=reader.fault or "no_key")
    if any(getattr(snapshot, name) for name in _SUMS):
        return snapshot
    state.count_lines(NO_USAGE)
    return None


def _snapshot(row: dict[str, object], reader: CountReader, *, device: str) -> Snapshot:
    last_at = max(_seconds(row[name]) for name in ("last_message_at", "ended_at", "started_at"))
    return Snapshot(
        session_id=(text_of(row, "id") or "").strip(),
        source=SOURCE,
        model_used=(text_of(row, "model") or "").strip(),
        session_started_at=_time(_seconds(row["started_at"])),
        last_activity_at=_time(last_at),
        device=device,
        input_tokens=reader.count(row, "input_tokens"),
        output_tokens=reader.count(row, "output_tokens"),
        cache_creation_tokens=reader.count(row, "cache_write_tokens"),
        cache_read_tokens=reader.count(row, "cache_read_tokens"),
        message_count=reader.count(row, "api_call_count"),
        estimated_cost_usd=_cost(row),
    )


def _cost(row: dict[str, object]) -> Decimal | None:
    """What the session cost; 0 is what stands there where nobody knows."""
    costs = {name: Decimal(repr(row[name])) for name in _OPTIONAL[2:] if isinstance(row[name], float)}
    return next((cost for name in costs if (cost := cost_of(costs, name))), None)  # type: ignore[arg-type]


def _seconds(value: object) -> float:
    return float(value) if isinstance(value, (int, float)) else 0.0


def _time(seconds: float) -> str:
    return time_of(Decimal(repr(seconds)) if seconds else 0, per_second=1)
