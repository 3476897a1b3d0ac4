"""Fixtures: real servers, a connection that is rolled back, and databases of one's own for what must commit."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from tallystick.ledger import Ledger
from tallystick.schema import install_or_migrate
from tests.servers import database_url, server_of

if TYPE_CHECKING:
    from tests.model_api import ModelApi

_database_number = itertools.count(1)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--torture-rounds", type=int, default=3, help="how often the torture tests kill each process")


@pytest.fixture
def torture_rounds(request: pytest.FixtureRequest) -> int:
    return int(request.config.getoption("--torture-rounds"))


@pytest.fixture(scope="session")
def server_urls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The URL of each server by major version; the template database `installed` holds the schema."""
    folder = tmp_path_factory.mktemp("servers")
    servers = {major: server_of(major, folder) for major in ("15", "18")}
    try:
        urls = {major: server.acquire() for major, server in servers.items()}
        for url in urls.values():
            with psycopg.connect(url, autocommit=True) as connection:
                connection.execute("create database installed")
            install_or_migrate(database_url(url, "installed"))
        yield urls
    finally:
        for server in servers.values():
            server.release()
            server.erase()


@pytest.fixture(scope="session", params=["15", "18"])
def server_url(request: pytest.FixtureRequest, server_urls: dict[str, str]) -> str:
    return server_urls[request.param]


@pytest.fixture(scope="session")
def shared_database_url(server_url: str) -> str:
    """A database with the schema, for tests that roll back."""
    name = f"shared_{next(_database_number)}"
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(f"create database {name} template installed")
    return database_url(server_url, name)


@pytest.fixture
def db(shared_database_url: str) -> Iterator[psycopg.Connection[Any]]:
    """A connection as the owner of the ledger; whatever the test does is rolled back."""
    with psycopg.connect(shared_database_url) as connection:
        connection.execute("set timezone = 'UTC'")
        yield connection
        connection.rollback()


@pytest.fixture
def ledger_url(server_url: str) -> Iterator[str]:
    """A database of the test's own with the schema, dropped afterwards."""
    yield from _own_database(server_url)


@pytest.fixture
def ledger_url_18(server_urls: dict[str, str]) -> Iterator[str]:
    """The same on the embedded version only, for tests of what does not depend on the version."""
    yield from _own_database(server_urls["18"])


def _own_database(server_url: str) -> Iterator[str]:
    name = f"own_{next(_database_number)}"
    with psycopg.connect(server_url, autocommit=True) as connection:
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
