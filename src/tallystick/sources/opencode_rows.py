"""The database of OpenCode, and of the agents made from it: what to ask, and how its rows are read; pure.

A message is a row that is written again until it is complete. The next question leaves out what was not touched since
the last one, with a minute to spare, unless it was not complete then, and asks for all if the row is gone that was
touched last: then it is another database, or an older one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from tallystick.sources.formats import FileState, Parsed, Query, reject
from tallystick.sources.json_values import decode_object, decode_objects
from tallystick.sources.open_rows import argument_of, note_row
from tallystick.sources.opencode_messages import NO_TOKENS, NOT_COMPLETED, Place, is_completed, observe

KNOWN_LINE_TYPES: Final = frozenset({"user", NOT_COMPLETED, NO_TOKENS})
OVERLAP_MS: Final = 60_000

_NEEDED: Final = {
    "message": frozenset({"id", "session_id", "time_updated", "data"}),
    "part": frozenset({"id", "message_id", "data"}),
    "session": frozenset({"id", "parent_id", "directory", "version"}),
}
_MESSAGES: Final = """\
select m.rowid, m.id, m.time_updated, m.data, m.session_id, s.directory, s.version, s.parent_id is not null, (
    select group_concat(p.data, char(10)) from (
      select data from part where message_id = m.id and data like '%"step-finish"%' order by id
    ) as p
  )
from message as m left join session as s on s.id = m.session_id
where m.data like '%"assistant"%' and (
  m.time_updated >= ?1 or m.rowid > ?2 or instr(?3, char(10) || m.id || char(10))
  or not exists (select 1 from message where id = ?4)
)
"""


class ParserState(FileState, kw_only=True):
    """Of the message touched last: when, and its id; the greatest number of a row, and messages in the making."""

    last_updated: int = 0
    last_id: str = ""
    last_rowid: int = 0
    open_ids: list[str] = msgspec.field(default_factory=list)


def new_state(_path: str, /) -> ParserState:
    return ParserState()


class OpenCodeRows:
    """How the database of one agent is read: its methods are those of a DatabaseFormat."""

    def __init__(self, source: str) -> None:
        self._source = source

    def queries(self, columns: Mapping[str, frozenset[str]], state: ParserState, /) -> list[Query]:
        if any(not needed <= columns.get(table, frozenset()) for table, needed in _NEEDED.items()):
            return []
        since, open_ids = state.last_updated - OVERLAP_MS, argument_of(state.open_ids)
        return [Query("messages", _MESSAGES, (since, state.last_rowid, open_ids, state.last_id))]

    def take_rows(
        self,
        _query: Query,
        rows: Sequence[tuple[Any, ...]],
        *,
        state: ParserState,
        project_of: Callable[[str], str],
        device: str,
    ) -> Parsed:
        observations = []
        for rowid, message_id, updated, data, session_id, directory, version, is_child, steps in rows:
            if isinstance(updated, int) and updated >= state.last_updated:
                state.last_updated, state.last_id = updated, str(message_id)
            state.last_rowid = max(state.last_rowid, rowid)
            place = Place(
                f"message:{message_id}",
                str(message_id),
                str(session_id),
                directory=directory or "",
                version=version or "",
                is_child=bool(is_child),
            )
            message = decode_object(data)
            if message is None:
                observations.append(reject(state, source=self._source, position=place.position, reason="not_json"))
                continue
            is_open = not is_completed(message)
            is_new = note_row(state.open_ids, place.message_id, is_open=is_open)
            if is_open and not is_new:
                continue
            observations += observe(
                message,
                decode_objects(steps),
                place,
                source=self._source,
                state=state,
                project_of=project_of,
                device=device,
            )
        return Parsed(observations)
