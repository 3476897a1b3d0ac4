"""Fixtures for the tests of the SQL."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from psycopg.pq import TransactionStatus

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


@pytest.fixture(scope="module")
def standing_books(open_connection: Callable[[], Db]) -> Iterator[Callable[[], Db]]:
    """A way to Alice's and Bob's books beside each other, as they were at a savepoint in a transaction that goes on.

    To keep them takes longer than most tests. Whatever else uses the connection ends the transaction, and the next
    test of the books begins another.
    """
    kept: list[Db] = []

    def books() -> Db:
        if not kept or kept[-1].info.transaction_status != TransactionStatus.INTRANS:
            kept.append(open_connection())
            kept[-1].execute("set local timezone = 'UTC'")
            open_books(kept[-1])
            keep_alices_books(kept[-1])
            keep_bobs_books(kept[-1])
            kept[-1].execute("savepoint books")
        return kept[-1]

    yield books
    if kept and kept[-1].info.transaction_status == TransactionStatus.INTRANS:
        kept[-1].rollback()


@pytest.fixture
def books(standing_books: Callable[[], Db]) -> Iterator[Db]:
    """Alice's and Bob's books beside each other, in a transaction; whatever the test does is undone."""
    db = standing_books()
    yield db
    if db.info.transaction_status in {TransactionStatus.INTRANS, TransactionStatus.INERROR}:
        db.execute("rollback to savepoint books")
