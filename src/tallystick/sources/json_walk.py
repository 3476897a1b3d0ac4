"""A walk over JSON lines, for every source whose files are small enough to need no more than this.

A line that is not wanted is counted by its type and not decoded. All others are decoded, mended where they must be, and
named where they cannot be, so that a source sees records and nothing of how they lie in the file.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any, Final, NamedTuple

import msgspec

from tallystick.sources.formats import FileState
from tallystick.sources.json_lines import Damaged, decode_records, is_whole

# Our names for what has no type; the parentheses keep them apart from types.
BLANK: Final = "(blank)"
NOT_JSON: Final = "(not json)"
NOT_AN_OBJECT: Final = "(not an object)"
NOT_UTF_8: Final = "(not utf-8)"
NO_TYPE: Final = "(no type)"

_REFUSED: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
_decode = msgspec.json.Decoder(float_hook=Decimal).decode
# the type, where nothing but plain members stands in front of it; a string that escapes anything is not plain
_find_type = re.compile(
    rb'\s*\{(?:\s*"[^"\\]*"\s*:\s*(?:"[^"\\]*"|-?[0-9.eE+]+|null|true|false)\s*,)*?\s*"type"\s*:\s*"([^"\\]*)"'
).match


class Found(NamedTuple):
    """A record and its place, `<stem>:<byte offset>`; one with a `fault` cannot be used and is empty."""

    record: dict[str, Any]
    position: str
    fault: str = ""


def walk(
    lines: memoryview | bytes,
    *,
    offset: int,
    stem: str,
    state: FileState,
    is_wanted: Callable[[bytes], object],
    is_record: Callable[[dict[str, object]], bool],
    other: str = "",
) -> Iterator[Found]:
    """The records of whole lines that are wanted, in their order.

    `is_wanted` looks at the bytes of a line, and must hold for every line that may report a call: for a damaged one it
    says whether a call was lost with it. `is_record` tells a record from a part of one, behind a torn record. `other`
    names the lines that are not wanted, where their records have no type.
    """
    content = bytes(lines)
    if offset == 0 and is_utf_16(content[:3]):
        state.encoding_problem = "utf-16"
        yield Found({}, f"{stem}:0", "encoding")
    if state.encoding_problem:
        state.count_lines(NOT_UTF_8, content.count(b"\n"))
        return
    start = 0
    while start < len(content):
        end = content.find(b"\n", start)
        end = len(content) if end < 0 else end
        line = content[start:end]
        if is_wanted(line):
            yield from _records(line, position=f"{stem}:{offset + start}", state=state, is_record=is_record)
        else:
            state.count_lines(other or _type_of(line))
        start = end + 1


def is_whole_record(line: memoryview | bytes) -> bool:
    """Whether a line without its newline is complete JSON, so that nothing of it can be missing."""
    try:
        return isinstance(_decode(line), dict)
    except _REFUSED:
        return is_whole(bytes(line))


def _records(
    line: bytes, *, position: str, state: FileState, is_record: Callable[[dict[str, object]], bool]
) -> Iterator[Found]:
    try:
        records = [_decode(line)]
    except _REFUSED:
        records = decode_records(line, is_record=is_record)
    for index, record in enumerate(records):
        place = f"{position}+{index}" if index else position
        if isinstance(record, dict):
            yield Found(record, place)
        elif isinstance(record, Damaged):
            yield Found({}, place, "not_json")
        else:
            state.count_lines(NOT_AN_OBJECT)


def _type_of(line: bytes) -> str:
    if found := _find_type(line):
        return found[1].decode("utf-8", "replace")
    if not line.strip(b"\xef\xbb\xbf\x00 \t\r"):
        return BLANK
    try:
        record = _decode(line)
    except _REFUSED:
        return NOT_JSON
    if not isinstance(record, dict):
        return NOT_AN_OBJECT
    kind = record.get("type")
    return kind if isinstance(kind, str) else NO_TYPE


def is_utf_16(head: bytes) -> bool:
    """Whether a file that begins so is UTF-16, with or without a byte order mark."""
    # without a mark it begins with a bracket; a NUL by itself in front of one is damage and no encoding
    if head[1:2] in (b"{", b"["):
        return head[0] == head[-1] == 0
    return head[:2] in (b"\xff\xfe", b"\xfe\xff", b"{\x00", b"[\x00")
