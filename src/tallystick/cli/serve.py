"""`tally serve` and `tally up`: the HTTP API on the ledger, for as long as the command runs."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

import click

from tallystick.cli.books import open_books_of
from tallystick.cli.import_command import import_with_progress, price_lines, summary_lines
from tallystick.cli.options import CommonOptions, common_options
from tallystick.cli.signals import leave_at_signals, signals_held
from tallystick.cli.terminal import look_at_output, write_lines
from tallystick.cli.watch import following
from tallystick.config import Settings, load_server_settings, load_settings
from tallystick.db import Database
from tallystick.embedded import EmbeddedServer
from tallystick.errors import ConfigError, LedgerError
from tallystick.schema import check_installed, install_or_migrate, installed_migrations

DEFAULT_PORT = 8377
MAX_WORKERS = 64
BACKLOG = 1024


def _read_host(_: click.Context, __: click.Parameter, text: str) -> str:
    if not text.strip():
        raise click.BadParameter("it is empty, which would be every address of this machine; write 0.0.0.0 for that.")
    return text


_SERVER_OPTIONS = (
    click.option(
        "--host", default="127.0.0.1", show_default=True, callback=_read_host, help="The address to listen on."
    ),
    click.option(
        "--port", type=click.IntRange(0, 65535), default=DEFAULT_PORT, show_default=True, help="0 takes a free one."
    ),
)
_WORKERS_OPTION = click.option(
    "--workers",
    type=click.IntRange(1, MAX_WORKERS),
    default=1,
    show_default=True,
    help="Processes that answer; one for each core that they may have.",
)


@click.command()
@_SERVER_OPTIONS[0]
@_SERVER_OPTIONS[1]
@_WORKERS_OPTION
@common_options
@click.pass_obj
def serve(common: CommonOptions, host: str, port: int, workers: int) -> None:
    """Serve the HTTP API on the ledger. `tally keys create` makes a key for it."""
    settings = load_settings(database_url=common.database_url)
    with _ended_by_signals(), _served_database(settings) as url:
        _run_server(url, settings, host=host, port=port, workers=workers)


@click.command()
@_SERVER_OPTIONS[0]
@_SERVER_OPTIONS[1]
@common_options
@click.pass_obj
def up(common: CommonOptions, host: str, port: int) -> None:
    """Start the database, take in what is new, follow what is written, and serve the HTTP API."""
    settings = load_settings(database_url=common.database_url)
    with _ended_by_signals(), _served_database(settings) as url:
        with open_books_of(settings) as books:
            prices, summary = import_with_progress(books)
            settings = books.settings
        write_lines([*price_lines(prices), *summary_lines(summary)], terminal=look_at_output())
        with following(settings, command="tally up"):
            _run_server(url, settings, host=host, port=port)


@contextmanager
def _served_database(settings: Settings) -> Iterator[str]:
    """The URL of the database that holds the ledger; the embedded one is started and brought up to date."""
    if settings.database_url is None:
        with EmbeddedServer(settings.embedded_dir) as url:
            install_or_migrate(url)
            _watch_statements(url)
            yield url
        return
    with Database.connect(settings.database_url, as_service_role=False) as database:
        check_installed(installed_migrations(database))
    yield settings.database_url


def _watch_statements(url: str) -> None:
    """Have the embedded server keep the figures of its statements, which /metrics shows."""
    with Database.connect(url, as_service_role=False) as database:
        try:
            with database.transaction():
                database.run_script("create extension if not exists pg_stat_statements")
        except LedgerError:
            return  # a Postgres without that module, such as one of a distribution, serves all the same


def _run_server(url: str, settings: Settings, *, host: str, port: int, workers: int = 1) -> None:
    with signals_held():
        # uvicorn and FastAPI take 0.5 s to import, and no other command needs them
        from tallystick.api.processes import run_server

    server_settings = load_server_settings(settings=settings, database_url=url)
    listeners = _listen(host, port, count=workers)
    address = f"http://{host if ':' not in host else f'[{host}]'}:{listeners[0].getsockname()[1]}"
    write_lines(
        [f"Serving {address}/api/token-usage (Ctrl-C stops).", "A key for it: tally keys create --name NAME"],
        terminal=look_at_output(),
    )
    run_server(server_settings, listeners)


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Leave at a signal by way of everything that must be left in peace, the database above all.

    uvicorn ends in peace by itself, and then raises the signal again.
    """
    leave_at_signals()
    try:
        yield
    except SystemExit:
        return


def _listen(host: str, port: int, *, count: int) -> list[socket.socket]:
    """Listeners on one port, over which the system spreads the connections."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        first = socket.create_server((host, port), family=family, backlog=BACKLOG)
        if count == 1:
            return [first]
        # a port that is shared can be shared with another server too, so it must have been free first
        port = first.getsockname()[1]
        first.close()
        return [
            socket.create_server((host, port), family=family, backlog=BACKLOG, reuse_port=True) for _ in range(count)
        ]
    except OSError as error:
        reason = (error.strerror or str(error)).partition(" (while")[0]  # Python adds the address to it
        raise ConfigError(
            f"cannot listen on {host}, port {port}: {reason}",
            hint="Name another with --port, or another address with --host.",
        ) from error
