"""Fixtures for the tests of the SQL."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from tests.sql.keeper import Keeper


@pytest.fixture(scope="session")
def warm_connection(shared_database_url: str) -> Iterator[psycopg.Connection[Any]]:
    """A connection as the owner that lives on: the first ingest on a new one takes longer than most tests."""
    with psycopg.connect(shared_database_url) as connection:
        connection.execute("set timezone = 'UTC'")
        connection.commit()
        yield connection


@pytest.fixture
def keeper(warm_connection: psycopg.Connection[Any]) -> Iterator[Keeper]:
    """A new user's books, which must be right whatever the test has done to them; rolled back afterwards."""
    with warm_connection.transaction(force_rollback=True):
        kept = Keeper(warm_connection)
        yield kept
        assert kept.bad_rows() == {}
