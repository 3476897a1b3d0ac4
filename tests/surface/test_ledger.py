"""The ledger as Python sees it: what goes in and comes out, batches that cannot be read, pages and errors."""

from __future__ import annotations

import hashlib
import itertools
import json
import uuid
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest

from tallystick.db import Database
from tallystick.errors import Busy, ConfigError, Conflict, Forbidden, InvalidRequest, LedgerError, NotFound, TooMuch
from tallystick.ledger import PAGE_ROWS, Ledger
from tallystick.model import (
    DoubleSessionRow,
    EventCostRow,
    LedgerCheck,
    Receipt,
    RejectedRecord,
    SnapshotReject,
    UsageFilter,
)
from tallystick.observation import Observation
from tests.servers import connect
from tests.surface.records import NOON, batch_of, key_of, observation

EVERYTHING = UsageFilter()
# claude-opus-4-8 in the seeded list: dollars per million tokens
INPUT_USD, OUTPUT_USD = Decimal(5), Decimal(25)
SHORT, LONG = PAGE_ROWS + 203, PAGE_ROWS + 7


@pytest.fixture
def ledger(module_ledger_url: str) -> Iterator[Ledger]:
    """A new user's books beside those of the other tests."""
    with Ledger.connect(module_ledger_url, user_id=str(uuid.uuid4())) as connected:
        yield connected


@pytest.fixture(scope="module")
def full(module_ledger_url: str) -> Iterator[Ledger]:
    """Books with more of everything than a page holds: short sessions at their own times, and a long one."""
    short = [
        observation(
            number,
            occurred_at=(NOON + timedelta(hours=6 * number)).isoformat(),
            model=f"model-{number:05}",
            project=f"/work/{number:05}",
        )
        for number in range(SHORT)
    ]
    long = [observation(SHORT + number, session_id="long") for number in range(LONG)]
    with Ledger.connect(module_ledger_url, user_id=str(uuid.uuid4())) as ledger:
        ledger.ingest_token_usage(batch_of(*short))
        ledger.ingest_token_usage(batch_of(*long))
        yield ledger


def keys_in(ledger: Ledger, numbers: int) -> list[int]:
    known = {row.event_key for row in ledger.usage_events([key_of(number) for number in range(numbers)])}
    return [number for number in range(numbers) if key_of(number) in known]


# -- the whole way


def test_what_goes_in_comes_out(ledger: Ledger) -> None:
    assert ledger.ledger_state().receipt_count == 0
    assert ledger.ledger_state().time_zone is None
    assert ledger.only_account() is None
    ledger.make_account(time_zone="Europe/Berlin")
    assert ledger.only_account() == ledger.user_id
    assert ledger.ingest_token_usage(batch_of(observation(1), observation(2, model="nobody-knows"))) == Receipt(
        received=2, new=2, unpriced=1
    )
    cost = (1000 * INPUT_USD + 100 * OUTPUT_USD) / 1_000_000
    (day,) = ledger.usage_daily(EVERYTHING)
    assert (day.period_start, day.event_count, day.session_count) == (date(2026, 3, 12), 2, 2)
    assert (day.input_tokens, day.output_tokens, day.unpriced_event_count) == (2000, 200, 1)
    assert day.cost_usd == cost
    assert isinstance(day.cost_usd, Decimal)
    assert ledger.usage_summary(EVERYTHING) == day._replace(period_start=None)
    nothing = ledger.usage_summary(UsageFilter(sources=["nobody"]))
    assert (nothing.event_count, nothing.session_count, nothing.cost_usd) == (0, 0, Decimal(0))
    assert ledger.usage_events([key_of(2), key_of(1), key_of(3)]) == [
        EventCostRow(key_of(1), "session-1", "claude-opus-4-8", cost),
        EventCostRow(key_of(2), "session-2", "nobody-knows", None),
    ]
    assert ledger.ledger_state().receipt_count == 1
    assert ledger.ledger_state().time_zone == "Europe/Berlin"


def test_upkeep_through_python(ledger: Ledger) -> None:
    ledger.ingest_token_usage(
        batch_of(*(observation(n, model="own") for n in range(3)), b'{"source":"x","position":"y"}')
    )
    assert [(row.source, row.reason, row.record_count, row.position) for row in ledger.rejects()] == [
        ("x", "missing_key", 1, "y")
    ]
    own = {"provider": "anthropic", "model": "own", "valid_from": "2026-01-01"}
    own |= {"input_usd_per_mtok": "1", "output_usd_per_mtok": "2"}
    assert ledger.add_token_prices(json.dumps([own])) == (1, 1, 0)
    (receipt,) = ledger.rerate_token_usage(since=date(2026, 3, 12), until=date(2026, 3, 12))
    assert (receipt.examined, receipt.changed, receipt.new_cost_usd) == (3, 3, 3 * Decimal("0.0012"))
    assert ledger.correct_token_usage('[{"event_key":"anthropic:msg_0","output_tokens":0}]').revised == 1
    digest, state = ledger.ledger_digest(), ledger.ledger_state()
    ledger.set_time_zone("Asia/Tokyo")
    assert ledger.ledger_digest() == digest  # noon in Europe is the same day there
    ledger.renew_ledger_id()
    assert ledger.ledger_state().ledger_id != state.ledger_id
    checks = ledger.verify_token_usage()
    assert len(checks) > 5
    assert all(check == LedgerCheck(check.check_name, 0) for check in checks)
    (gone,) = ledger.forget_token_usage(project="/work/p")
    assert (gone.events, gone.versions, gone.sessions, gone.more) == (3, 4, 3, False)
    assert ledger.usage_daily(EVERYTHING) == []


def test_running_totals_through_python(ledger: Ledger) -> None:
    totals = {"user_id": ledger.user_id, "session_id": "session-1", "model_used": "claude-opus-4-8"}
    totals |= {"session_started_at": NOON.isoformat(), "input_tokens": 1000, "output_tokens": 100}
    day = json.dumps({"usage_date": "2026-03-12"})
    shrunk = {**totals, "output_tokens": 99}
    # what names no user is of this ledger's
    rejects = [
        SnapshotReject(ledger.user_id, "session-1", "totals_shrank"),
        SnapshotReject(ledger.user_id, None, "missing_key"),
    ]
    assert ledger.upsert_token_usage(json.dumps([totals, shrunk, {}]), day) == (3, 1, 0, 0, 2, 0, rejects)
    assert ledger.upsert_token_usage(json.dumps(totals)) == (1, 0, 0, 1, 0, 0, [])
    (row,) = ledger.usage_daily(EVERYTHING)
    assert (row.period_start, row.input_tokens) == (date(2026, 3, 12), 1000)
    assert row.cost_usd == (1000 * INPUT_USD + 100 * OUTPUT_USD) / 1_000_000
    assert ledger.double_sessions() == []
    ledger.ingest_token_usage(batch_of(observation(1), observation(2)))
    assert ledger.double_sessions() == [DoubleSessionRow("session-1", "claude-code")]


# -- what cannot be read


@pytest.mark.parametrize(
    "bad",
    [
        pytest.param(b"[" * 10_000 + b"]" * 10_000, id="10,000 brackets"),
        pytest.param(b'{"source":"one","event_key":' + b"[" * 50_000 + b"]" * 50_000 + b"}", id="50,000 brackets"),
        pytest.param(b'{"source":"one","event_key":"\xff\xfe"}', id="no UTF-8"),
        pytest.param(b'{"source":"one","event_key":"cut \xe2\x82"}', id="half a letter"),
        pytest.param(b'{"source":"one","event_key":nonsense}', id="no JSON"),
        pytest.param(b'{"source":"one","event_key":"a \x01 b"}', id="a control sign"),
        pytest.param(b'{"source":"one" "event_key":"]},{["}', id="no JSON, with brackets in quotes"),
        pytest.param(b'{"source":"one","event_key":"\\ud800"}', id="half a surrogate pair"),
        pytest.param(b'{"source":"one","event_key":"\\u0000"}', id="NUL"),
        pytest.param(b'{"source":"one","input_tokens":1e200000}', id="no numeric"),
    ],
)
def test_a_record_that_nobody_can_read_is_rejected_alone(ledger: Ledger, bad: bytes) -> None:
    good = [observation(number) for number in range(20)]
    receipt = ledger.ingest_token_usage(batch_of(*good[:13], bad, *good[13:]))
    (kept,) = ledger.rejects()
    told = RejectedRecord(kept.position, kept.reason)
    assert receipt == Receipt(received=21, new=20, rejected=1, rejects=(told._replace(record_index=13),))
    assert keys_in(ledger, 20) == list(range(20))
    assert ledger.ingest_token_usage(batch_of(bad)) == Receipt(
        received=1, rejected=1, rejects=(told._replace(record_index=0),)
    )
    assert ledger.rejects() == [kept._replace(last_seen_at=ledger.rejects()[0].last_seen_at)]
    # a server with a deeper stack than another may read brackets to their end, and finds no object
    assert kept.reason in ({"unreadable", "not_an_object"} if bad[:1] == b"[" else {"unreadable"})
    assert (kept.source, kept.record_count) == ("one" if b'"source":"one"' in bad else "unknown", 1)
    assert kept.position == "sha256:" + hashlib.sha256(bad).hexdigest()


@pytest.mark.parametrize("wrong", [b'"\\u0000"', b'"\xff"'])
def test_a_record_that_nobody_can_read_keeps_its_place(ledger: Ledger, wrong: bytes) -> None:
    bad = b'{"event_key": "k", "position": "3a25-77:1854", "source": "claude-code", "model": ' + wrong + b"}"
    assert ledger.ingest_token_usage(batch_of(observation(1), bad)) == Receipt(
        received=2, new=1, rejected=1, rejects=(RejectedRecord("3a25-77:1854", "unreadable", 1),)
    )
    (kept,) = ledger.rejects()
    assert (kept.source, kept.position, kept.reason) == ("claude-code", "3a25-77:1854", "unreadable")


def test_several_that_nobody_can_read_are_rejected_among_a_thousand(ledger: Ledger) -> None:
    records: list[Observation | bytes] = [observation(number) for number in range(1000)]
    for number, bad in {0: b"\xff", 1: b"nonsense", 500: b'"\x01"', 999: b'{"a":"\xc3"}'}.items():
        records[number] = bad
    receipt = ledger.ingest_token_usage(batch_of(*records))
    assert receipt._replace(rejects=()) == Receipt(received=1000, new=996, rejected=4)
    assert [told.reason for told in receipt.rejects] == ["unreadable"] * 4
    assert len(keys_in(ledger, 1000)) == 996
    assert all(check.bad_rows == 0 for check in ledger.verify_token_usage())


@pytest.mark.parametrize("batch", [b"{}", b"5", b"null", b"", b"\xff", b"[", b"[]]", b'[{"a":1}', b'["', b"[}{]"])
def test_what_is_no_list_is_refused_whole(ledger: Ledger, batch: bytes) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        ledger.ingest_token_usage(batch)
    assert refusal.value.constraint == "events_are_a_list"
    assert refusal.value.hint
    assert ledger.rejects() == []


# -- pages


def test_every_page_of_a_report_is_fetched(full: Ledger) -> None:
    sessions = full.usage_sessions(EVERYTHING)
    assert {row.session_id for row in sessions} == {"long", *(f"session-{number}" for number in range(SHORT))}
    for report in (full.usage_models(EVERYTHING), full.usage_projects(EVERYTHING), sessions):
        assert len(report) == len(set(report)) == SHORT + 1
        assert sum(row.event_count for row in report) == SHORT + LONG
    by_session = full.usage_daily(EVERYTHING, by="session")
    assert len(by_session) == len(set(by_session)) == SHORT + 2  # the long one goes on past midnight
    assert sum(row.input_tokens for row in by_session) == 1000 * (SHORT + LONG)
    assert sum(row.event_count for row in full.usage_weekly(EVERYTHING, by="model", week_start=7)) == SHORT + LONG
    assert sum(row.event_count for row in full.usage_monthly(EVERYTHING, by="project")) == SHORT + LONG
    calls = full.usage_session("long", EVERYTHING)
    assert len(calls) == len({call.event_key for call in calls}) == LONG
    assert [call.occurred_at for call in calls] == sorted(call.occurred_at for call in calls)


def test_every_page_of_blocks_is_fetched_with_the_gaps_between_them(full: Ledger) -> None:
    blocks = full.usage_blocks(EVERYTHING)
    assert len(blocks) > 2 * PAGE_ROWS
    assert sum(block.event_count for block in blocks) == SHORT + LONG
    for block, following in itertools.pairwise(blocks):
        assert block.block_end == following.block_start
        assert not (block.is_gap and following.is_gap)


def test_any_number_of_keys_may_be_asked_for(full: Ledger) -> None:
    keys = [key_of(number) for number in range(12_000)]
    assert len(full.usage_events(keys)) == SHORT + LONG
    assert full.usage_events([]) == []


# -- errors


def test_errors_of_the_ledger_are_ours_with_a_hint(ledger: Ledger) -> None:
    ledger.ingest_token_usage(batch_of(observation(1, session_id="aaaa-1"), observation(2, session_id="aaaa-2")))
    stranger = '[{"event_key":"nobody"}]'
    refused: list[tuple[type[LedgerError], str, Callable[[], object]]] = [
        (InvalidRequest, "time_zone_is_known", lambda: ledger.set_time_zone("Mars/Olympus")),
        (InvalidRequest, "by_is_known", lambda: ledger.usage_daily(EVERYTHING, by="weather")),
        (InvalidRequest, "since_is_not_after_until", lambda: ledger.usage_daily(UsageFilter(date.max, date.min))),
        (InvalidRequest, "prices_are_a_list", lambda: ledger.add_token_prices("{}")),
        (NotFound, "session_exists", lambda: ledger.usage_session("bbbb", EVERYTHING)),
        (NotFound, "corrected_event_exists", lambda: ledger.correct_token_usage(stranger)),
        (Conflict, "session_prefix_is_unique", lambda: ledger.usage_session("aaaa", EVERYTHING)),
    ]
    for kind, constraint, use in refused:
        with pytest.raises(kind) as refusal:
            use()
        assert type(refusal.value) is kind
        assert refusal.value.constraint == constraint
        assert refusal.value.hint


def test_a_login_that_may_not_act_for_the_ledger_is_forbidden(ledger_url: str) -> None:
    name = f"stranger_{uuid.uuid4().hex}"
    with connect(ledger_url, autocommit=True) as owner:
        owner.execute(f"create role {name}".encode())
        try:
            with Database.connect(ledger_url) as database:
                database.run_script(f"set session authorization {name}")
                ledger = Ledger(database, user_id=str(uuid.uuid4()))
                with pytest.raises(Forbidden, match="service_role") as refusal:
                    ledger.ledger_state()
                assert "member of service_role" in refusal.value.hint
        finally:
            owner.execute(f"drop role {name}".encode())


def test_a_ledger_of_the_owner_works_without_the_service_role(ledger_url: str) -> None:
    with Ledger.connect(ledger_url, user_id=str(uuid.uuid4()), as_service_role=False) as ledger:
        assert ledger.ingest_token_usage(batch_of(observation(1))).new == 1


def test_books_that_another_writer_holds_are_busy(ledger_url: str) -> None:
    with (
        connect(ledger_url) as holder,
        Ledger.connect(ledger_url, user_id=str(uuid.uuid4()), attempts=1) as ledger,
    ):
        holder.execute("alter function tallystick.lock_account(uuid) set lock_timeout = '10ms'")
        holder.commit()
        ledger.make_account(time_zone="UTC")
        holder.execute("select from public.token_usage_accounts for update")
        with pytest.raises(Busy) as refusal:
            ledger.ingest_token_usage(batch_of(observation(1)))
        assert (refusal.value.constraint, bool(refusal.value.hint)) == ("account_is_free", True)
        holder.rollback()
        assert ledger.ingest_token_usage(batch_of(observation(1))).new == 1


def test_the_identity_of_a_ledger_is_a_text(ledger: Ledger) -> None:
    ledger_id = ledger.ledger_state().ledger_id
    assert ledger_id == str(uuid.UUID(ledger_id))


def test_a_mistake_of_ours_is_not_told_as_a_broken_connection(ledger_url: str) -> None:
    with Database.connect(ledger_url) as database, pytest.raises(LedgerError) as mistake:
        database.rows(str, "select %s", [])
    assert type(mistake.value) is LedgerError


def test_a_batch_of_more_records_than_one_call_takes_is_halved(ledger: Ledger) -> None:
    batch = batch_of(*[b"5"] * 20_000, observation(1))
    receipt = ledger.ingest_token_usage(batch)
    assert receipt._replace(rejects=()) == Receipt(received=20_001, new=1, rejected=20_000)
    told = RejectedRecord("sha256:" + hashlib.sha256(b"5").hexdigest(), "not_an_object")
    assert receipt.rejects == tuple(told._replace(record_index=number) for number in range(20))


def test_a_batch_that_is_too_slow_is_halved_until_it_is_not(ledger_url: str) -> None:
    with connect(ledger_url, autocommit=True) as owner:
        owner.execute(
            "create function public.dawdle() returns trigger language plpgsql as "
            "'begin perform pg_sleep(0.005); return new; end'"
        )
        owner.execute(
            "create trigger dawdle before insert on public.token_usage_events for each row execute function dawdle()"
        )
    with Database.connect(ledger_url) as database:
        database.run_script("set statement_timeout = '500ms'")
        ledger = Ledger(database, user_id=str(uuid.uuid4()))
        batch = batch_of(*(observation(number) for number in range(200)))
        assert ledger.ingest_token_usage(batch) == Receipt(received=200, new=200)
        database.run_script("set statement_timeout = '1ms'")
        with pytest.raises(TooMuch) as refusal:
            ledger.ingest_token_usage(batch_of(observation(1000)))
    assert refusal.value.hint


@pytest.mark.parametrize("key", ["x", "tl_abc", "Bearer tly_abc", "sk-ant-abc"])
def test_a_key_that_nobody_gives_out_is_told_as_such_and_not_told_again(key: str) -> None:
    with pytest.raises(ConfigError) as refused:
        Ledger.connect("http://127.0.0.1:1", key=key)
    assert "is none that a Tallystick server or a Supabase project gives out" in refused.value.message
    assert key not in refused.value.message + refused.value.hint


@pytest.mark.parametrize("events", ["[]", [{"source": "api"}], None])
def test_a_batch_that_is_no_bytes_is_refused_in_words(ledger: Ledger, events: Any) -> None:
    with pytest.raises(InvalidRequest, match="the batch is no bytes"):
        ledger.ingest_token_usage(events)
