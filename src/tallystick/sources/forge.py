"""Forge's database, in which a conversation is one JSON text, with what was used beside each answer.

A compaction puts one message in the place of many and gives it the sum of what they used, and no message has an id or a
time. What means the same before and after is the sum over the conversation alone: its running total.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

import msgspec

from tallystick.observation import Observation, Snapshot
from tallystick.sources.calls import NO_USAGE, cost_of, time_of
from tallystick.sources.database_rows import sort_out
from tallystick.sources.formats import FileState, Parsed, Query, reject
from tallystick.sources.json_values import decode_object
from tallystick.sources.members import CountReader, items_of, part_of, text_of
from tallystick.sources.seen_rows import ROWS_AT_ONCE, argument_of, note_mark

SOURCE: Final = "forge"
KNOWN_LINE_TYPES: Final = frozenset[str]()

_COUNTS: Final = ("prompt_tokens", "cached_tokens", "completion_tokens")
_COLUMNS: Final = ("conversation_id", "created_at", "updated_at", "context")
_CONVERSATIONS: Final = """\
select conversation_id || ' ' || coalesce(updated_at, ''), conversation_id, created_at, updated_at, context
from conversations
where context is not null
  and conversation_id || ' ' || coalesce(updated_at, '') not in (select value from json_each(?))
"""


class ParserState(FileState, kw_only=True):
    """The mark of each conversation as it was read last: its id and when it was written."""

    seen: dict[str, str] = msgspec.field(default_factory=dict)


def new_state(_path: str, /) -> ParserState:
    return ParserState()


def queries(columns: Mapping[str, frozenset[str]], state: ParserState, /) -> list[Query]:
    if not columns.get("conversations", frozenset()).issuperset(_COLUMNS):
        return []
    return [Query("conversations", _CONVERSATIONS, (argument_of(state.seen),), ROWS_AT_ONCE)]


def take_rows(
    query: Query,
    rows: Sequence[tuple[Any, ...]],
    *,
    state: ParserState,
    project_of: Callable[[str], str],
    device: str,
) -> Parsed:
    """The totals of conversations; `project_of` is not asked, because the workspace is a digest of its folder."""
    del query, project_of
    return sort_out(_read(mark, dict(zip(_COLUMNS, row, strict=True)), state, device=device) for mark, *row in rows)


def _read(mark: str, row: dict[str, object], state: ParserState, *, device: str) -> Observation | Snapshot | None:
    row_id = str(row["conversation_id"])
    note_mark(state.seen, row_id, mark)
    context = decode_object(row["context"])
    reader = CountReader()
    snapshot = _snapshot(row, context or {}, reader, device=device)
    if context is None or reader.fault:
        return reject(state, source=SOURCE, position=f"{SOURCE}:{row_id}", reason=reader.fault or "not_json")
    if snapshot is None:
        state.count_lines(NO_USAGE)
    return snapshot


def _snapshot(
    row: dict[str, object], context: dict[str, object], reader: CountReader, *, device: str
) -> Snapshot | None:
    """The sum over all messages, whatever their role; None where none names what it used."""
    entries = items_of(context, "messages")
    usages = [usage for entry in entries if (usage := part_of(entry, "usage")) is not None]
    prompt_tokens, cached_tokens, output_tokens = (
        sum(_count(usage, name, reader) for usage in usages) for name in _COUNTS
    )
    if not any((prompt_tokens, cached_tokens, output_tokens)):
        return None
    started_at = _time(row["created_at"])
    costs = [cost for usage in usages if (cost := cost_of(usage, "cost")) is not None]
    return Snapshot(
        # a clone has another id and what the original had used, and began when that began
        session_id=started_at or str(row["conversation_id"]),
        source=SOURCE,
        model_used=_model(entries),
        session_started_at=started_at,
        last_activity_at=_time(row["updated_at"]),
        device=device,
        input_tokens=prompt_tokens - cached_tokens,
        output_tokens=output_tokens,
        cache_read_tokens=cached_tokens,
        estimated_cost_usd=cost_of({"cost": sum(costs, Decimal(0))}, "cost") if any(costs) else None,
    )


def _count(usage: dict[str, object], name: str, reader: CountReader) -> int:
    """A count, written as {"actual": 5}, or as {"approx": 5} where it is Forge's own estimate, or with a capital."""
    value = usage.get(name)
    if isinstance(value, dict):
        value = next(iter(value.values()), None)
    return reader.count({name: value}, name)


def _model(entries: list[dict[str, object]]) -> str:
    """The model that was asked last: a question names it, an answer does not."""
    for entry in reversed(entries):
        message = part_of(entry, "message") or entry
        model = text_of(part_of(message, "text") or {}, "model")
        if model and model.strip():
            return model.strip()
    return ""


def _time(value: object) -> str:
    """A text without an offset, which is UTC."""
    return time_of(f"{value}Z", per_second=1) if isinstance(value, str) else ""
