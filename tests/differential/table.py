"""The two tables of docs/differences.md: as they were measured, and as they are written."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import date
from decimal import Decimal
from functools import partial
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple

from tests.corpus.histories import Tokens
from tests.differential.made import Said, plus
from tests.differential.measuring import Measured

DOCUMENT = Path(__file__).parents[2] / "docs" / "differences.md"


class Difference(NamedTuple):
    """A history on which a tool says something else than what was used; `why` is nobody's measurement."""

    agent: str
    what: str
    truth: str
    ours: str
    tool: str
    theirs: str
    why: str = ""


class Agreement(NamedTuple):
    """A history on which we and these tools say what was used."""

    agent: str
    what: str
    tools: str


def differences_in(measured: Iterable[Measured]) -> Iterator[Difference]:
    for each in measured:
        for tool, theirs in each.theirs.items():
            if not is_right(each, theirs):
                show = _way_to_show(each.made.truth, theirs)
                truth, ours = show(each.made.truth), show(each.ours)
                yield Difference(" and ".join(each.made.sources), each.made.what, truth, ours, tool, show(theirs))


def agreements_in(measured: Iterable[Measured]) -> Iterator[Agreement]:
    for each in measured:
        agreed = [tool for tool, theirs in each.theirs.items() if is_right(each, theirs)]
        if agreed:
            yield Agreement(" and ".join(each.made.sources), each.made.what, ", ".join(agreed))


def is_right(measured: Measured, said: Said) -> bool:
    """Whether somebody says what was used, in every bucket of every day and model, and its cost where it is known."""
    truth = measured.made.truth
    if truth.cost_usd is None or said.cost_usd is None:
        return said.tokens == truth.tokens
    return said.tokens == truth.tokens and abs(said.cost_usd - truth.cost_usd) <= said.rounded_usd


def written_differences() -> list[Difference]:
    return [Difference(*cells) for cells in rows_below("| agent | history | used | Tallystick |")]


def written_agreements() -> list[Agreement]:
    return [Agreement(*cells) for cells in rows_below("| agent | history | tools |")]


def rows_below(header: str) -> list[list[str]]:
    lines = DOCUMENT.read_text().splitlines()
    (at,) = [number for number, line in enumerate(lines) if line.startswith(header)]
    rows = takewhile(lambda line: line.startswith("|"), lines[at + 2 :])
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


def _way_to_show(truth: Said, theirs: Said) -> Callable[[Said], str]:
    """As sums if they differ, else by day or by model if those do, else as a cost."""
    for label in (_no_label, _day_label, _model_label):
        if _grouped(truth, label) != _grouped(theirs, label):
            return partial(_shown, label)
    return _shown_cost


def _no_label(_day: date, _model: str) -> str:
    return ""


def _day_label(day: date, _model: str) -> str:
    return day.isoformat()


def _model_label(_day: date, model: str) -> str:
    return model or "no model"


def _grouped(said: Said, label: Callable[[date, str], str]) -> dict[str, Tokens]:
    sums: dict[str, Tokens] = {}
    for (day, model), tokens in sorted(said.tokens.items()):
        name = label(day, model)
        sums[name] = plus(sums.get(name, Tokens(0, 0, 0, 0)), tokens)
    return sums


def _shown(label: Callable[[date, str], str], said: Said) -> str:
    sums = _grouped(said, label).items()
    return "; ".join(f"{name}: {_counts(tokens)}" if name else _counts(tokens) for name, tokens in sums) or "nothing"


def _shown_cost(said: Said) -> str:
    return f"${said.cost_usd or Decimal(0):f}".rstrip("0")


def _counts(tokens: Tokens) -> str:
    return " / ".join(f"{count:,}" for count in tokens)
