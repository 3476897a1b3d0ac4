"""Every question that a Ledger can be asked has the same answer by every road."""

from __future__ import annotations

import inspect
import json
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import cache
from typing import Any

import pytest

from tallystick.ledger import PAGE_ROWS, Ledger
from tallystick.live.figures import read_figures
from tallystick.model import ApiKeyRow, Page, Receipt, UsageFilter
from tests.roads.places import ROADS, SERVICE_ROADS, Place
from tests.servers import connect
from tests.surface.records import NOON, batch_of, key_of, observation

EVERYTHING = UsageFilter()
# more of everything than a page of the ledger's, and than an answer of Supabase's REST, holds
MANY = PAGE_ROWS + 13
# what an address could be taken apart by, and what is not ASCII
ODD_SESSIONS = ("a/b/c:1", "a b%2Fc?x=1#y&z+w", "…ünïcode-☃", "..", "ends/", "~!@$*()=;,'\"<>[]{}|\\^`")
PART = UsageFilter(
    since=date(2026, 3, 13),
    until=date(2026, 4, 30),
    time_zone="Asia/Kathmandu",
    sources=["claude-code", "api"],
    projects=["/work/00005", "/work/00006", "/work/p"],
    models=["model-00005", "claude-opus-4-8", "model-00006"],
    sessions=["session-5", "session-6", "long"],
    devices=["laptop", ""],
)

Question = Callable[[Ledger], Any]

REPORTS = ("usage_daily", "usage_weekly", "usage_monthly", "usage_models", "usage_projects", "usage_sessions")
QUESTIONS: dict[str, list[Question]] = {
    **{
        name: [
            *(lambda of, name=name, by=by: getattr(of, name)(EVERYTHING, by=by) for by in (None, "session", "device")),
            lambda of, name=name: getattr(of, name)(PART, by="source"),
            lambda of, name=name: getattr(of, name)(EVERYTHING, by="project", page=Page(limit=2)),
            lambda of, name=name: getattr(of, name)(EVERYTHING, by="session", page=Page(limit=10_000)),
            lambda of, name=name: getattr(of, name)(UsageFilter(sources=["nobody"])),
        ]
        for name in (*REPORTS, "usage_blocks")
    },
    "usage_summary": [lambda of: of.usage_summary(EVERYTHING), lambda of: of.usage_summary(PART)],
    "usage_session": [
        lambda of: of.usage_session("long", EVERYTHING),
        lambda of: of.usage_session("long", EVERYTHING, page=Page(limit=3)),
        lambda of: of.usage_session("long", EVERYTHING, page=Page(limit=5000)),
        lambda of: of.usage_session("long", PART._replace(sessions=None)),
        *(lambda of, name=name: of.usage_session(name, EVERYTHING) for name in ODD_SESSIONS),
    ],
    "usage_events": [
        lambda of: of.usage_events([key_of(number) for number in range(3 * MANY)]),
        lambda of: of.usage_events([]),
    ],
    "usage_limits": [Ledger.usage_limits],
    "usage_recent": [Ledger.usage_recent, lambda of: of.usage_recent(limit=1), lambda of: of.usage_recent(limit=5000)],
    "rejects": [Ledger.rejects],
    "double_sessions": [Ledger.double_sessions],
    "ledger_state": [Ledger.ledger_state],
    "ledger_digest": [Ledger.ledger_digest],
    "verify_token_usage": [Ledger.verify_token_usage],
}
QUESTIONS["usage_weekly"].append(lambda of: of.usage_weekly(EVERYTHING, by="model", week_start=7))
# asked in test_every_road_writes_the_same_books
WRITES = {
    *("make_account", "set_time_zone", "ingest_token_usage", "upsert_token_usage", "add_token_prices"),
    "observe_usage_limits",
    *("correct_token_usage", "rerate_token_usage", "rerate_slice", "forget_token_usage", "forget_slice"),
}
# a matter of the road itself
OF_THE_ROAD = {"changes", "wait_at_most"}
# about the whole ledger and not about one user: not done through a Tallystick server
OF_THE_LEDGER = {"only_account", "renew_ledger_id", "create_api_key", "api_keys", "revoke_api_key"}


@pytest.fixture(scope="module")
def books(place: Place) -> Iterator[dict[str, Ledger]]:
    """One user's books, opened by every road: more than a page of everything, and each kind of oddity."""
    user_id = str(uuid.uuid4())
    with ExitStack() as stack:
        opened = {road: stack.enter_context(place.open(road, user_id)) for road in ROADS}
        fill(opened["sql"])
        with connect(place.sql_url, autocommit=True) as connection:
            connection.execute("analyze")  # as the server does by itself, later
        yield opened


@pytest.fixture(scope="module")
def answers(books: dict[str, Ledger]) -> Callable[[str], list[Any]]:
    """What the questions about a method come to over SQL, each asked once."""
    return cache(lambda method: [ask(books["sql"]) for ask in QUESTIONS[method]])


def fill(ledger: Ledger) -> None:
    ledger.make_account(time_zone="Europe/Berlin")
    ledger.add_token_prices(json.dumps([price("model-00005", "0.1234567890123456789"), price("model-00006", "7")]))
    spread = [
        observation(
            number,
            occurred_at=(NOON + timedelta(hours=6 * number, microseconds=number)).isoformat(),
            model=f"model-{number:05}",
            project=f"/work/{number:05}",
            source="claude-code" if number % 3 else "api",
            device="laptop" if number % 2 else "desk",
        )
        for number in range(MANY)
    ]
    long = [observation(MANY + number, session_id="long", input_tokens=10**11 + number) for number in range(MANY)]
    odd = [
        observation(
            2 * MANY + number, session_id=name, project=name, device=name, is_sidechain=True, output_tokens=10**12
        )
        for number, name in enumerate(ODD_SESSIONS)
    ]
    ledger.ingest_token_usage(batch_of(*spread, *long, *odd))
    ledger.ingest_token_usage(batch_of(observation(3, output_tokens=101), b'{"source":"x","position":"y"}', b"7"))
    totals = {"user_id": ledger.user_id, "session_id": "session-5", "model_used": "claude-opus-4-8"}
    totals |= {"session_started_at": NOON.isoformat(), "input_tokens": 5, "output_tokens": 1}
    ledger.upsert_token_usage(json.dumps([{**totals, "session_id": f"session-{n}"} for n in range(5, MANY)][:1000]))
    ledger.upsert_token_usage(json.dumps([{**totals, "session_id": f"session-{n}"} for n in range(1005, MANY)]))
    ledger.correct_token_usage(json.dumps([{"event_key": key_of(7), "output_tokens": 9}]))
    limits = [limit(12), limit("12.5", limit_name="seven_day"), limit(0, resets_at=None)]
    ledger.observe_usage_limits(json.dumps(limits))


def limit(used_percent: object, **members: object) -> dict[str, object]:
    """What a plan's provider says now, of a window that ends in an hour; every other one has no length."""
    now = datetime.now(UTC).replace(microsecond=0)
    told = {"source": "codex", "limit_name": "five_hour", "used_percent": used_percent, "observed_at": now.isoformat()}
    return {**told, "resets_at": (now + timedelta(hours=1)).isoformat(), **members}


def price(model: str, usd_per_mtok: str) -> dict[str, str]:
    rates = {"input_usd_per_mtok": usd_per_mtok, "output_usd_per_mtok": usd_per_mtok}
    return {"provider": "anthropic", "model": model, "valid_from": "2026-01-01", **rates}


def kinds(value: Any) -> Any:
    """The types that an answer is made of: 1 and Decimal(1) are equal, and only one of them is an amount of money."""
    if isinstance(value, (list, tuple)):
        return type(value), [kinds(part) for part in value]
    return type(value)


@pytest.mark.parametrize("road", ROADS[1:])
@pytest.mark.parametrize("method", QUESTIONS)
def test_a_question_has_the_same_answer_by_every_road(
    books: dict[str, Ledger], answers: Callable[[str], list[Any]], method: str, road: str
) -> None:
    for number, (ask, expected) in enumerate(zip(QUESTIONS[method], answers(method), strict=True)):
        answer = ask(books[road])
        assert answer == expected, (method, number)
        assert kinds(answer) == kinds(expected), (method, number)


def test_the_questions_are_about_more_than_one_answer_holds(books: dict[str, Ledger]) -> None:
    ledger = books["sql"]
    for rows in (ledger.usage_daily(EVERYTHING, by="session"), ledger.usage_session("long", EVERYTHING)):
        assert len(rows) > PAGE_ROWS
    assert len(ledger.double_sessions()) > PAGE_ROWS
    by_model = {row.model: row.cost_usd for row in ledger.usage_models(EVERYTHING)}
    # 1,000 tokens in and 100 out, and five in and one out as a running total at the price of another model
    assert by_model["model-00005"] == 1100 * Decimal("0.1234567890123456789") / 10**6
    assert by_model["model-00100"] is None
    assert isinstance(ledger.usage_sessions(EVERYTHING)[0].last_activity_at, datetime)


def test_every_method_of_a_ledger_is_asked_here() -> None:
    public = {name for name, _ in inspect.getmembers(Ledger, inspect.isfunction) if not name.startswith("_")}
    assert public - {"close"} == QUESTIONS.keys() | WRITES | OF_THE_ROAD | OF_THE_LEDGER


@pytest.mark.parametrize("road", ROADS[1:])
def test_the_live_view_shows_the_same_by_every_road(books: dict[str, Ledger], road: str) -> None:
    now = NOON + timedelta(hours=6 * 6, minutes=9)
    over_sql, by_road = (
        read_figures(books[name], books[name].ledger_state(), fallback_zone="UTC", now=now) for name in ("sql", road)
    )
    assert by_road == over_sql
    assert all((over_sql.models, over_sql.sessions, over_sql.calls, over_sql.yesterday.message_count))


@pytest.mark.parametrize("road", ROADS)
def test_the_database_itself_tells_of_changes_and_over_http_nobody_does(place: Place, user_id: str, road: str) -> None:
    with place.open(road, user_id) as ledger:
        assert ledger.changes(timeout_s=0) is (True if road == "sql" else None)


def test_every_road_writes_the_same_books(place: Place) -> None:
    written = {}
    for road in SERVICE_ROADS:
        with place.open(road, str(uuid.uuid4())) as ledger:
            written[road] = write(ledger)
    assert written["server with a service key"] == written["sql"]
    assert written["supabase"] == written["sql"]


def write(ledger: Ledger) -> list[Any]:
    """What each way to change books answers, and what the books are after it."""
    told: list[Any] = [ledger.make_account(time_zone="Asia/Tokyo")]
    records = [observation(number, model="own") for number in range(30)]
    told += [ledger.ingest_token_usage(batch_of(*records)), ledger.ingest_token_usage(batch_of(*records))]
    told += [ledger.ingest_token_usage(batch_of(observation(1, model="own", output_tokens=7, is_final=True), b"5"))]
    totals = {"user_id": ledger.user_id, "session_id": "s", "model_used": "own", "input_tokens": 9, "output_tokens": 1}
    totals |= {"session_started_at": NOON.isoformat()}
    snapshot = ledger.upsert_token_usage(json.dumps([totals, {**totals, "input_tokens": 8}]), '{"usage_date": null}')
    told += [[reject._replace(user_id=None) for reject in snapshot.rejects], snapshot[:6]]
    told += [ledger.upsert_token_usage(json.dumps(totals))]
    own = price("own", "0.000000000123456789")
    told += [ledger.add_token_prices(json.dumps([own])), ledger.add_token_prices(json.dumps([own]))]
    told += [list(ledger.rerate_token_usage(since=date(2026, 3, 12), until=date(2026, 3, 12)))]
    told += [ledger.rerate_slice(limit=10, after=key_of(1)), ledger.rerate_slice(limit=10)]
    told += [ledger.correct_token_usage(json.dumps([{"event_key": key_of(2), "output_tokens": 11}]))]
    limits = [limit(12.5, window_minutes=300), limit(1001), limit(7, limit_name="7_minutes", resets_at=None)]
    told += [ledger.observe_usage_limits(json.dumps(limits)), ledger.observe_usage_limits(json.dumps(limits))]
    told += [[row[:4] for row in ledger.usage_limits()]]
    told += [ledger.set_time_zone("America/Lima"), ledger.ledger_digest(), ledger.usage_daily(EVERYTHING, by="model")]
    told += [ledger.forget_slice(project="/work/p", limit=4), list(ledger.forget_token_usage(project="/work/p"))]
    told += [list(ledger.forget_token_usage()), ledger.ledger_digest(), ledger.usage_summary(EVERYTHING)]
    return [*told, kinds(told), ledger.verify_token_usage()]


@pytest.mark.parametrize("road", SERVICE_ROADS)
def test_a_batch_of_25_000_is_taken_in_parts(place: Place, user_id: str, road: str) -> None:
    records = [
        observation(number % 1000, event_key=key_of(number), session_id=f"s{number % 50}") for number in range(25_000)
    ]
    with place.open(road, user_id) as ledger:
        assert ledger.ingest_token_usage(batch_of(*records)) == Receipt(received=25_000, new=25_000)
        summary = ledger.usage_summary(EVERYTHING)
    assert (summary.event_count, summary.input_tokens, summary.output_tokens) == (25_000, 25_000_000, 2_500_000)
    # opus at 5 and 25 dollars per million
    assert summary.cost_usd == 25_000 * (1000 * Decimal(5) + 100 * Decimal(25)) / 10**6


def test_keys_are_kept_alike_over_sql_and_supabase(place: Place, user_id: str) -> None:
    listed: list[list[ApiKeyRow]] = []
    with place.open("sql", user_id) as by_sql, place.open("supabase", user_id) as by_rest:
        for number, ledger in enumerate((by_sql, by_rest)):
            key_id = ledger.create_api_key(
                user_id=user_id,
                name=f"key {number}",
                prefix=f"tly_key0000{number}",
                digest=uuid.uuid4().hex * 2,
                scopes=["read"],
                expires_at=datetime.fromisoformat("2030-01-02T03:04:05.678901+02:00"),
                requests_per_minute=7,
            )
            assert ledger.revoke_api_key(f"tly_key0000{number}") == key_id
        listed += [by_sql.api_keys(user_id=user_id), by_rest.api_keys(user_id=user_id)]
        assert listed[0] == listed[1]
        assert [row.name for row in listed[0]] == ["key 0", "key 1"]
        assert kinds(listed[0]) == kinds(listed[1])
        assert by_sql.only_account() == by_rest.only_account()
