"""The sum of all usage in one row, against sums worked out in Python and against the days that it adds up."""

from __future__ import annotations

import json
import uuid
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from hypothesis import given

from tallystick.model import UsageRow
from tests.sql.report_oracle import Asked, Call, Row, chosen, ingest, money, refusal, report, sums, utc
from tests.sql.test_reports import calls_of_one_user, many_examples, questions

Connection = psycopg.Connection[Any]

NO_LABELS = dict.fromkeys(("period_start", "source", "session_id", "project", "model", "device"))
NOTHING = {**NO_LABELS, "session_count": 0, **sums([]), "cost_usd": "0"}
NOON = utc("2026-06-01T12:00")


def summary(db: Connection, user_id: uuid.UUID | None, **asked: Any) -> Row:
    (row,) = report(db, "usage_summary", user_id, **asked)
    return row


@many_examples
@given(calls=calls_of_one_user, asked=questions)
def test_the_summary_is_the_sum_of_the_calls_whatever_is_asked(db: Connection, calls: list[Call], asked: Asked) -> None:
    user_id = ingest(db, calls, time_zone="Europe/Berlin")
    taken = chosen(calls, asked, account_zone="Europe/Berlin")
    sessions = {(call.source, call.session_id) for call in taken}
    expected = {**NO_LABELS, "session_count": len(sessions), **sums(taken)} if taken else NOTHING
    assert summary(db, user_id, **asked._asdict()) == expected


@many_examples
@given(calls=calls_of_one_user, asked=questions)
def test_the_summary_is_the_sum_of_its_days(db: Connection, calls: list[Call], asked: Asked) -> None:
    user_id = ingest(db, calls, time_zone="Europe/Berlin")
    days = report(db, "usage_daily", user_id, **asked._asdict(), limit=10000)
    whole = summary(db, user_id, **asked._asdict())
    costs = [Decimal(day["cost_usd"]) for day in days if day["cost_usd"] is not None]
    added = {name: sum(day[name] for day in days) for name in sums([]) if name != "cost_usd"}
    assert {name: whole[name] for name in added} == added
    assert whole["cost_usd"] == (money(sum(costs, Decimal(0))) if costs or not days else None)


def test_the_columns_are_the_fields_of_the_row_class_in_their_order(db: Connection) -> None:
    assert tuple(summary(db, ingest(db, [Call(NOON)]))) == UsageRow._fields


def test_nothing_used_is_zero_and_not_unknown(db: Connection) -> None:
    user_id = ingest(db, [Call(NOON, cost_usd=None)])
    assert summary(db, uuid.uuid4()) == NOTHING
    assert summary(db, user_id, since="2026-06-02") == NOTHING
    assert summary(db, user_id, models=[]) == NOTHING
    assert summary(db, user_id, time_zone="Asia/Tokyo", sources=["nobody"]) == NOTHING
    assert summary(db, user_id)["cost_usd"] is None


def test_a_session_of_many_days_and_models_counts_once(db: Connection) -> None:
    calls = [
        *(Call(utc(f"2026-05-{day:02}T12:00"), session_id="long", model=f"m{day}") for day in range(1, 29)),
        Call(NOON, session_id="long", source="codex"),
        Call(NOON, session_id=""),
    ]
    user_id = ingest(db, calls)
    for time_zone in (None, "Asia/Tokyo"):
        whole = summary(db, user_id, time_zone=time_zone)
        assert (whole["session_count"], whole["event_count"], whole["cost_usd"]) == (3, 30, "0.3")
    assert summary(db, user_id, until="2026-05-31")["session_count"] == 1


def test_the_summary_is_read_from_the_rollups_and_not_from_the_events(db: Connection) -> None:
    calls = [Call(NOON, session_id=f"s{number}", model=f"m{number % 3}") for number in range(20)]
    user_id = ingest(db, calls)
    db.execute("delete from public.token_usage_events where user_id = %s", [user_id])
    whole = summary(db, user_id)
    assert (whole["event_count"], whole["session_count"]) == (20, 20)
    assert summary(db, user_id, models=["m1"])["session_count"] == 7


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        ({"since": "2026-06-02", "until": "2026-06-01"}, "since_is_not_after_until"),
        ({"time_zone": "europe/berlin"}, "time_zone_is_known"),
    ],
)
def test_a_wrong_parameter_is_refused_by_name(db: Connection, asked: dict[str, Any], name: str) -> None:
    assert refusal(db, "usage_summary", ingest(db, [Call(NOON)]), **asked) == ("PT400", name)


def test_a_user_gets_the_sum_of_the_own_books_and_of_no_others(db: Connection) -> None:
    mine, theirs = (ingest(db, [Call(NOON, input_tokens=tokens)]) for tokens in (5, 7))
    db.execute("select set_config('request.jwt.claims', %s, true)", [json.dumps({"sub": str(mine)})])
    db.execute("set local role authenticated")
    assert summary(db, None) == summary(db, mine)
    assert summary(db, mine)["input_tokens"] == 5
    assert refusal(db, "usage_summary", theirs) == ("PT403", "caller_is_the_user")
    db.execute("set local role anon")
    assert refusal(db, "usage_summary", mine)[0] == "42501"
