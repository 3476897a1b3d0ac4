"""What an agent that is made up has left in a home, with the truth about it kept while it is made.

A longer history of the same seed begins as a shorter one, so that two of them are one agent at two times.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

BEGIN = datetime(2026, 9, 1, 8, tzinfo=UTC)


class Tokens(NamedTuple):
    """What one call used, in buckets that do not overlap."""

    input: int
    written: int
    read: int
    output: int

    @property
    def prompt(self) -> int:
        return self.input + self.written + self.read


class Call(NamedTuple):
    """One call of the truth."""

    number: int
    at: datetime
    tokens: Tokens

    @property
    def at_ms(self) -> int:
        return round(self.at.timestamp() * 1000)

    @property
    def at_text(self) -> str:
        return self.at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


class History(NamedTuple):
    """Files by their places in a home, and the calls in them."""

    files: dict[str, bytes]
    calls: list[Call]

    @property
    def content(self) -> bytes:
        (content,) = self.files.values()
        return content

    @property
    def path(self) -> str:
        (path,) = self.files
        return path

    @property
    def tokens(self) -> Tokens:
        return sum_of(call.tokens for call in self.calls)


def sum_of(tokens: Iterator[Tokens]) -> Tokens:
    return Tokens(*map(sum, zip((0, 0, 0, 0), *tokens, strict=True)))


def make_calls(seed: int, count: int) -> list[Call]:
    random_ = random.Random(seed)
    calls, at = [], BEGIN + timedelta(milliseconds=random_.randrange(86_400_000))
    for number in range(count):
        at += timedelta(milliseconds=random_.randrange(1, 600_000))
        tokens = Tokens(
            random_.randrange(1, 5000),
            random_.choice((0, random_.randrange(1, 9000))),
            random_.randrange(90_000),
            random_.randrange(1, 3000),
        )
        calls.append(Call(number, at, tokens))
    return calls
