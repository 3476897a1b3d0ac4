"""The connections of a server that answers many at once, when their database goes away and comes back."""

from __future__ import annotations

from contextlib import ExitStack

import psycopg
import pytest

from tallystick.errors import LedgerUnavailable
from tallystick.pool import Pool
from tests.servers import connect

SIZE = 4


def test_one_broken_connection_is_enough_to_find_out_about_the_others(ledger_url_18: str) -> None:
    pool = Pool(ledger_url_18, size=SIZE)
    pool.open()
    try:
        with ExitStack() as stack:
            for _ in range(SIZE):
                assert stack.enter_context(pool.database(None)).value("select 1") == 1
        name = psycopg.conninfo.conninfo_to_dict(ledger_url_18)["dbname"]
        with connect(ledger_url_18, autocommit=True) as observer:
            query = (
                "select pg_terminate_backend(pid, 60000) from pg_stat_activity "
                "where datname = %s and application_name = 'tallystick'"
            )
            assert observer.execute(query.encode(), [name]).fetchall() == [(True,)] * SIZE
        with pytest.raises(LedgerUnavailable), pool.database(None) as database:
            database.value("select 1")
        for _ in range(SIZE):
            with pool.database(None) as database:
                assert database.value("select 1") == 1
    finally:
        pool.close()


@pytest.mark.parametrize(("of_url", "timeout_s"), [("", "10"), ("&connect_timeout=3", "3")])
def test_the_urls_own_time_to_connect_holds_for_each_connection(
    ledger_url_18: str, of_url: str, timeout_s: str
) -> None:
    pool = Pool(ledger_url_18 + of_url, size=1)
    pool.open()
    try:
        with pool.database(None) as database:
            assert database._connection.info.get_parameters()["connect_timeout"] == timeout_s
    finally:
        pool.close()
