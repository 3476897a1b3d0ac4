"""Zed's database of threads, each one JSON text, compressed, with the sum of what the thread has used so far.

The requests that stand beside that sum are not read: of a question's requests only the last is kept there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec
import zstandard

from tallystick.observation import Observation, Snapshot
from tallystick.sources.calls import NO_USAGE
from tallystick.sources.database_rows import select_list, sort_out
from tallystick.sources.formats import FileState, Parsed, Query, reject
from tallystick.sources.json_values import decode_object
from tallystick.sources.members import CountReader, part_of, text_of
from tallystick.sources.seen_rows import ROWS_AT_ONCE, argument_of, note_mark
from tallystick.sources.times import utc_time

SOURCE: Final = "zed"
KNOWN_LINE_TYPES: Final = frozenset[str]()
# a version between two others wrote threads without a sum; the parentheses keep the name apart from types
NO_TOTALS: Final = "(no totals)"
# the threads touched last are always read, because a sum may grow while mark and size stay
LATEST_THREADS: Final = 20
MAX_THREAD_BYTES: Final = 64 << 20

_NEEDED: Final = ("id", "updated_at", "data_type", "data")
_OPTIONAL: Final = ("created_at", "folder_paths", "folder_paths_order")
_THREADS: Final = """\
select id || ' ' || updated_at || ' ' || length(data), {columns}
from threads
where id || ' ' || updated_at || ' ' || length(data) not in (select value from json_each(?))
  or id in (select id from threads order by updated_at desc limit ?)
"""


class ParserState(FileState, kw_only=True):
    """The mark of each thread as it was read last: its id, when it was touched and its size."""

    seen: dict[str, str] = msgspec.field(default_factory=dict)


def new_state(_path: str, /) -> ParserState:
    return ParserState()


def queries(columns: Mapping[str, frozenset[str]], state: ParserState, /) -> list[Query]:
    threads = columns.get("threads", frozenset())
    if not threads.issuperset(_NEEDED):
        return []
    sql = _THREADS.format(columns=select_list(threads, _NEEDED, _OPTIONAL))
    return [Query("threads", sql, (argument_of(state.seen), LATEST_THREADS), ROWS_AT_ONCE)]


def take_rows(
    query: Query,
    rows: Sequence[tuple[Any, ...]],
    *,
    state: ParserState,
    project_of: Callable[[str], str],
    device: str,
) -> Parsed:
    del query
    columns = (*_NEEDED, *_OPTIONAL)
    return sort_out(
        _read(mark, dict(zip(columns, row, strict=True)), state, project_of=project_of, device=device)
        for mark, *row in rows
    )


def _read(
    mark: str, row: dict[str, object], state: ParserState, *, project_of: Callable[[str], str], device: str
) -> Observation | Snapshot | None:
    row_id = str(row["id"])
    thread, reason = _thread(row)
    reader = CountReader()
    snapshot = _snapshot(row, thread, reader, project_of=project_of, device=device)
    is_known = state.seen.get(row_id) == mark
    note_mark(state.seen, row_id, mark)
    reason = reason or reader.fault
    if snapshot is not None and not reason:
        return snapshot
    if is_known:
        return None
    if reason:
        return reject(state, source=SOURCE, position=f"{SOURCE}:{row_id}", reason=reason)
    state.count_lines(NO_TOTALS if thread.get("request_token_usage") else NO_USAGE)
    return None


def _thread(row: dict[str, object]) -> tuple[dict[str, object], str]:
    """What a thread is, or why it cannot be known."""
    data = row["data"]
    if row["data_type"] == "zstd":
        try:
            with zstandard.ZstdDecompressor().stream_reader(data if isinstance(data, bytes) else b"") as content:
                data = content.read(MAX_THREAD_BYTES + 1)
        except zstandard.ZstdError:
            return {}, "not_json"
    if isinstance(data, bytes) and len(data) > MAX_THREAD_BYTES:
        return {}, "too_large"
    thread = decode_object(data)
    return ({}, "not_json") if thread is None else (thread, "")


def _snapshot(
    row: dict[str, object],
    thread: dict[str, object],
    reader: CountReader,
    *,
    project_of: Callable[[str], str],
    device: str,
) -> Snapshot | None:
    """The sum of a thread; None where it is not known, or nothing. A count of zero is left out by Zed."""
    totals = part_of(thread, "cumulative_token_usage") or {}
    snapshot = Snapshot(
        session_id=str(row["id"]),
        source=SOURCE,
        model_used=(text_of(part_of(thread, "model") or {}, "model") or "").strip(),
        session_started_at=utc_time(text_of(row, "created_at")),
        last_activity_at=utc_time(text_of(row, "updated_at")),
        project=project_of(_folder(row)),
        device=device,
        input_tokens=reader.count(totals, "input_tokens"),
        output_tokens=reader.count(totals, "output_tokens"),
        cache_creation_tokens=reader.count(totals, "cache_creation_input_tokens"),
        cache_read_tokens=reader.count(totals, "cache_read_input_tokens"),
    )
    counts = (snapshot.input_tokens, snapshot.output_tokens, snapshot.cache_creation_tokens, snapshot.cache_read_tokens)
    return snapshot if any(counts) else None


def _folder(row: dict[str, object]) -> str:
    """The first folder of the window; they are stored in the order of the alphabet, and their places beside them."""
    folders = (text_of(row, "folder_paths") or "").split("\n")
    places = (text_of(row, "folder_paths_order") or "").split(",")
    return folders[places.index("0")] if "0" in places[: len(folders)] else folders[0]
