"""`tally doctor`: where things are, what was found, what was not counted and why, and what the agent itself says."""

# pathlib raises where a folder above is closed to us
# ruff: noqa: PTH112

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from decimal import Decimal

import click

from tallystick.catalog import CLAUDE_CODE, Layout
from tallystick.cli.books import Books, open_books
from tallystick.cli.cells import byte_size, dollars, grouped, label, plural, short_ids, wrapped
from tallystick.cli.import_new import take_in_what_is_new
from tallystick.cli.options import CommonOptions, common_options
from tallystick.cli.reconcile import Reconciled, reconcile, unknown_lines
from tallystick.cli.render import Column, Kind, Line, render_table
from tallystick.cli.terminal import Terminal, look_at_output, write_lines
from tallystick.collector.discover import Discovery, Problem, discover
from tallystick.collector.run import known_files, problems_of
from tallystick.config import Settings
from tallystick.embedded import EmbeddedServer
from tallystick.model import DoubleSessionRow, RejectRow, UsageFilter, UsageRow
from tallystick.redaction import redacted_url
from tallystick.totals import add_up

MOST_LISTED = 10
CENT = Decimal("0.005")


@click.command()
@click.option("--no-import", is_flag=True, help="Do not take in what is new first.")
@common_options
@click.pass_obj
def doctor(common: CommonOptions, no_import: bool) -> None:
    """Show where transcripts are looked for, what was found, what was not counted and why.

    Reads all transcripts once more, to set what the agent itself says that each session cost (where it says so) beside
    what the ledger holds for the same calls. With --verbose every session is listed, not only the largest gaps.
    """
    with open_books(common) as opened:
        books = opened if no_import else take_in_what_is_new(opened, common)
        found = discover(books.settings.roots)
        terminal = look_at_output()
        problems = problems_of(found, known_files(books.settings, books.state))
        _section("Transcripts", transcript_lines(books.settings, found, problems), terminal)
        days = books.ledger.usage_daily(UsageFilter())
        _section("Ledger", [*_place_lines(books), *ledger_lines(books, days)], terminal)
        models = books.ledger.usage_models(UsageFilter())
        _section("Not counted", rejected_lines(books.ledger.rejects(), unknown_lines(books)), terminal)
        _section("Unpriced models", unpriced_lines(models), terminal)
        _section("Counted twice", double_lines(books.ledger.double_sessions()), terminal)
        compared = reconcile(books, [file for file in found.files if file.layout == CLAUDE_CODE])
        _section("What Claude Code says beside the ledger", gap_lines(compared, terminal, common.verbose), terminal)


def _section(title: str, lines: Sequence[str], terminal: Terminal) -> None:
    strong, reset = terminal.palette.strong, terminal.palette.reset
    write_lines(["", f"{strong}{title}{reset}", *(f"  {line}" if line else "" for line in lines)], terminal=terminal)


def transcript_lines(settings: Settings, found: Discovery, problems: Sequence[Problem]) -> list[str]:
    """Each place and what lies in it, and what of it cannot be read; of other agents only places that there are."""
    lines = []
    layouts: dict[str, list[Layout]] = {}
    for path, layout in settings.roots:
        layouts.setdefault(str(path), []).append(layout)
    for root, kept in layouts.items():
        inside = f"{os.path.realpath(root)}/"
        files = [file for file in found.files if file.layout in kept and file.path.startswith(inside)]
        if os.path.isdir(root):
            size = sum(file.size for file in files)
            lines.append(f"{root}: {plural(len(files), 'file')}, {byte_size(size)}")
        elif CLAUDE_CODE in kept and all(problem.path != root for problem in problems):
            lines.append(f"{root}: not there")
    return lines + [f"{problem.path}: {problem.reason}" for problem in problems]


def _place_lines(books: Books) -> list[str]:
    settings = books.settings
    if settings.database_url is not None:
        place = f"server: {redacted_url(settings.database_url)}"
    else:
        status = EmbeddedServer(settings.embedded_dir).status()
        place = f"server: embedded Postgres {status.version} in {status.data_dir}"
    return [place, f"schema: {books.state.last_migration}", f"settings: {settings.config_file}"]


def ledger_lines(books: Books, days: Sequence[UsageRow]) -> list[str]:
    """Whose books these are and what is in them."""
    lines = [f"user: {books.state.user_id}, whose days are those of {books.time_zone}"]
    if not days:
        return [*lines, "no usage yet"]
    totals = add_up(days)
    calls = sum(row.event_count for row in days)
    span = f"{plural(len(days), 'day')} from {days[0].period_start} to {days[-1].period_start}"
    return [*lines, f"{plural(calls, 'call')} on {span}, {dollars(totals.cost_usd)}"]


def rejected_lines(rejects: Sequence[RejectRow], unknown: Counter[str]) -> list[str]:
    """Records that could not be counted by reason, and lines of types that nobody has told us of."""
    lines = [
        f"rejected, {row.reason}: {plural(row.record_count, 'record')} (one at {label(row.position)})"
        for row in rejects
    ]
    for name, count in sorted(unknown.items(), key=lambda item: (-item[1], item[0])):
        kind = label(name).strip("()") if name.startswith("(") else f"of the unknown type {label(name)}"
        lines.append(f"passed over, {kind}: {plural(count, 'line')}")
    return lines or ["nothing: every line is of a known type, and no record was rejected"]


def unpriced_lines(models: Sequence[UsageRow]) -> list[str]:
    """Each model without a price."""
    unpriced = [row for row in models if row.unpriced_event_count]
    if not unpriced:
        return ["none"]
    lines = [f"{label(row.model)}: {plural(row.unpriced_event_count, 'event')}" for row in unpriced]
    return [*lines, "Put prices that fit (also their speed and tier) into prices.json, then run `tally rerate`."]


def double_lines(sessions: Sequence[DoubleSessionRow]) -> list[str]:
    """Each session whose running totals were sent in although its calls are known."""
    lines = [
        f"{label(row.session_id)}: by snapshots and by {label(row.other_source)}" for row in sessions[:MOST_LISTED]
    ]
    left = len(sessions) - len(lines)
    return [*lines, *([f"and {plural(left, 'more session')}"] if left else [])] or ["nothing"]


def gap_lines(compared: Sequence[Reconciled], terminal: Terminal, is_verbose: bool) -> list[str]:
    """Each session's two costs and the gap, largest gap first."""
    if not compared:
        return ["Nothing: its older versions kept no books of their own, and one that is killed writes none."]
    gaps = sorted(compared, key=lambda one: (-abs(one.gap_usd), one.session_id))
    apart = [one for one in gaps if abs(one.gap_usd) >= CENT]
    lines = [f"{plural(len(compared), 'session')} compared, {grouped(len(compared) - len(apart))} equal to the cent."]
    shown = gaps if is_verbose else apart[:MOST_LISTED]
    if not shown:
        return lines
    ids = short_ids([one.session_id for one in compared])
    columns = [
        Column("Session", Kind.LABEL, least_width=8),
        Column("It says"),
        Column("Ledger"),
        Column("Gap"),
        Column("Why", Kind.LABEL, least_width=10),
    ]
    rows = [Line((ids[one.session_id], *(dollars(cost) for cost in _costs(one)), gap_reason(one))) for one in shown]
    table = render_table(columns, rows, width=terminal.width - 2, palette=terminal.palette)
    left = len(apart) - len(shown)
    more = [f"{plural(left, 'smaller gap')} more; --verbose lists them."] if left > 0 else []
    about = "A gap is what the agent was billed for without writing it down: titles, summaries, calls cut off."
    return [*lines, "", *table.lines, *more, "", *wrapped(about, width=terminal.width - 2)]


def _costs(one: Reconciled) -> tuple[Decimal, Decimal, Decimal]:
    return one.reported_cost_usd, one.ledger_cost_usd, one.gap_usd


def gap_reason(one: Reconciled) -> str:
    """What is known to be behind a gap."""
    reasons = []
    if one.missing_calls:
        reasons.append(f"{plural(one.missing_calls, 'call')} not taken in")
    if one.unpriced_calls:
        reasons.append(f"{plural(one.unpriced_calls, 'call')} unpriced")
    if one.has_unknown_model_cost:
        reasons.append("it guessed a price")
    return ", ".join(reasons)
