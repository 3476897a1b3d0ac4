"""Transcripts read, parsed, folded and packed into batches, each with the checkpoints that its receipt will cover.

It is loaded only where something is new, because the parser's libraries take longer to import than a report to print.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import msgspec

from tallystick.collector.checkpoint import Checkpoint
from tallystick.collector.discover import TranscriptFile
from tallystick.collector.fold import Fold
from tallystick.collector.project import ProjectResolver
from tallystick.collector.tail import Chunk, LineBuffer, Tail
from tallystick.observation import Observation
from tallystick.sources import claude_code
from tallystick.sources.claude_code import ParserState

BATCH_RECORDS = 1000
# a batch goes out at least this often, so that no checkpoint lags far behind where hardly a line bears usage
BATCH_READ_BYTES = 64 << 20

_encode = msgspec.json.encode
_decode_state = msgspec.json.Decoder(ParserState).decode


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

    `folded` counts the copies that were made one with those sent. The other counts are of what was read since the batch
    before. `projects` are the working directories that were resolved anew.
    """

    events: bytes
    folded: int
    marks: list[FileMark]
    projects: dict[str, str]
    problems: list[tuple[int, str]]
    bytes_read: int
    files_read: int
    line_counts: dict[str, int]


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
        self._marks: dict[int, FileMark] = {}
        self._problems: list[tuple[int, str]] = []
        self._bytes_read = 0
        self._files_read = 0
        self._line_counts: Counter[str] = Counter()

    def read(self, job: Job) -> Iterator[Batch]:
        try:
            with open_tail(job, self._buffer) as tail:
                state = state_of(job, tail)
                counted_before = Counter(state.line_counts)
                for chunk in tail.chunks():
                    self._take(chunk, state)
                    if len(self._fold) >= BATCH_RECORDS or self._bytes_read >= BATCH_READ_BYTES:
                        self._mark(job, tail, state)
                        yield from self.pack()
                self._mark(job, tail, state)
        except OSError as error:
            self._problems.append((job.number, error.strerror or str(error)))
            return
        self._line_counts += Counter(state.line_counts) - counted_before
        self._files_read += 1
        if state.encoding_problem:
            self._problems.append((job.number, f"not UTF-8 but {state.encoding_problem}"))

    def pack(self) -> Iterator[Batch]:
        """Everything taken in so far, in batches of about the same size; the last one carries all that goes along."""
        folded = self._fold.folded
        observations = self._fold.take_all()
        parts = max(1, round(len(observations) / BATCH_RECORDS))
        size = -(-len(observations) // parts)
        for start in range(0, len(observations) - size, size or 1):
            yield Batch(_encode(observations[start : start + size]), 0, [], {}, [], 0, 0, {})
        last = observations[size * (parts - 1) :]
        yield Batch(
            events=_encode(last) if last else b"",
            folded=folded,
            marks=list(self._marks.values()),
            projects=self._projects.take_resolved(),
            problems=self._problems,
            bytes_read=self._bytes_read,
            files_read=self._files_read,
            line_counts=dict(self._line_counts),
        )
        self._marks, self._problems, self._bytes_read, self._files_read = {}, [], 0, 0
        self._line_counts.clear()

    def _take(self, chunk: Chunk, state: ParserState) -> None:
        if chunk.is_unended:
            # the checkpoint stays before this line, and so must the state that belongs to it
            state = _decode_state(_encode(state))
        if chunk.is_too_long:
            position = f"{state.file_stem}:{chunk.offset}"
            reject = Observation(source=claude_code.SOURCE, position=position, reject_reason="line_too_long")
            self._fold.add([reject])
        else:
            parsed = claude_code.parse(
                chunk.lines,
                offset=chunk.offset,
                state=state,
                project_of=self._projects.resolve,
                device=self._device,
            )
            self._fold.add(parsed.observations)
        self._bytes_read += len(chunk.lines)

    def _mark(self, job: Job, tail: Tail, state: ParserState) -> None:
        self._marks[job.number] = FileMark(job.number, tail.checkpoint(), _encode(state))


def open_tail(job: Job, buffer: LineBuffer) -> Tail:
    # a state that this program cannot read any more is as good as none
    checkpoint = job.checkpoint if _read_state(job.parser_state) is not None else None
    return Tail(job.file.path, checkpoint=checkpoint, buffer=buffer, is_whole=claude_code.is_whole_record)


def state_of(job: Job, tail: Tail) -> ParserState:
    state = None if tail.is_anew else _read_state(job.parser_state)
    return state or claude_code.new_state(job.file.path_below_projects)


def _read_state(encoded: bytes) -> ParserState | None:
    try:
        return _decode_state(encoded)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
