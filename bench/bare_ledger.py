"""A ledger without the command line around it: connections for measurements on the database itself."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

from bench.setting import Setting
from bench.timing import BenchError
from tallystick.schema import install_or_migrate

Connection = psycopg.Connection[tuple[Any, ...]]


@contextmanager
def bare_ledger(setting: Setting, name: str) -> Iterator[str]:
    """The URL of an installed ledger: of a new embedded server, or of the database that the run was given."""
    if setting.database_url:
        install_or_migrate(setting.database_url)
        yield setting.database_url
        return
    home = setting.new_home(name)
    home.start()
    try:
        yield home.url()
    finally:
        home.stop()
        shutil.rmtree(home.path)


@contextmanager
def owner_connection(url: str) -> Iterator[Connection]:
    """A connection that may do everything, with the scripts of this folder at hand."""
    with psycopg.connect(url, autocommit=True, prepare_threshold=None) as connection:
        yield connection


@contextmanager
def service_connection(url: str) -> Iterator[Connection]:
    """A connection that works as the product's own do."""
    with owner_connection(url) as connection:
        connection.execute("set role service_role")
        yield connection


def run_script(connection: Connection, name: str) -> None:
    """Run a file of SQL from this folder."""
    connection.execute(Path(__file__).with_name(name).read_bytes())


def check_durable(connection: Connection) -> None:
    """Raise unless the server waits for its disk: without that no rate means anything."""
    for setting in ("fsync", "synchronous_commit", "full_page_writes"):
        row = connection.execute("select current_setting(%s)", [setting]).fetchone()
        if row != ("on",):
            raise BenchError(f"the server runs with {setting} {row}: turn it on and measure again")
