"""`tally limits`: what the providers say of their plans, and the same in a few lines beside the blocks."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, tzinfo

import click

from tallystick.catalog import CATALOG
from tallystick.cli.books import open_books
from tallystick.cli.cells import duration, label, moment, wrapped
from tallystick.cli.export import json_text
from tallystick.cli.import_new import take_in_what_is_new
from tallystick.cli.options import CommonOptions, common_options
from tallystick.cli.render import Column, Kind, Line, render_table
from tallystick.cli.terminal import Terminal, look_at_output, write_lines
from tallystick.model import UsageLimitRow
from tallystick.reports import exact, plain_row
from tallystick.zones import find_zone

WINDOWS = {"five_hour": "5 hours", "seven_day": "7 days"}
NOTHING_KNOWN = (
    "No official limit is known of a window that still runs. Codex writes them into its transcripts, and Claude Code "
    "tells them to its status line: `tally statusline install`."
)


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--no-import", is_flag=True, help="Do not take in what is new first.")
@common_options
@click.pass_obj
def limits(common: CommonOptions, as_json: bool, no_import: bool) -> None:
    """Show what the providers say of your plans' limits: how much of each window is used, and when it ends."""
    with open_books(common) as opened:
        books = opened if no_import else take_in_what_is_new(opened, common)
        rows = books.ledger.usage_limits()
        zone = find_zone(books.time_zone)
    terminal = look_at_output()
    if as_json:
        document = json_text({"limits": [plain_row(row) for row in rows]}, terminal=terminal)
        write_lines([document], terminal=terminal)
        return
    lines = _table(rows, zone=zone, terminal=terminal) if rows else wrapped(NOTHING_KNOWN, width=terminal.width)
    write_lines(lines, terminal=terminal)


def _table(rows: Sequence[UsageLimitRow], *, zone: tzinfo, terminal: Terminal) -> list[str]:
    now = datetime.now(UTC)
    columns = [
        Column("Agent", Kind.LABEL),
        Column("Window", Kind.LABEL),
        Column("Used"),
        Column("Ends", Kind.WHOLE),
        Column("In"),
        Column("Told", Kind.WHOLE),
    ]
    lines = [
        Line(
            (
                agent(row),
                window(row),
                f"{exact(row.used_percent)}%",
                moment(row.resets_at, zone=zone) if row.resets_at else "",
                duration(row.resets_at - now) if row.resets_at else "",
                age(row, now=now),
            )
        )
        for row in rows
    ]
    return render_table(columns, lines, width=terminal.width, palette=terminal.palette).lines


def official_lines(rows: Sequence[UsageLimitRow], *, terminal: Terminal) -> list[str]:
    """One line for each limit, and an empty one behind them; none where nothing is known."""
    now = datetime.now(UTC)
    lines: list[str] = []
    for row in rows:
        ends = f", ends in {duration(row.resets_at - now)}" if row.resets_at else ""
        said = (
            f"Official, {agent(row)}, {window(row)}: {exact(row.used_percent)}% used{ends} (told {age(row, now=now)})"
        )
        lines += wrapped(said, width=terminal.width, indent="  ")
    return [*lines, ""] if lines else []


def agent(row: UsageLimitRow) -> str:
    """The agent's own name, where it is one that we know."""
    titles = {layout.source: layout.title for layout in CATALOG}
    return label(titles.get(row.source, row.source))


def window(row: UsageLimitRow) -> str:
    """5 hours, 7 days or 30 d 10 h, behind the provider's own name for the limit where it has one."""
    own_name, _, name = row.limit_name.rpartition(":")
    words = WINDOWS.get(name)
    if words is None and row.window_minutes and name == f"{row.window_minutes}_minutes":
        words = duration(timedelta(minutes=row.window_minutes))
    return label(f"{own_name}: {words or name}" if own_name else words or name)


def age(row: UsageLimitRow, *, now: datetime) -> str:
    """How long ago the provider said so."""
    passed = now - row.observed_at
    return "just now" if passed < timedelta(minutes=1) else f"{duration(passed)} ago"
