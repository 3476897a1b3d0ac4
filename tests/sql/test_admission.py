"""Which requests of the HTTP API are let through: keys that are in force, and limits by the minute."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from tests.sql.callers import (
    NOON,
    Admission,
    admit,
    digest_of,
    keys,
    make_key,
    refusal,
    remaining,
    set_now,
    windows,
)
from tests.sql.two_users import ALICE, BOB, Db
from tests.sql.waiting import wait_for

WAITING = "select count(*) >= %s from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"


def test_a_key_lets_in_whom_it_acts_for(db: Db) -> None:
    set_now(db, NOON)
    key_id = make_key(db, p_scopes=["ingest", "read"])
    service_id = make_key(db, "tly_s", p_user_id=None, p_scopes=["admin"], p_requests_per_minute=600)
    assert admit(db) == Admission(key_id, uuid.UUID(ALICE), ["ingest", "read"], 1, 60, 59, 60)
    assert admit(db, "tly_s") == Admission(service_id, None, ["admin"], 1, 600, 599, 60)
    assert admit(db, "tly_nobody's") is None


def test_a_key_is_in_force_until_it_expires(db: Db) -> None:
    set_now(db, NOON)
    make_key(db, p_expires_at=NOON + timedelta(hours=1))
    set_now(db, NOON + timedelta(hours=1, microseconds=-1))
    assert admit(db) is not None
    set_now(db, NOON + timedelta(hours=1))
    assert admit(db) is None
    assert len(windows(db)) == 1


def test_a_minute_has_as_many_requests_as_its_limit_and_what_is_refused_is_not_counted(db: Db) -> None:
    set_now(db, NOON)
    key_id = make_key(db)
    assert [remaining(db, limit=3) for _ in range(6)] == [2, 1, 0, None, None, None]
    assert windows(db) == [(f"key:{key_id}", 3)]
    # a limit that was raised, and one that was lowered, hold for the minute that runs
    assert [remaining(db, limit=5) for _ in range(3)] == [1, 0, None]
    assert remaining(db, limit=2) is None


def test_the_own_limit_of_a_key_goes_before_the_servers(db: Db) -> None:
    make_key(db, p_requests_per_minute=1)
    make_key(db, "tly_b")
    set_now(db, NOON)
    assert [remaining(db, limit=2) for _ in range(2)] == [0, None]
    assert [remaining(db, "tly_b", limit=2) for _ in range(3)] == [1, 0, None]


def test_a_busy_callers_requests_are_counted_some_at_a_time_up_to_a_hundredth_of_the_limit(db: Db) -> None:
    set_now(db, NOON)
    key_id = make_key(db)
    found = [admit(db, limit=limit, requests=64) for limit in (10_000, 1_000, 250, 99)]
    assert [admission and admission.admitted for admission in found] == [64, 10, 2, 1]
    assert [admission and admission.remaining for admission in found] == [9_936, 926, 174, 22]
    assert windows(db) == [(f"key:{key_id}", 77)]


def test_towards_the_end_of_a_limit_requests_are_counted_one_by_one(db: Db) -> None:
    set_now(db, NOON)
    make_key(db)
    found = [admit(db, limit=303, requests=64) for _ in range(104)]
    assert [admission and admission.admitted for admission in found] == [3] * 101 + [0] * 3
    found = [admit(db, limit=305, requests=64) for _ in range(4)]
    assert [admission and admission.admitted for admission in found] == [1, 1, 0, 0]


def test_a_minute_ends_on_the_clock_and_not_before(db: Db) -> None:
    make_key(db)
    set_now(db, NOON + timedelta(seconds=0.000001))
    assert remaining(db, limit=1) == 0
    for seconds, reset_s in ((0.000001, 59.999999), (1, 59), (58.5, 1.5), (59, 1), (59.999999, 0.000001)):
        set_now(db, NOON + timedelta(seconds=seconds))
        admission = admit(db, limit=1)
        assert admission is not None
        assert (admission.admitted, admission.remaining, admission.reset_s) == (0, 0, reset_s)
    set_now(db, NOON + timedelta(minutes=1))
    admission = admit(db, limit=1)
    assert admission is not None
    assert (admission.admitted, admission.reset_s) == (1, 60)
    assert remaining(db, limit=1) is None


def test_when_a_key_was_last_used_is_kept_to_the_minute(db: Db) -> None:
    make_key(db)
    make_key(db, "tly_never")
    told = []
    for seconds in (0, 59.9, 60, 61, 119, 200):
        set_now(db, NOON + timedelta(seconds=seconds))
        # what is refused is a use too
        admit(db, limit=1)
        told.append({row["prefix"]: row["last_used_at"] for row in keys(db)})
    assert [(row["tly_a"] - NOON).total_seconds() for row in told] == [0, 0, 60, 60, 60, 200]
    assert {row["tly_never"] for row in told} == {None}


def test_who_signed_in_without_a_key_is_counted_apart(db: Db) -> None:
    set_now(db, NOON + timedelta(seconds=18))
    make_key(db)
    make_key(db, "tly_b")

    def user(user_id: str) -> tuple[Any, ...] | None:
        return db.execute("select * from tallystick.admit_user(%s, 2)", [user_id]).fetchone()

    answers = [user(ALICE) for _ in range(3)]
    assert answers == [(1, 2, 1, 42), (1, 2, 0, 42), (0, 2, 0, 42)]
    assert user(BOB) == (1, 2, 1, 42)
    assert (remaining(db, limit=2), remaining(db, "tly_b", limit=2)) == (1, 1)
    assert sorted(count for _, count in windows(db)) == [1, 1, 1, 2]


@pytest.mark.parametrize(
    ("call", "arguments", "rule"),
    [
        ("admit_key", ["ab", 60], "digest_is_64_hex"),
        ("admit_key", [None, 60], "digest_is_64_hex"),
        ("admit_key", [digest_of("tly_a"), 0], "limit_is_positive"),
        ("admit_key", [digest_of("tly_a"), None], "limit_is_positive"),
        ("admit_key", [digest_of("tly_a"), 60, 0], "requests_are_positive"),
        ("admit_key", [digest_of("tly_a"), 60, None], "requests_are_positive"),
        ("admit_user", [ALICE, 0], "limit_is_positive"),
        ("admit_user", [ALICE, None], "limit_is_positive"),
        ("admit_user", [ALICE, 60, -1], "requests_are_positive"),
        ("admit_user", [None, 60], "user_is_given"),
    ],
)
def test_what_the_server_must_not_ask_is_refused_by_name(db: Db, call: str, arguments: list[Any], rule: str) -> None:
    make_key(db)
    places = ", ".join(["%s"] * len(arguments))
    assert refusal(db, f"select * from tallystick.{call}({places})", arguments) == ("PT400", rule)
    assert windows(db) == []


def test_windows_of_more_than_an_hour_ago_are_swept_a_hundred_at_a_time(db: Db) -> None:
    make_key(db)
    db.execute(
        "insert into tallystick.request_windows (window_start, caller, request_count) "
        "select %s::timestamptz - n * interval '1 minute', 'user:' || n, 5 from generate_series(1, 260) as n",
        [NOON],
    )

    def left() -> tuple[int, int]:
        row = db.execute(
            "select count(*), max(substr(caller, 6)::integer) from tallystick.request_windows where caller like 'user%'"
        ).fetchone()
        assert row is not None
        return row[0], row[1]

    found = []
    for seconds in (0, 1, 59, 60, 61, 120, 180):
        set_now(db, NOON + timedelta(seconds=seconds))
        admit(db)
        found.append(left())
    # the oldest first, by the first request of each minute, and 60 minutes are kept
    assert found == [(160, 160), (160, 160), (160, 160), (60, 60), (60, 60), (58, 58), (57, 57)]


def test_a_request_is_counted_without_a_flush_of_the_log(db: Db) -> None:
    query = "select relpersistence from pg_class where oid = 'tallystick.request_windows'::regclass"
    assert db.execute(query).fetchone() in ((b"u",), ("u",))


# -- together


def test_sixteen_connections_with_one_key_never_pass_its_limit(ledger_url: str) -> None:
    with psycopg.connect(ledger_url) as owner:
        make_key(owner, p_requests_per_minute=50)

    def use() -> int:
        with psycopg.connect(ledger_url, prepare_threshold=None) as connection:
            return sum(ask(connection) for _ in range(10))

    def ask(connection: Db) -> bool:
        with connection.transaction():
            set_now(connection, NOON)
            admission = admit(connection)
        assert admission is not None
        return admission.admitted

    with (
        psycopg.connect(ledger_url) as holder,
        psycopg.connect(ledger_url, autocommit=True) as observer,
        ThreadPoolExecutor(16) as pool,
    ):
        set_now(holder, NOON)
        assert remaining(holder) == 49
        users = [pool.submit(use) for _ in range(16)]
        wait_for(observer, WAITING, [3])
        holder.commit()
        assert 1 + sum(user.result() for user in users) == 50
        assert [count for _, count in windows(observer)] == [50]


def test_a_sweep_waits_for_nobody(ledger_url: str) -> None:
    old = NOON - timedelta(hours=2)
    with psycopg.connect(ledger_url) as holder, psycopg.connect(ledger_url) as connection:
        make_key(holder)
        for caller in ("user:held", "user:free"):
            holder.execute("insert into tallystick.request_windows values (%s, %s, 1)", [old, caller])
        holder.commit()
        holder.execute("select from tallystick.request_windows where caller = 'user:held' for update")
        connection.execute("set local lock_timeout = '10ms'")
        set_now(connection, NOON)
        assert remaining(connection) == 59
        assert [caller for caller, _ in windows(connection) if caller.startswith("user")] == ["user:held"]


def test_of_first_uses_at_once_one_is_kept(ledger_url: str) -> None:
    with (
        psycopg.connect(ledger_url) as first,
        psycopg.connect(ledger_url) as second,
        psycopg.connect(ledger_url, autocommit=True) as observer,
        ThreadPoolExecutor(1) as pool,
    ):
        make_key(observer)
        set_now(first, NOON)
        set_now(second, NOON + timedelta(seconds=30))
        assert remaining(first) == 59
        following = pool.submit(remaining, second)
        wait_for(observer, WAITING, [1])
        first.commit()
        assert following.result() == 58
        second.commit()
        assert [row["last_used_at"] for row in keys(observer)] == [NOON]
