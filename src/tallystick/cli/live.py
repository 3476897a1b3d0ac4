"""`tally live`: the figures on the whole screen, as they change."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, nullcontext

import click

from tallystick.cli.books import open_books
from tallystick.cli.options import CommonOptions, common_options
from tallystick.cli.terminal import PLAIN, look_at_output
from tallystick.cli.watch import following
from tallystick.config import Settings
from tallystick.errors import ConfigError


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
    # Textual takes 0.3 s to import, and no other command needs it
    from tallystick.live.app import run_live

    with open_books(common) as books, _followed(books.settings, no_import=no_import):
        run_live(books.ledger, fallback_zone=books.time_zone, has_colour=terminal.palette is not PLAIN)


def _followed(settings: Settings, *, no_import: bool) -> AbstractContextManager[None]:
    if no_import or not settings.token_tracking_enabled:
        return nullcontext()
    from tallystick.logs import log_to_nobody  # structlog takes 40 ms to import

    log_to_nobody()
    return following(settings)
