"""`tally watch` and `tally status`: follow all transcripts, and how far that is."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from tallystick.cli.books import open_books_of
from tallystick.cli.cells import byte_size, label, plural
from tallystick.cli.import_new import take_in_changed_prices
from tallystick.cli.options import CommonOptions, common_options
from tallystick.cli.signals import leave_at_signals
from tallystick.cli.terminal import look_at_output, write_lines
from tallystick.collector.run import Lag, lag_of
from tallystick.collector.watch_status import WatchStatus, place_of, read_follower
from tallystick.config import Settings, load_settings
from tallystick.embedded import EmbeddedServer
from tallystick.errors import ConfigError, TallystickError
from tallystick.ledger import Ledger
from tallystick.road import ANSWER_TIMEOUT_S

if TYPE_CHECKING:
    from tallystick.collector.watch import Watcher

# a batch takes less; what waits for its ledger is left to it, and its place is kept
STOP_WAIT_S = 1.0
EXIT_NOT_FOLLOWING = 3  # as systemctl status has it for what is not running


@click.command()
@common_options
@click.pass_obj
def watch(common: CommonOptions) -> None:
    """Follow all transcripts into the ledger, as they are written, until it is stopped.

    One for each ledger and machine is enough. Where the ledger cannot be reached it waits and tries again by itself.
    """
    settings = load_settings(database_url=common.database_url)
    # the watcher's libraries take 60 ms to import
    from tallystick.logs import log_to_stderr

    log_to_stderr()
    leave_at_signals()
    try:
        make_watcher(settings, stop=threading.Event(), command="tally watch").run()
    except (SystemExit, KeyboardInterrupt):  # watchfiles makes the latter of either signal
        return


@contextmanager
def following(
    settings: Settings, *, command: str, tell: Callable[[TallystickError], None] | None = None
) -> Iterator[None]:
    """Follow beside something else, in a thread; what follows already from elsewhere is enough.

    `command` is the one that does so, as others are to be told. What ends it is told to `tell`, which the thread calls,
    or else to the log.
    """
    stop = threading.Event()
    server = EmbeddedServer(settings.embedded_dir) if settings.database_url is None else None
    watcher = make_watcher(settings, stop=stop, command=command, server=server)

    def run() -> None:
        try:
            watcher.run()
        except TallystickError as error:
            (tell or _log)(error)

    thread = threading.Thread(target=run, name="watch", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(STOP_WAIT_S)
        if server is not None:
            server.release()  # or what still waits would keep it up, when all the others have left


def _log(error: TallystickError) -> None:
    import structlog  # as above

    structlog.get_logger("tallystick.watch").warning("not following", reason=error.message, hint=error.hint)


def make_watcher(
    settings: Settings, *, stop: threading.Event, command: str, server: EmbeddedServer | None = None
) -> Watcher:
    """What follows into the ledger that the settings name; raises ConfigError where it shall not."""
    if not settings.token_tracking_enabled:
        raise ConfigError("token tracking is switched off", hint="Unset TOKEN_TRACKING_ENABLED to take usage in.")
    from tallystick.collector.watch import Watcher  # as above

    return Watcher(settings, open_ledger=lambda: _opened(settings, server), stop=stop, pid=os.getpid(), command=command)


@contextmanager
def _opened(settings: Settings, server: EmbeddedServer | None) -> Iterator[tuple[Ledger, Settings]]:
    # the watcher has longer pauses of its own, can be told to stop in them, and says itself what it waits for
    with open_books_of(settings, attempts=1, is_told=False, server=server) as books:
        books.ledger.wait_at_most(ANSWER_TIMEOUT_S)
        try:
            take_in_changed_prices(books)
        except ConfigError as error:
            import structlog  # as above

            structlog.get_logger("tallystick.watch").warning("prices not taken in", reason=error.message)
        yield books.ledger, books.settings


@click.command()
@common_options
@click.pass_obj
def status(common: CommonOptions) -> int:
    """Show whether anything follows the transcripts, and how far the ledger is behind them.

    It asks nobody but the files of this machine, so that it answers also where the ledger does not. Exit status 0 means
    that the ledger is being kept up to date, 3 that nothing follows or that it has to wait.
    """
    settings = load_settings(database_url=common.database_url)
    follower = read_follower(settings)
    told = follower or place_of(settings).read()
    lines = ["Nothing follows: `tally watch` does, and `tally service install` has it started by itself."]
    if follower:
        lines = _follower_lines(follower)
    if told is not None and told.ledger_id:
        lines += _lag_lines(lag_of(settings, ledger_id=told.ledger_id, user_id=told.user_id))
    elif follower:
        lines.append("Behind: unknown until the ledger has answered once.")
    write_lines(lines, terminal=look_at_output())
    is_well = follower is not None and not follower.error and not follower.waiting_since
    return 0 if is_well else EXIT_NOT_FOLLOWING


def _follower_lines(told: WatchStatus) -> list[str]:
    lines = [f"Following since {_moment(told.started_at)} (`{told.command}`, process {told.pid})."]
    if told.walked_at:
        lines.append(f"Looked at everything at {_moment(told.walked_at)}.")
    if told.taken_in_at:
        lines.append(f"Last took something in at {_moment(told.taken_in_at)}; {plural(told.new, 'new call')} so far.")
    if told.waiting_since:
        lines.append(f"Waiting since {_moment(told.waiting_since)} for the ledger to answer.")
    if told.error:
        wait_s = max(0, told.next_try_at - time.time())
        lines.append(f"Waiting, the next try in {wait_s:.0f} s: {label(told.error)}")
    return lines


def _lag_lines(lag: Lag) -> list[str]:
    behind = f"{plural(lag.files, 'file')} with {byte_size(lag.size)} not taken in yet" if lag.files else "nothing"
    lines = [f"Behind: {behind}."]
    if not lag.files_found:
        lines.append("No transcripts were found on this machine.")
    if lag.unreadable:
        unreadable = plural(lag.unreadable, "file or folder", many="files or folders")
        lines.append(f"Cannot read {unreadable}: `tally sources` names what.")
    return lines


def _moment(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))
