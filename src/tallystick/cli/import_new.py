"""Taking in what is new on the way to a report: fast, quiet, and never in the report's way."""

from __future__ import annotations

from pathlib import Path

from tallystick.cli.books import Books
from tallystick.cli.cells import plural
from tallystick.cli.options import CommonOptions
from tallystick.cli.terminal import say
from tallystick.collector.run import import_new
from tallystick.collector.summary import ImportSummary
from tallystick.config import Settings
from tallystick.errors import LedgerUnavailable, TallystickError
from tallystick.model import PriceReceipt
from tallystick.redaction import one_line
from tallystick.road import ANSWER_TIMEOUT_S


def take_in_what_is_new(books: Books, common: CommonOptions) -> Books:
    """Import before a report; whatever goes wrong is one line beside the report, which comes all the same.

    Raises LedgerUnavailable where there will be no report either.
    """
    books.ledger.wait_at_most(ANSWER_TIMEOUT_S)
    if not books.settings.token_tracking_enabled:
        return books
    try:
        take_in_changed_prices(books)
        summary = import_new(books.ledger, books.settings, state=books.state)
    except TallystickError as error:
        if isinstance(error, LedgerUnavailable):
            # one that is there for reading alone, as a standby is, still has its report; any other is waited for once
            books.ledger.attempts = 1
            books.ledger.ledger_state()
        say(f"tally: what is new was not taken in: {one_line(error.message, error.hint)}")
        return books
    for line in quiet_lines(summary, is_verbose=common.verbose):
        say(f"tally: {line}")
    return books if books.state.time_zone else books._replace(state=books.ledger.ledger_state())


def quiet_lines(summary: ImportSummary, *, is_verbose: bool) -> list[str]:
    """What a report says of the import before it: nothing, if all went well."""
    lines = list(summary.notices)
    if len(summary.problems) == 1:
        lines.append(f"skipped {summary.problems[0].path}: {summary.problems[0].reason}")
    elif summary.problems:
        lines.append(f"skipped {plural(len(summary.problems), 'file')}; `tally import` names them")
    if is_verbose:
        receipt = summary.receipt
        lines.append(
            f"read {plural(summary.files_read, 'file')} of {summary.files_seen:,} in {summary.duration_s:.3f} s: "
            f"{receipt.new:,} new, {receipt.revised:,} revised, {receipt.duplicate:,} copies, "
            f"{receipt.rejected:,} rejected"
        )
    return lines


def take_in_changed_prices(books: Books) -> None:
    """Append the user's own prices where their file has changed since it was taken in."""
    if _own_prices_have_changed(books):
        take_in_own_prices(books)


def take_in_own_prices(books: Books) -> PriceReceipt | None:
    """Append the prices of the user's own file, where there is one; prices that the ledger has add nothing."""
    file = books.settings.prices_file
    if not file.exists():
        return None
    # These take 30 ms to import, and hardly anybody has prices of their own.
    from json import dumps

    from tallystick.prices import read_price_file

    stamp = _stamp_of(books)
    receipt = books.ledger.add_token_prices(dumps(read_price_file(file)))
    books.settings.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    _stamp_file(books.settings).write_text(stamp, encoding="utf-8")
    return receipt


def forget_own_prices_stamp(settings: Settings) -> None:
    """Have the next report take the price file in again, because the ledger has lost what it took."""
    _stamp_file(settings).unlink(missing_ok=True)


def _own_prices_have_changed(books: Books) -> bool:
    if not books.settings.prices_file.exists():
        return False
    stamp_file = _stamp_file(books.settings)
    return not stamp_file.exists() or stamp_file.read_text(encoding="utf-8") != _stamp_of(books)


def _stamp_of(books: Books) -> str:
    """Which state of the price file this user of this ledger has taken in."""
    status = books.settings.prices_file.stat()
    return f"{books.state.ledger_id} {books.state.user_id} {status.st_mtime_ns} {status.st_size}"


def _stamp_file(settings: Settings) -> Path:
    return settings.state_dir / "prices.stamp"
