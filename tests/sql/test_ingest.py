"""What ingesting does: receipts, revisions, days, flags, prices, limits, and two sessions at once."""

from __future__ import annotations

import json
import threading
import uuid
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import psycopg
import pytest

from tests.servers import connect
from tests.sql.books import COUNTS, RATES, cost_of, totals
from tests.sql.keeper import Keeper, Row, assert_day, observation, other_price
from tests.sql.waiting import LOCKED_OUT, server_process, wait_for

TWELFTH, THIRTEENTH = date(2026, 3, 12), date(2026, 3, 13)
BUCKETS = (
    *("input_tokens", "cache_creation_5m_tokens", "cache_creation_1h_tokens", "cache_read_tokens", "output_tokens"),
)


# -- receipts


def test_every_record_is_counted_once_in_the_receipt(keeper: Keeper) -> None:
    keeper.ingest(observation(1, output_tokens=1), observation(2))
    receipt = keeper.ingest(
        observation(1, output_tokens=500),  # revises
        observation(2),  # is known
        *(observation(3, output_tokens=count) for count in (1, 2, 3)),  # one call, seen three times
        observation(4, model="nobody-knows"),
        observation(5, input_tokens=-1),
        "5",
    )
    assert [told["reason"] for told in receipt.pop("rejects")] == ["negative", "not_an_object"]
    assert receipt == {"received": 8, "new": 2, "revised": 1, "duplicate": 3, "rejected": 2, "unpriced": 1}


def test_a_receipt_tells_of_the_first_20_that_were_rejected_in_their_order(keeper: Keeper) -> None:
    bad = [observation(number, position=f"line {number}", input_tokens=-1) for number in range(30)]
    receipt = keeper.ingest(*bad[:10], observation(99), *bad[10:])
    assert receipt["rejected"] == 30
    assert receipt["rejects"] == [
        {"record_index": number + (number >= 10), "position": f"line {number}", "reason": "negative", "event_key": key}
        for number, key in enumerate(record["event_key"] for record in bad[:20])
    ]
    assert "rejects" not in keeper.ingest(observation(98))


@pytest.mark.parametrize("beside", [[], ["5"]])
def test_a_thousand_copies_are_one_event_and_the_rest_are_duplicates(keeper: Keeper, beside: list[str]) -> None:
    copies = [json.dumps(observation())] * 1000
    receipt = keeper.ingest(*copies, *beside)
    assert (receipt["received"], receipt["new"], receipt["duplicate"]) == (1000 + len(beside), 1, 999)
    receipt = keeper.ingest(*copies, *beside)
    assert (receipt["new"], receipt["revised"], receipt["duplicate"]) == (0, 0, 1000)
    assert_day(keeper, TWELFTH, observation())


def test_unpriced_counts_the_new_ones_only(keeper: Keeper) -> None:
    assert keeper.ingest(observation(model="nobody-knows"))["unpriced"] == 1
    assert keeper.ingest(observation(model="nobody-knows"))["unpriced"] == 0
    assert keeper.event()["cost_usd"] is None
    assert (keeper.event()["cost_basis"], keeper.event()["price_id"]) == ("unpriced", None)
    assert keeper.days()[TWELFTH]["daily_unpriced_event_count"] == 1
    assert keeper.days()[TWELFTH]["daily_cost_usd"] == 0


def test_what_the_source_says_it_cost_counts_where_there_is_no_price(keeper: Keeper) -> None:
    keeper.ingest(
        observation(1, model="nobody-knows", reported_cost_usd="0.123456789"), observation(2, reported_cost_usd="9")
    )
    assert (keeper.event(1)["cost_usd"], keeper.event(1)["cost_basis"]) == (Decimal("0.123456789"), "reported")
    assert (keeper.event(2)["cost_usd"], keeper.event(2)["cost_basis"]) == (cost_of(observation(2)), "list")


def test_the_first_batch_makes_the_account_in_utc_and_each_one_is_counted(keeper: Keeper) -> None:
    keeper.user_id = str(uuid.uuid4())
    keeper.ingest(observation(occurred_at="2026-03-12T23:30:00Z"))
    keeper.ingest()
    (account,) = keeper.rows("accounts")
    assert (account["time_zone"], account["receipt_count"]) == ("UTC", 2)
    assert list(keeper.days()) == [TWELFTH]


# -- call by call


def test_calls_that_come_one_by_one_give_the_sums_of_all(keeper: Keeper) -> None:
    """One difference to rows that stand takes a road of its own; that the sums are right, the fixture verifies too."""
    calls = [
        observation(
            number,
            occurred_at=f"2026-03-12T12:00:{second}.000Z",
            device=f"desk {number}",
            message_count=number + 1,
            **{name: 10 * number + 9 - place for place, name in enumerate(COUNTS)},
        )
        for number, second in enumerate((30, 10, 50, 50, 20))
    ]
    others = [
        observation(10, session_id="s2", occurred_at="2026-03-12T12:00:05.000Z"),
        observation(11, session_id="s2", occurred_at="2026-03-12T12:00:55.000Z"),
    ]
    elsewhere = observation(12, project="q", occurred_at="2026-03-12T12:00:15.000Z")
    keeper.set_now("2026-03-12T12:01:00Z")
    keeper.ingest(*others, elsewhere)
    for call in calls[:-1]:
        keeper.ingest(call)
    keeper.set_now("2026-03-12T12:02:00Z")
    keeper.ingest(calls[-1])
    assert_day(keeper, TWELFTH, *calls, *others, elsewhere)
    assert keeper.days()[TWELFTH]["daily_session_count"] == 2
    assert keeper.days()[TWELFTH]["daily_message_count"] == 1 + 2 + 3 + 4 + 5 + 3
    assert keeper.days()[TWELFTH]["updated_at"] == datetime(2026, 3, 12, 12, 2, tzinfo=UTC)
    session = keeper.session()
    assert session["session_started_at"] == datetime(2026, 3, 12, 12, 0, 10, tzinfo=UTC)
    assert session["last_activity_at"] == datetime(2026, 3, 12, 12, 0, 50, tzinfo=UTC)
    assert session["last_updated_at"] == datetime(2026, 3, 12, 12, 2, tzinfo=UTC)
    assert (session["last_event_key"], session["device"]) == ("test:3", "desk 3")
    assert session["estimated_cost_usd"] == totals([*calls, elsewhere])[-1]


def test_the_latest_call_of_a_session_gives_its_model_and_project(keeper: Keeper) -> None:
    keeper.ingest(observation(1), observation(2, model="no-such-model", project="q"))
    keeper.ingest(observation(3, occurred_at="2026-03-12T12:00:01Z"))
    assert (keeper.session()["model_used"], keeper.session()["project"]) == ("model-a", "p")
    keeper.ingest(observation(4, occurred_at="2026-03-12T12:00:02Z", model="no-such-model", project="q"))
    assert (keeper.session()["model_used"], keeper.session()["project"]) == ("no-such-model", "q")
    assert keeper.session()["unpriced_event_count"] == keeper.days()[TWELFTH]["daily_unpriced_event_count"] == 2


# -- a better observation


def test_streamed_placeholders_are_raised_by_exactly_the_difference(keeper: Keeper) -> None:
    other = observation(2, cache_read_tokens=77, session_id="s1")
    stream = [
        observation(output_tokens=1, is_final=False),
        observation(output_tokens=5, is_final=False),
        observation(output_tokens=812, thinking_tokens=300, web_search_requests=2),
    ]
    keeper.ingest(other)
    for seen, event in enumerate(stream):
        receipt = keeper.ingest(event)
        assert (receipt["new"], receipt["revised"]) == ((1, 0) if seen == 0 else (0, 1))
        assert_day(keeper, TWELFTH, other, event)
        session = keeper.session()
        assert session["output_tokens"] == other["output_tokens"] + event["output_tokens"]
        assert session["estimated_cost_usd"] == totals([other, event])[-1]
        assert session["event_count"] == 2
    first, second = keeper.versions()
    assert [version["reason"] for version in (first, second)] == ["revised", "revised"]
    assert [version["version"] for version in (first, second)] == [1, 2]
    assert [version["event"]["output_tokens"] for version in (first, second)] == [1, 5]
    assert [version["cost_usd"] for version in (first, second)] == [cost_of(stream[0]), cost_of(stream[1])]
    assert keeper.ingest(*stream)["duplicate"] == 3
    assert len(keeper.versions()) == 2


def test_a_final_count_stands_against_a_greater_one_that_is_not(keeper: Keeper) -> None:
    keeper.ingest(observation(output_tokens=10))
    assert keeper.ingest(observation(output_tokens=99, is_final=False))["duplicate"] == 1
    assert keeper.event()["output_tokens"] == 10


def test_an_event_that_moves_over_midnight_moves_both_days(keeper: Keeper) -> None:
    late = observation(1, occurred_at="2026-03-12T23:05:00Z")  # five past midnight in Berlin
    early = {**late, "occurred_at": "2026-03-12T22:20:00Z"}  # the day before, at the price before
    on_twelfth = observation(2, session_id="s2")
    on_thirteenth = observation(3, occurred_at="2026-03-13T12:00:00Z", session_id="s2")
    keeper.ingest(late, on_twelfth, on_thirteenth)
    assert_day(keeper, TWELFTH, on_twelfth)
    assert_day(keeper, THIRTEENTH, late, on_thirteenth)
    assert [day["daily_session_count"] for day in keeper.days().values()] == [1, 2]
    assert keeper.ingest(early)["revised"] == 1
    assert_day(keeper, TWELFTH, early, on_twelfth)
    assert_day(keeper, THIRTEENTH, on_thirteenth)
    assert [day["daily_session_count"] for day in keeper.days().values()] == [2, 1]
    assert cost_of(early) == 3 * (cost_of(late) or 0)
    assert keeper.session()["session_started_at"] == datetime(2026, 3, 12, 22, 20, tzinfo=UTC)


def test_a_day_and_a_session_whose_last_event_moves_away_are_gone(keeper: Keeper) -> None:
    keeper.ingest(observation(occurred_at="2026-03-12T23:05:00Z"))
    keeper.ingest(observation(occurred_at="2026-03-12T22:20:00Z", session_id="s2", project="q"))
    assert list(keeper.days()) == [TWELFTH]
    assert [row["session_id"] for row in keeper.rows("sessions")] == ["s2"]
    assert [row["project"] for row in keeper.rows("by_day")] == ["q"]


def test_a_copy_from_1970_never_moves_an_event(keeper: Keeper) -> None:
    broken = observation(occurred_at="1970-01-01T00:00:00Z", project="elsewhere")
    keeper.ingest(observation(1))
    assert keeper.ingest(broken)["duplicate"] == 1
    assert keeper.event()["occurred_at"] == datetime(2026, 3, 12, 12, tzinfo=UTC)
    # and where it is all there is, it counts until a better one comes
    keeper.ingest({**broken, "event_key": "test:2"})
    assert keeper.event(2)["flags"] == ["clock_skew"]
    assert keeper.ingest(observation(2))["revised"] == 1
    assert (keeper.event(2)["occurred_at"], keeper.event(2)["flags"]) == (datetime(2026, 3, 12, 12, tzinfo=UTC), [])
    assert list(keeper.days()) == [TWELFTH]


# -- flags


def test_a_time_out_of_reason_is_flagged_and_counts(keeper: Keeper) -> None:
    keeper.set_now("2026-06-01T00:00:00Z")
    flags = {
        "2022-12-31T23:59:59.999Z": ["clock_skew"],
        "2023-01-01T00:00:00Z": [],
        "2026-06-02T00:00:00Z": [],
        "2026-06-02T00:00:00.001Z": ["clock_skew"],
    }
    times = list(flags)
    assert keeper.ingest(*(observation(n, occurred_at=at) for n, at in enumerate(times)))["new"] == 4
    assert {at: keeper.event(n)["flags"] for n, at in enumerate(times)} == flags
    assert sum(day["daily_event_count"] for day in keeper.days().values()) == 4


@pytest.mark.parametrize("name", BUCKETS)
def test_a_count_out_of_reason_is_flagged_and_counts(keeper: Keeper, name: str) -> None:
    keeper.ingest(observation(1, **{name: 50_000_000}), observation(2, **{name: 50_000_001}))
    assert (keeper.event(1)["flags"], keeper.event(2)["flags"]) == ([], ["implausible"])
    assert keeper.event(2)[name] == 50_000_001


def test_a_flag_stays_with_what_it_is_about(keeper: Keeper) -> None:
    keeper.ingest(observation(flags=["coerced", "time_inherited"], output_tokens=9, place_order="b"))
    keeper.ingest(observation(flags=["weak_key"], output_tokens=1, place_order="a"))
    assert keeper.event()["flags"] == ["coerced"]
    keeper.ingest(observation(flags=["not_final"], output_tokens=10, place_order="c"))
    assert keeper.event()["flags"] == ["not_final"]


# -- prices


def test_an_unpriced_event_is_priced_by_rerating_and_not_before(keeper: Keeper) -> None:
    event = observation(model="nobody-knows", input_tokens=7, output_tokens=0)
    keeper.ingest(event)
    keeper.add_prices([other_price("2", model="nobody-knows")], own=True)
    keeper.ingest(event)
    assert keeper.event()["cost_usd"] is None
    (receipt,) = keeper.table("rerate_token_usage", keeper.user_id)
    assert (receipt["examined"], receipt["changed"], receipt["unpriced"], receipt["next_key"]) == (1, 1, 0, None)
    assert (receipt["old_cost_usd"], receipt["new_cost_usd"]) == (0, Decimal("0.000014"))
    assert (keeper.event()["cost_usd"], keeper.event()["cost_basis"]) == (Decimal("0.000014"), "custom")
    assert keeper.days()[TWELFTH]["daily_cost_usd"] == Decimal("0.000014")
    assert keeper.days()[TWELFTH]["daily_unpriced_event_count"] == 0
    (version,) = keeper.versions()
    assert (version["reason"], version["cost_usd"], version["cost_basis"]) == ("rerated", None, "unpriced")
    assert (version["price_id"], version["event"]) == (None, None)


def test_a_new_price_list_changes_nothing_until_somebody_rerates(keeper: Keeper) -> None:
    keeper.ingest(observation(1))
    before, old_price = keeper.digest(), keeper.event(1)["price_id"]
    keeper.add_prices([other_price("30")])
    assert keeper.digest() == before
    assert keeper.bad_rows() == {}
    keeper.ingest(observation(2))
    dearer = 1000 * (Decimal(30) - RATES["model-a"][0][1]["input"]) / 1_000_000
    assert keeper.event(2)["cost_usd"] - keeper.event(1)["cost_usd"] == dearer
    (receipt,) = keeper.table("rerate_token_usage", keeper.user_id)
    assert (receipt["examined"], receipt["changed"]) == (2, 1)
    assert keeper.event(1)["cost_usd"] == keeper.event(2)["cost_usd"]
    assert keeper.event(1)["price_id"] != old_price
    (version,) = keeper.versions()
    assert (version["reason"], version["price_id"], version["cost_usd"]) == (
        "rerated",
        old_price,
        cost_of(observation()),
    )


def test_rerating_looks_at_the_days_asked_for_in_slices(keeper: Keeper) -> None:
    keeper.ingest(*(observation(n, occurred_at=f"2026-03-{8 + n:02}T12:00:00Z") for n in range(1, 8)))
    keeper.add_prices([other_price("30")])
    after, changed, slices = "", [], 0
    while after is not None:
        (receipt,) = keeper.table("rerate_token_usage", keeper.user_id, "2026-03-10", "2026-03-12", after, 2)
        after, slices = receipt["next_key"], slices + 1
        changed.append(receipt["changed"])
    assert changed == [2, 1]
    assert [len(keeper.versions(n)) for n in range(1, 8)] == [0, 1, 1, 1, 0, 0, 0]


@pytest.mark.parametrize(
    ("revision", "is_priced_anew"),
    [
        ({"project": "q", "place_order": "a"}, False),  # a label
        ({"output_tokens": 101}, False),  # a count
        ({"occurred_at": "2026-03-12T11:59:59Z"}, True),
        ({"output_tokens": 101, "speed": "fast"}, True),
        ({"output_tokens": 101, "model": "model-b"}, True),
    ],
)
def test_a_revision_keeps_its_price_unless_it_changes_what_the_price_hangs_on(
    keeper: Keeper, revision: Row, is_priced_anew: bool
) -> None:
    keeper.ingest(observation())
    old_price = keeper.event()["price_id"]
    keeper.add_prices([other_price("30"), other_price("30", model="model-b")])
    assert keeper.ingest(observation(**revision))["revised"] == 1
    assert (keeper.event()["price_id"] != old_price) is is_priced_anew
    if not is_priced_anew:
        assert keeper.event()["cost_usd"] == cost_of(observation(**revision))


# -- limits


def test_a_batch_holds_20000_records_and_no_more(ledger_url_18: str) -> None:
    texts = [f'{{"event_key":"test:{n}","occurred_at":"2026-03-12T12:00:00Z","source":"one"}}' for n in range(20_001)]
    with connect(ledger_url_18) as connection:
        keeper = Keeper(connection)
        with pytest.raises(psycopg.Error) as refusal, keeper.undone():
            keeper.ingest(*texts)
        assert (refusal.value.sqlstate, refusal.value.diag.constraint_name) == ("PT413", "batch_is_at_most_20000")
        assert keeper.rows("events") == keeper.rows("daily") == []
        assert keeper.ingest(*texts[1:])["new"] == 20_000


@pytest.mark.parametrize("level", ["repeatable read", "serializable"])
def test_the_ledger_is_written_in_read_committed_alone(shared_database_url: str, level: str) -> None:
    with connect(shared_database_url) as connection:
        connection.execute(f"set transaction isolation level {level}".encode())
        with pytest.raises(psycopg.Error) as refusal:
            connection.execute("select public.ingest_token_usage(%s, '[]')", [uuid.uuid4()])
    assert (refusal.value.sqlstate, refusal.value.diag.constraint_name) == ("PT409", "isolation_is_read_committed")
    assert refusal.value.diag.message_hint


# -- two sessions


def test_two_writers_of_one_user_take_turns_and_others_do_not_wait(ledger_url: str) -> None:
    with (
        connect(ledger_url) as first,
        connect(ledger_url) as second,
        connect(ledger_url) as third,
        connect(ledger_url, autocommit=True) as observer,
    ):
        mine = Keeper(first)
        first.commit()
        again = Keeper(second, user_id=mine.user_id)
        second.commit()
        others = Keeper(third)
        third.commit()
        assert mine.ingest(observation(1), observation(2, output_tokens=1))["new"] == 2
        receipts: list[Any] = []
        batch = observation(1), observation(2), observation(3)
        waiter = threading.Thread(target=lambda: receipts.append(again.ingest(*batch)))
        waiter.start()
        wait_for(observer, LOCKED_OUT, [server_process(first)])
        assert others.ingest(*batch)["new"] == 3
        assert receipts == []
        first.commit()
        waiter.join(timeout=60)
        assert receipts == [{"received": 3, "new": 1, "revised": 1, "duplicate": 1, "rejected": 0, "unpriced": 0}]
        for connection in (second, third):
            connection.commit()
        assert mine.bad_rows() == {}
        assert_day(mine, TWELFTH, *batch)


def test_a_writer_that_waits_too_long_is_told_to_come_again(ledger_url: str) -> None:
    with connect(ledger_url) as first, connect(ledger_url) as second:
        first.execute("alter function tallystick.lock_account(uuid) set lock_timeout = '10ms'")
        mine = Keeper(first)
        first.commit()
        mine.ingest(observation())
        with pytest.raises(psycopg.Error) as refusal:
            second.execute("select public.ingest_token_usage(%s, '[]')", [mine.user_id])
        assert (refusal.value.sqlstate, refusal.value.diag.constraint_name) == ("PT503", "account_is_free")
        assert refusal.value.diag.message_hint
