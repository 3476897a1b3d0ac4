"""Claude Code's transcripts parsed without a ledger: for measurements, and for what is asked of them themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import NamedTuple

import msgspec

from tallystick.collector.checkpoint import storable
from tallystick.collector.discover import Problem, TranscriptFile
from tallystick.collector.project import ProjectResolver
from tallystick.collector.reader import Job, open_tail, state_of
from tallystick.collector.tail import LineBuffer
from tallystick.collector.workers import SHARES_PER_WORKER, Workers, share_out, worker_count
from tallystick.sources import claude_code
from tallystick.sources.claude_code import Parsed, ParserState


class ParsedFiles(NamedTuple):
    """What `summarize` made of each process's share, and the files that could not be read."""

    summaries: list[bytes]
    problems: list[Problem]


class _Answer(NamedTuple):
    summary: bytes
    problems: list[Problem]


_encode = msgspec.msgpack.encode
_decode = msgspec.msgpack.Decoder(_Answer).decode


def parse_files(
    files: Sequence[TranscriptFile],
    *,
    summarize: Callable[[Iterator[Parsed]], bytes],
    device: str,
    workers: int | None = None,
) -> ParsedFiles:
    """Parse whole transcripts in as many processes as an import of them takes.

    `summarize` runs in each of these and turns all that one of them parsed into the bytes that it answers.
    """

    def work(shares: Iterable[Sequence[TranscriptFile]]) -> Iterator[bytes]:
        problems: list[Problem] = []
        summary = summarize(_parsed(chain.from_iterable(shares), device=device, problems=problems))
        yield _encode(_Answer(summary, problems))

    count = min(workers or worker_count(), len(files))
    if count <= 1:
        answers = [_decode(answer) for answer in work([files])]
    else:
        shares = share_out(files, [file.size for file in files], count * SHARES_PER_WORKER)
        with Workers(shares, work, count=count) as running:
            answers = [_decode(answer) for answer in running.messages()]
    return ParsedFiles([answer.summary for answer in answers], [p for answer in answers for p in answer.problems])


def _parsed(files: Iterable[TranscriptFile], *, device: str, problems: list[Problem]) -> Iterator[Parsed]:
    buffer, projects = LineBuffer(), ProjectResolver({})
    for file in files:
        job = Job(0, file, None, b"")
        try:
            with open_tail(job, buffer) as tail:
                state: ParserState = state_of(job, is_anew=tail.is_anew)
                for chunk in tail.chunks():
                    yield claude_code.parse(
                        chunk.lines,
                        offset=chunk.offset,
                        state=state,
                        project_of=projects.resolve,
                        device=device,
                    )
        except OSError as error:
            problems.append(Problem(storable(file.path), error.strerror or str(error)))
