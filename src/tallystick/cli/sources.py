"""`tally sources`: which agents are on this machine, what was taken in of each, and what cannot be read."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import date
from decimal import Decimal
from typing import NamedTuple

import click

from tallystick.catalog import CATALOG
from tallystick.cli.books import open_books
from tallystick.cli.cells import byte_size, grouped, label, plural, wrapped
from tallystick.cli.import_new import take_in_what_is_new
from tallystick.cli.options import CommonOptions, common_options
from tallystick.cli.render import Column, Kind, Line, render_table
from tallystick.cli.report_tables import PARTLY_UNPRICED, marked_cost, marks_aligned
from tallystick.cli.terminal import Terminal, look_at_output, write_lines
from tallystick.collector.discover import Discovery, Problem, discover
from tallystick.collector.run import known_files, problems_of
from tallystick.config import Settings
from tallystick.model import RejectRow, UsageFilter, UsageRow
from tallystick.totals import add_up

COST_AT = 4
UNPRICED_NOTE = (
    f"{PARTLY_UNPRICED} Not all of it has a price: its tokens count, and `tally models` names the models that lack one."
)


class SourceRow(NamedTuple):
    """One agent: where it is looked for, what lies there, and what the ledger has of it."""

    source: str
    title: str
    folders: list[str]
    file_count: int
    size: int
    event_count: int
    cost_usd: Decimal | None
    unpriced_event_count: int
    last_seen: date | None
    rejected: dict[str, int]


@click.command()
@click.option("--all", "show_all", is_flag=True, help="Also the agents that were not found, and where they would be.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--no-import", is_flag=True, help="Do not take in what is new first.")
@common_options
@click.pass_obj
def sources(common: CommonOptions, show_all: bool, as_json: bool, no_import: bool) -> None:
    """Show which agents were found, what was taken in of each, and what could not be read."""
    with open_books(common) as opened:
        books = opened if no_import else take_in_what_is_new(opened, common)
        found = discover(books.settings.roots)
        rows = source_rows(books.settings, found, books.ledger.usage_daily(UsageFilter(), by="source"))
        rows = _with_rejects(rows, books.ledger.rejects())
        problems = problems_of(found, known_files(books.settings, books.state))
    terminal = look_at_output()
    if as_json:
        write_lines([json_document(rows, problems)], terminal=terminal)
        return
    write_lines(_lines(rows, problems, terminal=terminal, show_all=show_all), terminal=terminal)


def source_rows(settings: Settings, found: Discovery, usage: Iterable[UsageRow]) -> list[SourceRow]:
    """Every source of the catalog, and behind them those of the ledger that come from elsewhere."""
    by_source: dict[str, list[UsageRow]] = {}
    for row in usage:
        by_source.setdefault(row.source or "", []).append(row)
    titles = {layout.source: layout.title for layout in CATALOG}
    rows = []
    for source in [*titles, *sorted(by_source.keys() - titles)]:
        files = [file for file in found.files if file.layout.source == source]
        days = by_source.get(source, [])
        totals = add_up(days)
        folders = dict.fromkeys(str(root.path) for root in settings.roots if root.layout.source == source)
        rows.append(
            SourceRow(
                source=source,
                title=titles.get(source, source),
                folders=list(folders),
                file_count=len(files),
                size=sum(file.size for file in files),
                event_count=sum(day.event_count for day in days),
                cost_usd=totals.cost_usd if days else None,
                unpriced_event_count=totals.unpriced_event_count,
                last_seen=max((day.period_start for day in days if day.period_start), default=None),
                rejected={},
            )
        )
    return rows


def _with_rejects(rows: Iterable[SourceRow], rejects: Iterable[RejectRow]) -> list[SourceRow]:
    counts: dict[str, dict[str, int]] = {}
    for reject in rejects:
        counts.setdefault(reject.source, {})[reject.reason] = reject.record_count
    return [row._replace(rejected=counts.get(row.source, {})) for row in rows]


def json_document(rows: Iterable[SourceRow], problems: Iterable[Problem]) -> str:
    """The same as JSON; money as text, as everywhere."""
    listed = [
        {
            **row._asdict(),
            "cost_usd": None if row.cost_usd is None else format(row.cost_usd, "f"),
            "last_seen": row.last_seen and row.last_seen.isoformat(),
        }
        for row in rows
    ]
    return json.dumps({"sources": listed, "problems": [problem._asdict() for problem in problems]}, indent=2)


def _lines(rows: Sequence[SourceRow], problems: Sequence[Problem], *, terminal: Terminal, show_all: bool) -> list[str]:
    known = [row for row in rows if row.file_count or row.event_count]
    missing = [row for row in rows if row not in known]
    lines = []
    if known:
        columns = [
            Column("Agent", Kind.LABEL),
            Column("Files"),
            Column("Size"),
            Column("Events"),
            Column("Cost"),
            Column("Last seen", Kind.WHOLE),
        ]
        rows_of_table = marks_aligned([_line(row) for row in known], at=COST_AT)
        table = render_table(columns, rows_of_table, width=terminal.width, palette=terminal.palette)
        lines += table.lines
        if any(line.cells[COST_AT].endswith(PARTLY_UNPRICED) for line in rows_of_table):
            lines += wrapped(UNPRICED_NOTE, width=terminal.width)
    else:
        lines.append("No agent was found on this machine, and the ledger knows of none.")
    for row in known:
        for reason, count in row.rejected.items():
            lines.append(f"{row.title}: {plural(count, 'record')} rejected, {reason}")
    if missing and show_all:
        lines += ["", "Not found:"]
        for row in missing:
            places = ", ".join(row.folders) or "only where you name a file: tally import FILE"
            lines.append(f"  {row.title}: {places}")
    elif missing:
        names = ", ".join(row.title for row in missing)
        lines += ["", *wrapped(f"Not found: {names}. --all says where they are looked for.", width=terminal.width)]
    if problems:
        lines += ["", f"{plural(len(problems), 'problem')}:"]
        lines += [f"  {label(problem.path)}: {problem.reason}" for problem in problems]
    return lines


def _line(row: SourceRow) -> Line:
    return Line(
        (
            row.title,
            grouped(row.file_count),
            byte_size(row.size),
            grouped(row.event_count),
            marked_cost(row.cost_usd, unpriced=row.unpriced_event_count) if row.event_count else "",
            str(row.last_seen or ""),
        )
    )
