"""The latest calls: which, in which order, and that they are read by the index."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import psycopg

from tests.sql.report_oracle import Call, ingest, key_of, money, report, utc

Connection = psycopg.Connection[Any]


def test_the_latest_calls_come_first_with_all_that_is_known_of_them(db: Connection) -> None:
    noon = utc("2026-06-01T12:00")
    calls = [
        Call(noon + timedelta(minutes=number % 4), model=f"m{number}", project="" if number == 3 else "/p")
        for number in range(7)
    ]
    calls[6] = calls[6]._replace(cost_usd=None, is_sidechain=True, input_tokens=12_345)
    user_id = ingest(db, calls)
    order = sorted(range(7), key=lambda number: (calls[number].at, key_of(number)), reverse=True)
    rows = report(db, "usage_recent", user_id)
    assert [row["event_key"] for row in rows] == [key_of(number) for number in order]
    assert [row["event_key"] for row in report(db, "usage_recent", user_id, limit=3)] == [
        key_of(number) for number in order[:3]
    ]
    for row, number in zip(rows, order, strict=True):
        call = calls[number]
        assert row == {
            "event_key": key_of(number),
            "occurred_at": call.at,
            "source": "claude-code",
            "project": call.project or None,
            "model": call.model,
            "device": "laptop",
            "is_sidechain": call.is_sidechain,
            "input_tokens": call.input_tokens,
            "output_tokens": 16,
            "thinking_tokens": 3,
            "cache_creation_tokens": 2 + 4,
            "cache_read_tokens": 8,
            "web_search_requests": 0,
            "message_count": 1,
            "unpriced_event_count": 0 if call.cost_usd else 1,
            "cost_usd": money(Decimal("0.01")) if call.cost_usd else None,
            "cost_basis": "reported" if call.cost_usd else "unpriced",
            "flags": [],
        }


def test_a_call_dated_after_now_is_not_among_the_latest(db: Connection) -> None:
    now = utc("2026-06-01T12:00")
    db.execute("select set_config('tallystick.now', %s, true)", [now.isoformat()])
    user_id = ingest(db, [Call(now + timedelta(seconds=seconds)) for seconds in (-1, 0, 1, 86_400 * 1461)])
    assert [row["event_key"] for row in report(db, "usage_recent", user_id)] == [key_of(1), key_of(0)]


def test_ten_of_a_thousand_are_read_by_the_index_alone(ledger_url: str) -> None:
    calls = [Call(utc("2026-06-01T12:00") + timedelta(minutes=number)) for number in range(1000)]
    with psycopg.connect(ledger_url, autocommit=True, prepare_threshold=None) as connection:
        connection.execute("alter table token_usage_events set (autovacuum_enabled = false)")
        user_id = ingest(connection, calls)

        def rows_read() -> int:
            connection.execute("select pg_stat_force_next_flush()")
            row = connection.execute(
                "select seq_tup_read + idx_tup_fetch from pg_stat_user_tables where relname = 'token_usage_events'"
            ).fetchone()
            assert row is not None
            return int(row[0])

        before = rows_read()
        assert len(report(connection, "usage_recent", user_id, limit=10)) == 10
        # one more is read, to see that no other is of the same time
        assert rows_read() - before <= 11
