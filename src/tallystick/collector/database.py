"""SQLite databases of agents, read while they are in use: nothing is locked for longer than a look, nothing written."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tallystick.collector.discover import WRITE_AHEAD_SUFFIX
from tallystick.sources.formats import Query

BUSY_TIMEOUT_S = 2.0
COLUMNS = """\
select m.name, c.name from sqlite_master as m join pragma_table_info(m.name) as c where m.type = 'table'
"""


class NotADatabase(Exception):
    """What SQLite says of a file that it cannot read, or not now."""


class AgentDatabase:
    """One database as of one moment."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def columns(self) -> Mapping[str, frozenset[str]]:
        """The names of the columns of every table."""
        found: dict[str, set[str]] = {}
        for table, column in self._connection.execute(COLUMNS):
            found.setdefault(table, set()).add(column)
        return {table: frozenset(names) for table, names in found.items()}

    def ask(self, query: Query, *, rows_at_once: int) -> Iterator[list[tuple[Any, ...]]]:
        """The rows of a question, some at a time."""
        cursor = self._connection.execute(query.sql, query.arguments)
        while rows := cursor.fetchmany(rows_at_once):
            yield rows


@contextmanager
def open_database(path: str) -> Iterator[AgentDatabase]:
    """A database as it stands now, with what its agent has not yet put into the file itself.

    Raises NotADatabase; what SQLite cannot read now it may be able to read at the next look.
    """
    try:
        with _connect(path) as connection:
            connection.execute("begin")
            yield AgentDatabase(connection)
    except sqlite3.Error as error:
        raise NotADatabase(f"SQLite: {error}") from error


@contextmanager
def _connect(path: str) -> Iterator[sqlite3.Connection]:
    connection = _open(path)
    try:
        connection.execute("select count(*) from sqlite_master").fetchone()
    except sqlite3.OperationalError:
        # beside a write-ahead log SQLite wants to write an index of it, and here it may not: it gets a copy
        connection.close()
        with tempfile.TemporaryDirectory(prefix="tallystick-") as folder:
            copy = Path(folder, "copy.db")
            shutil.copyfile(path, copy)
            with suppress(FileNotFoundError):
                shutil.copyfile(path + WRITE_AHEAD_SUFFIX, f"{copy}{WRITE_AHEAD_SUFFIX}")
            connection = sqlite3.connect(copy, isolation_level=None)
            try:
                yield connection
            finally:
                connection.close()
        return
    try:
        yield connection
    finally:
        connection.close()


def _open(path: str) -> sqlite3.Connection:
    return sqlite3.connect(f"file:{quote(path)}?mode=ro", uri=True, timeout=BUSY_TIMEOUT_S, isolation_level=None)
