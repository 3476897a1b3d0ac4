"""A history that somebody made up, what was really used in it, and how figures of it are compared."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple
from zoneinfo import ZoneInfo

from tests.corpus import histories
from tests.corpus.histories import Tokens
from tests.corpus.reading import written

TIME_ZONE = "Europe/Berlin"
# what a history is called that has nothing unusual in it
PLAIN = "plain"
# 10:00 in Berlin
BEGIN = datetime(2026, 9, 1, 8, tzinfo=UTC)
# long enough after the last call for every file to be at rest
WRITTEN_AT_S = datetime(2026, 9, 9, tzinfo=UTC).timestamp()

# The list prices in dollars per million tokens: input, writes for five minutes, reads, output.
LIST_PRICES = {
    "claude-haiku-4-5-20251001": ("1", "1.25", "0.1", "5"),
    "claude-opus-4-6": ("5", "6.25", "0.5", "25"),
    "anthropic/claude-opus-4.6": ("5", "6.25", "0.5", "25"),
    "claude-sonnet-4-5": ("3", "3.75", "0.3", "15"),
    "claude-sonnet-4.5": ("3", "3.75", "0.3", "15"),
    "claude-sonnet-4-5-20250929": ("3", "3.75", "0.3", "15"),
    "gemini-2.5-flash": ("0.3", "0", "0.03", "2.5"),
    "gemini-2.5-pro": ("1.25", "0", "0.125", "10"),
    "gpt-5.1-codex": ("1.25", "0", "0.125", "10"),
    "gpt-5.2": ("1.75", "0", "0.175", "14"),
    "openai/gpt-5.2": ("1.75", "0", "0.175", "14"),
}

# Tokens by day and model. A model that is not told is ''.
Figures = Mapping[tuple[date, str], Tokens]


class Said(NamedTuple):
    """What somebody says was used, and its cost if they say it, give or take `rounded_usd`."""

    tokens: Figures
    cost_usd: Decimal | None = None
    rounded_usd: Decimal = Decimal(0)


class Use(NamedTuple):
    """What one call really used."""

    at: datetime
    model: str
    tokens: Tokens


class Made(NamedTuple):
    """The history `what` of an agent: the calls made in it, and the way its files come into a home.

    `sources` are the agents that wrote it. `cost_usd` is what it cost by the list, where that is compared too.
    """

    sources: tuple[str, ...]
    what: str
    uses: list[Use]
    write: Callable[[Path], object]
    cost_usd: Decimal | None = None

    @property
    def is_about_cost(self) -> bool:
        return self.cost_usd is not None and self.what != PLAIN

    @property
    def truth(self) -> Said:
        tokens = add_up((use.at.astimezone(ZoneInfo(TIME_ZONE)).date(), use.model, use.tokens) for use in self.uses)
        return Said(tokens, self.cost_usd)


def add_up(rows: Iterable[tuple[date, str, Tokens]]) -> Figures:
    """The sums by day and model of what used tokens."""
    sums: dict[tuple[date, str], Tokens] = {}
    for day, model, tokens in rows:
        if any(tokens):
            sums[day, model] = plus(sums.get((day, model), Tokens(0, 0, 0, 0)), tokens)
    return sums


def plus(one: Tokens, other: Tokens) -> Tokens:
    return Tokens(*(mine + its for mine, its in zip(one, other, strict=True)))


def list_cost(uses: Iterable[Use]) -> Decimal:
    """What calls cost by the list, without anything that is special about them."""
    return sum(
        (
            count * Decimal(price) / 1_000_000
            for use in uses
            for count, price in zip(use.tokens, LIST_PRICES[use.model], strict=True)
        ),
        Decimal(0),
    )


def uses_of(calls: Iterable[histories.Call], model: str) -> list[Use]:
    return [Use(call.at, model, call.tokens) for call in calls]


def files(contents: Mapping[str, bytes]) -> Callable[[Path], None]:
    """A way to write files by their places in a home."""

    def write(home: Path) -> None:
        for place, content in contents.items():
            path = home / place
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)

    return write


def lines(contents: Mapping[str, Iterable[Mapping[str, object]]]) -> Callable[[Path], None]:
    """A way to write files of JSON lines, spelled as the agents spell them, without blanks."""
    return files({place: written(*records) for place, records in contents.items()})


def all_of(*writes: Callable[[Path], object]) -> Callable[[Path], None]:
    """A way to write all that several ways write."""

    def write(home: Path) -> None:
        for each in writes:
            each(home)

    return write


def put_to_rest(home: Path) -> None:
    """Nobody has touched a file in it for days."""
    for path in home.rglob("*"):
        if path.is_file():
            os.utime(path, (WRITTEN_AT_S, WRITTEN_AT_S))
