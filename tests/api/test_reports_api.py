"""The reports over HTTP against the same question put to the ledger over SQL: equal to the last digit."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date, datetime
from decimal import Decimal
from typing import Any, NamedTuple

import pytest

from tallystick.ledger import Ledger
from tallystick.model import Page, UsageFilter
from tests.api.serving import PREFIX, Api, event, new_user

ALL = UsageFilter(time_zone="Europe/Berlin")
# path, method of Ledger, name of the list
REPORTS = [
    ("/daily", "usage_daily", "days"),
    ("/weekly", "usage_weekly", "weeks"),
    ("/monthly", "usage_monthly", "months"),
    ("/models", "usage_models", "models"),
    ("/projects", "usage_projects", "projects"),
    ("/sessions", "usage_sessions", "sessions"),
    ("/blocks", "usage_blocks", "blocks"),
]
QUESTIONS: list[tuple[dict[str, Any], UsageFilter, dict[str, Any]]] = [
    ({}, ALL, {}),
    ({"by": "model"}, ALL, {"by": "model"}),
    ({"by": "source", "model": "claude-opus-4-8"}, ALL._replace(models=["claude-opus-4-8"]), {"by": "source"}),
    ({"project": ["shop", "notes"]}, ALL._replace(projects=["shop", "notes"]), {}),
    ({"session": "session-0003"}, ALL._replace(sessions=["session-0003"]), {}),
    ({"by": "device"}, ALL, {"by": "device"}),
    ({"device": ["desk", "no such"]}, ALL._replace(devices=["desk", "no such"]), {}),
    (
        {"since": "2026-02-01", "until": "2026-05-31", "timezone": "Asia/Tokyo", "source": "api"},
        UsageFilter(date(2026, 2, 1), date(2026, 5, 31), "Asia/Tokyo", ["api"]),
        {},
    ),
]


@pytest.fixture(scope="module")
def over_sql(api: Api, alice: str) -> Iterator[Ledger]:
    with Ledger.connect(api.database_url, user_id=alice) as ledger:
        yield ledger


def read_back(row: NamedTuple, told: dict[str, Any]) -> dict[str, Any]:
    """What an object says, as what the row with the same columns holds."""

    def value(held: Any, said: Any) -> Any:
        if isinstance(held, Decimal):
            assert isinstance(said, str)
            return Decimal(said)
        if isinstance(held, datetime):
            return datetime.fromisoformat(said)
        return date.fromisoformat(said) if isinstance(held, date) else said

    assert set(told) == set(row._fields)
    return {name: value(held, told[name]) for name, held in row._asdict().items()}


def assert_same(rows: list[Any], told: list[dict[str, Any]]) -> None:
    assert [row._asdict() for row in rows] == [read_back(row, one) for row, one in zip(rows, told, strict=True)]


@pytest.mark.parametrize(("path", "method", "name"), REPORTS)
@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: json.dumps(question[0]))
def test_a_report_says_what_the_ledger_says(
    api: Api, alices_key: str, over_sql: Ledger, *, path: str, method: str, name: str, question: Any
) -> None:
    query, usage, more = question
    rows = getattr(over_sql, method)(usage, **more)
    report = api.get(path, alices_key, **query)
    assert rows
    assert_same(rows, report[name])
    assert report["next"] is None
    assert report["time_zone"] == usage.time_zone
    assert report["by"] == query.get("by")
    assert Decimal(report["totals"]["cost_usd"] or 0) == sum(row.cost_usd or 0 for row in rows)
    for count in ("input_tokens", "output_tokens", "cache_read_tokens", "message_count", "unpriced_event_count"):
        assert report["totals"][count] == sum(getattr(row, count) for row in rows)
    unpriced = report["totals"]["unpriced_event_count"]
    expected = [{"model": "acme-large-1", "unpriced_event_count": unpriced}] if unpriced else []
    assert report["unpriced_models"] == expected


@pytest.mark.parametrize(("path", "method", "name"), REPORTS)
def test_pages_add_up_to_the_whole_and_each_has_its_totals(
    api: Api, alices_key: str, over_sql: Ledger, *, path: str, method: str, name: str
) -> None:
    whole = api.get(path, alices_key, by="model")
    assert len(whole[name]) > 2
    pages, after = [], None
    while True:
        page = api.get(path, alices_key, by="model", limit=7, **({"after": json.dumps(after)} if after else {}))
        pages += page[name]
        assert page["totals"] == whole["totals"]
        after = page["next"]
        if after is None:
            break
        assert len(page[name]) == 7
    assert pages == whole[name]
    assert_same(getattr(over_sql, method)(ALL, by="model", page=Page(limit=7)), pages[:7])


def test_a_page_goes_on_behind_the_longest_names_that_there_are(api: Api) -> None:
    key = api.key(new_user())
    labels = {"project": 500, "model": 200, "session_id": 200, "source": 200, "device": 200}
    calls = [
        event(number, **{name: f"{number}".ljust(most, "\1") for name, most in labels.items()}) for number in range(3)
    ]
    assert api.post("/track", key, calls)["new"] == 3
    for path, by in (("/projects", "session"), ("/sessions", "project"), ("/models", "device")):
        found, after = 0, {}
        while found < 3:
            page = api.get(path, key, by=by, limit=1, **after)
            found += len(page[path.removeprefix("/")])
            after = {"after": json.dumps(page["next"])}


def test_weeks_begin_on_the_day_that_is_asked_for(api: Api, alices_key: str, over_sql: Ledger) -> None:
    for day, number in (("sunday", 7), ("Wednesday", 3), ("7", 7)):
        weeks = api.get("/weekly", alices_key, week_start=day)["weeks"]
        assert_same(over_sql.usage_weekly(ALL, week_start=number), weeks)
        assert {date.fromisoformat(week["period_start"]).isoweekday() for week in weeks} == {number}


def test_the_last_days_are_those_up_to_today(api: Api, alices_key: str) -> None:
    report = api.get("/daily", alices_key, last="7d", timezone="UTC")
    first, last = (date.fromisoformat(report["range"][name]) for name in ("since", "until"))
    assert (last - first).days == 6


def test_one_session_and_everything_in_one_row(api: Api, alices_key: str, over_sql: Ledger) -> None:
    rows = over_sql.usage_session("session-0003", ALL)
    report = api.get("/session/session-0003", alices_key)
    assert len(rows) == 17
    assert_same(rows, report["events"])
    pages = api.get("/session/session-0003", alices_key, limit=10)
    rest = api.get("/session/session-0003", alices_key, limit=10, after=json.dumps(pages["next"]))
    assert pages["events"] + rest["events"] == report["events"]
    assert pages["totals"] == rest["totals"] == report["totals"]
    assert_same([over_sql.usage_summary(ALL)], [api.get("/summary", alices_key)])


def test_the_rest_says_what_the_ledger_says(api: Api, alices_key: str, over_sql: Ledger) -> None:
    assert_same([over_sql.ledger_state()], [api.get("/state", alices_key)])
    assert_same(over_sql.verify_token_usage(), api.get("/verify", alices_key)["checks"])
    assert_same(over_sql.rejects(), api.get("/rejects", alices_key)["rejects"])
    assert_same(over_sql.double_sessions(), api.get("/double-sessions", alices_key)["sessions"])
    assert_same(over_sql.usage_recent(limit=7), api.get("/recent", alices_key, limit=7)["events"])
    assert_same(over_sql.usage_recent(), api.get("/recent", alices_key)["events"])
    assert api.get("/digest", alices_key) == {"digest": over_sql.ledger_digest()}
    keys = ["anthropic:msg_api_1", "anthropic:msg_api_2", "nobody knows it"]
    assert_same(over_sql.usage_events(keys), api.post("/events", alices_key, {"event_keys": keys})["events"])


def test_a_ledger_behind_a_server_is_the_same_ledger(api: Api, alices_key: str, over_sql: Ledger) -> None:
    with Ledger.connect(api.address, key=alices_key) as over_http:
        for _, method, _ in REPORTS:
            assert getattr(over_http, method)(ALL, by="model") == getattr(over_sql, method)(ALL, by="model"), method
        assert over_http.usage_session("session-0001", ALL) == over_sql.usage_session("session-0001", ALL)
        assert over_http.usage_summary(ALL) == over_sql.usage_summary(ALL)
        assert over_http.ledger_state() == over_sql.ledger_state()
        assert over_http.verify_token_usage() == over_sql.verify_token_usage()
        assert over_http.ledger_digest() == over_sql.ledger_digest()


def test_a_user_without_books_has_empty_reports(api: Api) -> None:
    key = api.key("00000000-0000-4000-8000-00000000abcd")
    for path, _, name in REPORTS:
        report = api.get(path, key)
        assert (report[name], report["next"], report["totals"]["cost_usd"]) == ([], None, "0")
    assert api.ask("GET", f"{PREFIX}/session/nothing", key=key).status_code == 404


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("sinc=2026-01-01", "sinc: "),
        ("week_start=monday", "week_start: "),
        ("since=yesterday", "since: "),
        ("since=2026-02-30", "since: "),
        ("limit=0", "a page holds 1 to 10,000"),
        ("limit=10001", "a page holds 1 to 10,000"),
        ("by=day", "no breakdown by 'day'"),
        ("last=7", "last: "),
        ("last=0d", "'0d' is no number of days"),
        ("last=7d&since=2026-01-01", "`last` says both ends"),
        ("after=5", "`after` is no row of this report"),
        ("since=2026-01-01&since=2026-01-02&until=x", "until: "),
    ],
)
def test_a_question_that_makes_no_sense_is_told_by_its_parameter(
    api: Api, alices_key: str, query: str, words: str
) -> None:
    answer = api.ask("GET", f"{PREFIX}/daily?{query}", key=alices_key)
    assert answer.status_code == 400
    assert answer.json()["detail"].startswith(words)
