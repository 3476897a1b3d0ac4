"""What the reports refuse, whom they answer, and which columns they answer with."""

from __future__ import annotations

import json
import uuid
from typing import Any

import psycopg
import pytest

from tallystick import model
from tests.sql.report_oracle import Call, ingest, key_of, refusal, report, utc

Connection = psycopg.Connection[Any]

ROW_CLASS_BY_REPORT = {
    "usage_daily": model.UsageRow,
    "usage_weekly": model.UsageRow,
    "usage_monthly": model.UsageRow,
    "usage_models": model.UsageRow,
    "usage_projects": model.UsageRow,
    "usage_sessions": model.SessionRow,
    "usage_session": model.SessionEventRow,
    "usage_blocks": model.BlockRow,
    "usage_events": model.EventCostRow,
    "usage_recent": model.SessionEventRow,
}
REPORTS = list(ROW_CLASS_BY_REPORT)


WRONG_PARAMETERS: list[tuple[dict[str, Any], str]] = [
    ({"since": "2026-06-02", "until": "2026-06-01"}, "since_is_not_after_until"),
    ({"time_zone": "europe/berlin"}, "time_zone_is_known"),
    ({"time_zone": "UTC+3"}, "time_zone_is_known"),
    ({"time_zone": ""}, "time_zone_is_known"),
    *(
        ({"time_zone": name}, "time_zone_is_known")
        for name in ("localtime", "posix/UTC", "right/UTC", "posixrules", "Factory")
    ),
    ({"limit": 0}, "limit_is_1_to_10000"),
    ({"limit": 10001}, "limit_is_1_to_10000"),
    ({"limit": None}, "limit_is_1_to_10000"),
    ({"after": "[]"}, "after_is_a_row"),
    ({"after": '"text"'}, "after_is_a_row"),
    ({"after": "{}"}, "after_is_a_row"),
    ({"after": '{"cost_usd": "5", "unheard_of": "x"}'}, "after_is_a_row"),
]


@pytest.mark.parametrize("report_name", [name for name in REPORTS if name not in ("usage_events", "usage_recent")])
def test_a_wrong_parameter_is_refused_by_name(db: Connection, report_name: str) -> None:
    user_id = ingest(db, [Call(utc("2026-06-01T12:00"))])
    named = {"session_id": "s1"} if report_name == "usage_session" else {}
    for parameters, name in WRONG_PARAMETERS:
        assert refusal(db, report_name, user_id, **named, **parameters) == ("PT400", name), parameters


@pytest.mark.parametrize(
    ("report_name", "parameters", "name"),
    [
        ("usage_daily", {"by": "git_branch"}, "by_is_known"),
        ("usage_blocks", {"by": "day"}, "by_is_known"),
        ("usage_weekly", {"week_start": 0}, "week_start_is_1_to_7"),
        ("usage_weekly", {"week_start": 8}, "week_start_is_1_to_7"),
        ("usage_daily", {"after": '{"period_start": "soon"}'}, "after_is_a_row"),
        ("usage_sessions", {"after": '{"source": "codex"}'}, "after_is_a_row"),
        ("usage_blocks", {"after": '{"block_start": "2026-06-32T00:00:00Z"}'}, "after_is_a_row"),
        # of another report
        ("usage_daily", {"after": '{"period_start": "", "model": "model-a"}'}, "after_is_a_row"),
        ("usage_daily", {"after": '{"period_start": null, "project": "one"}'}, "after_is_a_row"),
        ("usage_daily", {"after": '{"occurred_at": "2026-06-01T12:00:00Z", "event_key": "k"}'}, "after_is_a_row"),
        ("usage_models", {"after": '{"period_start": "2026-06-01"}'}, "after_is_a_row"),
        ("usage_projects", {"after": '{"model": "model-a"}'}, "after_is_a_row"),
        ("usage_sessions", {"after": '{"last_activity_at": "2026-06-01T12:00:00Z"}'}, "after_is_a_row"),
        ("usage_blocks", {"after": '{"block_start": null}'}, "after_is_a_row"),
        # without what it is broken down by
        ("usage_daily", {"by": "model", "after": '{"period_start": "2026-06-01"}'}, "after_is_a_row"),
        ("usage_models", {"by": "session", "after": '{"model": "model-a"}'}, "after_is_a_row"),
        *(("usage_recent", {"limit": limit}, "limit_is_1_to_10000") for limit in (None, 0, 10001)),
        ("usage_events", {"event_keys": None}, "event_keys_are_at_most_10000"),
        ("usage_events", {"event_keys": ["k"] * 10001}, "event_keys_are_at_most_10000"),
    ],
)
def test_a_wrong_parameter_of_one_report_is_refused_by_name(
    db: Connection, report_name: str, parameters: dict[str, Any], name: str
) -> None:
    user_id = ingest(db, [Call(utc("2026-06-01T12:00"))])
    assert refusal(db, report_name, user_id, **parameters) == ("PT400", name)


def test_a_page_starts_after_a_place_whether_or_not_a_row_stands_there(db: Connection) -> None:
    days = [f"2026-06-{day:02}" for day in (1, 3, 5)]
    user_id = ingest(db, [Call(utc(f"{day}T12:00"), model=f"m{place}") for place, day in enumerate(days)])
    for after, left in (("2026-05-31", 3), ("2026-06-01", 2), ("2026-06-02", 2), ("2026-06-05", 0)):
        rows = report(db, "usage_daily", user_id, after=json.dumps({"period_start": after}))
        assert [str(row["period_start"]) for row in rows] == days[3 - left :]
    for model_name, left in (("", 3), ("m0", 2), ("m0x", 2), (None, 3)):
        rows = report(db, "usage_models", user_id, after=json.dumps({"model": model_name}))
        assert len(rows) == left


@pytest.mark.parametrize("name", REPORTS)
def test_columns_are_the_fields_of_the_row_class_in_their_order(db: Connection, name: str) -> None:
    noon = utc("2026-06-01T12:00")
    user_id = ingest(db, [Call(noon)])
    named = {"usage_session": {"session_id": "s1"}, "usage_events": {"event_keys": [key_of(0)]}}.get(name, {})
    (row,) = report(db, name, user_id, **named)
    assert tuple(row) == ROW_CLASS_BY_REPORT[name]._fields
    assert row["cost_usd"] == "0.01"


@pytest.mark.parametrize("name", REPORTS)
def test_books_that_were_never_opened_are_empty(db: Connection, name: str) -> None:
    if name == "usage_session":
        assert refusal(db, name, uuid.uuid4(), session_id="s1") == ("PT404", "session_exists")
    else:
        named = {"event_keys": ["k"]} if name == "usage_events" else {}
        assert report(db, name, uuid.uuid4(), **named) == []


def sign_in(db: Connection, user_id: uuid.UUID | None, role: str) -> None:
    claims = "" if user_id is None else json.dumps({"sub": str(user_id)})
    db.execute("select set_config('request.jwt.claims', %s, true)", [claims])
    db.execute("select set_config('role', %s, true)", [role])


@pytest.mark.parametrize("name", REPORTS)
def test_a_user_sees_the_own_books_and_no_others(db: Connection, name: str) -> None:
    mine, theirs = (ingest(db, [Call(utc("2026-06-01T12:00"), input_tokens=tokens)]) for tokens in (5, 7))
    named = {"usage_session": {"session_id": "s1"}, "usage_events": {"event_keys": [key_of(0)]}}.get(name, {})
    own_rows = report(db, name, mine, **named)
    sign_in(db, mine, "authenticated")
    assert report(db, name, mine, **named) == own_rows
    assert report(db, name, None, **named) == own_rows
    assert refusal(db, name, theirs, **named) == ("PT403", "caller_is_the_user")
    sign_in(db, None, "anon")
    assert refusal(db, name, mine, **named)[0] == "42501"
    sign_in(db, None, "service_role")
    assert len(report(db, name, theirs, **named)) == 1
    assert refusal(db, name, None, **named)[0] == "PT400"


BODIES = [
    f"select tallystick.usage_report(%s, 'day', 1{', null' * 11}, 1000)",
    "select tallystick.usage_sessions(%s, null, null, null, null, null, null, null, null, null, null, 1000)",
    "select tallystick.usage_session(%s, 's1', null, null, null, null, null, null, null, null, 1000)",
    "select tallystick.usage_blocks(%s, null, null, null, null, null, null, null, null, null, null, 1000)",
    "select tallystick.usage_events(%s, '{}')",
    "select tallystick.usage_limits(%s)",
    "select tallystick.usage_recent(%s, 10)",
    "select tallystick.usage_rejects(%s)",
    "select tallystick.usage_double_sessions(%s)",
]


@pytest.mark.parametrize("body", BODIES)
def test_a_body_called_past_its_entry_refuses_another_user_all_the_same(db: Connection, body: str) -> None:
    mine, theirs = (ingest(db, [Call(utc("2026-06-01T12:00"))]) for _ in range(2))
    sign_in(db, mine, "authenticated")
    db.execute(body, [mine])  # type: ignore[arg-type]
    with pytest.raises(psycopg.Error) as caught, db.transaction():
        db.execute(body, [theirs])  # type: ignore[arg-type]
    assert (caught.value.sqlstate, caught.value.diag.constraint_name) == ("PT403", "caller_is_the_user")


def test_the_helpers_of_the_reports_are_closed_to_callers(db: Connection) -> None:
    open_to_callers = db.execute(
        "select p.proname from pg_proc as p join pg_namespace as n on n.oid = p.pronamespace "
        "where n.nspname = 'tallystick' and has_function_privilege('authenticated', p.oid, 'execute') "
        "and (p.proname like 'usage%%' or p.proname in "
        "('checked_filter', 'page_key', 'selected_events', 'cost_text', 'session_named', 'walk_blocks', "
        "'filter_within', 'call_row')) order by 1"
    ).fetchall()
    assert [name for (name,) in open_to_callers] == [
        *("usage_blocks", "usage_double_sessions", "usage_events", "usage_limits", "usage_recent", "usage_rejects"),
        *("usage_report", "usage_session", "usage_sessions"),
    ]
