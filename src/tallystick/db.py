"""One connection to Postgres: the SQL road of a ledger, rows as our classes, errors as ours. Alone imports psycopg."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from functools import cache
from typing import TYPE_CHECKING, Any, LiteralString, TypeVar

import psycopg
from psycopg import pq, sql
from psycopg.types.string import TextLoader

from tallystick.addresses import is_http
from tallystick.errors import ConfigError, LedgerError, LedgerNotInstalled, LedgerUnavailable, UnreadableBatch
from tallystick.redaction import redacted_url, without_passwords
from tallystick.road import SERVICE, Arguments, Caller
from tallystick.sqlstates import HINT_BY_ERROR, NOT_INSTALLED_HINT, connection_broke, error_of

if TYPE_CHECKING:
    from types import TracebackType

    from psycopg.abc import PQGen

Row = TypeVar("Row")
Answer = TypeVar("Answer")

Query = LiteralString | bytes

CONNECT_TIMEOUT_S = 10
DEFAULT_PORT = "5432"
# a transaction pooler hands the next transaction to another server, which knows nothing of what this one prepared
CONNECTION_SETTINGS: dict[str, Any] = {
    "autocommit": True,
    "prepare_threshold": None,
    "application_name": "tallystick",
}
# the length from which a text is not made part of a statement
LARGE_TEXT = 1 << 16
# as it is shown: what hides passwords leaves it alone
URL_HINT = "Write postgresql://user@host:5432/database, a password as user:password@, with %40 for an @ in it."
# by how libpq begins to say it; what it says then quotes the part at fault, which may be a password
_URL_FAULTS = {
    'missing "="': "it begins neither with postgresql:// or https:// nor as host=... does",
    "missing key/value separator": "a parameter in it has no value",
    "invalid URI query parameter": "a parameter in it is unknown",
    "invalid connection option": "a parameter in it is unknown",
    "invalid percent-encoded token": "a % in it has no two hexadecimal digits behind it; by itself it is %25",
    "forbidden value": "it holds %00",
    "unexpected spaces": "it holds a blank",
    "end of string": "a [ in it has no ]",
    "unexpected character": "behind the ] of its host something else than a port begins",
    "unterminated": "a quoted part of it does not end",
}

# What is local ends with its transaction, behind a pooler too.
_BECOME: dict[tuple[bool, bool], bytes] = {
    (False, False): b"select set_config('role', %s, true)",
    (True, False): b"select set_config('role', %s, true), set_config('request.jwt.claims', %s, true)",
    (False, True): b"select set_config('role', %s, true), set_config('statement_timeout', %s, true)",
    (True, True): (
        b"select set_config('role', %s, true), set_config('request.jwt.claims', %s, true), "
        b"set_config('statement_timeout', %s, true)"
    ),
}

# it warns of a transaction that after a Ctrl-C only the server can roll back, and a warning would go to the terminal
logging.getLogger("psycopg").addHandler(logging.NullHandler())


class Connection(psycopg.Connection[Any]):
    """One that waits for an answer no longer than it is told, and is of no more use where none came."""

    answer_timeout_s: float | None = None

    def wait(self, gen: PQGen[Answer], interval: float = 0.1, timeout: float | None = None) -> Answer:
        """The result of a generator that talks with the server; raises OperationalError where it took too long."""
        if timeout is not None or self.answer_timeout_s is None:
            return super().wait(gen, interval=interval, timeout=timeout)
        try:
            return super().wait(gen, interval=interval, timeout=self.answer_timeout_s)
        except psycopg.OperationalError:
            if self.pgconn.transaction_status != pq.TransactionStatus.ACTIVE:
                raise
            self.pgconn.finish()
            raise psycopg.OperationalError(f"no answer within {self.answer_timeout_s:g} s") from None


class Database:
    """A connection whose every transaction has the rights of one caller; with none, those of its login.

    Where the connection broke or was cut off, the next transaction opens another one.
    """

    def __init__(self, connection: Connection, *, caller: Caller | None, url: str | None = None) -> None:
        self._connection = connection
        self._caller = caller
        self._url = url
        self._is_in_moment = False
        self._listener: _Listener | None = None

    @classmethod
    def connect(cls, url: str, *, as_service_role: bool = True) -> Database:
        """Open a connection of one's own; raises LedgerUnavailable, whose text holds no password."""
        return cls(open_connection(url), caller=SERVICE if as_service_role else None, url=url)

    def wait_at_most(self, seconds: float | None, /) -> None:
        """Bound the wait for each answer: tallystick.road.Road. None waits as long as the connection lasts."""
        self._connection.answer_timeout_s = seconds

    def close(self) -> None:
        if self._listener is not None:
            self._listener.close()
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
        self._be_connected()
        with our_errors(), self._connection.transaction():
            if is_snapshot:
                self._connection.execute("set transaction isolation level repeatable read read only")
            if self._caller is not None:
                self._become(self._caller)
            yield

    def _become(self, caller: Caller) -> None:
        self._connection.execute(*_become(caller))

    # -- the road of a Ledger

    @contextmanager
    def moment(self) -> Iterator[None]:
        """One transaction for all that is called inside, as of one moment."""
        with self.transaction(is_snapshot=True):
            self._is_in_moment = True
            try:
                yield
            finally:
                self._is_in_moment = False

    def call(self, function: str, arguments: Arguments) -> Any:
        """The value that a function of `public` answers."""
        (value,) = self.call_rows(_only_column, function, arguments)
        return value

    def call_rows(self, row_class: Callable[..., Row], function: str, arguments: Arguments) -> list[Row]:
        """The rows that a function of `public` answers."""
        return self.ask(row_class, _call_of(function, tuple(arguments)), list(arguments.values()))

    def ask(self, row_class: Callable[..., Row], query: Query, arguments: Sequence[object]) -> list[Row]:
        """The rows of one query in a transaction of its own, or in the moment that is open.

        The caller's role and the query go in one message, which Postgres runs as one transaction: a third of the
        journeys, and half of the time that a call takes here. What is large goes as a parameter instead of as text.
        """
        if self._is_in_moment:
            return self.rows(row_class, query, arguments)
        if any(isinstance(value, str) and len(value) > LARGE_TEXT for value in arguments):
            with self.transaction():
                return self.rows(row_class, query, arguments)
        self._be_connected()
        with our_errors():
            cursor = psycopg.ClientCursor(self._connection)
            if self._caller is None:
                cursor.execute(query, arguments)
            else:
                become, caller = _become(self._caller)
                cursor.execute(
                    b"%s; %s" % (become, query if isinstance(query, bytes) else query.encode()), [*caller, *arguments]
                )
                cursor.nextset()
            return _rows_of(row_class, cursor)

    def changes(self, user_id: str | None, timeout_s: float, /) -> bool | None:
        """Whether the user's books may have changed since the last call, None behind a pooler: tallystick.road.Road."""
        if self._url is None:
            return None
        if self._listener is not None:
            try:
                return None if self._listener.is_pooled else self._listener.wait(timeout_s)
            except LedgerUnavailable:
                self._listener.close()
                self._listener = None
        self._listener = _Listener(self._url, user_id, caller=self._caller)
        # what happened while nobody listened, nobody was told
        return None if self._listener.is_pooled else True

    # -- plain SQL

    def rows(self, row_class: Callable[..., Row], query: Query, arguments: Sequence[object] = ()) -> list[Row]:
        """The rows of one query as `row_class(*columns)`; a text column that ends with _usd becomes a Decimal."""
        with our_errors():
            return _rows_of(row_class, self._connection.execute(query, arguments))

    def value(self, query: Query, arguments: Sequence[object] = ()) -> Any:
        """The first column of the first row."""
        with our_errors():
            row = self._connection.execute(query, arguments).fetchone()
        assert row is not None
        return row[0]

    def run_script(self, script: str) -> None:
        """Run a file of SQL statements, without arguments."""
        with our_errors():
            self._connection.execute(script.encode())

    def _be_connected(self) -> None:
        if self._url is not None and (self._connection.broken or self._is_cut_off()):
            before = self._connection
            before.close()
            self._connection = open_connection(self._url)
            self.wait_at_most(before.answer_timeout_s)

    def _is_cut_off(self) -> bool:
        """Whether a Ctrl-C came between a statement and its answer, so that nobody can ask anything else."""
        return self._connection.info.transaction_status == pq.TransactionStatus.ACTIVE

    def acting_as(self, caller: Caller) -> Database:
        """The same connection with the rights of somebody else."""
        return Database(self._connection, caller=caller)

    def has_open_transaction(self) -> bool:
        return self._connection.info.transaction_status != pq.TransactionStatus.IDLE


class _Listener:
    """A connection of its own to which the ledger sends a notice when one user's books change.

    A pooler lends a server's connection for one transaction: the notices, and the lock that they are sent for, would be
    somebody else's. It is known by the process that it names, which is none of the server's.
    """

    def __init__(self, url: str, user_id: str | None, *, caller: Caller | None) -> None:
        self._connection = open_connection(url)
        try:
            database = Database(self._connection, caller=caller)
            self.is_pooled = database.value("select pg_backend_pid()") != self._connection.info.backend_pid
            if not self.is_pooled:
                (channel,) = database.ask(_only_column, "select tallystick.start_listening(%s)", [user_id])
                with our_errors():
                    self._connection.execute(sql.SQL("listen {}").format(sql.Identifier(str(channel))))
        except LedgerError:
            self.close()
            raise
        if self.is_pooled:
            self.close()

    def close(self) -> None:
        self._connection.close()

    def wait(self, timeout_s: float) -> bool:
        """Whether a notice came in time; of several, all that are there count as one."""
        with our_errors():
            told = list(self._connection.notifies(timeout=timeout_s, stop_after=1))
            if told:
                list(self._connection.notifies(timeout=0))
            return bool(told)


def _become(caller: Caller) -> tuple[bytes, list[str]]:
    return _BECOME[bool(caller.claims), bool(caller.statement_timeout)], [setting for setting in caller if setting]


def _only_column(value: object) -> object:
    return value


def _rows_of(row_class: Callable[..., Row], cursor: psycopg.Cursor[Any]) -> list[Row]:
    columns = cursor.description or []
    money = [place for place, column in enumerate(columns) if column.name.endswith("_usd")]
    return [row_class(*_with_decimals(values, money)) for values in cursor]


@cache
def _call_of(function: str, parameters: tuple[str, ...]) -> bytes:
    passed = sql.SQL(", ").join(sql.SQL("{} => %s").format(sql.Identifier(name)) for name in parameters)
    return sql.SQL("select * from public.{}({})").format(sql.Identifier(function), passed).as_bytes()


def open_connection(url: str, *, timeout_s: int | None = None) -> Connection:
    """A new connection; raises LedgerUnavailable, whose text holds no password, and ConfigError for what is no URL.

    Without a limit of the caller's it takes as long as the URL's connect_timeout says, or CONNECT_TIMEOUT_S.
    """
    if is_http(url):
        raise ConfigError(
            "this needs the database itself, and the settings name an http address",
            hint="Name the database with --database postgresql://user@host:5432/database.",
        )
    try:
        connection = Connection.connect(url, **connection_settings(url, timeout_s=timeout_s))
    except psycopg.ProgrammingError as error:
        faults = [fault for beginning, fault in _URL_FAULTS.items() if str(error).startswith(beginning)]
        raise LedgerUnavailable(": ".join(["cannot read the URL of the ledger", *faults]), hint=URL_HINT) from None
    except psycopg.Error as error:
        raise LedgerUnavailable(
            f"cannot reach the ledger at {redacted_url(url)}: {_first_line(error)}",
            hint="Check that the server runs and that the URL is right.",
        ) from None  # libpq takes what stands behind the first @ of a password for the host, and tells it
    settle(connection)
    return connection


def connection_settings(url: str, *, timeout_s: int | None = None) -> dict[str, Any]:
    """What every connection of ours is opened with; a limit for that in the URL is its owner's, and holds."""
    of_url = psycopg.conninfo.conninfo_to_dict(url).get("connect_timeout")
    return {**CONNECTION_SETTINGS, "connect_timeout": timeout_s or of_url or CONNECT_TIMEOUT_S}


def identify_database(url: str) -> str:
    """The servers and the name of a URL's database, as libpq reads them; the text of what it cannot read.

    Users, passwords and all other parameters are left out: they lead to the same database.
    """
    try:
        given = psycopg.conninfo.conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        return url
    defaults = {option.keyword.decode(): (option.val or b"").decode() for option in pq.Conninfo.get_defaults()}
    named = {**defaults, **{name: str(value) for name, value in given.items() if value}}
    # a socket's folder is a path, in which case matters
    hosts = [
        host if host[:1] in ("/", "@") else host.lower() for host in (named["hostaddr"] or named["host"]).split(",")
    ]
    ports = named["port"].split(",")
    servers = zip(hosts, ports if len(ports) > 1 else ports * len(hosts), strict=False)
    places = sorted(f"{host}:{port or DEFAULT_PORT}" for host, port in servers)
    return " ".join([*places, named["dbname"] or named["user"], named["service"]])


def settle(connection: psycopg.Connection[Any]) -> None:
    """What every connection of ours knows: an id is a text to all of us."""
    connection.adapters.register_loader("uuid", TextLoader)


def _with_decimals(values: Sequence[Any], money: list[int]) -> Sequence[Any]:
    if not money:
        return values
    cells = list(values)
    for place in money:
        if isinstance(cells[place], str):
            cells[place] = Decimal(cells[place])
    return cells


@contextmanager
def our_errors() -> Iterator[None]:
    try:
        yield
    except psycopg.Error as error:
        raise _translated(error) from error


def _translated(error: psycopg.Error) -> LedgerError:
    state = error.sqlstate
    diagnostic = error.diag
    message = diagnostic.message_primary or _first_line(error)
    if state is None and isinstance(error, psycopg.DataError):
        return UnreadableBatch(message, hint=HINT_BY_ERROR[UnreadableBatch])
    if state is None and not isinstance(error, (psycopg.OperationalError, psycopg.InterfaceError)):
        return LedgerError(message)
    if state is None:
        return connection_broke(message)
    if state == "22023" and message.startswith('role "'):
        # no ledger was ever installed on this server: the first migration makes the roles
        return LedgerNotInstalled(f"the ledger is not installed in this database ({message})", hint=NOT_INSTALLED_HINT)
    return error_of(state, message, hint=diagnostic.message_hint or "", constraint=diagnostic.constraint_name or "")


def _first_line(error: Exception) -> str:
    # what stands before an @ may be the end of a password that was cut at the first one
    return re.sub(r"[^\s'\"]*@", "***@", without_passwords(str(error).strip().partition("\n")[0]))
