"""An agent at work: it makes a call every few minutes, and knows what it has used."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from datetime import datetime, timedelta
from typing import NamedTuple

from tests.acceptance.day.files import Files
from tests.corpus.histories import Call, Tokens
from tests.corpus.reading import line_ends, written

PAUSE_MINUTES = 5.0
SESSION_CALLS = 25
CLOCK_JUMP = timedelta(hours=3)
LONG_AGO = datetime.fromisoformat("1997-01-01T00:00:00+00:00")


class Used(NamedTuple):
    """Events and the tokens in their buckets."""

    events: int = 0
    input: int = 0
    written: int = 0
    read: int = 0
    output: int = 0

    def plus(self, other: Used) -> Used:
        return Used(*(mine + others for mine, others in zip(self, other, strict=True)))


class Agent(ABC):
    """One that makes a call every few minutes by its own clock, which may be wrong."""

    source: str
    caches_writes = True
    # running totals are of a day, so a session of theirs must not be told of two
    has_times = True

    def __init__(self, files: Files, number: int, random_: random.Random, begin: datetime) -> None:
        self.files = files
        self.number = number
        self.used = Used()
        self._random = random_
        self._next_at = begin + timedelta(minutes=random_.uniform(0, PAUSE_MINUTES))
        self._offset = timedelta(0)
        self._calls = 0
        self._in_session = SESSION_CALLS

    def work(self, until: datetime) -> None:
        """Make every call that is due."""
        while self._next_at < until:
            self._calls += 1
            if self._in_session >= SESSION_CALLS:
                self._in_session = 0
                self.begin_session()
            self._in_session += 1
            call = Call(self.number * 100_000 + self._calls, self._next_at + self._offset, self._make_tokens())
            self.write(call)
            self.used = self.used.plus(self.use_of(call))
            self._next_at += timedelta(minutes=self._random.expovariate(1 / PAUSE_MINUTES))

    def jump(self) -> None:
        """Somebody sets this agent's clock."""
        if self.has_times:
            self._offset = self._random.uniform(-1, 1) * CLOCK_JUMP

    def use_of(self, call: Call) -> Used:
        return Used(1, *call.tokens)

    def stop(self) -> None:
        """Write what is half written, and let go of all files."""
        self.files.finish_all()

    @abstractmethod
    def begin_session(self) -> None: ...

    @abstractmethod
    def write(self, call: Call) -> None: ...

    def _is_halved(self) -> bool:
        return self._random.random() < 0.1

    def _make_tokens(self) -> Tokens:
        random_ = self._random
        written = random_.choice((0, random_.randrange(1, 9000))) if self.caches_writes else 0
        return Tokens(random_.randrange(1, 5000), written, random_.randrange(90_000), random_.randrange(20, 3000))


class LineAgent(Agent):
    """One that appends lines; `places` are the files that it has left, the last one is in use."""

    def __init__(self, files: Files, number: int, random_: random.Random, begin: datetime) -> None:
        super().__init__(files, number, random_, begin)
        self.places: list[str] = []
        self._session = 0

    def begin_session(self) -> None:
        self._session += 1
        self.places.append(self.place_of(f"{self.number:04d}{self._session:04d}"))
        self.begin_file()

    def begin_file(self) -> None:
        """What stands above the calls of a file, if anything."""
        if header := self.header():
            self.files.append(self.places[-1], written(*header))

    def write(self, call: Call) -> None:
        self.files.append(self.places[-1], self.lines_of(call), is_halved=self._is_halved())

    def tear(self) -> None:
        """A crash in the middle of a line, that nothing of it survives; the next one begins another."""
        if self.places:
            line = self.lines_of(Call(99_000_000 + self._calls, self._next_at, self._make_tokens())).splitlines()[-1]
            self.files.append(self.places[-1], line[: self._random.randrange(1, len(line) // 2)] + b"\n")

    def cut(self) -> None:
        """The end of the file in use is lost, as by a crash of the machine, and it goes on from what is left."""
        content = self.files.path(self.places[-1]).read_bytes()
        self.files.truncate(self.places[-1], self._random.choice(line_ends(content)))
        if self.files.path(self.places[-1]).stat().st_size == 0:
            self.begin_file()

    @abstractmethod
    def place_of(self, session: str) -> str: ...

    def header(self) -> list[dict[str, object]]:
        return []

    @abstractmethod
    def lines_of(self, call: Call) -> bytes: ...
