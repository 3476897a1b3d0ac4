"""`tally import`: take in what is new, and say what that did."""

from __future__ import annotations

from pathlib import Path

import click

from tallystick.catalog import CATALOG
from tallystick.cli.books import Books, open_books
from tallystick.cli.cells import byte_size, grouped, label, plural
from tallystick.cli.import_new import take_in_own_prices
from tallystick.cli.options import CommonOptions, common_options
from tallystick.cli.progress import shown_progress
from tallystick.cli.terminal import look_at_output, write_lines
from tallystick.collector.account import make_account
from tallystick.collector.run import import_new
from tallystick.collector.summary import ImportSummary
from tallystick.errors import ConfigError
from tallystick.model import PriceReceipt

MOST_PROBLEMS = 50
TITLES = {layout.source: layout.title for layout in CATALOG}


@click.command("import")
@click.argument("paths", metavar="[PATH]...", nargs=-1)
@click.option(
    "--source",
    type=click.Choice(sorted(TITLES)),
    metavar="NAME",
    help="What wrote the files named; without it, their names tell.",
)
@common_options
@click.pass_obj
def import_(common: CommonOptions, paths: tuple[str, ...], source: str | None) -> None:
    """Take in what is new in the transcripts of this machine, or in the files and folders named.

    Transcripts taken in twice count once, so there is no harm in doing it again.
    """
    # the empty path would be this folder, and a ledger is for good
    if not all(paths):
        raise click.UsageError("a PATH is empty; name a transcript or a folder of them.")
    if source and not paths:
        raise click.UsageError("--source is said of a PATH; name one.")
    with open_books(common) as books:
        prices, summary = import_with_progress(books, tuple(map(Path, paths)), source=source)
        lines = [*price_lines(prices), *summary_lines(summary)]
        if paths:
            lines += nothing_lines(summary, source=source)
        if not paths and not summary.files_seen:
            places = ", ".join(str(folder / "projects") for folder in books.settings.claude_config_dirs)
            lines.append(f"Looked in {places}. CLAUDE_CONFIG_DIR names another place.")
            if books.settings.agent_roots:
                lines.append("`tally sources` names the places of all other agents, where there was nothing either.")
        write_lines(lines, terminal=look_at_output())


def import_with_progress(
    books: Books, paths: tuple[Path, ...] = (), *, source: str | None = None
) -> tuple[PriceReceipt | None, ImportSummary]:
    """Take in prices and transcripts, drawing how far it has come."""
    if not books.settings.token_tracking_enabled:
        raise ConfigError("token tracking is switched off", hint="Unset TOKEN_TRACKING_ENABLED to take usage in.")
    if books.state.time_zone is None:
        # whatever comes first, a transcript or a call over HTTP, these books are kept in the days of this machine
        make_account(books.ledger, books.settings.time_zone)
        books = books._replace(state=books.ledger.ledger_state())
    prices = take_in_own_prices(books)
    with shown_progress() as report:
        summary = import_new(
            books.ledger,
            books.settings,
            state=books.state,
            paths=list(paths) or None,
            source=source,
            on_progress=report,
        )
    return prices, summary


def nothing_lines(summary: ImportSummary, *, source: str | None) -> list[str]:
    """Why what somebody named gave no calls, and what to do; nothing where it gave some."""
    if summary.receipt.received:
        return []
    of_whom = f" of {TITLES[source]}" if source else ""
    if not summary.files_seen:
        return [f"No file there is named as transcripts{of_whom} are. Name the file itself, and its --source."]
    # a document that is being written is read and not taken
    if not (summary.files_read or summary.bytes_read or summary.problems):
        return ["Nothing there has changed since it was taken in last."]
    return [f"No call{of_whom} was found there. Where something else wrote it, name that with --source."]


def price_lines(receipt: PriceReceipt | None) -> list[str]:
    """What became of the user's own prices, if any of them is new."""
    if receipt is None or not receipt.added:
        return []
    return [f"Took in {plural(receipt.added, 'price')} of yours. `tally rerate` prices what is recorded already."]


def summary_lines(summary: ImportSummary) -> list[str]:
    """What an import did, and all that a user should know of it."""
    receipt = summary.receipt
    lines = [
        f"Read {plural(summary.files_read, 'file')} of {grouped(summary.files_seen)}, "
        f"{byte_size(summary.bytes_read)}, in {summary.duration_s:.1f} s."
    ]
    if receipt.received:
        lines.append(
            f"{plural(receipt.new, 'new call')}, {grouped(receipt.revised)} revised, "
            f"{plural(receipt.duplicate, 'copy', many='copies')} of calls already counted, "
            f"{grouped(receipt.rejected)} rejected."
        )
    else:
        lines.append("No new calls.")
    if receipt.unpriced:
        lines.append(f"{plural(receipt.unpriced, 'new call')} without a price; `tally models` names the models.")
    if receipt.rejected:
        lines.append("`tally doctor` says why records were rejected.")
    for kind in ("not json", "not an object", "no type", "not utf-8"):
        if count := summary.line_counts.get(f"({kind})"):
            lines.append(
                f"Passed over {plural(count, 'line')} that {'is' if count == 1 else 'are'} no transcript's: {kind}."
            )
    if summary.unknown_line_types:
        lines.append(f"Passed over lines of unknown types: {', '.join(map(label, summary.unknown_line_types))}.")
    lines += summary.notices
    if summary.problems:
        lines.append(f"{plural(len(summary.problems), 'problem')}:")
        lines += [f"  {label(problem.path)}: {problem.reason}" for problem in summary.problems[:MOST_PROBLEMS]]
    return lines
