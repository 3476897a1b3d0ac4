"""Fixtures: real servers, a connection that is rolled back, and databases of one's own for what must commit."""

from __future__ import annotations

import itertools
import shutil
import signal
import tempfile
import uuid
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import psycopg
import pytest
from hypothesis import HealthCheck, is_hypothesis_test, settings
from psycopg.pq import TransactionStatus

from tallystick.ledger import Ledger
from tallystick.schema import install_or_migrate
from tests.scheduling import ByServer, rank
from tests.servers import (
    NOT_DURABLE,
    PgBouncer,
    TcpServer,
    acquire_not_durable,
    connect,
    database_url,
    pglite,
    server_of,
)
from tests.which_servers import examples_of, server_names

if TYPE_CHECKING:
    from tests.model_api import ModelApi

_database_number = itertools.count(1)
# how long an example takes says how busy the machine is
settings.register_profile("tests", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tests")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--torture-rounds", type=int, default=3, help="how often the torture tests kill each process")
    parser.addoption("--day-hours", type=int, default=2, help="how long the simulated day is")
    parser.addoption("--day-seed", type=int, default=1, help="decides what happens in it, and when")


@pytest.hookimpl(optionalhook=True)
def pytest_configure() -> None:
    """Let Ctrl-C end what tests start: a shell has what it runs in its background ignore it, and that is inherited."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    return ByServer(config, log) if config.getoption("dist") == "loadscope" else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: rank(item.nodeid))


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    """Run a property with fewer examples on a server that runs the same SQL as the one that has them all."""
    test, params = pyfuncitem.obj, pyfuncitem.callspec.params if hasattr(pyfuncitem, "callspec") else {}
    if not is_hypothesis_test(test) or "server" not in params:
        return (yield)
    # settings cannot be given to a test twice, and the test is the same for all servers
    usual = test._hypothesis_internal_use_settings
    test._hypothesis_internal_use_settings = settings(
        usual, max_examples=examples_of(params["server"], usual.max_examples)
    )
    try:
        return (yield)
    finally:
        test._hypothesis_internal_use_settings = usual


@pytest.fixture
def torture_rounds(request: pytest.FixtureRequest) -> int:
    return int(request.config.getoption("--torture-rounds"))


@pytest.fixture
def day_hours(request: pytest.FixtureRequest) -> int:
    return int(request.config.getoption("--day-hours"))


@pytest.fixture
def day_seed(request: pytest.FixtureRequest) -> int:
    return int(request.config.getoption("--day-seed"))


class Server(NamedTuple):
    """A server that holds a ledger: its URL as programs are given it, and the one past its pooler, if it has one."""

    name: str
    url: str
    admin_url: str


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Whatever asks for a server, however indirectly, runs on each one that is right for it."""
    if "server" in metafunc.fixturenames:
        names = server_names(metafunc.module.__name__, metafunc.function.__name__)
        metafunc.parametrize("server", names, indirect=True, scope="session")


@pytest.fixture(scope="session")
def server_urls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The URLs of 15 and 18 by major version; the template database `installed` holds the schema."""
    folder = tmp_path_factory.mktemp("servers")
    servers = {major: server_of(major, folder) for major in ("15", "18")}
    try:
        urls = {major: acquire_not_durable(server) for major, server in servers.items()}
        for url in urls.values():
            make_template(url)
        yield urls
    finally:
        for server in servers.values():
            server.release()
            server.erase()


@pytest.fixture(scope="session")
def tcp_server() -> Iterator[TcpServer]:
    """A server on a port, to put poolers before; it has the databases `tallystick`, which is empty, and `installed`."""
    # not in a folder of pytest's, which another run of pytest closes to everybody else
    folder = Path(tempfile.mkdtemp(prefix="tally-", dir="/tmp"))
    server = TcpServer(folder, settings=NOT_DURABLE)
    server.start()
    try:
        with connect(server.url(), autocommit=True) as connection:
            connection.execute("create database tallystick")
        make_template(f"{server.url('tallystick')}?sslmode=disable")
        yield server
    finally:
        server.stop(mode="immediate")
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def shared_pooler(tcp_server: TcpServer) -> Iterator[PgBouncer]:
    """The pooler of the tests that run on `pooled`."""
    yield from _pooler(tcp_server)


@pytest.fixture
def pooler(tcp_server: TcpServer) -> Iterator[PgBouncer]:
    """A pooler of the test's own, which it may kill."""
    yield from _pooler(tcp_server)


def _pooler(server: TcpServer) -> Iterator[PgBouncer]:
    pooler = PgBouncer(server)
    pooler.start()
    yield pooler
    pooler.stop()


@pytest.fixture(scope="session")
def pglite_url() -> Iterator[str]:
    """The URL of a Postgres 17 whose one database holds the schema."""
    with pglite() as url:
        install_or_migrate(url)
        yield url


def make_template(server_url: str) -> None:
    with connect(server_url, autocommit=True) as connection:
        connection.execute("create database installed")
    install_or_migrate(database_url(server_url, "installed"))


@pytest.fixture(scope="session")
def server(request: pytest.FixtureRequest) -> Server:
    name = request.param
    if name == "pooled":
        pooler: PgBouncer = request.getfixturevalue("shared_pooler")
        return Server(name, pooler.url(), pooler.direct_url())
    url = request.getfixturevalue("pglite_url") if name == "17" else request.getfixturevalue("server_urls")[name]
    return Server(name, url, url)


@pytest.fixture(scope="session")
def server_url(server: Server) -> str:
    return server.url


@pytest.fixture(scope="session")
def admin_url(server: Server) -> str:
    """The server itself, whatever stands before it: for making databases and for looking at sessions."""
    return server.admin_url


@pytest.fixture(scope="session")
def shared_database_url(server: Server) -> str:
    """A database with the schema, for tests that roll back."""
    if server.name == "17":
        return server.url
    name = f"shared_{next(_database_number)}"
    with connect(server.admin_url, autocommit=True) as connection:
        connection.execute(f"create database {name} template installed")
    return database_url(server.url, name)


@pytest.fixture(scope="session")
def open_connection(server: Server, shared_database_url: str) -> Iterator[Callable[[], psycopg.Connection[Any]]]:
    """A way to the connection that the tests share, which is another one where a test has left it unusable."""
    with ExitStack() as stack:
        opened: list[psycopg.Connection[Any]] = []

        def connection() -> psycopg.Connection[Any]:
            if opened and opened[-1].info.transaction_status == TransactionStatus.INTRANS:
                opened[-1].rollback()
            if not opened or opened[-1].info.transaction_status != TransactionStatus.IDLE:
                stack.close()
                opened.append(stack.enter_context(closing(connect(shared_database_url))))
                if server.name == "17":
                    # PGlite answers an error within an extended query twice: its arguments must come in the query
                    opened[-1].cursor_factory = psycopg.ClientCursor
            return opened[-1]

        yield connection


@pytest.fixture
def warm_connection(open_connection: Callable[[], psycopg.Connection[Any]]) -> psycopg.Connection[Any]:
    """A connection as the owner that lives on: the first ingest on a new one takes longer than most tests."""
    return open_connection()


@pytest.fixture
def db(warm_connection: psycopg.Connection[Any]) -> Iterator[psycopg.Connection[Any]]:
    """A transaction as the owner of the ledger; whatever the test does is rolled back."""
    warm_connection.execute("set local timezone = 'UTC'")
    yield warm_connection
    if warm_connection.info.transaction_status in {TransactionStatus.INTRANS, TransactionStatus.INERROR}:
        warm_connection.rollback()


@pytest.fixture
def ledger_url(server: Server) -> Iterator[str]:
    """A database of the test's own with the schema, dropped afterwards."""
    yield from _own_database(server.url, server.admin_url)


@pytest.fixture(scope="module")
def module_ledger_url(server: Server) -> Iterator[str]:
    """A database of the module's, for tests that keep to users of their own: making one takes longer than most."""
    yield from _own_database(server.url, server.admin_url)


@pytest.fixture
def ledger_url_18(server_urls: dict[str, str]) -> Iterator[str]:
    """The same on the embedded version only, for tests of what does not depend on the version."""
    yield from _own_database(server_urls["18"], server_urls["18"])


@pytest.fixture(scope="module")
def module_ledger_url_18(server_urls: dict[str, str]) -> Iterator[str]:
    """A database that the tests of a module read, after it was filled once."""
    yield from _own_database(server_urls["18"], server_urls["18"])


def _own_database(server_url: str, admin_url: str) -> Iterator[str]:
    name = f"own_{next(_database_number)}"
    with connect(admin_url, autocommit=True) as connection:
        connection.execute(f"create database {name} template installed")
        yield database_url(server_url, name)
        connection.execute(f"drop database {name} with (force)")


@pytest.fixture
def ledger(ledger_url: str) -> Iterator[Ledger]:
    """A new user's books in a database of the test's own."""
    with Ledger.connect(ledger_url, user_id=str(uuid.uuid4())) as connected:
        yield connected


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """An empty folder with a blank and an umlaut in its name, to be TALLYSTICK_HOME."""
    folder = tmp_path / "my tälly"
    folder.mkdir()
    return folder


@pytest.fixture
def model_api() -> Iterator[ModelApi]:
    """A model provider on this machine, for the makers' own clients."""
    from tests.model_api import running_model_api  # their SDKs take 2 s to import

    with running_model_api() as api:
        yield api
