"""Callers that know a session's running totals alone: what a snapshot adds to days and sessions, and what it cannot."""

from __future__ import annotations

import json
import uuid
from decimal import Decimal
from typing import Any

import pytest

from tests.sql.books import price_rows
from tests.sql.keeper import Keeper, Row, observation, other_price
from tests.sql.snapshots import (
    COUNTERS,
    DAILY_COLUMNS,
    SESSION_COLUMNS,
    THIRTEENTH,
    TWELFTH,
    cost_of,
    counts_of,
    day_counts,
    deltas,
    difference,
    grown,
    receipt,
    reject,
    send,
    session_counts,
    snapshot,
    utc,
)

KEY = "snapshot:s1:2026-03-12:model-b"


@pytest.fixture
def kept(keeper: Keeper) -> Keeper:
    """Books in a ledger that prices models whose provider nobody named."""
    keeper.add_prices({**row, "provider": ""} for row in price_rows())
    return keeper


# -- what a snapshot adds


def test_the_first_snapshot_is_the_whole_session(kept: Keeper) -> None:
    assert send(kept, snapshot()) == receipt(new=1)
    ((key, delta),) = deltas(kept).items()
    assert key == KEY
    assert (delta["source"], delta["grain"], delta["session_id"]) == ("snapshot", "session_delta", "s1")
    assert (delta["is_final"], delta["is_sidechain"], delta["flags"]) == (True, False, [])
    assert (delta["occurred_at"], delta["usage_date"]) == (utc("2026-03-12T09:30:00+00:00"), TWELFTH)
    assert (delta["cache_creation_5m_tokens"], delta["cache_creation_1h_tokens"]) == (10, 0)
    assert session_counts(kept) == day_counts(kept, TWELFTH) == counts_of(snapshot())


def test_the_tables_are_read_under_the_names_that_the_call_has(kept: Keeper) -> None:
    kept.set_now("2026-03-12T10:00:00Z")
    send(kept, snapshot())
    query = "select {} from public.token_usage_{} where user_id = %s"
    (session,) = kept.db.execute(query.format(", ".join(SESSION_COLUMNS), "sessions").encode(), [kept.user_id])
    (day,) = kept.db.execute(query.format(", ".join(DAILY_COLUMNS), "daily").encode(), [kept.user_id])
    user_id, counts, now = uuid.UUID(kept.user_id), (1000, 100, 10, 5000, 40), utc("2026-03-12T10:00:00+00:00")
    started_at, cost_usd = utc("2026-03-12T09:30:00+00:00"), cost_of(snapshot())
    assert session == (user_id, "s1", *counts, 3, started_at, now, cost_usd, "model-b")
    assert day == (user_id, TWELFTH, *counts, 1, 3, cost_usd, now)


def test_the_same_snapshot_again_changes_nothing_however_late(kept: Keeper) -> None:
    kept.set_now("2026-03-12T10:00:00Z")
    send(kept, snapshot())
    before = kept.digest()
    for now, day in (
        ("2026-03-12T11:00:00Z", "2026-03-12"),
        ("2027-01-01T00:00:00Z", None),
        ("2027-01-01Z", "2020-01-01"),
    ):
        kept.set_now(now)
        assert send(kept, snapshot(), on=day) == receipt()
        assert kept.digest() == before
    assert kept.rows("event_versions") == []


def test_grown_totals_move_the_day_by_the_difference(kept: Keeper) -> None:
    other = snapshot(session_id="s2", input_tokens=7, thinking_tokens=0)
    send(kept, snapshot(), other)
    more = snapshot(input_tokens=1500, output_tokens=130, thinking_tokens=45, message_count=5)
    assert send(kept, more) == receipt(revised=1)
    assert session_counts(kept) == counts_of(more)
    assert day_counts(kept, TWELFTH) == {name: more[name] + other[name] for name in COUNTERS}
    assert kept.days()[TWELFTH]["daily_cost_usd"] == cost_of(more) + cost_of(other)
    assert kept.days()[TWELFTH]["daily_session_count"] == 2
    (version,) = kept.rows("event_versions")
    assert (version["event_key"], version["reason"], version["event"]["input_tokens"]) == (KEY, "revised", 1000)
    assert send(kept, more) == receipt()


@pytest.mark.parametrize("name", COUNTERS)
def test_one_count_that_grew_is_enough(kept: Keeper, name: str) -> None:
    send(kept, snapshot())
    assert send(kept, snapshot(**{name: snapshot()[name] + 1})) == receipt(revised=1)
    assert session_counts(kept)[name] == snapshot()[name] + 1
    assert send(kept, snapshot(**{name: snapshot()[name] + 2}), on="2026-03-13")["new"] == (name != "thinking_tokens")


def test_over_midnight_each_day_has_its_part(kept: Keeper) -> None:
    evening = snapshot(session_started_at="2026-03-12T22:45:00Z")  # a quarter to midnight in Berlin
    night = {**grown(2), "session_started_at": evening["session_started_at"]}
    morning = {**grown(5), "session_started_at": evening["session_started_at"]}
    send(kept, evening)
    assert send(kept, night, on="2026-03-13") == receipt(new=1)
    assert send(kept, morning, on="2026-03-13") == receipt(revised=1)
    assert day_counts(kept, TWELFTH) == counts_of(evening)
    assert day_counts(kept, THIRTEENTH) == difference(morning, evening)
    assert session_counts(kept) == counts_of(morning)
    assert [day["daily_session_count"] for day in kept.days().values()] == [1, 1]
    assert kept.session()["session_started_at"] == utc("2026-03-12T22:45:00+00:00")
    assert kept.session()["last_activity_at"] == utc("2026-03-13T11:00:00+00:00")  # noon in Berlin


def test_another_model_has_its_own_part_of_the_day(kept: Keeper) -> None:
    send(kept, snapshot(model_used="model-a"))
    send(kept, grown(3))
    assert [delta["model"] for delta in deltas(kept).values()] == ["model-a", "model-b"]
    assert kept.session()["model_used"] == "model-b"
    second = deltas(kept)[KEY]
    assert second["cost_usd"] == cost_of(difference(grown(3), snapshot()))
    assert session_counts(kept) == counts_of(grown(3))


def test_a_session_sent_several_times_in_one_call_is_taken_step_by_step(kept: Keeper) -> None:
    steps = [
        snapshot(),
        snapshot(),
        grown(2),
        grown(2, estimated_cost_usd=None),
        grown(3, model_used="model-a"),
        snapshot(),
        grown(4, model_used="model-a"),
    ]
    assert send(kept, *steps) == receipt(7, new=2, rejects=[reject(kept, "totals_shrank")])
    assert session_counts(kept) == counts_of(grown(4))
    assert deltas(kept)[KEY]["input_tokens"] == 2000
    assert sum(delta["reported_cost_usd"] for delta in deltas(kept).values()) == Decimal("0.5")
    assert kept.rows("event_versions") == []


@pytest.mark.parametrize("name", COUNTERS)
def test_totals_that_shrink_are_rejected(kept: Keeper, name: str) -> None:
    send(kept, snapshot())
    send(kept, grown(2), on="2026-03-13")
    before = kept.digest()
    shrunk = grown(2, **{name: grown(2)[name] - 1})
    other = snapshot(session_id="s2")
    for day in ("2026-03-12", "2026-03-14"):
        with kept.undone():
            answer = send(kept, shrunk, other, on=day)
            assert answer == receipt(2, new=1, rejects=[reject(kept, "totals_shrank")])
        assert send(kept, shrunk, on=day)["rejected"] == 1
    assert kept.digest() == before
    (row,) = kept.rows("rejects")
    assert (row["source"], row["position"], row["reason"]) == ("snapshot", "snapshot:s1", "totals_shrank")


def test_more_thinking_than_output_since_the_last_snapshot_is_rejected(kept: Keeper) -> None:
    send(kept, snapshot())
    more = snapshot(output_tokens=101, thinking_tokens=42)
    assert send(kept, more, on="2026-03-13") == receipt(rejects=[reject(kept, "thinking_over_output")])
    # where the day has the output beside it, or output grew too, it counts
    with kept.undone():
        assert send(kept, more) == receipt(revised=1)
    assert send(kept, snapshot(output_tokens=102, thinking_tokens=42), on="2026-03-13") == receipt(new=1)


def test_sessions_are_told_apart_whatever_their_ids_hold(kept: Keeper) -> None:
    names = [
        "a",
        "a:b",
        "a:2026-03-12",
        "a:2026-03-12:model-b",
        "A",
        "a;",
        "%",
        "x" * 101,
        "x" * 200,
        "ü" * 100,
        "sha256-",
    ]
    for factor, name in enumerate(names, 1):
        send(kept, grown(factor, session_id=name))
    for factor, name in enumerate(names, 1):
        assert session_counts(kept, name) == counts_of(grown(factor))
        assert send(kept, grown(factor, session_id=name)) == receipt()
        assert send(kept, grown(factor + 1, session_id=name)) == receipt(revised=1)
    keys = set(deltas(kept))
    # the digest of a session's id is no session's id
    digest = next(key for key in keys if "sha256-" in key).split(":")[1]
    assert send(kept, snapshot(session_id=digest)) == receipt(new=1)


def test_the_longest_labels_have_a_key_too(kept: Keeper) -> None:
    models = ["m" * 70, "m" * 71, *(f"{'m' * 199}{number}" for number in range(2))]
    session_id = "x" * 200
    for factor, model in enumerate(models, 1):
        assert send(kept, grown(factor, session_id=session_id, model_used=model)) == receipt(new=1)
    assert sorted(delta["model"] for delta in deltas(kept).values()) == sorted(models)
    assert session_counts(kept, session_id) == counts_of(grown(4))
    assert max(len(key) for key in deltas(kept)) <= 300 - len("~1000")


def test_calls_of_the_same_session_from_another_source_stand_beside_it(kept: Keeper) -> None:
    kept.ingest(observation(1, session_id="s1"))
    send(kept, snapshot())
    assert {row["source"]: row["input_tokens"] for row in kept.rows("sessions")} == {"one": 1000, "snapshot": 1000}
    assert kept.days()[TWELFTH]["daily_session_count"] == 2


# -- what collectors know beside


def test_an_agents_running_totals_are_booked_under_its_name_and_labels(kept: Keeper) -> None:
    labels = {"source": "droid", "project": "/w/shop", "device": "laptop", "agent_version": "1.2"}
    assert send(kept, snapshot(**labels), on=None) == receipt(new=1)
    assert send(kept, snapshot(**labels), on=None) == receipt()
    (delta,) = deltas(kept).values()
    assert {name: delta[name] for name in labels} == labels
    assert delta["event_key"].startswith("snapshot/droid:s1:")
    # the same session by another name is another session
    assert send(kept, snapshot(), on=None) == receipt(new=1)
    assert send(kept, snapshot(source="hermes"), on=None) == receipt(new=1)
    assert {row["source"]: row["input_tokens"] for row in kept.rows("sessions")} == dict.fromkeys(
        ("droid", "hermes", "snapshot"), 1000
    )
    assert send(kept, snapshot(**labels, input_tokens=999), on=None)["rejects"][0]["reason"] == "totals_shrank"
    assert send(kept, grown(3, **labels), on=None) == receipt(revised=1)
    assert {row["source"]: row["input_tokens"] for row in kept.rows("sessions")}["droid"] == 3000


def test_sources_are_told_apart_whatever_they_are_called(kept: Keeper) -> None:
    names = ["a", "a:b", "a:s1", "a/b", "A", "x" * 40, "x" * 41, "sha256-"]
    for factor, name in enumerate(names, 1):
        for session_id in ("s1", "s" * 200):
            send(kept, grown(factor, source=name, session_id=session_id))
    for factor, name in enumerate(names, 1):
        for session_id in ("s1", "s" * 200):
            assert send(kept, grown(factor, source=name, session_id=session_id)) == receipt()
    assert len(deltas(kept)) == 2 * len(names)
    assert max(len(key) for key in deltas(kept)) <= 300 - len("~1000")


def test_without_a_usage_date_the_growth_is_of_the_day_of_the_last_activity(kept: Keeper) -> None:
    # half past midnight in Berlin, where the account is
    first = snapshot(session_started_at=None, last_activity_at="2026-03-12T23:30:00Z")
    assert send(kept, first, on=None) == receipt(new=1)
    assert list(kept.days()) == [THIRTEENTH]
    (delta,) = deltas(kept).values()
    assert delta["occurred_at"] == utc("2026-03-12T23:30:00+00:00")
    # a usage date goes before it
    assert send(kept, grown(2, last_activity_at="2026-03-12T23:50:00Z"), on="2026-03-12") == receipt(new=1)
    assert {day: row["daily_input_tokens"] for day, row in kept.days().items()} == {TWELFTH: 1000, THIRTEENTH: 1000}


# -- cost


def test_the_cost_is_ours_where_the_model_has_a_price(kept: Keeper) -> None:
    send(kept, snapshot(estimated_cost_usd="99"))
    (delta,) = deltas(kept).values()
    assert (delta["cost_usd"], delta["cost_basis"], delta["reported_cost_usd"]) == (cost_of(snapshot()), "list", 99)


def test_a_session_is_no_request_of_a_long_context(kept: Keeper) -> None:
    long = {"long_context_threshold_tokens": 2000}
    long |= {f"long_{name}": "99" for name in price_rows()[0] if name.endswith("_usd_per_mtok")}
    kept.add_prices([{**price_rows()[2], "provider": "", "model": "model-c", **long}])
    send(kept, snapshot(model_used="model-c"))
    assert kept.session()["estimated_cost_usd"] == cost_of(snapshot())


def test_the_estimate_counts_where_there_is_no_price(kept: Keeper) -> None:
    unknown = {"model_used": "nobody-knows"}
    send(kept, snapshot(**unknown, estimated_cost_usd=0.1))
    send(kept, grown(2, **unknown, estimated_cost_usd="0.30"), on="2026-03-13")
    send(kept, grown(3, **unknown, estimated_cost_usd="0.35"), on="2026-03-13")
    found = [(delta["cost_usd"], delta["cost_basis"]) for delta in deltas(kept).values()]
    assert found == [(Decimal("0.1"), "reported"), (Decimal("0.25"), "reported")]
    assert kept.session()["estimated_cost_usd"] == Decimal("0.35")


def test_the_estimate_of_a_priced_part_is_not_put_on_the_next(kept: Keeper) -> None:
    send(kept, snapshot(estimated_cost_usd="0.4"))
    send(kept, grown(2, model_used="nobody-knows", estimated_cost_usd="0.6"))
    assert kept.session()["estimated_cost_usd"] == cost_of(snapshot()) + Decimal("0.2")


def test_without_price_and_estimate_it_is_unpriced(kept: Keeper) -> None:
    unknown = {"model_used": "nobody-knows", "estimated_cost_usd": None}
    assert send(kept, snapshot(**unknown)) == receipt(new=1, unpriced=1)
    assert deltas(kept)["snapshot:s1:2026-03-12:nobody-knows"]["cost_usd"] is None
    assert kept.days()[TWELFTH]["daily_unpriced_event_count"] == 1
    # an estimate that comes later is for all of it, and one that goes leaves nothing known
    assert send(kept, snapshot(model_used="nobody-knows")) == receipt(revised=1)
    assert (kept.session()["estimated_cost_usd"], kept.session()["unpriced_event_count"]) == (Decimal("0.5"), 0)
    assert send(kept, snapshot(**unknown)) == receipt()
    assert send(kept, grown(2, **unknown)) == receipt(revised=1)
    assert (kept.session()["estimated_cost_usd"], kept.session()["unpriced_event_count"]) == (0, 1)


def test_an_estimate_that_fell_takes_back_what_its_own_day_has(kept: Keeper) -> None:
    unknown = {"model_used": "nobody-knows"}
    send(kept, snapshot(**unknown, estimated_cost_usd="0.5"))
    send(kept, grown(2, **unknown, estimated_cost_usd="0.6"), on="2026-03-13")
    assert send(kept, grown(2, **unknown, estimated_cost_usd="0.1"), on="2026-03-13") == receipt()
    send(kept, grown(3, **unknown, estimated_cost_usd="0.55"), on="2026-03-13")
    assert kept.session()["estimated_cost_usd"] == Decimal("0.55")
    send(kept, grown(4, **unknown, estimated_cost_usd="0.1"), on="2026-03-13")
    assert [delta["cost_usd"] for delta in deltas(kept).values()] == [Decimal("0.5"), 0]


def test_a_higher_estimate_alone_makes_no_part_of_another_day(kept: Keeper) -> None:
    send(kept, snapshot(estimated_cost_usd="0.1"))
    assert send(kept, snapshot(estimated_cost_usd="0.10000000000000001"), on="2026-03-13") == receipt()
    assert list(kept.days()) == [TWELFTH]


def test_a_part_keeps_its_price_when_it_grows(kept: Keeper) -> None:
    send(kept, snapshot())
    kept.add_prices([{**other_price("30", model="model-b"), "provider": ""}])
    send(kept, grown(2))
    assert kept.session()["estimated_cost_usd"] == cost_of(grown(2))
    (moved,) = kept.table("rerate_token_usage", kept.user_id)
    assert (moved["changed"], moved["old_cost_usd"]) == (1, cost_of(grown(2)))
    assert kept.bad_rows() == {}
    send(kept, grown(3))
    assert session_counts(kept) == counts_of(grown(3))


# -- what is done to the books beside it


def correct(keeper: Keeper, **members: Any) -> None:
    keeper.call("correct_token_usage", keeper.user_id, json.dumps([{"event_key": KEY, **members}]))


CORRECTIONS: list[Row] = [
    {"input_tokens": 1},
    {"input_tokens": 9999, "cache_creation_1h_tokens": 7},
    {"model": "model-a"},
    {"session_id": "s2"},
    {"occurred_at": "2026-03-14T12:00:00Z"},
    {"reported_cost_usd": "77"},
]


@pytest.mark.parametrize("members", CORRECTIONS, ids=[", ".join(members) for members in CORRECTIONS])
def test_a_corrected_part_stays_and_what_follows_goes_beside_it(kept: Keeper, members: Row) -> None:
    send(kept, snapshot())
    send(kept, grown(2))
    for again in (False, True):
        correct(kept, **members)
        before = kept.digest()
        assert send(kept, grown(2)) == receipt(), again
        assert kept.digest() == before
    corrected = deltas(kept)[KEY]
    assert send(kept, snapshot())["rejects"] == [reject(kept, "totals_shrank")]
    assert send(kept, grown(3, estimated_cost_usd="0.7")) == receipt(new=1)
    assert send(kept, grown(5, estimated_cost_usd="0.7")) == receipt(revised=1)
    found = deltas(kept)
    assert found.pop(KEY) == corrected
    ((key, delta),) = found.items()
    assert key == f"{KEY}~2"
    assert delta["input_tokens"] == 3000
    assert delta["reported_cost_usd"] == Decimal("0.2")


def test_another_zone_leaves_what_the_snapshots_brought(kept: Keeper) -> None:
    send(kept, snapshot())
    send(kept, grown(2), on="2026-03-13")  # at noon in Berlin
    kept.call("set_time_zone", kept.user_id, "Pacific/Kiritimati")  # 13 hours on, where that is the 14th
    assert [str(day) for day in kept.days()] == ["2026-03-12", "2026-03-14"]
    before = kept.digest()
    for day in ("2026-03-12", "2026-03-13", "2026-03-14"):
        assert send(kept, grown(2), on=day) == receipt()
    assert kept.digest() == before
    assert send(kept, grown(3), on="2026-03-13") == receipt(new=1)
    assert send(kept, grown(4), on="2026-03-14") == receipt(revised=1)
    assert {str(day): row["daily_message_count"] for day, row in kept.days().items()} == {
        "2026-03-12": 3, "2026-03-13": 3, "2026-03-14": 6
    }  # fmt: skip
    assert kept.bad_rows() == {}


def test_what_was_forgotten_is_brought_anew_by_the_next_totals(kept: Keeper) -> None:
    send(kept, snapshot(), snapshot(session_id="s2", input_tokens=-1))
    send(kept, grown(2))
    kept.table("forget_token_usage", kept.user_id)
    assert [kept.rows(table) for table in ("events", "event_versions", "sessions", "daily", "rejects")] == [[]] * 5
    assert send(kept, snapshot()) == receipt(new=1)
    assert session_counts(kept) == counts_of(snapshot())
