"""`tally mcp`: the reports as tools for AI agents, over standard input and output, for as long as the client wants."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import click

from tallystick import __version__
from tallystick.cli.books import open_books_of
from tallystick.cli.options import CommonOptions, common_options
from tallystick.cli.signals import ending_signals, signals_held
from tallystick.cli.terminal import say
from tallystick.config import load_settings
from tallystick.embedded import EmbeddedServer
from tallystick.ledger import Ledger

# with the time that a question is waited for before, less than the four seconds after which a client ends us by force
GIVE_UP_TIMEOUT_S = 2.0


@click.command()
@common_options
@click.pass_obj
def mcp(common: CommonOptions) -> None:
    """Serve the reports to AI agents: an MCP server on standard input and output, which only reads.

    Agents start it themselves, once told of it:  claude mcp add tallystick -- tally mcp
    """
    with signals_held():
        # the protocol takes a second to import, and no other command needs it
        from tallystick.mcp_server import run_server

    if sys.stdin.isatty():
        say("This speaks MCP, which an agent starts by itself: claude mcp add tallystick -- tally mcp")

    server: EmbeddedServer | None = None

    @contextmanager
    def open_ledger() -> Iterator[Ledger]:
        nonlocal server
        settings = load_settings(database_url=common.database_url)
        server = EmbeddedServer(settings.embedded_dir) if settings.database_url is None else None
        with open_books_of(settings, server=server) as books:
            yield books.ledger

    def give_up() -> None:
        """Have the embedded server end with us, though a question still waits."""
        if server is not None:
            releasing = threading.Thread(target=server.release, daemon=True)
            releasing.start()
            releasing.join(GIVE_UP_TIMEOUT_S)

    run_server(open_ledger, give_up, version=__version__, ending=ending_signals())
