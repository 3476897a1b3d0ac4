"""Claude Code transcripts: whole lines in, observations out. README.md in this folder lists the odd lines.

A line without the bytes `"usage"` cannot report a call: it is counted by the type that its first members name, unread.
All others go to msgspec, and what msgspec refuses is mended or rejected, never dropped.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, NamedTuple, Protocol

import msgspec
import stringzilla  # type: ignore[import-not-found]  # it ships no types

from tallystick.observation import Observation
from tallystick.sources.claude_code_calls import SOURCE, CallRecorder, ParserState
from tallystick.sources.claude_code_lines import (
    CostStateLine,
    Line,
    Mended,
    ProgressLine,
    ReportedTotal,
    mend_cost_state,
    mend_line,
    totals_of,
)
from tallystick.sources.json_lines import Damaged, decode_records, is_whole
from tallystick.sources.members import part_of, text_of
from tallystick.sources.times import utc_time

__all__ = [
    "KNOWN_LINE_TYPES",
    "SOURCE",
    "Parsed",
    "ParserState",
    "ReportedTotal",
    "is_whole_record",
    "new_state",
    "parse",
]

KNOWN_LINE_TYPES: Final = frozenset(
    {
        "ai-title",
        "api-request",
        "api-request-blob",
        "api-request-shape",
        "assistant",
        "atis-latch",
        "attachment",
        "cost-state",
        "custom-title",
        "file-history-snapshot",
        "last-prompt",
        "mode",
        "permission-mode",
        "pr-link",
        "progress",
        "queue-operation",
        "summary",
        "system",
        "tools-used",
        "user",
    }
)

_NEWLINE: Final = b"\n"
_USAGE_KEY: Final = b'"usage"'
_TYPE_KEY: Final = b'"type":"'
_QUOTE: Final = b'"'
_OPENING_BRACE: Final = ord("{")
_OPENING_OR_ESCAPING: Final = b"{[\\"
# Finding the time of an unread line means decoding it, so one of the longest is not asked for it.
_MAX_TIMED_LINE_BYTES: Final = 32_768
# It is a part of place_order and stands for the session, which the ledger takes up to 200 bytes long.
_MAX_STEM_BYTES: Final = 200

# Our names for what has no type; the parentheses keep them apart from types.
_BLANK: Final = "(blank)"
_NO_TYPE: Final = "(no type)"
_NOT_JSON: Final = "(not json)"
_NOT_AN_OBJECT: Final = "(not an object)"
_NOT_UTF_8: Final = "(not utf-8)"

# Types whose lines tell us something even without the bytes `"usage"`.
_READ_ALWAYS: Final = (b"assistant", b"cost-state")
_NO_LINE: Final = ProgressLine()

# What a torn line must show for us to say that a call was lost with it.
_is_sign_of_call = re.compile(r'"usage"|"(?:type|role)"\s*:\s*"assistant"').search


class Parsed(NamedTuple):
    """What lines held, in their order; there are no snapshots, because every call has a line, and no limits."""

    observations: list[Observation]
    reported_totals: list[ReportedTotal]
    snapshots: tuple[()] = ()
    limits: tuple[()] = ()


class _Text(Protocol):
    """What we use of stringzilla.Str: searches with vector instructions, ten times as fast as those of bytes."""

    def find(self, needle: bytes, start: int, end: int = ..., /) -> int: ...
    def rfind(self, needle: bytes, start: int, end: int, /) -> int: ...
    def find_first_of(self, needles: bytes, start: int, end: int, /) -> int: ...
    def count(self, needle: bytes, /) -> int: ...


class _Kind(msgspec.Struct, gc=False):
    type: str | None = None


class _Stamp(msgspec.Struct, gc=False):
    timestamp: str | None = None


_REFUSED: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
_decode_kind = msgspec.json.Decoder(_Kind).decode
_decode_stamp = msgspec.json.Decoder(_Stamp).decode
_decode_line = msgspec.json.Decoder(Line).decode
_decode_progress = msgspec.json.Decoder(ProgressLine).decode
_decode_cost_state = msgspec.json.Decoder(CostStateLine).decode


def new_state(path: str) -> ParserState:
    """The state at byte 0 of a transcript, from what its path says below the last `projects` folder."""
    path = path.replace("\\", "/").encode("utf-8", "replace").decode()
    *folders, name = path.rpartition("/projects/")[2].split("/")
    stem = name.removesuffix(".jsonl").encode()[:_MAX_STEM_BYTES].decode("utf-8", "ignore")
    session_id = stem
    if "subagents" in folders[1:]:
        session_id = folders[folders.index("subagents", 1) - 1]
    elif stem.startswith("agent-"):
        session_id = ""
    return ParserState(file_stem=stem, is_subagent_file=session_id != stem, file_session_id=session_id)


def parse(
    lines: memoryview | bytes,
    *,
    offset: int,
    state: ParserState,
    project_of: Callable[[str], str],
    device: str,
) -> Parsed:
    """The model calls that whole lines report; `state` is moved on to their end.

    `offset` is the place of lines[0] in the file in bytes; `project_of` answers the project of a working directory.
    However a file is cut at line ends, the records are the same. A record that bears usage gives an observation or,
    where it cannot be used, a rejected one; every other line is counted in the state.
    """
    reader = _Reader(lines, offset=offset, state=state, project_of=project_of, device=device)
    reader.read()
    return Parsed(reader.calls.observations, reader.reported_totals)


def is_whole_record(line: memoryview | bytes) -> bool:
    """Whether a line without its newline is complete JSON, so that nothing of it can be missing."""
    try:
        _decode_kind(line)
    except _REFUSED:
        return is_whole(bytes(line))
    return True


class _Times:
    """The times that a buffer's lines name, looked up only when one is needed, since most lines stay unread."""

    def __init__(self, lines: memoryview, *, text: _Text, state: ParserState) -> None:
        self.line_start = 0
        self.earlier_in_line: list[str] = []
        self._lines = lines
        self._text = text
        self._state = state

    def before(self) -> str:
        """The time of the record before the one being read, '' if the file has named none yet."""
        times = [time for time in self.earlier_in_line if time]
        return times[-1] if times else self.last_above(self.line_start)

    def last_above(self, start: int) -> str:
        """The time of the nearest record above a line's start."""
        while start > 0:
            end = start - 1
            start = self._text.rfind(_NEWLINE, 0, end) + 1
            times = self._in_line(start, end) if end - start <= _MAX_TIMED_LINE_BYTES else []
            if times:
                return times[-1]
        return self._state.last_timestamp

    def first(self) -> str:
        """The first time of all, '' if there is none."""
        start, size = 0, len(self._lines)
        while start < size:
            end = self._text.find(_NEWLINE, start)
            if end < 0:
                end = size
            times = self._in_line(start, end)
            if times:
                return times[0]
            start = end + 1
        return ""

    def _in_line(self, start: int, end: int) -> list[str]:
        raw = self._lines[start:end]
        try:
            times = [utc_time(_decode_stamp(raw).timestamp)]
        except _REFUSED:
            records = decode_records(bytes(raw), is_record=_is_line)
            times = [utc_time(text_of(record, "timestamp")) for record in records if isinstance(record, dict)]
        return [time for time in times if time]


class _Reader:
    """One walk over the lines of a buffer."""

    def __init__(
        self,
        lines: memoryview | bytes,
        *,
        offset: int,
        state: ParserState,
        project_of: Callable[[str], str],
        device: str,
    ) -> None:
        self.reported_totals: list[ReportedTotal] = []
        self._lines = memoryview(lines)
        self._text: _Text = stringzilla.Str(self._lines)
        self._offset = offset
        self._state = state
        self._position_prefix = f"{state.file_stem}:"
        self._unread: dict[bytes, int] = {}
        self._times = _Times(self._lines, text=self._text, state=state)
        if not state.first_timestamp and not state.encoding_problem:
            state.first_timestamp = self._times.first()
        # The recorder must not hold the reader: a cycle would keep the caller's buffer until a garbage collection.
        self.calls = CallRecorder(state, project_of=project_of, device=device, time_before=self._times.before)

    def read(self) -> None:
        """Reads every line and moves the state on."""
        if self._offset == 0 and _is_utf_16(bytes(self._lines[:3])):
            self._state.encoding_problem = "utf-16"
            self.calls.reject(self._position(0), "encoding")
        if self._state.encoding_problem:
            self._state.count_lines(_NOT_UTF_8, self._text.count(_NEWLINE))
            return
        end_of_lines = self._walk()
        for kind, number in self._unread.items():
            self._state.count_lines(kind.decode("utf-8", "replace"), number)
        self._state.last_timestamp = self._times.last_above(end_of_lines)

    def _walk(self) -> int:
        """Takes or passes over each line; answers where the line after the last one would start."""
        find, lines, take, times = self._text.find, self._lines, self.calls.take, self._times
        size, prefix, offset = len(lines), self._position_prefix, self._offset
        start, usage_at = 0, -1
        while start < size:
            end = find(_NEWLINE, start)
            if end < 0:
                end = size
            if usage_at < start:
                usage_at = find(_USAGE_KEY, start)
                if usage_at < 0:
                    usage_at = size
            if usage_at >= end:
                self._pass_over(start, end)
            else:
                try:
                    line: Line = _decode_line(lines[start:end])
                except _REFUSED:
                    line = _NO_LINE
                if line.type == "assistant":
                    times.line_start = start
                    take(line, f"{prefix}{offset + start}")
                else:
                    self._take_line_by_type(start, end)
            start = end + 1
        return start

    def _pass_over(self, start: int, end: int) -> None:
        """Counts a line without a usage object by the type that its first members name.

        In front of the type nothing may open and nothing be escaped: then the name found is the line's own. A line that
        hides its type is decoded, and so is one whose type matters even so.
        """
        text = self._text
        named_at = text.find(_TYPE_KEY, start, end)
        if named_at >= 0 and self._lines[start] == _OPENING_BRACE:
            named_at += len(_TYPE_KEY)
            named_until = text.find(_QUOTE, named_at, end)
            if named_until >= 0 and text.find_first_of(_OPENING_OR_ESCAPING, start + 1, named_until) < 0:
                kind = self._lines[named_at:named_until].tobytes()
                if kind in self._unread:
                    self._unread[kind] += 1
                    return
                if kind not in _READ_ALWAYS:
                    # The state keeps a limited number of types, and which ones must not depend on where a file is cut.
                    self._state.count_lines(kind.decode("utf-8", "replace"), 0)
                    self._unread[kind] = 1
                    return
        self._take_line_by_type(start, end)

    def _take_line_by_type(self, start: int, end: int) -> None:
        """Takes a line after a look at its type alone, since other types may use the same names for other things."""
        raw, position = self._lines[start:end], self._position(start)
        line, books = _NO_LINE, None
        self._times.line_start = start
        try:
            kind = _decode_kind(raw).type
            if kind in {"assistant", "progress"}:
                line = _decode_progress(raw)
            elif kind == "cost-state":
                books = _decode_cost_state(raw)
        except _REFUSED:
            self._take_damaged_line(bytes(raw), position)
            return
        if kind == "assistant":
            self.calls.take(line, position)
        elif kind == "progress":
            self._take_progress(line, None if line.data is None else line.data.message, position)
        elif books is not None:
            self._take_cost_state(books, position)
        else:
            self._state.count_lines(_NO_TYPE if kind is None else kind)

    def _take_damaged_line(self, line: bytes, position: str) -> None:
        """Takes every record that can be had of a line, and rejects what shows that a call was lost."""
        records = decode_records(line, is_record=_is_line)
        if not records:
            self._state.count_lines(_BLANK)
        for index, record in enumerate(records):
            place = f"{position}+{index}" if index else position
            if isinstance(record, dict):
                self._take_record(record, place)
                self._times.earlier_in_line.append(utc_time(text_of(record, "timestamp")))
            elif not isinstance(record, Damaged):
                self._state.count_lines(_NOT_AN_OBJECT)
            elif _is_sign_of_call(record.text):
                self.calls.reject(place, "not_json")
            else:
                self._state.count_lines(_NOT_JSON)
        self._times.earlier_in_line.clear()

    def _take_record(self, record: dict[str, object], position: str) -> None:
        kind = text_of(record, "type")
        if kind == "assistant":
            mended = mend_line(record)
            self.calls.take(mended.line, position, mended=mended)
        elif kind == "progress":
            copy = part_of(part_of(record, "data") or {}, "message")
            mended = mend_line(copy or {})
            self._take_progress(mend_line(record).line, mended.line, position, mended=mended)
        elif kind == "cost-state":
            self._take_cost_state(mend_cost_state(record), position)
        else:
            self._state.count_lines(_NO_TYPE if kind is None else kind)

    def _take_progress(self, line: Line, copy: Line | None, position: str, *, mended: Mended | None = None) -> None:
        """Takes the copy of a sub-agent's line that a progress line may hold; what it lacks, the line around it has."""
        if copy is None or copy.type != "assistant" or copy.message is None or copy.message.usage is None:
            self._state.count_lines("progress")
            return
        if not utc_time(copy.timestamp):
            copy.timestamp = line.timestamp
        copy.cwd = copy.cwd or line.cwd
        copy.session_id = copy.session_id or line.session_id
        copy.request_session_id = copy.request_session_id or line.request_session_id
        copy.version = copy.version or line.version
        copy.git_branch = copy.git_branch or line.git_branch
        self.calls.take(copy, position, mended=mended, is_mirror=True)

    def _take_cost_state(self, line: CostStateLine, position: str) -> None:
        self._state.count_lines("cost-state")
        session_id = line.session_id or self._state.file_session_id
        self.reported_totals += totals_of(line, session_id=session_id, position=position)

    def _position(self, start: int) -> str:
        return f"{self._position_prefix}{self._offset + start}"


def _is_line(record: dict[str, object]) -> bool:
    """Whether an object found behind a torn record is a line of its own and no part of one."""
    return "type" in record and ("uuid" in record or "sessionId" in record or "timestamp" in record)


def _is_utf_16(head: bytes) -> bool:
    """Whether a file that begins so is UTF-16, with or without a byte order mark."""
    return head[:2] in (b"\xff\xfe", b"\xfe\xff", b"{\x00") or (head[1:2] == b"{" and head[0] == head[-1] == 0)
