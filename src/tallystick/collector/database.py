"""SQLite databases of agents, read while they are in use: nothing is locked for longer than a look, nothing written.

Opening a database can be writing: beside one in write-ahead mode SQLite makes two files, and leaves them there. So a
database that nobody has open is read as if it could not change, and every answer counts only if it did not. One whose
log has no index beside it, as after a crash, is read from a copy.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tallystick.collector.discover import WRITE_AHEAD_SUFFIX
from tallystick.sources.formats import Query

BUSY_TIMEOUT_S = 2.0
INDEX_SUFFIX = "-shm"
JOURNAL_SUFFIX = "-journal"
# in the header, where a database says how it is written
WRITE_AHEAD_MARK = slice(18, 20)
# SQLite may not write an index of the log here, or take back a change that was broken off
NEEDS_A_COPY = (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY)
# a virtual table asks for a module that may not be there
COLUMNS = """\
select m.name, c.name from sqlite_master as m join pragma_table_info(m.name) as c
where m.type = 'table' and m.sql not like 'create virtual table%'
"""


class NotADatabase(Exception):
    """What SQLite says of a file that it cannot read, or not now."""


class AgentDatabase:
    """One database as of one moment."""

    def __init__(self, connection: sqlite3.Connection, *, is_undisturbed: Callable[[], bool] = lambda: True) -> None:
        self._connection = connection
        self._is_undisturbed = is_undisturbed

    def columns(self) -> Mapping[str, frozenset[str]]:
        """The names of the columns of every table."""
        found: dict[str, set[str]] = {}
        for table, column in self._connection.execute(COLUMNS).fetchall():
            found.setdefault(table, set()).add(column)
        self._check()
        return {table: frozenset(names) for table, names in found.items()}

    def ask(self, query: Query, *, rows_at_once: int) -> Iterator[list[tuple[Any, ...]]]:
        """The rows of a question, some at a time."""
        cursor = self._connection.execute(query.sql, query.arguments)
        while rows := cursor.fetchmany(rows_at_once):
            self._check()
            yield rows

    def _check(self) -> None:
        if not self._is_undisturbed():
            raise NotADatabase("SQLite: its agent began to write to it")


@contextmanager
def open_database(path: str) -> Iterator[AgentDatabase]:
    """A database as it stands now, with what its agent has not yet put into the file itself.

    Raises NotADatabase; what SQLite cannot read now it may be able to read at the next look.
    """
    try:
        if _is_at_rest(path):
            before = _marks(path)
            with closing(_open(path, "mode=ro&immutable=1")) as connection:
                yield AgentDatabase(connection, is_undisturbed=lambda: _marks(path) == before)
        else:
            with _in_use(path) as connection:
                yield AgentDatabase(connection)
    except sqlite3.Error as error:
        raise NotADatabase(f"SQLite: {error}") from error


def _is_at_rest(path: str) -> bool:
    """Whether it is written ahead of itself, and all of that is in it: then nobody has it open, or has yet to write."""
    with open(path, "rb") as file:  # noqa: PTH123 (a path may hold bytes that pathlib cannot name)
        is_written_ahead = file.read(WRITE_AHEAD_MARK.stop)[WRITE_AHEAD_MARK] == b"\x02\x02"
    return is_written_ahead and not _size(path + WRITE_AHEAD_SUFFIX)


@contextmanager
def _in_use(path: str) -> Iterator[sqlite3.Connection]:
    """A connection that sees what its agent sees, held at this moment."""
    if not _size(path + WRITE_AHEAD_SUFFIX) or _size(path + INDEX_SUFFIX):
        with closing(_open(path, "mode=ro")) as connection:
            try:
                _hold(connection)
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF not in NEEDS_A_COPY:
                    raise
            else:
                yield connection
                return
    with _copied(path) as connection:
        _hold(connection)
        yield connection


@contextmanager
def _copied(path: str) -> Iterator[sqlite3.Connection]:
    before = _marks(path)
    with tempfile.TemporaryDirectory(prefix="tallystick-") as folder:
        copy = str(Path(folder, "copy.db"))
        shutil.copyfile(path, copy)
        for suffix in (WRITE_AHEAD_SUFFIX, JOURNAL_SUFFIX):
            with suppress(FileNotFoundError):
                shutil.copyfile(path + suffix, copy + suffix)
        if _marks(path) != before:
            raise NotADatabase("SQLite: its agent wrote to it while it was copied")
        with closing(_open(copy, "mode=rw")) as connection:
            yield connection


def _open(path: str, options: str) -> sqlite3.Connection:
    uri = f"file:{quote(os.fsencode(path))}?{options}"
    connection = sqlite3.connect(uri, uri=True, timeout=BUSY_TIMEOUT_S, isolation_level=None)
    # one byte that is no UTF-8 must not cost all rows
    connection.text_factory = lambda text: text.decode("utf-8", "replace")
    return connection


def _hold(connection: sqlite3.Connection) -> None:
    connection.execute("begin")
    connection.execute("select count(*) from sqlite_master").fetchone()


def _marks(path: str) -> list[tuple[int, int, int] | None]:
    """What changes whenever somebody writes to a database."""
    return [_mark(path), _mark(path + WRITE_AHEAD_SUFFIX), _mark(path + JOURNAL_SUFFIX)]


def _mark(path: str) -> tuple[int, int, int] | None:
    try:
        status = os.stat(path)  # noqa: PTH116 (as above)
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


def _size(path: str) -> int:
    mark = _mark(path)
    return mark[1] if mark else 0
