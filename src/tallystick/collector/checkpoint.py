"""How far each transcript has been taken in, kept in a local SQLite file; losing it costs a re-read, never a number.

A row says what stands in one ledger for one user, so rows are kept by (ledger, user), called a book here, and are
written only after the ledger's receipt. The project of a working directory is kept for all books alike: it is a fact of
this machine, resolved once, because the directory may be gone tomorrow.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, TypeVar

from tallystick.errors import CheckpointError
from tallystick.model import LedgerState
from tallystick.private_files import make_folder, open_private

Answer = TypeVar("Answer")

APPLICATION_ID = 0x54414C59  # "TALY"
FORMAT_VERSION = 2
BUSY_TIMEOUT_S = 5.0
# an agent writes a line in one piece, so one that has stood this long without a newline will not get it soon
REST_NS = 2_000_000_000
# a book that nobody opens any more costs about a megabyte
MAX_BOOKS = 16

# from here on all of them take less time
MAX_ASKED_SINGLY = 100

_EVERY_FILE = """
select path, device, inode, size, mtime_ns, offset, fingerprint, is_settled, pending_bytes, fault
from files where book_id = ?
"""
_ONE_FILE = _EVERY_FILE + " and path = ?"
SCHEMA = """
create table books (
  book_id integer primary key autoincrement, ledger_id text not null, user_id text not null,
  receipt_count integer not null, unique (ledger_id, user_id)
);
create table files (
  book_id integer not null, path text not null, device integer not null, inode integer not null,
  size integer not null, mtime_ns integer not null, offset integer not null, fingerprint blob not null,
  is_settled integer not null, pending_bytes integer not null, fault text not null,
  primary key (book_id, path)
) without rowid;
create table parser_states (
  book_id integer not null, path text not null, state blob not null, primary key (book_id, path)
) without rowid;
create table projects (working_directory text primary key, project text not null) without rowid;
"""


class Checkpoint(NamedTuple):
    """How far one file has been taken in, and what it looked like then.

    `offset` is where the next reading starts: behind the last line that ended with a newline. A settled file has
    nothing more to give until its size or time changes. `pending_bytes` stand behind the offset and wait. `fault` says
    why the file could not be read, '' where it could.
    """

    device: int
    inode: int
    size: int
    mtime_ns: int
    offset: int
    fingerprint: bytes
    is_settled: bool
    pending_bytes: int
    fault: str = ""


def has_rested(mtime_ns: int) -> bool:
    """Whether nobody seems to be writing a file now; one of a time to come is from before the clock was put back."""
    return abs(time.time_ns() - mtime_ns) >= REST_NS


def bytes_to_read(size: int, checkpoint: Checkpoint | None) -> int:
    """How much of a file is behind its checkpoint; all of one that is smaller than that."""
    offset = checkpoint.offset if checkpoint else 0
    return size - offset if size >= offset else size


class Checkpoints:
    """The checkpoints of one user in one ledger. Several processes may use the file at once."""

    def __init__(self, path: Path, *, ledger_id: str, user_id: str) -> None:
        self.set_aside: Path | None = None
        self._path = path
        self._pair = (ledger_id, user_id)
        self._book_id: int | None = None
        self._receipt_count = 0
        try:
            self._connection = _connect(path)
        except (sqlite3.Error, OSError) as error:
            raise _refusal(path, error) from error
        self._run(lambda: _prepare(self._connection))
        self._run(self._find_book)

    def close(self) -> None:
        self._connection.close()

    def __enter__(self) -> Checkpoints:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # -- reading

    def agrees_with(self, state: LedgerState) -> bool:
        """Whether the ledger still holds what the checkpoints say it does.

        One that counts fewer receipts than it did was set back to an older copy, and lacks what came behind it.
        """
        return self._pair[0] == state.ledger_id and self._receipt_count <= state.receipt_count

    def checkpoints(self, paths: Collection[str] | None = None) -> dict[str, Checkpoint]:
        """Every checkpoint of this book by path, or at least those of some files."""
        if paths is None or len(paths) > MAX_ASKED_SINGLY:
            rows = self._rows(_EVERY_FILE, self._book_id)
        else:
            rows = [row for path in paths for row in self._rows(_ONE_FILE, self._book_id, storable(path))]
        return {row[0]: Checkpoint._make(row[1:]) for row in rows}

    def _rows(self, query: str, *arguments: object) -> list[Any]:
        return self._run(lambda: self._connection.execute(query, arguments).fetchall())

    def parser_state(self, path: str) -> bytes:
        """What the parser knew at the offset of one file; empty where there is no checkpoint."""
        query = "select state from parser_states where book_id = ? and path = ?"
        row = self._run(lambda: self._connection.execute(query, [self._book_id, storable(path)]).fetchone())
        return bytes(row[0]) if row else b""

    def projects(self) -> dict[str, str]:
        """The project of every working directory that was ever resolved on this machine."""
        return dict(self._run(lambda: self._connection.execute("select * from projects").fetchall()))

    # -- writing

    def make_book(self) -> None:
        """Make the place for this ledger's checkpoints, to be done once before the first save."""
        if self._book_id is None:
            self._book_id = self._run(self._insert_book)

    def save(
        self,
        files: Mapping[str, tuple[Checkpoint, bytes]],
        *,
        projects: Mapping[str, str],
        receipt_count: int,
    ) -> None:
        """Move the checkpoints of some files, each with its parser's state, in one transaction.

        `receipt_count` is what the ledger counts after the receipt that covers them. Nothing is written where another
        process has dropped this book in the meantime because its ledger was set back.
        """

        def write() -> None:
            with self._transaction():
                moved = self._connection.execute(
                    "update books set receipt_count = max(receipt_count, ?) where book_id = ?",
                    [receipt_count, self._book_id],
                )
                if moved.rowcount == 1:
                    self._write_files(files)
                self._connection.executemany("insert or ignore into projects values (?, ?)", projects.items())

        self._run(write)

    def drop(self) -> None:
        """Forget every checkpoint of this book, so that all is read again."""

        def write() -> None:
            with self._transaction():
                self._delete_books([] if self._book_id is None else [self._book_id])

        self._run(write)
        self._book_id, self._receipt_count = None, 0

    def drop_files(self, paths: Collection[str]) -> None:
        """Forget the checkpoints of files that are gone."""

        def write() -> None:
            keys = [(self._book_id, path) for path in paths]
            with self._transaction():
                self._connection.executemany("delete from files where book_id = ? and path = ?", keys)
                self._connection.executemany("delete from parser_states where book_id = ? and path = ?", keys)

        self._run(write)

    # -- how

    def _write_files(self, files: Mapping[str, tuple[Checkpoint, bytes]]) -> None:
        self._connection.executemany(
            "insert or replace into files values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [(self._book_id, storable(path), *checkpoint) for path, (checkpoint, _) in files.items()],
        )
        self._connection.executemany(
            "insert or replace into parser_states values (?, ?, ?)",
            [(self._book_id, storable(path), state) for path, (_, state) in files.items()],
        )

    def _find_book(self) -> None:
        query = "select book_id, receipt_count from books where ledger_id = ? and user_id = ?"
        row = self._connection.execute(query, self._pair).fetchone()
        self._book_id, self._receipt_count = row or (None, 0)

    def _insert_book(self) -> int:
        with self._transaction():
            self._connection.execute("insert or ignore into books values (null, ?, ?, 0)", self._pair)
            rows = self._connection.execute("select book_id from books order by book_id desc").fetchall()
            self._delete_books(row[0] for row in rows[MAX_BOOKS:])
            query = "select book_id from books where ledger_id = ? and user_id = ?"
            book_id: int = self._connection.execute(query, self._pair).fetchone()[0]
            return book_id

    def _delete_books(self, book_ids: Iterable[int]) -> None:
        keys = [(book_id,) for book_id in book_ids]
        self._connection.executemany("delete from files where book_id = ?", keys)
        self._connection.executemany("delete from parser_states where book_id = ?", keys)
        self._connection.executemany("delete from books where book_id = ?", keys)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("begin immediate")
        try:
            yield
        except BaseException:
            self._connection.rollback()
            raise
        self._connection.commit()

    def _run(self, work: Callable[[], Answer]) -> Answer:
        """Do something with the file; once more with a new one where this one proves damaged or not ours."""
        try:
            try:
                return work()
            except sqlite3.DatabaseError as error:
                if not _is_damage(error):
                    raise
            self._replace_file()
            return work()
        except sqlite3.ProgrammingError:
            raise
        except (sqlite3.Error, OSError) as error:
            raise _refusal(self._path, error) from error

    def _replace_file(self) -> None:
        self._connection.close()
        aside = self._path.with_name(f"{self._path.name}.unreadable")
        with suppress(FileNotFoundError):  # another process was faster
            self._path.replace(aside)
        self.set_aside = aside
        self._connection = _connect(self._path)
        _prepare(self._connection)
        if self._book_id is not None:
            self._book_id = self._insert_book()


def _refusal(path: Path, error: Exception) -> CheckpointError:
    hint = "Free it, or move it away: without it everything is read again, and no number changes."
    return CheckpointError(f"cannot use the checkpoint file {path}: {error}", hint=hint)


def storable(path: str) -> str:
    """The path as a row names it: the same, but for bytes that are no UTF-8, which SQLite could not take."""
    return path if path.isascii() else path.encode("utf-8", "backslashreplace").decode()


def _connect(path: Path) -> sqlite3.Connection:
    make_folder(path.parent)
    os.close(open_private(path, os.O_RDWR | os.O_CREAT))
    return sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None)


def _prepare(connection: sqlite3.Connection) -> None:
    """Make the tables in an empty file; raises DatabaseError for a file that some other program made."""
    if _marks(connection) == (0, 0):
        connection.execute("begin exclusive")
        # another process may have made them while this one waited
        if _marks(connection) == (0, 0) and connection.execute("select 1 from sqlite_master").fetchone() is None:
            for statement in SCHEMA.split(";"):
                connection.execute(statement)
            connection.execute(f"pragma application_id = {APPLICATION_ID}")
            connection.execute(f"pragma user_version = {FORMAT_VERSION}")
        connection.commit()
    if _marks(connection) != (APPLICATION_ID, FORMAT_VERSION):
        raise _NotOurs("made by another program, or another version of this one")


def _marks(connection: sqlite3.Connection) -> tuple[int, int]:
    query = "select a.application_id, v.user_version from pragma_application_id a, pragma_user_version v"
    application_id, version = connection.execute(query).fetchone()
    return application_id, version


class _NotOurs(sqlite3.DatabaseError):
    """The file is sound and not ours."""


def _is_damage(error: sqlite3.DatabaseError) -> bool:
    """Whether the file itself is at fault. SQLITE_ERROR is what a missing table or column gives."""
    code = getattr(error, "sqlite_errorcode", None)
    damage = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR}
    return isinstance(error, _NotOurs) or (isinstance(code, int) and code & 0xFF in damage)
