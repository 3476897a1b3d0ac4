"""`tally live`: the figures on the whole screen, as they change."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, nullcontext, suppress

import click

from tallystick.cli.books import open_books
from tallystick.cli.options import CommonOptions, common_options
from tallystick.cli.signals import leave_at_signals, signals_held
from tallystick.cli.terminal import PLAIN, look_at_output
from tallystick.cli.watch import following
from tallystick.collector.watch_status import read_follower
from tallystick.config import Settings
from tallystick.errors import AlreadyRunning, ConfigError, TallystickError
from tallystick.redaction import one_line


@click.command()
@click.option("--no-import", is_flag=True, help="Only show what others take in.")
@common_options
@click.pass_obj
def live(common: CommonOptions, no_import: bool) -> None:
    """Show today, the block that runs, the running sessions and the last calls on the whole screen, as they change.

    It follows all transcripts itself while it runs, unless `tally watch` does already. `?` shows the keys, `q` quits.
    """
    terminal = look_at_output()
    if not (sys.stdin.isatty() and terminal.is_interactive):
        raise ConfigError("this needs a terminal", hint="Run `tally daily` for the figures as text.")
    leave_at_signals()
    with signals_held():
        # Textual takes 0.3 s to import, and no other command needs it
        from tallystick.live.app import run_live

    ended: list[TallystickError] = []
    with (
        suppress(SystemExit),  # told to leave before there was anything to show
        open_books(common) as books,
        _followed(books.settings, ended, no_import=no_import),
    ):
        run_live(
            books.ledger,
            fallback_zone=books.time_zone,
            has_colour=terminal.palette is not PLAIN,
            trouble=lambda: _trouble(books.settings, ended),
        )


def _followed(settings: Settings, ended: list[TallystickError], *, no_import: bool) -> AbstractContextManager[None]:
    """Follow meanwhile; what ends that is put into `ended`, unless it is that something else follows."""
    if no_import or not settings.token_tracking_enabled:
        return nullcontext()
    from tallystick.logs import log_to_nobody  # structlog takes 40 ms to import

    log_to_nobody()

    def tell(error: TallystickError) -> None:
        if not isinstance(error, AlreadyRunning):
            ended.append(error)

    return following(settings, command="tally live", tell=tell)


def _trouble(settings: Settings, ended: list[TallystickError]) -> str:
    """Why nothing new is taken in, here or by whatever else follows; '' where all is well."""
    if ended:
        return one_line(ended[0].message, ended[0].hint)
    follower = read_follower(settings)
    return follower.error if follower else ""
