"""Transcripts read, parsed, folded and packed into batches, each with the checkpoints that its receipt will cover.

It is loaded only where something is new, because the parser's libraries take longer to import than a report to print.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from importlib import import_module
from typing import Any, NamedTuple

import msgspec

from tallystick.catalog import Layout
from tallystick.collector.checkpoint import Checkpoint, has_rested
from tallystick.collector.compressed import SUFFIX, CompressedLines
from tallystick.collector.database import NotADatabase, open_database
from tallystick.collector.discover import TranscriptFile
from tallystick.collector.document import read_document
from tallystick.collector.fold import Fold, LimitFold
from tallystick.collector.project import ProjectResolver
from tallystick.collector.tail import Chunk, LineBuffer, Tail
from tallystick.observation import LimitObservation, Observation, Snapshot
from tallystick.sources.formats import DatabaseFormat, DocumentFormat, FileState, Format, LineFormat, NotWhole, Parsed

BATCH_RECORDS = 1000
# a batch goes out at least this often, so that no checkpoint lags far behind where hardly a line bears usage
BATCH_READ_BYTES = 64 << 20

_encode = msgspec.json.encode


class Job(NamedTuple):
    """One file to read on, and what is known of it; `number` stands for it wherever a path would be longer."""

    number: int
    file: TranscriptFile
    checkpoint: Checkpoint | None
    parser_state: bytes


class FileMark(NamedTuple):
    """How far one file is covered once the batch has its receipt."""

    number: int
    checkpoint: Checkpoint
    parser_state: bytes


class Batch(NamedTuple):
    """Observations on their way to the ledger, as a JSON list, with what goes along; no list where there are none.

    `snapshots` are running totals of sessions, `limits` what providers said of their plans. `folded` counts the copies
    that were made one with those sent. The other counts are of what was read since the batch before; `line_counts` are
    by source and type. `projects` are the working directories that were resolved anew.
    """

    events: bytes
    snapshots: list[Snapshot]
    limits: list[LimitObservation]
    folded: int
    marks: list[FileMark]
    projects: dict[str, str]
    problems: list[tuple[int, str]]
    bytes_read: int
    files_read: int
    line_counts: dict[str, dict[str, int]]


def read_batches(jobs: Iterable[Job], *, projects: ProjectResolver, device: str) -> Iterator[Batch]:
    """Read files one after the other; every mark stands in the batch that holds the last of what it covers, or later.

    A file that is gone or cannot be read is named in `problems`, and what was read of it before stays.
    """
    reader = _Reader(projects, device=device)
    for job in jobs:
        yield from reader.read(job)
    yield from reader.pack()


class _Reader:
    """The batch in the making."""

    def __init__(self, projects: ProjectResolver, *, device: str) -> None:
        self._projects = projects
        self._device = device
        self._buffer = LineBuffer()
        self._fold = Fold()
        self._snapshots: list[Snapshot] = []
        self._limits = LimitFold()
        self._marks: dict[int, FileMark] = {}
        self._problems: list[tuple[int, str]] = []
        self._bytes_read = 0
        self._files_read = 0
        self._line_counts: dict[str, Counter[str]] = {}
        self._ways: dict[str, Callable[[Job], Iterator[Batch]]] = {
            "lines": self._read_lines,
            "document": self._read_document,
            "database": self._read_database,
        }

    def read(self, job: Job) -> Iterator[Batch]:
        try:
            yield from self._ways[job.file.layout.kind](job)
        except OSError as error:
            self._problems.append((job.number, error.strerror or str(error)))

    def pack(self) -> Iterator[Batch]:
        """Everything taken in so far, in batches of about the same size; the last one carries all that goes along."""
        folded = self._fold.folded
        observations = self._fold.take_all()
        parts = max(1, round(len(observations) / BATCH_RECORDS))
        size = -(-len(observations) // parts)
        for start in range(0, len(observations) - size, size or 1):
            yield Batch(_encode(observations[start : start + size]), [], [], 0, [], {}, [], 0, 0, {})
        last = observations[size * (parts - 1) :]
        yield Batch(
            events=_encode(last) if last else b"",
            snapshots=self._snapshots,
            limits=self._limits.take_all(),
            folded=folded,
            marks=list(self._marks.values()),
            projects=self._projects.take_resolved(),
            problems=self._problems,
            bytes_read=self._bytes_read,
            files_read=self._files_read,
            line_counts={source: dict(counts) for source, counts in self._line_counts.items()},
        )
        self._marks, self._problems, self._bytes_read, self._files_read = {}, [], 0, 0
        self._snapshots, self._line_counts = [], {}

    # -- lines

    def _read_lines(self, job: Job) -> Iterator[Batch]:
        reading: LineFormat = format_of(job.file.layout)
        with _open_lines(job, self._buffer) as tail:
            state = state_of(job, is_anew=tail.is_anew)
            counted_before = Counter(state.line_counts)
            for chunk in self._chunks(job, tail):
                taken = state
                if chunk.is_unended:
                    # the checkpoint stays before this line, and so must the state that belongs to it
                    taken = _copy_of(state)
                if chunk.is_too_long:
                    position = f"{_stem_of(job.file.path)}:{chunk.offset}"
                    self._take(_one_reject(reading.SOURCE, position=position, reason="line_too_long"))
                else:
                    self._take(
                        reading.parse(
                            chunk.lines,
                            offset=chunk.offset,
                            state=taken,
                            project_of=self._projects.resolve,
                            device=self._device,
                        )
                    )
                self._bytes_read += len(chunk.lines)
                if self._is_full():
                    self._mark(job, tail.checkpoint(), state)
                    yield from self.pack()
            self._mark(job, tail.checkpoint(), state)
        self._finish(job, reading, state, counted_before)

    def _chunks(self, job: Job, tail: Tail | CompressedLines) -> Iterator[Chunk]:
        """The chunks of a file; where a compressed one is torn, what stands before the tear."""
        try:
            yield from tail.chunks()
        except NotWhole as error:
            if tail.checkpoint().is_settled:
                self._problems.append((job.number, str(error)))

    # -- documents

    def _read_document(self, job: Job) -> Iterator[Batch]:
        reading: DocumentFormat = format_of(job.file.layout)
        document = read_document(job.file)
        state = state_of(job, is_anew=False)
        counted_before = Counter(state.line_counts)
        self._bytes_read += len(document.content)
        try:
            parsed = reading.parse_document(
                document.content, state=state, project_of=self._projects.resolve, device=self._device
            )
        except NotWhole as error:
            unread = document.unread_checkpoint(str(error))
            if unread.fault:
                self._problems.append((job.number, unread.fault))
            self._marks[job.number] = FileMark(job.number, unread, job.parser_state)
            return
        self._take(parsed)
        self._mark(job, document.checkpoint(), state)
        self._finish(job, reading, state, counted_before)
        if self._is_full():
            yield from self.pack()

    # -- databases

    def _read_database(self, job: Job) -> Iterator[Batch]:
        reading: DatabaseFormat = format_of(job.file.layout)
        # what a state says of one database says nothing of another in its place
        is_another = job.checkpoint is not None and job.checkpoint[:2] != job.file[1:3]
        state = state_of(job, is_anew=is_another)
        counted_before = Counter(state.line_counts)
        # a log is written over in place: only its time tells of that, and within one tick of the clock not even that
        checkpoint = Checkpoint(
            *job.file[1:5], job.file.size, b"", is_settled=has_rested(job.file.mtime_ns), pending_bytes=0
        )
        try:
            with open_database(job.file.path) as database:
                columns = database.columns()
                queries = reading.queries(columns, state)
                if columns and not queries:
                    checkpoint = checkpoint._replace(fault="has no table that is known")
                    self._problems.append((job.number, checkpoint.fault))
                for query in queries:
                    for rows in database.ask(query, rows_at_once=query.rows_at_once):
                        self._take(
                            reading.take_rows(
                                query, rows, state=state, project_of=self._projects.resolve, device=self._device
                            )
                        )
                        if self._is_full():
                            yield from self.pack()
        except NotADatabase as error:
            # which may pass: it is not settled, and asked again
            unread = checkpoint._replace(offset=0, is_settled=False, pending_bytes=job.file.size, fault=str(error))
            self._problems.append((job.number, unread.fault))
            self._marks[job.number] = FileMark(job.number, unread, b"" if is_another else job.parser_state)
            return
        self._bytes_read += job.file.size
        self._mark(job, checkpoint, state)
        self._finish(job, reading, state, counted_before)

    # -- all of them

    def _take(self, parsed: Parsed) -> None:
        self._fold.add(parsed.observations)
        self._snapshots += parsed.snapshots
        self._limits.add(parsed.limits)

    def _is_full(self) -> bool:
        held = max(len(self._fold), len(self._snapshots), len(self._limits))
        return held >= BATCH_RECORDS or self._bytes_read >= BATCH_READ_BYTES

    def _mark(self, job: Job, checkpoint: Checkpoint, state: FileState) -> None:
        if state.encoding_problem:
            checkpoint = checkpoint._replace(fault=_fault_of(state))
        self._marks[job.number] = FileMark(job.number, checkpoint, _encode(state))

    def _finish(self, job: Job, reading: Format, state: FileState, counted_before: Counter[str]) -> None:
        counts = self._line_counts.setdefault(reading.SOURCE, Counter())
        counts += Counter(state.line_counts) - counted_before
        self._files_read += 1
        if state.encoding_problem:
            self._problems.append((job.number, _fault_of(state)))


def format_of(layout: Layout) -> Any:
    """The module that reads files of a layout: of its kind in sources/formats.py."""
    return import_module(f"tallystick.sources.{layout.module}")


def _open_lines(job: Job, buffer: LineBuffer) -> Tail | CompressedLines:
    if job.file.path.endswith(SUFFIX):
        return CompressedLines(job.file.path, is_whole=format_of(job.file.layout).is_whole_record)
    return open_tail(job, buffer)


def open_tail(job: Job, buffer: LineBuffer) -> Tail:
    # a state that this program cannot read any more is as good as none
    checkpoint = job.checkpoint if _read_state(job) is not None else None
    reading: LineFormat = format_of(job.file.layout)
    return Tail(job.file.path, checkpoint=checkpoint, buffer=buffer, is_whole=reading.is_whole_record)


def state_of(job: Job, *, is_anew: bool) -> Any:
    """The state that belongs to a job's checkpoint, or that of the file's start."""
    state = None if is_anew else _read_state(job)
    return state or format_of(job.file.layout).new_state(job.file.path)


def _read_state(job: Job) -> Any:
    try:
        return _state_decoder(job.file.layout.module)(job.parser_state)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


def _fault_of(state: FileState) -> str:
    return f"not UTF-8 but {state.encoding_problem}"


def _copy_of(state: FileState) -> Any:
    return msgspec.json.decode(_encode(state), type=type(state))


@cache
def _state_decoder(module: str) -> Callable[[bytes], Any]:
    state_class = import_module(f"tallystick.sources.{module}").ParserState
    return msgspec.json.Decoder(state_class).decode


def _one_reject(source: str, *, position: str, reason: str) -> Parsed:
    return Parsed([Observation(source=source, position=position, reject_reason=reason)])


def _stem_of(path: str) -> str:
    return path.replace("\\", "/").rpartition("/")[2].removesuffix(SUFFIX).removesuffix(".jsonl")
