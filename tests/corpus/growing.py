"""Files of agents that grow step by step, and the collector's own reader that looks at them meanwhile."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import msgspec

from tallystick.collector.discover import TranscriptFile, discover_paths
from tallystick.collector.project import ProjectResolver
from tallystick.collector.reader import FileMark, Job, read_batches
from tallystick.observation import Observation, Snapshot

# whatever was written at such a time has rested
LONG_AGO_S = 1_780_000_000

_decode_events = msgspec.json.Decoder(list[Observation]).decode


class Growing(Protocol):
    """A file in the making; `lanes` are its parts that grow independently of each other."""

    lanes: int

    def grow(self, path: Path, lane: int, share: int) -> None:
        """Writes more of it; `share`, any number, says how much."""

    def finish(self, path: Path) -> None:
        """Writes the rest."""


class Lines:
    """Lines that are appended, in pieces that end at any byte."""

    lanes = 1

    def __init__(self, content: bytes) -> None:
        self._rest = content

    def grow(self, path: Path, lane: int, share: int) -> None:
        del lane
        self._append(path, share % (len(self._rest) + 1))

    def finish(self, path: Path) -> None:
        self._append(path, len(self._rest))

    def _append(self, path: Path, size: int) -> None:
        with path.open("ab") as file:
            file.write(self._rest[:size])
        self._rest = self._rest[size:]


class Document:
    """A document in all its states, of which any may be met half written."""

    lanes = 1

    def __init__(self, states: Sequence[bytes]) -> None:
        self._states = list(states)

    def grow(self, path: Path, lane: int, share: int) -> None:
        del lane
        is_torn, share = share % 2, share // 2
        state = self._states[0]
        path.write_bytes(state[: share % len(state)] if is_torn else state)
        if not is_torn and len(self._states) > 1:
            del self._states[0]

    def finish(self, path: Path) -> None:
        path.write_bytes(self._states[-1])


class Database:
    """A database whose agent has it open, and what each of its sessions writes, several writes to a commit.

    An agent of which nothing is kept open is its path, and each of its writes is a commit.
    """

    def __init__(self, open_: Callable[[Path], Any], *lanes: Iterable[Callable[[Any], object]]) -> None:
        self.lanes = len(lanes)
        self._open = open_
        self._writes = [list(writes) for writes in lanes]
        self._agent: Any = None

    def grow(self, path: Path, lane: int, share: int) -> None:
        self._commit(path, lane, share % (len(self._writes[lane]) + 1))

    def finish(self, path: Path) -> None:
        for lane, writes in enumerate(self._writes):
            self._commit(path, lane, len(writes))
        if connection := _connection_of(self._agent):
            connection.close()

    def _commit(self, path: Path, lane: int, count: int) -> None:
        self._agent = self._agent or self._open(path)
        writes, self._writes[lane] = self._writes[lane][:count], self._writes[lane][count:]
        connection = _connection_of(self._agent)
        if connection is None:
            path.touch()
        else:
            connection.execute("begin")
        for write in writes:
            write(self._agent)
        # a change of the schema has committed already
        if connection is not None and connection.in_transaction:
            connection.execute("commit")


def _connection_of(agent: Any) -> sqlite3.Connection | None:
    connection = getattr(agent, "connection", agent)
    return connection if isinstance(connection, sqlite3.Connection) else None


class Seen(NamedTuple):
    """What readings gave, and by file what is kept of it and what was wrong with it."""

    observations: list[Observation]
    snapshots: list[Snapshot]
    marks: dict[str, FileMark]
    problems: dict[str, str]


class Collector:
    """Reads files of one source as the collector does, what it kept of each at hand again, and remembers all it saw."""

    def __init__(self, source: str) -> None:
        self.seen = Seen([], [], {}, {})
        self._source = source
        self._projects = ProjectResolver({})

    def look(self, paths: Sequence[Path], *, is_anew: bool = False) -> None:
        """Reads on, or from the start where everything that was kept is lost."""
        if is_anew:
            self.seen.marks.clear()
        files = [file for path in paths for file in discover_paths([path], source=self._source).files]
        self.seen.problems.clear()
        for batch in read_batches(map(self._job, range(len(files)), files), projects=self._projects, device="laptop"):
            self.seen.observations.extend(_decode_events(batch.events) if batch.events else [])
            self.seen.snapshots.extend(batch.snapshots)
            self.seen.marks.update({files[mark.number].path: mark for mark in batch.marks})
            self.seen.problems.update({files[number].path: reason for number, reason in batch.problems})

    def _job(self, number: int, file: TranscriptFile) -> Job:
        mark = self.seen.marks.get(file.path)
        return Job(number, file, mark and mark.checkpoint, mark.parser_state if mark else b"")


class Home:
    """A home in which the files of one source grow."""

    def __init__(self, folder: Path, files: Mapping[str, Growing]) -> None:
        self._lanes = [(folder / place, file, lane) for place, file in files.items() for lane in range(file.lanes)]
        self._files = {folder / place: file for place, file in files.items()}
        self._clock_s = LONG_AGO_S
        for path in self._files:
            path.parent.mkdir(parents=True, exist_ok=True)

    @property
    def paths(self) -> list[Path]:
        return list(self._files)

    def grow(self, which: int, share: int, *, rests: bool) -> Path:
        """Writes more of a file, which is then at rest or just being written."""
        path, file, lane = self._lanes[which % len(self._lanes)]
        file.grow(path, lane, share)
        self._put(path, rests=rests)
        return path

    def finish(self) -> None:
        for path, file in self._files.items():
            file.finish(path)
            self._put(path, rests=True)

    def _put(self, path: Path, *, rests: bool) -> None:
        self._clock_s += 1
        if rests:
            os.utime(path, (self._clock_s, self._clock_s))
