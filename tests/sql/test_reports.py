"""Reports by day, week, month, model, project and session, against sums worked out in Python from the same calls."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.sql.report_oracle import (
    Asked,
    Call,
    Row,
    chosen,
    expected_sessions,
    expected_usage,
    ingest,
    key_of,
    money,
    paged_report,
    refusal,
    report,
    sums,
    utc,
)

Connection = psycopg.Connection[Any]

FUNCTION_BY_PERIOD = {
    "day": "usage_daily",
    "week": "usage_weekly",
    "month": "usage_monthly",
    "model": "usage_models",
    "project": "usage_projects",
}
BREAKDOWNS = ["model", "project", "source", "session", "device"]

# around both changes of the clock in Europe/Berlin, and over the ends of a month and of a year
moments = st.builds(
    lambda start, minutes: start + timedelta(minutes=minutes),
    st.sampled_from([utc(day) for day in ("2026-03-28", "2026-10-24", "2026-10-31", "2026-12-30")]),
    st.integers(0, 3 * 24 * 60),
)
calls_of_one_user = st.lists(
    st.fixed_dictionaries(
        {
            "at": moments,
            "source": st.sampled_from(["claude-code", "codex"]),
            "session_id": st.sampled_from(["", "s1", "s2", "Ä"]),
            "project": st.sampled_from(["", "/b", "/Z", "/ä"]),
            "model": st.sampled_from(["", "m1", "M2"]),
            "cost_usd": st.none() | st.decimals(0, 9, places=7),
            "message_count": st.integers(0, 2),
            "input_tokens": st.integers(0, 10**12),
            "web_search_requests": st.integers(0, 3),
            "device": st.sampled_from(["", "laptop", "desktop"]),
        }
    ).map(lambda labels: Call(**labels)),
    max_size=25,
)


def some_of(*labels: str) -> st.SearchStrategy[list[str] | None]:
    return st.none() | st.lists(st.sampled_from(labels), max_size=2)


def ordered(asked: Asked) -> Asked:
    if asked.since is not None and asked.until is not None and asked.since > asked.until:
        return asked._replace(since=asked.until, until=asked.since)
    return asked


days = st.none() | st.dates(date(2026, 3, 27), date(2027, 1, 2))
questions = st.builds(
    Asked,
    since=days,
    until=days,
    time_zone=st.sampled_from([None, "Europe/Berlin", "UTC", "America/Havana", "Pacific/Auckland"]),
    sources=some_of("claude-code", "codex"),
    projects=some_of("", "/b", "/ä", "nowhere"),
    models=some_of("", "m1"),
    sessions=some_of("", "s1"),
    devices=some_of("", "laptop"),
).map(ordered)
breakdowns = st.sampled_from([None, *BREAKDOWNS])
many_examples = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@many_examples
@given(
    calls=calls_of_one_user,
    asked=questions,
    period=st.sampled_from(list(FUNCTION_BY_PERIOD)),
    by=breakdowns,
    week_start=st.integers(1, 7),
    limit=st.sampled_from([1, 2, 7, 10000]),
)
def test_usage_equals_the_sums_of_its_calls_whatever_is_asked(
    *, db: Connection, calls: list[Call], asked: Asked, period: str, by: str | None, week_start: int, limit: int
) -> None:
    user_id = ingest(db, calls, time_zone="Europe/Berlin")
    parameters = {**asked._asdict(), "by": by} | ({"week_start": week_start} if period == "week" else {})
    rows = paged_report(db, FUNCTION_BY_PERIOD[period], user_id, limit=limit, **parameters)
    assert rows == expected_usage(
        calls, asked, account_zone="Europe/Berlin", period=period, by=by, week_start=week_start
    )


@many_examples
@given(calls=calls_of_one_user, asked=questions, by=breakdowns, limit=st.sampled_from([1, 2, 7, 10000]))
def test_sessions_equal_the_sums_of_their_calls_whatever_is_asked(
    db: Connection, calls: list[Call], asked: Asked, by: str | None, limit: int
) -> None:
    user_id = ingest(db, calls, time_zone="Europe/Berlin")
    rows = paged_report(db, "usage_sessions", user_id, limit=limit, **asked._asdict(), by=by)
    assert rows == expected_sessions(calls, asked, account_zone="Europe/Berlin", by=by)


@many_examples
@given(calls=calls_of_one_user, asked=questions, by=st.sampled_from(BREAKDOWNS))
def test_the_rows_of_a_breakdown_add_up_to_the_rows_without_it(
    db: Connection, calls: list[Call], asked: Asked, by: str
) -> None:
    user_id = ingest(db, calls, time_zone="Europe/Berlin")
    whole = report(db, "usage_daily", user_id, **asked._asdict(), limit=10000)
    parts = report(db, "usage_daily", user_id, **asked._asdict(), by=by, limit=10000)
    added = {name for name in sums([]) if name != "cost_usd"}
    for day in whole:
        of_day = [part for part in parts if part["period_start"] == day["period_start"]]
        assert {name: sum(part[name] for part in of_day) for name in added} == {name: day[name] for name in added}
        cost = sum((Decimal(part["cost_usd"]) for part in of_day if part["cost_usd"] is not None), Decimal(0))
        assert money(cost) == (day["cost_usd"] or "0")
    assert {part["period_start"] for part in parts} == {day["period_start"] for day in whole}


def dates_and_counts(rows: list[Row]) -> list[tuple[str, int]]:
    return [(str(row["period_start"]), row["event_count"]) for row in rows]


@pytest.mark.parametrize(("account_zone", "asked_zone"), [("Europe/Berlin", None), ("UTC", "Europe/Berlin")])
def test_a_day_of_23_hours_and_one_of_25_begin_and_end_at_local_midnight(
    db: Connection, account_zone: str, asked_zone: str | None
) -> None:
    # 2026-03-29 is 23:00Z to 22:00Z there, 2026-10-25 is 22:00Z to 23:00Z
    edges = [
        *("2026-03-28T22:59:59.999999", "2026-03-28T23:00", "2026-03-29T21:59:59.999999", "2026-03-29T22:00"),
        *("2026-10-24T21:59:59.999999", "2026-10-24T22:00", "2026-10-25T22:59:59.999999", "2026-10-25T23:00"),
    ]
    user_id = ingest(db, [Call(utc(edge)) for edge in edges], time_zone=account_zone)
    expected = [
        *(("2026-03-28", 1), ("2026-03-29", 2), ("2026-03-30", 1)),
        *(("2026-10-24", 1), ("2026-10-25", 2), ("2026-10-26", 1)),
    ]
    assert dates_and_counts(report(db, "usage_daily", user_id, time_zone=asked_zone)) == expected
    for day, count in expected:
        assert dates_and_counts(report(db, "usage_daily", user_id, since=day, until=day, time_zone=asked_zone)) == [
            (day, count)
        ]


def test_a_midnight_that_comes_twice_belongs_to_its_day_both_times(db: Connection) -> None:
    # in Havana 2026-11-01 begins at 04:00Z; at 05:00Z the clock goes back from 01:00 to 00:00
    user_id = ingest(db, [Call(utc("2026-11-01T03:59")), Call(utc("2026-11-01T04:30")), Call(utc("2026-11-01T05:30"))])
    rows = report(db, "usage_daily", user_id, since="2026-11-01", until="2026-11-01", time_zone="America/Havana")
    assert dates_and_counts(rows) == [("2026-11-01", 2)]


@pytest.mark.parametrize(
    ("week_start", "expected"),
    [
        (1, [("2026-02-23", 1), ("2026-03-02", 2)]),  # 2026-03-01 is a Sunday
        (6, [("2026-02-28", 3)]),
        (7, [("2026-03-01", 3)]),
    ],
)
def test_a_week_starts_on_the_day_asked_for(db: Connection, week_start: int, expected: list[tuple[str, int]]) -> None:
    user_id = ingest(db, [Call(utc(f"2026-03-0{day}T12:00")) for day in (1, 2, 3)])
    assert dates_and_counts(report(db, "usage_weekly", user_id, week_start=week_start)) == expected


def test_a_month_ends_at_local_midnight_in_a_leap_year_too(db: Connection) -> None:
    calls = [
        Call(utc(at)) for at in ("2028-02-29T22:59:59", "2028-02-29T23:00", "2028-12-31T22:59", "2028-12-31T23:00")
    ]
    user_id = ingest(db, calls, time_zone="Europe/Berlin")
    assert dates_and_counts(report(db, "usage_monthly", user_id)) == [
        *(("2028-02-01", 1), ("2028-03-01", 1), ("2028-12-01", 1), ("2029-01-01", 1))
    ]


@pytest.mark.parametrize("time_zone", [None, "Africa/Abidjan"])
def test_a_session_over_midnight_counts_once_in_the_week_and_on_each_of_its_days(
    db: Connection, time_zone: str | None
) -> None:
    calls = [
        Call(utc("2026-05-05T23:59"), session_id="night", model="m1"),
        Call(utc("2026-05-06T00:01"), session_id="night", model="m2"),
        Call(utc("2026-05-06T00:02"), session_id="night", source="codex"),
    ]
    user_id = ingest(db, calls)

    def session_counts(name: str, **parameters: Any) -> list[int]:
        return [row["session_count"] for row in report(db, name, user_id, time_zone=time_zone, **parameters)]

    assert session_counts("usage_daily") == [1, 2]
    assert session_counts("usage_daily", models=["m1", "m2"], sources=["claude-code"]) == [1, 1]
    assert session_counts("usage_weekly") == [2]
    assert session_counts("usage_monthly", by="model") == [2, 1]
    assert session_counts("usage_projects") == [2]
    assert session_counts("usage_weekly", by="session") == [1, 1]


def test_what_nothing_prices_has_no_cost_and_what_is_free_costs_zero(db: Connection) -> None:
    noon = utc("2026-06-01T12:00")
    calls = [
        Call(noon, model="unknown", cost_usd=None, message_count=3, session_id="a"),
        Call(noon, model="free", cost_usd=Decimal(0), session_id="b"),
        Call(noon, model="both", cost_usd=None, session_id="c"),
        Call(noon, model="both", cost_usd=Decimal("0.0300"), session_id="c"),
    ]
    user_id = ingest(db, calls)
    for time_zone in (None, "Europe/Berlin"):
        rows = report(db, "usage_models", user_id, time_zone=time_zone)
        assert [(row["model"], row["cost_usd"], row["unpriced_event_count"]) for row in rows] == [
            *(("both", "0.03", 1), ("free", "0", 0), ("unknown", None, 1))
        ]
        (day,) = report(db, "usage_daily", user_id, time_zone=time_zone)
        assert (day["cost_usd"], day["unpriced_event_count"], day["input_tokens"]) == ("0.03", 2, 4)
    sessions = report(db, "usage_sessions", user_id)
    assert [row["cost_usd"] for row in sessions] == [None, "0", "0.03"]


def test_what_is_known_without_messages_is_priced_or_not_all_the_same(db: Connection) -> None:
    noon = utc("2026-06-01T12:00")
    calls = [
        Call(noon, project="/a", cost_usd=Decimal(1)),
        Call(noon, project="/a", model="unknown", message_count=0, cost_usd=None, output_tokens=70),
        Call(noon, project="/b", message_count=0, cost_usd=Decimal(0)),
    ]
    user_id = ingest(db, calls)
    for time_zone in (None, "Europe/Berlin"):
        rows = report(db, "usage_projects", user_id, time_zone=time_zone)
        assert [(row["project"], row["cost_usd"], row["unpriced_event_count"]) for row in rows] == [
            *(("/a", "1", 1), ("/b", "0", 0))
        ]
        (day,) = report(db, "usage_daily", user_id, time_zone=time_zone)
        assert (day["cost_usd"], day["message_count"], day["unpriced_event_count"]) == ("1", 1, 1)


def test_unknown_labels_are_null_and_are_asked_for_as_an_empty_text_or_null(db: Connection) -> None:
    noon = utc("2026-06-01T12:00")
    user_id = ingest(db, [Call(noon, project="", device="", input_tokens=5), Call(noon, project="/p", device="desk")])
    assert [row["project"] for row in report(db, "usage_projects", user_id)] == [None, "/p"]
    for unknown in ("", None):
        for label in ("projects", "devices"):
            (row,) = report(db, "usage_daily", user_id, **{label: [unknown]})
            assert row["input_tokens"] == 5
    assert report(db, "usage_daily", user_id, projects=[]) == report(db, "usage_daily", user_id, devices=[]) == []


# each filter alone, because the filter decides which table a report reads
ONE_FILTER_EACH = [
    Asked(),
    Asked(since=date(2026, 6, 3), until=date(2026, 6, 9)),
    Asked(sources=["codex"]),
    Asked(projects=["", "/b"]),
    Asked(models=["m1"]),
    Asked(sessions=["s1"]),
    Asked(devices=["", "desktop"]),
]


@pytest.mark.parametrize("asked", ONE_FILTER_EACH)
@pytest.mark.parametrize("time_zone", [None, "America/Los_Angeles"])
def test_every_table_that_a_report_may_read_gives_the_same_answer(
    db: Connection, asked: Asked, time_zone: str | None
) -> None:
    calls = [
        Call(
            utc("2026-05-28T12:00") + timedelta(hours=7 * step),
            source=("claude-code", "codex")[step % 2],
            session_id=("s1", "s2", "")[step // 3 % 3],
            project=("", "/a", "/b")[step % 3],
            model=("m1", "m2")[step // 2 % 2],
            device=("laptop", "desktop", "")[step // 4 % 3],
        )
        for step in range(40)
    ]
    user_id = ingest(db, calls, time_zone="UTC")
    asked = asked._replace(time_zone=time_zone)
    for by in (None, *BREAKDOWNS):
        for period, name in FUNCTION_BY_PERIOD.items():
            rows = report(db, name, user_id, **asked._asdict(), by=by)
            assert rows == expected_usage(calls, asked, account_zone="UTC", period=period, by=by), (name, by)
        rows = report(db, "usage_sessions", user_id, **asked._asdict(), by=by)
        assert rows == expected_sessions(calls, asked, account_zone="UTC", by=by), by


@pytest.mark.parametrize("name", [*FUNCTION_BY_PERIOD.values(), "usage_sessions"])
def test_a_page_may_end_between_the_rows_of_one_period_or_session(db: Connection, name: str) -> None:
    noon = utc("2026-06-01T12:00")
    labels = ("source", "project", "model", "device", "session_id")
    calls = [Call(noon), *(Call(noon, **{label: "another"}) for label in labels)]
    user_id = ingest(db, [*calls, *(Call(noon - timedelta(hours=1), session_id=f"s{number}") for number in (7, 8, 9))])
    for by in (None, *BREAKDOWNS):
        rows = report(db, name, user_id, by=by)
        assert paged_report(db, name, user_id, by=by, limit=1) == rows, by
    assert len(rows) > 1
    # sessions that come first and have no call of the device take none of the page's room
    rows = report(db, name, user_id, devices=["another"])
    assert paged_report(db, name, user_id, devices=["another"], limit=1) == rows != []


@many_examples
@given(calls=calls_of_one_user, asked=questions, limit=st.sampled_from([1, 2, 7, 10000]))
def test_a_session_in_detail_is_its_calls_in_their_order(
    db: Connection, calls: list[Call], asked: Asked, limit: int
) -> None:
    user_id = ingest(db, [*calls, Call(utc("2026-11-01T12:00"))], time_zone="Europe/Berlin")
    asked = asked._replace(sessions=["s1"], sources=None)
    rows = paged_report(
        db,
        "usage_session",
        user_id,
        session_id="s1",
        limit=limit,
        **{name: value for name, value in asked._asdict().items() if name != "sessions"},
    )
    numbered = [(call.at, key_of(index), call) for index, call in enumerate([*calls, Call(utc("2026-11-01T12:00"))])]
    taken = set(map(id, chosen([call for _, _, call in numbered], asked, account_zone="Europe/Berlin")))
    assert rows == [
        {
            "event_key": event_key,
            "occurred_at": at,
            "source": call.source,
            "project": call.project or None,
            "model": call.model or None,
            "device": call.device or None,
            "is_sidechain": call.is_sidechain,
            **{name: value for name, value in sums([call]).items() if name not in ("event_count", "cost_usd")},
            "cost_usd": None if call.cost_usd is None else money(call.cost_usd),
            "cost_basis": "unpriced" if call.cost_usd is None else "reported",
            "flags": rows[place]["flags"],
        }
        for place, (at, event_key, call) in enumerate(sorted(entry for entry in numbered if id(entry[2]) in taken))
    ]


def test_a_session_is_found_by_a_beginning_that_no_other_has(db: Connection) -> None:
    noon = utc("2026-06-01T12:00")
    names = ["abcd-1", "abcd-12", "abcd-2", "wxyz-1"]
    user_id = ingest(db, [Call(noon, session_id=name, input_tokens=place) for place, name in enumerate(names)])
    ingest(db, [Call(noon, session_id="wxyz-of-another-user"), Call(noon, session_id="qqqq-of-another-user")])

    def input_tokens(session_id: str) -> list[int]:
        return [row["input_tokens"] for row in report(db, "usage_session", user_id, session_id=session_id)]

    assert input_tokens("wxyz") == [3]
    assert input_tokens("abcd-2") == [2]
    assert input_tokens("abcd-1") == [0]
    for session_id, code, name in [
        ("abcd", "PT409", "session_prefix_is_unique"),
        ("wxy", "PT404", "session_exists"),
        ("qqqq", "PT404", "session_exists"),
        ("wxyz_1", "PT404", "session_exists"),
        (None, "PT400", "session_is_given"),
    ]:
        assert refusal(db, "usage_session", user_id, session_id=session_id) == (code, name)


def test_events_are_answered_by_key_and_unknown_keys_left_out(db: Connection) -> None:
    noon = utc("2026-06-01T12:00")
    user_id = ingest(db, [Call(noon, cost_usd=Decimal("0.500")), Call(noon, cost_usd=None, session_id="", model="")])
    other = ingest(db, [Call(noon) for _ in range(3)])
    assert report(db, "usage_events", user_id, event_keys=[key_of(1), key_of(0), key_of(2), "invented:no"]) == [
        {"event_key": key_of(0), "session_id": "s1", "model": "m1", "cost_usd": "0.5"},
        {"event_key": key_of(1), "session_id": None, "model": None, "cost_usd": None},
    ]
    assert len(report(db, "usage_events", other, event_keys=[key_of(2)])) == 1


@pytest.mark.parametrize("bound", ["0001-01-01", "-infinity", "4713-01-01 BC"])
def test_dates_before_and_after_all_usage_are_no_bounds(db: Connection, bound: str) -> None:
    user_id = ingest(db, [Call(utc("2026-06-01T12:00"))], time_zone="Pacific/Kiritimati")
    for until in ("infinity", "5874897-12-31", "9999-12-31"):
        for time_zone in (None, "America/Los_Angeles"):
            (row,) = report(db, "usage_daily", user_id, since=bound, until=until, time_zone=time_zone)
            assert row["event_count"] == 1
    assert report(db, "usage_daily", user_id, until=bound) == []
    assert report(db, "usage_daily", user_id, since="infinity") == []


def test_a_day_is_read_from_its_one_row_and_not_from_the_rollups(db: Connection) -> None:
    day = datetime(2026, 6, 1, 12, tzinfo=UTC)
    user_id = ingest(db, [Call(day, session_id=f"s{number}") for number in range(20)])
    db.execute("delete from public.token_usage_by_day where user_id = %s", [user_id])
    db.execute("delete from public.token_usage_by_session_day where user_id = %s", [user_id])
    (row,) = report(db, "usage_daily", user_id)
    assert (row["event_count"], row["session_count"]) == (20, 20)
