"""Fixtures: a server with hosted Supabase's roles, projects on it, and the API over one that holds the ledger."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.servers import TcpServer
from tests.supabase.project import (
    SUPERUSER,
    Api,
    ProjectFolder,
    SignedInUser,
    copy_database,
    make_database,
    running_server,
)

PUSHED = "pushed"
_number = itertools.count(1)


@pytest.fixture(scope="session")
def supabase_server() -> Iterator[TcpServer]:
    with running_server() as server:
        yield server


@pytest.fixture
def new_project(supabase_server: TcpServer, tmp_path: Path) -> ProjectFolder:
    """A project that `supabase init` has made and that holds nothing yet."""
    folder = tmp_path / "my project"
    folder.mkdir()
    return ProjectFolder(folder, make_database(supabase_server, f"new_{next(_number)}"))


@pytest.fixture(scope="session")
def pushed_project(supabase_server: TcpServer, tmp_path_factory: pytest.TempPathFactory) -> ProjectFolder:
    """A project that the ledger was pushed to; for tests that change nothing of it and leave no connection open."""
    project = ProjectFolder(tmp_path_factory.mktemp("pushed"), make_database(supabase_server, PUSHED))
    project.push_ledger()
    return project


@pytest.fixture
def pushed_copy(supabase_server: TcpServer, pushed_project: ProjectFolder) -> str:  # noqa: ARG001 (must stand)
    """The URL of a pushed database of the test's own."""
    return copy_database(supabase_server, f"copy_{next(_number)}", of=PUSHED)


@pytest.fixture(scope="session")
def start_api(supabase_server: TcpServer, pushed_project: ProjectFolder) -> Iterator[Callable[[], Api]]:  # noqa: ARG001
    """APIs over pushed databases of their own, stopped at the end."""
    started: list[Api] = []

    def start() -> Api:
        name = f"served_{next(_number)}"
        copy_database(supabase_server, name, of=PUSHED)
        started.append(Api(supabase_server, name))
        return started[-1]

    yield start
    for api in started:
        api.stop()


@pytest.fixture(scope="session")
def api(start_api: Callable[[], Api]) -> Api:
    """One API for all tests that keep to users of their own."""
    return start_api()


@pytest.fixture
def new_user(api: Api) -> Callable[[], SignedInUser]:
    """Users of Auth that nobody else knows, signed in."""
    return lambda: api.sign_up(f"user-{next(_number)}@example.com")


@pytest.fixture(scope="session")
def superuser_of_api(supabase_server: TcpServer, api: Api) -> Iterator[psycopg.Connection[Any]]:
    """A look at the database behind the API that needs nobody's leave."""
    with psycopg.connect(supabase_server.url(api.database, user=SUPERUSER), autocommit=True) as connection:
        yield connection
