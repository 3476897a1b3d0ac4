"""One connection to Postgres: transactions, rows as our classes, errors as ours. Alone imports psycopg."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from typing import TYPE_CHECKING, Any, LiteralString, TypeVar

import psycopg
from psycopg import pq
from psycopg.types.string import TextLoader

from tallystick.errors import (
    Busy,
    Conflict,
    Forbidden,
    InvalidRequest,
    LedgerError,
    LedgerNotInstalled,
    LedgerUnavailable,
    NotFound,
    UnreadableBatch,
)
from tallystick.redaction import redacted_url, without_passwords

if TYPE_CHECKING:
    from types import TracebackType

Row = TypeVar("Row")

CONNECT_TIMEOUT_S = 10

# The code that a function of ours raises is the HTTP status; the rest are Postgres' own.
ERROR_BY_SQLSTATE: dict[str, type[LedgerError]] = {
    "PT400": InvalidRequest,
    "PT403": Forbidden,
    "PT404": NotFound,
    "PT409": Conflict,
    "PT413": InvalidRequest,
    "PT503": Busy,
    "22P02": UnreadableBatch,  # not JSON, or a surrogate without its other half
    "22P05": UnreadableBatch,  # \u0000
    "22003": UnreadableBatch,  # a number beyond numeric
    "22021": UnreadableBatch,  # bytes that are no text
    "54001": UnreadableBatch,  # nested too deeply
    "42501": Forbidden,
    "55P03": Busy,
    "57014": Busy,  # statement timeout
    "40P01": Busy,
    "42883": LedgerNotInstalled,
    "3F000": LedgerNotInstalled,
    "42P01": LedgerNotInstalled,
}
# what to do where Postgres itself refuses, which says what is wrong and no more
HINT_BY_ERROR: dict[type[LedgerError], str] = {
    Busy: "Try again in a moment.",
    Forbidden: "Connect as the owner of the ledger, or as a login that is a member of service_role.",
}
URL_HINT = "Write postgresql://user:password@host:5432/database, with %20 for a blank and %40 for an @ in a password."
NOT_INSTALLED_HINT = "Run `tally db migrate` on this database."

# it warns of a transaction that after a Ctrl-C only the server can roll back, and a warning would go to the terminal
logging.getLogger("psycopg").addHandler(logging.NullHandler())


class Database:
    """A connection whose every transaction works as the service role, unless it is opened as the owner.

    Where the connection broke or was cut off, the next transaction opens another one.
    """

    def __init__(self, url: str, *, as_service_role: bool) -> None:
        self._url = url
        self._as_service_role = as_service_role
        self._connection = _open(url)

    @classmethod
    def connect(cls, url: str, *, as_service_role: bool = True) -> Database:
        """Open the connection; raises LedgerUnavailable, whose text holds no password."""
        return cls(url, as_service_role=as_service_role)

    def close(self) -> None:
        self._connection.close()

    def __enter__(self) -> Database:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @contextmanager
    def transaction(self, *, is_snapshot: bool = False) -> Iterator[None]:
        """All that runs inside is committed together, or not at all; in a snapshot, all of it sees one moment."""
        if self._connection.broken or self._is_cut_off():
            self._connection.close()
            self._connection = _open(self._url)
        with _our_errors(), self._connection.transaction():
            if is_snapshot:
                self._connection.execute("set transaction isolation level repeatable read read only")
            if self._as_service_role:
                self._become_service_role()
            yield

    def _become_service_role(self) -> None:
        try:
            self._connection.execute("set local role service_role")
        except psycopg.errors.InvalidParameterValue as error:
            # no ledger was ever installed on this server: the first migration makes the role
            reason = error.diag.message_primary
            raise LedgerNotInstalled(
                f"the ledger is not installed in this database ({reason})", hint=NOT_INSTALLED_HINT
            ) from error

    def rows(self, row_class: Callable[..., Row], query: LiteralString, arguments: Sequence[object] = ()) -> list[Row]:
        """The rows of one query as `row_class(*columns)`; a text column that ends with _usd becomes a Decimal."""
        with _our_errors():
            cursor = self._connection.execute(query, arguments)
            columns = cursor.description or []
            money = [place for place, column in enumerate(columns) if column.name.endswith("_usd")]
            return [row_class(*_with_decimals(values, money)) for values in cursor]

    def value(self, query: LiteralString, arguments: Sequence[object] = ()) -> Any:
        """The first column of the first row."""
        with _our_errors():
            row = self._connection.execute(query, arguments).fetchone()
        assert row is not None
        return row[0]

    def run_script(self, script: str) -> None:
        """Run a file of SQL statements, without arguments."""
        with _our_errors():
            self._connection.execute(script.encode())

    def _is_cut_off(self) -> bool:
        """Whether a Ctrl-C came between a statement and its answer, so that nobody can ask anything else."""
        return self._connection.info.transaction_status == pq.TransactionStatus.ACTIVE

    def has_open_transaction(self) -> bool:
        return self._connection.info.transaction_status != pq.TransactionStatus.IDLE


def _open(url: str) -> psycopg.Connection[Any]:
    try:
        connection = psycopg.connect(
            url, prepare_threshold=None, connect_timeout=CONNECT_TIMEOUT_S, application_name="tallystick"
        )
    except psycopg.ProgrammingError:
        # what libpq says of a URL that it cannot read quotes the part at fault, which may be the password
        raise LedgerUnavailable("cannot read the URL of the ledger", hint=URL_HINT) from None
    except psycopg.Error as error:
        raise LedgerUnavailable(
            f"cannot reach the ledger at {redacted_url(url)}: {_first_line(error)}",
            hint="Check that the server runs and that the URL is right.",
        ) from None  # libpq takes what stands behind the first @ of a password for the host, and tells it
    # an id is a text to all of us
    connection.adapters.register_loader("uuid", TextLoader)
    return connection


def _with_decimals(values: Sequence[Any], money: list[int]) -> Sequence[Any]:
    if not money:
        return values
    cells = list(values)
    for place in money:
        if isinstance(cells[place], str):
            cells[place] = Decimal(cells[place])
    return cells


@contextmanager
def _our_errors() -> Iterator[None]:
    try:
        yield
    except psycopg.Error as error:
        raise _translated(error) from error


def _translated(error: psycopg.Error) -> LedgerError:
    state = error.sqlstate
    diagnostic = error.diag
    message = diagnostic.message_primary or _first_line(error)
    if state is None and isinstance(error, psycopg.DataError):
        return UnreadableBatch(message)
    if state is None and not isinstance(error, (psycopg.OperationalError, psycopg.InterfaceError)):
        return LedgerError(message)
    if state is None or state.startswith(("08", "57P")) or state in {"53300", "25006"}:
        return LedgerUnavailable(
            f"the connection to the ledger broke: {message}", hint="Nothing is lost; run the command again."
        )
    kind = ERROR_BY_SQLSTATE.get(state, LedgerError)
    if kind is LedgerNotInstalled:
        return LedgerNotInstalled(f"the ledger is not installed in this database ({message})", hint=NOT_INSTALLED_HINT)
    hint = diagnostic.message_hint or HINT_BY_ERROR.get(kind, "")
    return kind(message, hint=hint, constraint=diagnostic.constraint_name or "")


def _first_line(error: Exception) -> str:
    # what stands before an @ may be the end of a password that was cut at the first one
    return re.sub(r"[^\s'\"]*@", "***@", without_passwords(str(error).strip().partition("\n")[0]))
