"""Fixtures for the tests of the SQL."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from tests.sql.keeper import Keeper
from tests.sql.two_users import Db, keep_alices_books, keep_bobs_books, open_books


@pytest.fixture
def keeper(warm_connection: psycopg.Connection[Any]) -> Iterator[Keeper]:
    """A new user's books, which must be right whatever the test has done to them; rolled back afterwards."""
    with warm_connection.transaction(force_rollback=True):
        warm_connection.execute("set local timezone = 'UTC'")
        kept = Keeper(warm_connection)
        yield kept
        assert kept.bad_rows() == {}


@pytest.fixture
def books(db: Db) -> Db:
    """Alice's and Bob's books beside each other."""
    open_books(db)
    keep_alices_books(db)
    keep_bobs_books(db)
    return db
