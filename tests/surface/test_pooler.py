"""The ledger behind a pooler that lends a server connection for one transaction, as hosted Supabase's does."""

from __future__ import annotations

import itertools
import queue
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from decimal import Decimal

import psycopg
import pytest

from tallystick.db import Database
from tallystick.errors import LedgerUnavailable
from tallystick.ledger import ATTEMPTS, Ledger
from tallystick.model import Receipt, UsageFilter
from tallystick.schema import install_or_migrate, known_migrations
from tests.servers import PgBouncer, connect
from tests.sql.two_users import act_as
from tests.sql.waiting import server_process
from tests.surface.records import batch_of, key_of, observation

EVERYTHING = UsageFilter()
# observation() takes 1,000 tokens in and gives 100 out, of a model at 5 and 25 dollars per million
COST_USD = (1000 * Decimal(5) + 100 * Decimal(25)) / 1_000_000
_number = itertools.count(1)
# whatever a transaction may set that another client must not find
SETTINGS = (
    *("role", "request.jwt.claims", "request.jwt.claim.sub", "tallystick.now", "search_path", "timezone", "datestyle"),
    *("statement_timeout", "lock_timeout", "transaction_isolation", "transaction_read_only", "row_security", "jit"),
)


@pytest.fixture
def pooled(pooler: PgBouncer) -> Iterator[str]:
    """The name of a database of the test's own behind the pooler."""
    name = f"pooled_{next(_number)}"
    with connect(pooler.direct_url(), autocommit=True) as connection:
        connection.execute(f"create database {name} template installed".encode())
        yield name
        connection.execute(f"drop database {name} with (force)".encode())


def test_behind_a_pooler_nobody_is_told_of_changes_and_no_lock_is_left(pooler: PgBouncer, pooled: str) -> None:
    with Ledger.connect(pooler.url(pooled), user_id=str(uuid.uuid4())) as ledger:
        assert ledger.changes(timeout_s=0) is None
        assert ledger.changes(timeout_s=60) is None
        ledger.ingest_token_usage(batch_of(observation(1)))
    with connect(pooler.direct_url(), autocommit=True) as connection:
        # another database may have locks of whoever has only just gone
        held = connection.execute(
            "select count(*) from pg_locks as l join pg_database as d on d.oid = l.database "
            "where l.locktype = 'advisory' and d.datname = %s",
            [pooled],
        ).fetchone()
    assert held == (0,)


def in_threads(*works: Callable[[], None]) -> None:
    """Do all of it at once; the first thing that went wrong is raised."""
    failures: list[BaseException] = []

    def run(work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
    assert not any(thread.is_alive() for thread in threads)
    if failures:
        raise failures[0]


def test_many_threads_over_few_server_connections_count_exactly(pooler: PgBouncer, pooled: str) -> None:
    users = [str(uuid.uuid4()) for _ in range(4)]

    def work(place: int) -> None:
        """Two threads keep the books of each user, each with calls of its own."""
        with Ledger.connect(pooler.url(pooled), user_id=users[place % 4]) as ledger:
            for step in range(50):
                number = 1000 * place + step
                if step % 5 == 4:
                    (month,) = ledger.usage_monthly(EVERYTHING)
                    # the other thread's calls may be there, its own must be
                    assert month.event_count >= step + 1 - (step + 1) // 5
                else:
                    assert ledger.ingest_token_usage(batch_of(observation(number % 1000, event_key=f"k:{number}"))).new
            assert all(check.bad_rows == 0 for check in ledger.verify_token_usage())

    in_threads(*(lambda place=place: work(place) for place in range(8)))
    for user_id in users:
        with Ledger.connect(pooler.url(pooled), user_id=user_id) as ledger:
            (month,) = ledger.usage_monthly(EVERYTHING)
            assert (month.event_count, month.input_tokens, month.output_tokens) == (80, 80_000, 8_000)
            assert month.cost_usd == 80 * COST_USD
            assert ledger.ledger_state().receipt_count == 80
    with connect(pooler.direct_url(), autocommit=True) as observer:
        used = observer.execute("select count(*) from pg_stat_activity where datname = %s", [pooled]).fetchone()
    assert used == (pooler.SERVER_CONNECTIONS,)


def test_no_setting_and_no_role_goes_from_one_client_to_another(pooler: PgBouncer, pooled: str) -> None:
    defaults = settings_found(pooler, pooled)
    assert [found["role"] for found in defaults.values()] == ["none"] * pooler.SERVER_CONNECTIONS
    with Ledger.connect(pooler.url(pooled), user_id=str(uuid.uuid4())) as ledger:
        ledger.make_account(time_zone="Asia/Tokyo")
        ledger.ingest_token_usage(batch_of(observation(1)))
        ledger.usage_daily(EVERYTHING)  # of one moment, read only
        ledger.set_time_zone("Europe/Berlin")
    with Database.connect(pooler.url(pooled)) as database, database.transaction():
        used = database.value("select pg_backend_pid()")
    # and as a gateway does it, for a user who is signed in
    with connect(pooler.url(pooled)) as gateway:
        act_as(gateway, "authenticated", str(uuid.uuid4()))
        gateway.execute("select * from public.usage_daily()")
    found = settings_found(pooler, pooled)
    assert used in found
    assert found == defaults


def settings_found(pooler: PgBouncer, database: str) -> dict[int, dict[str, str]]:
    """What new clients find set, by server connection: as many at once as there are, so that each meets another one."""
    found = {}
    with ExitStack() as stack:
        for _ in range(pooler.SERVER_CONNECTIONS):
            client = stack.enter_context(connect(pooler.url(database)))
            query = "select name, coalesce(current_setting(name, true), '') from unnest(%s::text[]) as name"
            found[server_process(client)] = dict(client.execute(query, [list(SETTINGS)]).fetchall())
    assert len(found) == pooler.SERVER_CONNECTIONS
    return found


def test_a_migration_goes_through_the_pooler(pooler: PgBouncer) -> None:
    with connect(pooler.direct_url(), autocommit=True) as connection:
        connection.execute("create database migrated")
        assert install_or_migrate(pooler.url("migrated")) == known_migrations()
        assert install_or_migrate(pooler.url("migrated")) == []
        connection.execute("drop database migrated with (force)")


def test_a_pooler_that_is_started_anew_is_told_and_the_next_call_works(pooler: PgBouncer, pooled: str) -> None:
    batch = batch_of(observation(1))
    with Ledger.connect(pooler.url(pooled), user_id=str(uuid.uuid4()), attempts=1) as ledger:
        assert ledger.ingest_token_usage(batch).new == 1
        pooler.stop()
        try:
            for _ in range(3):
                with pytest.raises(LedgerUnavailable) as refusal:
                    ledger.ingest_token_usage(batch)
                assert refusal.value.hint
        finally:
            pooler.start()
        assert ledger.ingest_token_usage(batch) == Receipt(received=1, duplicate=1)


def test_a_pooler_that_dies_under_load_loses_nothing_that_was_acknowledged(pooler: PgBouncer, pooled: str) -> None:
    user_id = str(uuid.uuid4())
    acknowledged: queue.Queue[int] = queue.Queue()
    broken: queue.Queue[LedgerUnavailable] = queue.Queue()
    deadline = time.monotonic() + 100

    def write(place: int) -> None:
        # half of them are told of every break, the others get over it by themselves
        attempts = 1 if place < 2 else ATTEMPTS
        with Ledger.connect(pooler.url(pooled), user_id=user_id, attempts=attempts) as ledger:
            for number in range(place, 400, 4):
                while not is_acknowledged(ledger, number):
                    assert time.monotonic() < deadline
                acknowledged.put(number)

    def is_acknowledged(ledger: Ledger, number: int) -> bool:
        try:
            receipt = ledger.ingest_token_usage(batch_of(observation(number)))
        except LedgerUnavailable as error:
            assert number % 4 < 2
            broken.put(error)
            return False
        # an answer that was lost is given again
        return receipt.new + receipt.duplicate == 1

    def kill() -> None:
        for _ in range(4):
            for _ in range(80):
                acknowledged.get(timeout=60)
            pooler.restart()

    in_threads(kill, *(lambda place=place: write(place) for place in range(4)))
    assert broken.qsize() >= 4
    with Ledger.connect(pooler.url(pooled), user_id=user_id) as ledger:
        assert len(ledger.usage_events([key_of(number) for number in range(400)])) == 400
        (month,) = ledger.usage_monthly(EVERYTHING)
        assert (month.event_count, month.cost_usd) == (400, 400 * COST_USD)
        assert all(check.bad_rows == 0 for check in ledger.verify_token_usage())


def test_a_server_connection_that_ends_in_the_middle_is_told(pooler: PgBouncer, pooled: str) -> None:
    with (
        Database.connect(pooler.url(pooled)) as database,
        connect(pooler.direct_url(), autocommit=True) as observer,
    ):
        ledger = Ledger(database, user_id=str(uuid.uuid4()))

        def end_in_the_middle() -> None:
            with database.transaction():
                process = database.value("select pg_backend_pid()")
                observer.execute("select pg_terminate_backend(%s, 60000)", [process])
                database.value("select 1")

        with pytest.raises(LedgerUnavailable):
            end_in_the_middle()
        assert ledger.ingest_token_usage(batch_of(observation(1))).new == 1


def test_prepared_statements_are_what_the_pooler_cannot_carry(pooler: PgBouncer, pooled: str) -> None:
    """Why db.py opens its connections without them: this pooler would hand one client's to another."""
    with (
        psycopg.connect(pooler.url(pooled), prepare_threshold=0, autocommit=True) as first,
        psycopg.connect(pooler.url(pooled), prepare_threshold=0, autocommit=True) as second,
    ):
        first.execute("select 1")
        with pytest.raises(psycopg.errors.DuplicatePreparedStatement):
            second.execute("select 1")
