"""`tally first-run`, which `make run` calls: import, report, and say what to try next.

A machine without transcripts gets a small sample in a ledger that is thrown away.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path
from shutil import rmtree

import click

from tallystick.cli.books import Books, open_books_of
from tallystick.cli.cells import byte_size, plural
from tallystick.cli.import_command import import_with_progress, price_lines, summary_lines
from tallystick.cli.options import CommonOptions, ReportOptions, common_options
from tallystick.cli.reports import DAILY, print_report
from tallystick.cli.sample import write_sample
from tallystick.cli.terminal import look_at_output, write_lines
from tallystick.collector.discover import Discovery, discover
from tallystick.config import Settings, load_settings
from tallystick.embedded import EmbeddedServer
from tallystick.zones import find_zone, today_in


@click.command("first-run", hidden=True)
@common_options
@click.pass_obj
def first_run(common: CommonOptions) -> None:
    """Import the transcripts of this machine, print the daily report and say what to try next."""
    started_at = time.monotonic()
    settings = load_settings(database_url=common.database_url)
    found = discover(settings.roots)
    size = sum(file.size for file in found.files)
    if size:
        titles = ", ".join(dict.fromkeys(file.layout.title for file in found.files))
        _print(f"Found {plural(len(found.files), 'transcript')} of {titles}, {byte_size(size)}.")
        with open_books_of(settings) as books:
            _import_and_report(books, started_at=started_at)
        _print(*next_lines(_program()))
    else:
        _print(*_nothing_found_lines(settings, found))
        _run_on_sample(settings, started_at=started_at)
        _print(*next_lines_after_sample(_program()))


def _nothing_found_lines(settings: Settings, found: Discovery) -> list[str]:
    lines = ["No transcripts of coding agents on this machine. Looked in:"]
    lines += [f"  {folder / 'projects'}{_absence(folder / 'projects')}" for folder in settings.claude_config_dirs]
    others = len({root.layout.source for root in settings.agent_roots})
    if others:
        lines.append(f"  and where {others} other agents keep theirs (`{_program()} sources --all` names the places)")
    lines += [f"  {problem.path}: {problem.reason}" for problem in found.problems]
    return [*lines, "", "Here is a small invented sample instead, in a ledger that is thrown away at the end."]


def _absence(folder: Path) -> str:
    return "" if folder.is_dir() else " (not there)"


def _run_on_sample(settings: Settings, *, started_at: float) -> None:
    """Everything as on a real machine, in a temporary folder; the ledger goes with it, also on Ctrl-C."""
    home = Path(tempfile.mkdtemp(prefix="tallystick-sample-"))
    sample = sample_settings(settings, home)
    try:
        write_sample(home / "claude", today=today_in(find_zone(sample.time_zone)))
        with open_books_of(sample) as books:
            _import_and_report(books, started_at=started_at)
    finally:
        EmbeddedServer(sample.embedded_dir).erase()
        rmtree(home)


def sample_settings(settings: Settings, home: Path) -> Settings:
    """The settings of a machine whose every folder is below `home`, and whose user is new."""
    return settings._replace(
        user_id="",
        database_url=None,
        config_dir=home / "config",
        data_dir=home / "data",
        state_dir=home / "state",
        config_file=home / "config" / "config.toml",
        prices_file=home / "config" / "prices.json",
        checkpoint_file=home / "state" / "checkpoints.sqlite3",
        embedded_dir=home / "data" / "postgres",
        claude_config_dirs=(home / "claude",),
        agent_roots=(),
        token_tracking_enabled=True,
    )


def _import_and_report(books: Books, *, started_at: float) -> None:
    prices, summary = import_with_progress(books)
    books = books._replace(state=books.ledger.ledger_state())
    _print("")
    print_report(DAILY, books, ReportOptions())
    _print(
        "",
        *price_lines(prices),
        *summary_lines(summary),
        f"All of it took {time.monotonic() - started_at:.1f} s, making or starting the database included.",
    )


def next_lines(program: str) -> list[str]:
    """What to try next, the exact command last."""
    return [
        "",
        "Try next:",
        f"  {program} daily --last 7d --by model",
        f"  {program} blocks --last 1d",
        "  pipx install .      puts `tally` on your PATH",
        f"  {program} projects",
    ]


def next_lines_after_sample(program: str) -> list[str]:
    """The same where there is nothing of one's own to report yet."""
    return [
        "",
        "The sample and its ledger are gone again. For transcripts that are somewhere else:",
        "  CLAUDE_CONFIG_DIR=/path/to/.claude make run",
        "Try next:",
        f"  {program} doctor",
    ]


def _program() -> str:
    """How this program was called, as it would be typed again."""
    called = Path(sys.argv[0])
    if called.name != "tally":
        return f"{sys.executable} -m tallystick"
    path = os.path.relpath(called)
    return "tally" if path.startswith("..") else path


def _print(*lines: str) -> None:
    write_lines(lines, terminal=look_at_output())
