"""Five-hour blocks: the rule's own vector, chains that are exact for any range, and a walk in Python beside each."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.sql.report_oracle import (
    LABELS,
    Asked,
    Call,
    Row,
    expected_blocks,
    gap_row,
    ingest,
    paged_report,
    report,
    utc,
)

Connection = psycopg.Connection[Any]

ACCOUNT_ZONE = "Europe/Berlin"
many_examples = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def set_now(db: Connection, now: datetime) -> None:
    db.execute("select set_config('tallystick.now', %s, true)", [now.isoformat()])


def bounds_and_counts(rows: list[Row]) -> list[tuple[str, str, int | None]]:
    """Start and end as `day hour:minute`, and the events; None for a gap."""
    return [
        (
            f"{row['block_start']:%d %H:%M}",
            f"{row['block_end']:%d %H:%M}",
            None if row["is_gap"] else row["event_count"],
        )
        for row in rows
    ]


def test_the_vector_of_six_calls_makes_four_blocks_and_one_gap(db: Connection) -> None:
    times = ["01T10:59:59.999", "01T11:00", "01T15:00:00.000", "01T15:00:00.001", "02T10:30", "02T15:31"]
    user_id = ingest(db, [Call(utc(f"2026-06-{time}")) for time in times])
    assert bounds_and_counts(report(db, "usage_blocks", user_id)) == [
        ("01 10:00", "01 15:00", 2),
        ("01 15:00", "01 20:00", 2),
        ("01 20:00", "02 10:00", None),
        ("02 10:00", "02 15:00", 1),
        ("02 15:00", "02 20:00", 1),
    ]


def test_a_block_starts_at_the_full_hour_of_utc_whatever_the_zone(db: Connection) -> None:
    user_id = ingest(db, [Call(utc("2026-06-01T10:10"))], time_zone="Asia/Kathmandu")
    for time_zone in (None, "Australia/Eucla"):
        (row,) = report(db, "usage_blocks", user_id, time_zone=time_zone)
        assert row["block_start"] == utc("2026-06-01T10:00")


def walked(hours: st.SearchStrategy[float]) -> st.SearchStrategy[list[Call]]:
    """Calls at pauses of these lengths from one to the next, with whole hours and their neighbours among them."""

    def calls(steps: list[tuple[float, int, str, str, str, str, str]]) -> list[Call]:
        at = utc("2026-03-27T20:00")
        made = []
        for pause, nudge_us, *labels in steps:
            at += timedelta(hours=pause, microseconds=nudge_us)
            made.append(Call(at, **dict(zip(LABELS, labels, strict=True))))
        return made

    return st.lists(
        st.tuples(
            hours,
            st.integers(0, 1),
            st.sampled_from(["claude-code", "codex"]),
            st.sampled_from(["", "s1"]),
            st.sampled_from(["", "/p", "/ä"]),
            st.sampled_from(["", "m1", "m2"]),
            st.sampled_from(["", "laptop", "desk"]),
        ),
        max_size=30,
    ).map(calls)


def some_of(*labels: str) -> st.SearchStrategy[list[str] | None]:
    return st.none() | st.lists(st.sampled_from(labels), min_size=1, max_size=2)


@many_examples
@given(
    calls=walked(st.sampled_from([0.0, 0.5, 1.0, 2.5, 4.0, 5.0, 6.0, 30.0])),
    since=st.none() | st.dates(date(2026, 3, 27), date(2026, 4, 2)),
    days=st.none() | st.integers(0, 4),
    time_zone=st.sampled_from([None, "UTC", "America/New_York"]),
    sources=some_of("claude-code", "codex"),
    projects=some_of("", "/p"),
    models=some_of("", "m1"),
    devices=some_of("", "laptop"),
    by=st.sampled_from([None, "model", "project", "source", "session", "device"]),
    limit=st.sampled_from([1, 2, 7, 10000]),
    now=st.integers(0, 200),
)
def test_blocks_equal_a_walk_over_the_calls_whatever_is_asked(
    *,
    db: Connection,
    calls: list[Call],
    since: date | None,
    days: int | None,
    time_zone: str | None,
    sources: list[str] | None,
    projects: list[str] | None,
    models: list[str] | None,
    devices: list[str] | None,
    by: str | None,
    limit: int,
    now: int,
) -> None:
    until = None if days is None else (since or date(2026, 3, 28)) + timedelta(days=days)
    asked = Asked(since, until, time_zone, sources, projects, models, devices=devices)
    at = utc("2026-03-27T20:00") + timedelta(hours=now)
    user_id = ingest(db, calls, time_zone=ACCOUNT_ZONE)
    set_now(db, at)
    rows = paged_report(db, "usage_blocks", user_id, limit=limit, **asked._asdict(), by=by)
    assert rows == expected_blocks(calls, asked, account_zone=ACCOUNT_ZONE, by=by, now=at)


def test_a_range_keeps_the_bounds_that_the_whole_chain_gives(db: Connection) -> None:
    # no pause breaks this chain of twelve days, so each start depends on the very first call
    calls = [Call(utc("2026-06-01T09:50") + step * timedelta(minutes=50)) for step in range(340)]
    user_id = ingest(db, calls)
    whole = report(db, "usage_blocks", user_id)
    assert [row["block_start"] for row in whole] == [
        utc("2026-06-01T09:00") + step * timedelta(hours=5) for step in range(57)
    ]
    for day in range(1, 13):
        on_day = {"since": date(2026, 6, day), "until": date(2026, 6, day)}
        in_range = report(db, "usage_blocks", user_id, **on_day)
        assert {row["block_start"] for row in in_range} <= {row["block_start"] for row in whole}
        (sum_of_day,) = report(db, "usage_daily", user_id, **on_day)
        assert sum(row["event_count"] for row in in_range) == sum_of_day["event_count"]


def test_a_block_over_midnight_is_cut_by_the_range_and_keeps_its_bounds_and_activity(db: Connection) -> None:
    calls = [Call(utc(f"2026-06-{time}")) for time in ("01T22:15", "01T23:00", "02T01:30")]
    user_id = ingest(db, calls)
    (row,) = report(db, "usage_blocks", user_id, since="2026-06-02")
    assert (row["block_start"], row["block_end"]) == (utc("2026-06-01T22:00"), utc("2026-06-02T03:00"))
    assert (row["first_activity_at"], row["last_activity_at"]) == (calls[0].at, calls[2].at)
    assert row["event_count"] == 1


def test_blocks_are_formed_of_all_that_the_sources_saw_and_the_other_filters_only_choose(db: Connection) -> None:
    calls = [
        Call(utc("2026-06-01T10:00"), project="/a"),
        Call(utc("2026-06-01T14:30"), project="/b"),
        Call(utc("2026-06-01T16:00"), project="/b", source="codex"),
        Call(utc("2026-06-01T23:00"), project="/b"),
    ]
    user_id = ingest(db, calls)
    assert bounds_and_counts(report(db, "usage_blocks", user_id, projects=["/b"])) == [
        ("01 10:00", "01 15:00", 1),
        ("01 15:00", "01 16:00", None),
        ("01 16:00", "01 21:00", 1),
        ("01 21:00", "01 23:00", None),
        ("01 23:00", "02 04:00", 1),
    ]


@pytest.mark.parametrize(
    ("now", "is_active"),
    [
        ("2026-06-01T09:59:59.999999", False),
        ("2026-06-01T10:00", True),
        ("2026-06-01T14:59:59.999999", True),
        ("2026-06-01T15:00", False),
    ],
)
def test_a_block_is_active_from_its_start_until_its_end(db: Connection, now: str, is_active: bool) -> None:
    user_id = ingest(db, [Call(utc("2026-06-01T10:20"))])
    set_now(db, utc(now))
    (row,) = report(db, "usage_blocks", user_id)
    assert row["is_active"] is is_active


def test_a_gap_has_no_usage_and_no_labels(db: Connection) -> None:
    user_id = ingest(db, [Call(utc("2026-06-01T10:20")), Call(utc("2026-06-02T10:20"))])
    _, gap, _ = report(db, "usage_blocks", user_id, by="model")
    assert gap == gap_row(utc("2026-06-01T15:00"), utc("2026-06-02T10:00"))


def test_one_source_has_blocks_of_its_own(db: Connection) -> None:
    calls = [Call(utc("2026-06-01T12:00")), Call(utc("2026-06-01T16:30"), source="codex")]
    user_id = ingest(db, calls)
    assert bounds_and_counts(report(db, "usage_blocks", user_id)) == [("01 12:00", "01 17:00", 2)]
    assert bounds_and_counts(report(db, "usage_blocks", user_id, sources=["codex"])) == [("01 16:00", "01 21:00", 1)]


def test_another_users_calls_bend_no_chain(db: Connection) -> None:
    ingest(db, [Call(utc("2026-06-01T08:00")), Call(utc("2026-06-01T12:59"))])
    user_id = ingest(db, [Call(utc("2026-06-01T12:30")), Call(utc("2026-06-01T17:29"))])
    assert bounds_and_counts(report(db, "usage_blocks", user_id, since="2026-06-01")) == [
        ("01 12:00", "01 17:00", 1),
        ("01 17:00", "01 22:00", 1),
    ]


def test_a_long_chain_reads_by_the_index_also_while_the_statistics_are_of_a_small_table(ledger_url: str) -> None:
    """Else every block reads the whole table, until it is analyzed for the next time."""
    calls = [Call(utc("2026-01-01T00:00") + timedelta(hours=5 * number)) for number in range(200)]
    with psycopg.connect(ledger_url, autocommit=True, prepare_threshold=None) as connection:
        connection.execute("alter table token_usage_events set (autovacuum_enabled = false)")
        ingest(connection, calls[:5])
        connection.execute("analyze token_usage_events")
        user_id = ingest(connection, calls)

        def sequential_scans() -> int:
            connection.execute("select pg_stat_force_next_flush()")
            row = connection.execute(
                "select seq_scan from pg_stat_user_tables where relname = 'token_usage_events'"
            ).fetchone()
            assert row is not None
            return int(row[0])

        before = sequential_scans()
        assert len(report(connection, "usage_blocks", user_id)) == 200
        assert sequential_scans() == before
