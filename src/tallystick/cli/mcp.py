"""`tally mcp`: the reports as tools for AI agents, over standard input and output, for as long as the client wants."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click

from tallystick import __version__
from tallystick.cli.books import open_books
from tallystick.cli.options import CommonOptions, common_options
from tallystick.cli.signals import ending_signals, signals_held
from tallystick.cli.terminal import say
from tallystick.ledger import Ledger


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

    @contextmanager
    def open_ledger() -> Iterator[Ledger]:
        with open_books(common) as books:
            yield books.ledger

    run_server(open_ledger, version=__version__, ending=ending_signals())
