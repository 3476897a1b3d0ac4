"""Fixtures: a ledger on a database with hosted Supabase's roles, and what serves it over HTTP."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from tallystick.schema import install_or_migrate
from tests.roads.places import Place, ServerProcess
from tests.servers import TcpServer
from tests.supabase.project import Api, make_database, running_server

DATABASE = "roads"


@pytest.fixture(scope="session")
def database_server() -> Iterator[TcpServer]:
    with running_server() as server:
        yield server


@pytest.fixture(scope="session")
def place(database_server: TcpServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """One ledger by every road, for tests that keep to users of their own."""
    url = f"{make_database(database_server, DATABASE)}?sslmode=disable"
    install_or_migrate(url)
    server = ServerProcess(url, tmp_path_factory.mktemp("server"))
    server.start()
    api = Api(database_server, DATABASE)
    yield Place(url, server.url, api.url)
    api.stop()
    server.stop()


@pytest.fixture
def user_id() -> str:
    """Somebody whom no other test knows."""
    return str(uuid.uuid4())
