"""What one road refuses every road refuses, with the same words, and a record that nobody can read harms no other."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import date
from typing import Any

import pytest

from tallystick.errors import Forbidden, LedgerError, UnreadableBatch
from tallystick.ledger import Ledger
from tallystick.model import Page, Receipt, SnapshotReceipt, SnapshotReject, UsageFilter
from tests.roads.places import ROADS, SERVICE_ROADS, USER_ROADS, Place
from tests.surface.records import batch_of, key_of, observation

EVERYTHING = UsageFilter()
NOBODY = "00000000-0000-4000-8000-000000000000"

Question = Callable[[Ledger], Any]

REFUSED: dict[str, Question] = {
    "no such zone": lambda of: of.usage_daily(UsageFilter(time_zone="Mars/Olympus")),
    "no such breakdown": lambda of: of.usage_daily(EVERYTHING, by="weather"),
    "a range the wrong way round": lambda of: of.usage_monthly(UsageFilter(date(2026, 3, 2), date(2026, 3, 1))),
    "a range from the last day there is": lambda of: of.usage_daily(UsageFilter(date.max, date.min)),
    "a week that starts on no day": lambda of: of.usage_weekly(EVERYTHING, week_start=8),
    "a page of no rows": lambda of: of.usage_daily(EVERYTHING, page=Page(limit=0)),
    "a page of too many rows": lambda of: of.usage_sessions(EVERYTHING, page=Page(limit=10_001)),
    "a page after nothing": lambda of: of.usage_daily(EVERYTHING, page=Page(after={})),
    "a page after a row of another report": lambda of: of.usage_models(EVERYTHING, page=Page({"event_key": "k"})),
    "a filter that lets nothing through": lambda of: of.usage_daily(UsageFilter(projects=[])),
    "the same of everything": lambda of: of.usage_summary(UsageFilter(models=[])),
    "a zone without a name": lambda of: of.usage_daily(UsageFilter(time_zone="")),
    "no such session": lambda of: of.usage_session("bbbb", EVERYTHING),
    "no session at all": lambda of: of.usage_session("", EVERYTHING),
    "half of two sessions' ids": lambda of: of.usage_session("aaaa", EVERYTHING),
    "a batch that is an object": lambda of: of.ingest_token_usage(b"{}"),
    "a batch that is a number": lambda of: of.ingest_token_usage(b"5"),
    "a batch that is null": lambda of: of.ingest_token_usage(b"null"),
    "a batch that is nothing": lambda of: of.ingest_token_usage(b""),
    "a batch that is cut": lambda of: of.ingest_token_usage(b'[{"a":1}'),
    "a batch that is no text": lambda of: of.ingest_token_usage(b"\xff"),
    "running totals that are a number": lambda of: of.upsert_token_usage("5"),
    "too many running totals": lambda of: of.upsert_token_usage(f"[{','.join('5' * 1001)}]"),
    "days that are a number": lambda of: of.upsert_token_usage("[]", "5"),
    "days that nobody can read": lambda of: of.upsert_token_usage("[]", '{"usage_date":"\\u0000"}'),
    "limits that are cut": lambda of: of.observe_usage_limits("["),
    "limits that are an object": lambda of: of.observe_usage_limits("{}"),
    "limits that are null": lambda of: of.observe_usage_limits("null"),
    "too many limits": lambda of: of.observe_usage_limits(f"[{','.join('5' * 1001)}]"),
    "a zone of the account that is none": lambda of: of.make_account(time_zone="Mars/Olympus"),
}
REFUSED_TO_THE_SERVICE: dict[str, Question] = {
    "prices that are no list": lambda of: of.add_token_prices("{}"),
    "prices of no kind": lambda of: of.add_token_prices('[{"provider":"x"}]'),
    "a zone to keep the books in that is none": lambda of: of.set_time_zone("Mars/Olympus"),
    "a correction of nothing": lambda of: of.correct_token_usage('[{"event_key":"nobody"}]'),
    "corrections that are no list": lambda of: of.correct_token_usage("{}"),
    "a slice of no events": lambda of: of.rerate_slice(limit=0),
    "pricing again the wrong way round": lambda of: of.rerate_slice(since=date(2026, 3, 2), until=date(2026, 3, 1)),
    "forgetting nothing at a time": lambda of: of.forget_slice(limit=0),
    "forgetting a project that is not there": lambda of: of.forget_slice(project="/nowhere"),
}


@pytest.fixture(scope="module")
def books(place: Place) -> Iterator[dict[str, Ledger]]:
    user_id = str(uuid.uuid4())
    with ExitStack() as stack:
        opened = {road: stack.enter_context(place.open(road, user_id)) for road in ROADS}
        opened["sql"].ingest_token_usage(
            batch_of(observation(1, session_id="aaaa-1"), observation(2, session_id="aaaa-2"))
        )
        yield opened


def outcome(ask: Question, ledger: Ledger) -> Any:
    """What a question comes to: its answer, or its error as a program sees it."""
    try:
        return ask(ledger)
    except LedgerError as error:
        return type(error), error.message, error.hint, error.constraint


def assert_alike(ask: Question, books: dict[str, Ledger], road: str) -> None:
    expected, found = outcome(ask, books["sql"]), outcome(ask, books[road])
    if road.startswith("supabase") and isinstance(expected[0], type):
        # PostgREST does not tell the name of the rule that the database refused by
        assert found[3] in ("", expected[3])
        expected, found = expected[:3], found[:3]
    assert found == expected


@pytest.mark.parametrize("road", ROADS[1:])
@pytest.mark.parametrize("what", REFUSED)
def test_a_refusal_is_the_same_by_every_road(books: dict[str, Ledger], what: str, road: str) -> None:
    assert_alike(REFUSED[what], books, road)
    kind, message, hint, _ = outcome(REFUSED[what], books["sql"])
    assert isinstance(kind, type)
    # a parameter is called as it is in Python and over HTTP
    assert "p_" not in message + hint


def test_a_hint_names_what_the_caller_can_write(books: dict[str, Ledger]) -> None:
    hints = {what: outcome(ask, books["sql"])[2] for what, ask in REFUSED.items()}
    assert hints["a range the wrong way round"] == "Both dates count; swap `since` and `until`."
    assert hints["a page of no rows"] == "Ask for the next page with `after`."


@pytest.mark.parametrize("road", SERVICE_ROADS[1:])
@pytest.mark.parametrize("what", REFUSED_TO_THE_SERVICE)
def test_a_refusal_to_the_service_is_the_same_by_every_road(books: dict[str, Ledger], what: str, road: str) -> None:
    assert_alike(REFUSED_TO_THE_SERVICE[what], books, road)


@pytest.mark.parametrize("road", USER_ROADS)
def test_a_user_may_not_do_what_is_the_services(books: dict[str, Ledger], road: str) -> None:
    ledger = books[road]
    for ask in (
        lambda: ledger.correct_token_usage('[{"event_key":"anthropic:msg_1","output_tokens":0}]'),
        ledger.rerate_slice,
    ):
        with pytest.raises(Forbidden) as refusal:
            ask()
        assert refusal.value.hint


@pytest.mark.parametrize("road", USER_ROADS)
def test_a_user_keeps_no_books_but_the_own(place: Place, user_id: str, road: str) -> None:
    with place.open(road, user_id) as ledger:
        ledger.user_id = NOBODY
        for ask in (
            lambda: ledger.usage_daily(EVERYTHING),
            lambda: ledger.ingest_token_usage(batch_of(observation(1))),
            ledger.ledger_digest,
        ):
            with pytest.raises(Forbidden) as refusal:
                ask()
            assert "own books" in refusal.value.message


@pytest.mark.parametrize("road", ["server", "server with a service key"])
def test_what_is_about_the_whole_ledger_is_not_done_through_a_server(books: dict[str, Ledger], road: str) -> None:
    for ask in (Ledger.only_account, Ledger.renew_ledger_id, Ledger.api_keys):
        with pytest.raises(LedgerError, match="not done over HTTP") as refusal:
            ask(books[road])
        assert refusal.value.hint


UNREADABLE = {
    "NUL": b'{"source":"one","event_key":"\\u0000"}',
    "half a surrogate pair": b'{"source":"one","event_key":"\\ud800"}',
    "50,000 brackets": b'{"source":"one","event_key":' + b"[" * 50_000 + b"]" * 50_000 + b"}",
    "no UTF-8": b'{"source":"one","event_key":"\xff\xfe"}',
    "no JSON": b'{"source":"one","event_key":nonsense}',
    "no JSON, with brackets in quotes": b'{"source":"one" "event_key":"]},{["}',
    "a control sign": b'{"source":"one","event_key":"a \x01 b"}',
    "no numeric": b'{"source":"one","input_tokens":1e200000}',
}


# the API that stands in for Supabase's reads JSON into JavaScript's numbers, and on its stack
NOT_AT_THE_STAND_IN = ("no numeric", "50,000 brackets")


@pytest.mark.parametrize(
    ("what", "road"),
    [
        (what, road)
        for what in UNREADABLE
        for road in ROADS
        if not (road.startswith("supabase") and what in NOT_AT_THE_STAND_IN)
    ],
)
def test_a_record_that_nobody_can_read_is_rejected_alone(place: Place, user_id: str, what: str, road: str) -> None:
    good = [observation(number) for number in range(20)]
    with place.open(road, user_id) as ledger:
        receipt = ledger.ingest_token_usage(batch_of(*good[:13], UNREADABLE[what], *good[13:]))
        assert receipt._replace(rejects=()) == Receipt(received=21, new=20, rejected=1)
        (told,) = receipt.rejects
        assert (told.reason, told.record_index) == ("unreadable", 13)
        assert len(ledger.usage_events([key_of(number) for number in range(20)])) == 20
        again = ledger.ingest_token_usage(batch_of(UNREADABLE[what]))
        assert again == Receipt(received=1, rejected=1, rejects=(told._replace(record_index=0),))
        (kept,) = ledger.rejects()
        assert (kept.source, kept.reason, kept.record_count) == ("one", "unreadable", 1)


@pytest.mark.parametrize("road", ROADS)
def test_running_totals_that_nobody_can_read_are_rejected_alone(place: Place, user_id: str, road: str) -> None:
    totals = [{"session_id": f"s{number}", "model_used": "m", "input_tokens": 10 + number} for number in range(9)]
    totals[5]["model_used"] = "a \x00 b"
    days = [{"usage_date": f"2026-03-{1 + number:02}"} for number in range(9)]
    unreadable = SnapshotReject(user_id, "s5", "unreadable")
    for daily_data, kept_days in (
        (days, {1, 2, 3, 4, 5, 7, 8, 9}),
        (days[:4], {4}),
        (days[2], {3}),
    ):
        for fresh in totals:
            fresh["session_id"] = f"{fresh['session_id']}'"
        with place.open(road, user_id) as ledger:
            receipt = ledger.upsert_token_usage(json.dumps(totals), json.dumps(daily_data))
            sessions = [str(fresh["session_id"]) for fresh in totals]
            assert receipt == SnapshotReceipt(9, 8, 0, 0, 1, 8, [unreadable._replace(session_id=sessions[5])])
            booked = ledger.usage_daily(UsageFilter(sessions=sessions))
            assert {row.period_start.day for row in booked if row.period_start} == kept_days
            assert sum(row.input_tokens for row in booked) == sum(range(10, 19)) - 15
            (kept,) = ledger.rejects()
            assert (kept.source, kept.reason) == ("snapshot", "unreadable")


@pytest.mark.parametrize("road", ROADS)
def test_days_that_nobody_can_read_refuse_the_running_totals(place: Place, user_id: str, road: str) -> None:
    with place.open(road, user_id) as ledger, pytest.raises(UnreadableBatch):
        ledger.upsert_token_usage('[{"session_id":"s1"},{"session_id":"s2"}]', '{"usage_date":"\\u0000"}')


@pytest.mark.parametrize("road", ROADS)
def test_several_that_nobody_can_read_are_rejected_among_a_thousand(place: Place, user_id: str, road: str) -> None:
    records: list[Any] = [observation(number) for number in range(1000)]
    for number, what in {0: "NUL", 1: "half a surrogate pair", 500: "no UTF-8", 999: "no JSON"}.items():
        records[number] = UNREADABLE[what]
    with place.open(road, user_id) as ledger:
        receipt = ledger.ingest_token_usage(batch_of(*records))
        assert receipt._replace(rejects=()) == Receipt(received=1000, new=996, rejected=4)
        assert [reject.record_index for reject in receipt.rejects] == [0, 1, 500, 999]
        assert all(check.bad_rows == 0 for check in ledger.verify_token_usage())
