"""Fixtures for the tests of the HTTP API: a server for each module, on a database of its own."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from tallystick.ledger import Ledger
from tests.api.serving import Api, event, new_user
from tests.api.signers import HS256_SECRET, Signer
from tests.servers import connect, database_url

_number = itertools.count(1)


@pytest.fixture(scope="session")
def signer() -> Iterator[Signer]:
    signer = Signer()
    yield signer
    signer.close()


@pytest.fixture(scope="module")
def api_database(server_urls: dict[str, str]) -> Iterator[str]:
    """A database of the module's own, with the schema."""
    yield from own_database(server_urls["18"])


def own_database(server_url: str) -> Iterator[str]:
    name = f"api_{next(_number)}"
    with connect(server_url, autocommit=True) as connection:
        connection.execute(f"create database {name} template installed")
        yield database_url(server_url, name)
        connection.execute(f"drop database {name} with (force)")


@pytest.fixture(scope="module")
def api(api_database: str, signer: Signer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """The module's server, which must end in peace when it is told to."""
    api = Api(tmp_path_factory.mktemp("api"), api_database, SUPABASE_URL=signer.url, SUPABASE_JWT_SECRET=HS256_SECRET)
    yield api
    assert api.stop() == 0, api.log()


@pytest.fixture
def start_api(tmp_path: Path) -> Iterator[Callable[..., Api]]:
    """Servers of the test's own."""
    apis: list[Api] = []

    def start(url: str, *arguments: str, **environ: str) -> Api:
        folder = tmp_path / f"api {len(apis)}"
        folder.mkdir()
        apis.append(Api(folder, url, *arguments, **environ))
        return apis[-1]

    yield start
    for api in apis:
        api.stop()


@pytest.fixture(scope="module")
def alice(api: Api) -> str:
    """A user with 120 calls in her books, three models of which one has no price."""
    return make_books(api, 120)


@pytest.fixture(scope="module")
def bob(api: Api) -> str:
    """Another user, whose calls have the same keys as Alice's first ones."""
    return make_books(api, 10)


@pytest.fixture(scope="module")
def alices_key(api: Api, alice: str) -> str:
    return api.key(alice)


def make_books(api: Api, count: int) -> str:
    user_id = new_user()
    with Ledger.connect(api.database_url, user_id=user_id) as ledger:
        ledger.make_account(time_zone="Europe/Berlin")
        ledger.ingest_token_usage(msgspec.json.encode([event(number) for number in range(count)]))
    return user_id


def digest(api: Api, user_id: str) -> str:
    with Ledger.connect(api.database_url, user_id=user_id) as ledger:
        return ledger.ledger_digest()
