"""A ledger that cannot be reached, or goes away: nothing is lost, and no password is told."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from traceback import format_exception
from typing import Any

import psycopg
import pytest

from tallystick.db import Database, open_connection
from tallystick.errors import LedgerError, LedgerUnavailable
from tallystick.ledger import Ledger
from tallystick.model import Receipt
from tests.servers import connect, hanging_server
from tests.sql.waiting import LOCKED_OUT, server_process, wait_for
from tests.surface.records import batch_of, key_of, observation

# -- passwords

PASSWORD = "s3cr3t"


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://u:{PASSWORD}@127.0.0.1:1/db",
        f"postgresql://:{PASSWORD}@127.0.0.1:1/db",
        f"postgresql://u:{PASSWORD}%40{PASSWORD}@127.0.0.1:1/db",
        f"postgresql://u:{PASSWORD}@{PASSWORD}@127.0.0.1:1/db",
        f"postgresql://u:{PASSWORD}/{PASSWORD}@127.0.0.1:1/db",
        f"postgresql://u:{PASSWORD}?{PASSWORD}@127.0.0.1:1/db",
        f"postgresql://u:{PASSWORD}#{PASSWORD}@127.0.0.1:1/db",
        f"postgresql://u:{PASSWORD} {PASSWORD}@127.0.0.1:1/db",
        f"postgresql://u:{PASSWORD}%zz@127.0.0.1:1/db",
        f"postgresql://u:{PASSWORD}@[::1/db",
        f"postgresql://u:{PASSWORD}@127.0.0.1:99999/db",
        f"postgresql://u:{PASSWORD}",
        f"postgresql://u:{PASSWORD}/db",
        f"postgresql://127.0.0.1:1/db?user=u&password={PASSWORD}&connect_timeout=1",
        f"postgres//u:{PASSWORD}@127.0.0.1/db",
        f"u:{PASSWORD}@127.0.0.1/db",
        f"host=127.0.0.1 port=1 user=u password={PASSWORD}",
        f"host=127.0.0.1 port=1 user=u password='{PASSWORD} {PASSWORD}'",
        f"host=127.0.0.1 port=1 user=u password = '{PASSWORD}\\'{PASSWORD}'",
        f"host=127.0.0.1 port=1 user=u password={PASSWORD}\\ {PASSWORD}",
        f"host=127.0.0.1 port=1 user=u passwd={PASSWORD}",
    ],
)
def test_no_error_shows_a_password(url: str) -> None:
    with pytest.raises(LedgerUnavailable) as refusal:
        Ledger.connect(url, user_id=str(uuid.uuid4()))
    error = refusal.value
    assert PASSWORD not in f"{error} {error.message} {error.hint} {error!r}"
    # --verbose prints the trace of an error with all that is behind it
    assert PASSWORD not in "".join(format_exception(error))
    assert error.hint


def test_a_password_that_the_server_refuses_is_not_shown(ledger_url: str) -> None:
    with pytest.raises(LedgerUnavailable) as refusal:
        Ledger.connect(f"{ledger_url}&user=nobody&password={PASSWORD}", user_id=str(uuid.uuid4()))
    assert PASSWORD not in str(refusal.value)
    assert "nobody" in str(refusal.value)


@pytest.mark.parametrize(("of_url", "timeout_s"), [("", "10"), ("&connect_timeout=3", "3")])
def test_the_urls_own_time_to_connect_holds(ledger_url: str, of_url: str, timeout_s: str) -> None:
    with open_connection(ledger_url + of_url) as connection:
        assert connection.info.get_parameters()["connect_timeout"] == timeout_s


# -- a server that goes away


@pytest.fixture
def observer(admin_url: str) -> Iterator[psycopg.Connection[Any]]:
    with connect(admin_url, autocommit=True) as connection:
        yield connection


def database_of(ledger_url: str) -> str:
    return str(psycopg.conninfo.conninfo_to_dict(ledger_url)["dbname"])


def end_connections(observer: psycopg.Connection[Any], ledger_url: str) -> None:
    """What a server that is stopped does to a ledger that is connected."""
    connected = "from pg_stat_activity where datname = %s and application_name = 'tallystick'"
    ended = observer.execute(f"select pg_terminate_backend(pid, 60000) {connected}".encode(), [database_of(ledger_url)])
    assert ended.fetchall() == [(True,)]


@pytest.fixture
def hasty(ledger_url: str) -> Iterator[Ledger]:
    """A ledger that tries once and tells."""
    with Ledger.connect(ledger_url, user_id=str(uuid.uuid4()), attempts=1) as connected:
        yield connected


def test_a_connection_that_breaks_is_opened_anew_and_the_call_goes_on(
    ledger: Ledger, ledger_url: str, observer: psycopg.Connection[Any]
) -> None:
    batch = batch_of(observation(1))
    assert ledger.ingest_token_usage(batch).new == 1
    end_connections(observer, ledger_url)
    assert ledger.ingest_token_usage(batch) == Receipt(received=1, duplicate=1)


def test_a_connection_that_breaks_is_told_and_the_next_call_opens_another(
    hasty: Ledger, ledger_url: str, observer: psycopg.Connection[Any]
) -> None:
    ledger = hasty
    batch = batch_of(observation(1))
    assert ledger.ingest_token_usage(batch).new == 1
    end_connections(observer, ledger_url)
    with pytest.raises(LedgerUnavailable) as refusal:
        ledger.ingest_token_usage(batch)
    assert "Nothing is lost" in refusal.value.hint
    assert ledger.ingest_token_usage(batch) == Receipt(received=1, duplicate=1)


def test_a_server_that_is_gone_is_unavailable_until_it_is_back(
    hasty: Ledger, ledger_url: str, observer: psycopg.Connection[Any]
) -> None:
    ledger = hasty
    name = database_of(ledger_url)
    ledger.make_account(time_zone="UTC")
    observer.execute(f"alter database {name} allow_connections false".encode())
    end_connections(observer, ledger_url)
    for _ in range(3):
        with pytest.raises(LedgerUnavailable) as refusal:
            ledger.ingest_token_usage(batch_of(observation(1)))
        assert refusal.value.hint
    observer.execute(f"alter database {name} allow_connections true".encode())
    assert ledger.ingest_token_usage(batch_of(observation(1))).new == 1


def test_a_server_that_goes_away_in_the_middle_leaves_nothing_of_the_batch(
    hasty: Ledger, ledger_url: str, observer: psycopg.Connection[Any]
) -> None:
    ledger = hasty
    ledger.make_account(time_zone="UTC")
    failures: list[BaseException] = []

    def ingest() -> None:
        try:
            ledger.ingest_token_usage(batch_of(observation(1)))
        except LedgerError as error:
            failures.append(error)

    with connect(ledger_url) as holder:
        holder.execute("lock table public.token_usage_daily in access exclusive mode")
        thread = threading.Thread(target=ingest)
        thread.start()
        wait_for(observer, LOCKED_OUT, [server_process(holder)])
        end_connections(observer, ledger_url)
        thread.join(timeout=60)
    assert [type(failure) for failure in failures] == [LedgerUnavailable]
    assert ledger.usage_events([key_of(1)]) == []
    assert ledger.ingest_token_usage(batch_of(observation(1))).new == 1


def test_an_answer_that_takes_longer_than_it_may_is_told_and_the_next_question_is_answered(
    hasty: Ledger, ledger_url: str
) -> None:
    hasty.make_account(time_zone="UTC")
    hasty.wait_at_most(0.2)
    with connect(ledger_url) as holder:
        holder.execute("lock table public.token_usage_events in access exclusive mode")
        for _ in range(2):
            with pytest.raises(LedgerUnavailable, match=r"no answer within 0\.2 s"):
                hasty.usage_events([key_of(1)])
    hasty.wait_at_most(None)
    assert hasty.usage_events([key_of(1)]) == []


def test_over_http_too_an_answer_takes_no_longer_than_it_may() -> None:
    with (
        hanging_server() as port,
        Ledger.connect(f"http://127.0.0.1:{port}", key="tly_" + "x" * 43, attempts=1) as ledger,
    ):
        ledger.wait_at_most(0.2)
        with pytest.raises(LedgerUnavailable, match="timed out"):
            ledger.ledger_state()


def test_an_answer_over_http_that_comes_drop_by_drop_takes_no_longer_than_it_may() -> None:
    def drip() -> None:
        with suppress(OSError), listener.accept()[0] as connection:
            connection.recv(1 << 16)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 10000\r\n\r\n")
            while True:
                connection.sendall(b" ")
                time.sleep(0.02)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=drip, daemon=True).start()
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        with Ledger.connect(address, key="tly_" + "x" * 43, attempts=1) as ledger:
            ledger.wait_at_most(0.5)
            with pytest.raises(LedgerUnavailable, match=r"no whole answer within 0\.5 s"):
                ledger.ledger_state()


INTERRUPTED_BEFORE_THE_ANSWER = """
import sys
from tallystick.db import Database

with Database.connect(sys.argv[1]) as database:
    try:
        with database.transaction():
            # where a Ctrl-C comes just behind a statement
            database._connection.pgconn.send_query(b"select pg_sleep(60)")
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        with database.transaction():
            print(database.value("select 1"))
"""


def test_a_ctrl_c_before_the_answer_costs_the_connection_and_is_not_told(ledger_url: str) -> None:
    process = subprocess.run(
        [sys.executable, "-c", INTERRUPTED_BEFORE_THE_ANSWER, ledger_url],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert (process.returncode, process.stdout, process.stderr) == (0, "1\n", "")


def test_a_transaction_that_broke_is_not_continued(ledger_url: str, observer: psycopg.Connection[Any]) -> None:
    database = Database.connect(ledger_url)
    with database.transaction():
        assert database.has_open_transaction()
    assert not database.has_open_transaction()

    def break_in_the_middle() -> None:
        with database.transaction():
            end_connections(observer, ledger_url)
            database.value("select 1")

    with pytest.raises(LedgerUnavailable):
        break_in_the_middle()
    with database.transaction():
        assert database.value("select 1") == 1
    database.close()
