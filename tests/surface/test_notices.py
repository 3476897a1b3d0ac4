"""Notices: whoever listens is told that books changed, and nobody else pays for it."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from tallystick.ledger import Ledger
from tests.servers import connect
from tests.surface.records import NOON, batch_of, observation

LIMIT_S = 60.0
# asked from another session: what is locked for a user, and by how many
LISTENERS = (
    "select count(*) from pg_locks where locktype = 'advisory' and granted and mode = 'ShareLock' "
    "and (classid::bigint << 32 | objid::bigint) = tallystick.notice_key(%s)"
)
TOTALS = {"session_id": "s", "model_used": "m", "input_tokens": 5, "session_started_at": NOON.isoformat()}


def take_in(ledger: Ledger, number: int = 1) -> None:
    ledger.ingest_token_usage(batch_of(observation(number)))


def upsert(ledger: Ledger) -> None:
    ledger.upsert_token_usage(json.dumps({**TOTALS, "user_id": ledger.user_id}))


@pytest.mark.parametrize("change", [take_in, upsert, lambda ledger: ledger.set_time_zone("Asia/Tokyo")])
def test_who_listens_is_told_of_every_change(
    ledger: Ledger, ledger_url: str, change: Callable[[Ledger], object]
) -> None:
    with Ledger.connect(ledger_url, user_id=ledger.user_id) as listening:
        # what came before could not be told
        assert listening.changes(timeout_s=0) is True
        assert listening.changes(timeout_s=0) is False
        change(ledger)
        assert listening.changes(timeout_s=LIMIT_S) is True
        assert listening.changes(timeout_s=0) is False


def test_of_several_changes_one_is_told(ledger: Ledger, ledger_url: str) -> None:
    with Ledger.connect(ledger_url, user_id=ledger.user_id) as listening:
        listening.changes(timeout_s=0)
        for number in range(3):
            take_in(ledger, number)
        assert listening.changes(timeout_s=LIMIT_S) is True
        assert listening.changes(timeout_s=0) is False


def test_each_listener_is_told_of_the_own_books_only(ledger: Ledger, ledger_url: str) -> None:
    with (
        Ledger.connect(ledger_url, user_id=str(uuid.uuid4())) as other,
        Ledger.connect(ledger_url, user_id=ledger.user_id) as listening,
        connect(ledger_url, autocommit=True) as spy,
    ):
        other.changes(timeout_s=0)
        listening.changes(timeout_s=0)
        spy.execute(f'listen "token_usage_{other.user_id}"'.encode())
        take_in(ledger)
        take_in(other)
        # they come in the order of their commits
        told = [notice.channel for notice in spy.notifies(timeout=LIMIT_S, stop_after=1)]
        assert told == [f"token_usage_{other.user_id}"]
        assert listening.changes(timeout_s=LIMIT_S) is True


def test_while_nobody_listens_no_notice_is_given(ledger: Ledger, ledger_url: str) -> None:
    with connect(ledger_url, autocommit=True) as spy:
        # on the channel, but without the lock by which a listener is known
        spy.execute(f'listen "token_usage_{ledger.user_id}"'.encode())
        take_in(ledger, 1)
        with Ledger.connect(ledger_url, user_id=ledger.user_id) as listening:
            listening.changes(timeout_s=0)
            take_in(ledger, 2)
            assert listening.changes(timeout_s=LIMIT_S) is True
        until_gone(spy, ledger.user_id)
        take_in(ledger, 3)
        spy.execute("select pg_notify('token_usage_' || %s, 'the last')", [ledger.user_id])
        told = [notice.payload for notice in spy.notifies(timeout=LIMIT_S, stop_after=2)]
    assert told == ["", "the last"]


def until_gone(connection: psycopg.Connection[Any], user_id: str | None) -> None:
    """Wait until the server has noticed that the listener left."""
    for _ in range(100_000):
        if connection.execute(LISTENERS, [user_id]).fetchone() == (0,):
            return
    raise AssertionError("the listener's lock is never given back")


def test_who_begins_to_listen_while_something_is_taken_in_is_not_too_early(ledger: Ledger, ledger_url: str) -> None:
    """The writer has the lock until its commit: were it not so, neither would the listener read it nor be told."""
    with connect(ledger_url) as writer:
        writer.execute("select public.ingest_token_usage(%s, %s)", [ledger.user_id, batch_of(observation(1)).decode()])
        with connect(ledger_url, autocommit=True) as other:
            other.execute("set lock_timeout = 1")
            with pytest.raises(psycopg.errors.LockNotAvailable):
                other.execute("select pg_advisory_lock_shared(tallystick.notice_key(%s))", [ledger.user_id])
        writer.commit()
    assert ledger.changes(timeout_s=0) is True


def test_a_listener_that_was_cut_off_listens_again(ledger: Ledger, ledger_url: str) -> None:
    with (
        connect(ledger_url, autocommit=True) as killer,
        Ledger.connect(ledger_url, user_id=ledger.user_id) as listening,
    ):
        listening.changes(timeout_s=0)
        killer.execute(
            "select pg_terminate_backend(pid, 60000) from pg_locks "
            "where locktype = 'advisory' and mode = 'ShareLock' "
            "and (classid::bigint << 32 | objid::bigint) = tallystick.notice_key(%s)",
            [ledger.user_id],
        )
        # what happened meanwhile could not be told
        assert listening.changes(timeout_s=LIMIT_S) is True
        assert listening.changes(timeout_s=0) is False
        take_in(ledger)
        assert listening.changes(timeout_s=LIMIT_S) is True
