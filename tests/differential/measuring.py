"""What Tallystick and the other tools find in the same homes."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from contextlib import closing
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

from tallystick.collector.run import import_new
from tallystick.config import load_settings
from tallystick.db import Database
from tallystick.ledger import Ledger
from tallystick.model import UsageFilter, UsageRow
from tests.corpus.histories import Tokens
from tests.differential.made import TIME_ZONE, Made, Said, add_up, put_to_rest
from tests.differential.tools import TOOLS


class Measured(NamedTuple):
    """A history with what Tallystick says of it, and by title what each tool does that reads its agents."""

    made: Made
    ours: Said
    theirs: dict[str, Said]


def measure(histories: Sequence[Made], folder: Path, ledger_url: str) -> list[Measured]:
    """Lays the histories into homes, none with two that a tool could mix up, and has everybody read them."""
    rounds = _rounds(histories)
    homes = [folder / str(number) for number in range(len(rounds))]
    for home, mades in zip(homes, rounds, strict=True):
        for made in mades:
            made.write(home)
        put_to_rest(home)
    found = {tool.title: tool.read(homes) for tool in TOOLS}
    measured = []
    with closing(Database.connect(ledger_url)) as database:
        for number, (home, mades) in enumerate(zip(homes, rounds, strict=True)):
            ledger = take_in(home, database)
            for made in mades:
                theirs = {
                    tool.title: tool.says_of(found[tool.title][number], made.sources)
                    for tool in TOOLS
                    if tool.can_say(made)
                }
                measured.append(Measured(made, _said_by_us(ledger, made), theirs))
    return sorted(measured, key=lambda each: histories.index(each.made))


def _rounds(histories: Iterable[Made]) -> list[list[Made]]:
    rounds: list[tuple[set[str], list[Made]]] = []
    for made in histories:
        agents = {tool.agents.get(source, source) for tool in TOOLS for source in made.sources}
        at = next((at for at, (taken, _) in enumerate(rounds) if not taken & agents), len(rounds))
        taken, mades = rounds[at] if at < len(rounds) else (set(), [])
        rounds[at : at + 1] = [(taken | agents, [*mades, made])]
    return [mades for _, mades in rounds]


def take_in(home: Path, database: Database) -> Ledger:
    """The books of somebody new, who has nothing but what is in this home."""
    user_id = str(uuid.uuid4())
    environ = {"HOME": str(home), "TALLYSTICK_HOME": str(home / "tallystick"), "USER_ID": user_id, "TZ": TIME_ZONE}
    ledger = Ledger(database, user_id=user_id)
    summary = import_new(ledger, load_settings(environ), workers=1)
    assert summary.problems == ()
    return ledger


def _said_by_us(ledger: Ledger, made: Made) -> Said:
    rows = ledger.usage_daily(UsageFilter(sources=list(made.sources)), by="model")
    return Said(
        add_up((row.period_start or date.min, row.model or "", _tokens_of(row)) for row in rows),
        sum((row.cost_usd or Decimal(0) for row in rows), Decimal(0)),
    )


def _tokens_of(row: UsageRow) -> Tokens:
    return Tokens(row.input_tokens, row.cache_creation_tokens, row.cache_read_tokens, row.output_tokens)
