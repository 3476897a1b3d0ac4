"""How snapshots are read: their days, times and users, what is rejected by itself, and what is refused as a whole."""

from __future__ import annotations

import json
import re
import uuid
from datetime import date
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.sql.keeper import Keeper, Row
from tests.sql.snapshots import (
    TWELFTH,
    counts_of,
    day_counts,
    deltas,
    grown,
    receipt,
    reject,
    send,
    send_as_is,
    session_counts,
    snapshot,
    utc,
)
from tests.sql.two_users import act_as

OTHERS = snapshot(session_id="s8"), snapshot(session_id="s9")
SOMEBODY = "00000000-0000-4000-8000-00000000000a"


def raw(keeper: Keeper, session_data: str, daily_data: str | None = None) -> Row:
    answer: Row = keeper.call("upsert_token_usage", session_data, daily_data)
    return answer


# -- days


@pytest.mark.parametrize(
    ("daily_data", "day"),
    [
        ({"usage_date": "2026-03-12"}, "2026-03-12"),
        ([{"usage_date": "2026-03-12"}], "2026-03-12"),
        # its numbers are not read, nor is anything else
        ({"usage_date": "2026-03-12", "daily_input_tokens": 77, "daily_cost_usd": "x", "more": []}, "2026-03-12"),
        ({"user_id": "ME", "session_id": "s1", "usage_date": "2026-03-12"}, "2026-03-12"),
        # whose and what it is for
        ([{"user_id": SOMEBODY, "usage_date": "2026-03-11"}, {"usage_date": "2026-03-10"}], "2026-03-10"),
        ([{"session_id": "s2", "usage_date": "2026-03-11"}, {"usage_date": "2026-03-10"}], "2026-03-10"),
        # of several: those for the session, then the latest
        ([{"usage_date": day} for day in ("2026-03-10", "2026-03-12", "2026-03-11")], "2026-03-12"),
        ([{"usage_date": "2026-03-12"}, {"session_id": "s1", "usage_date": "2026-03-10"}], "2026-03-10"),
        ([{"session_id": "s1", "usage_date": day} for day in ("2026-03-10", "2026-03-11")], "2026-03-11"),
        # none: today in Berlin, where it is past midnight
        *((daily_data, "2026-03-20") for daily_data in (None, [], {}, {"usage_date": None}, {"usage_date": ""})),
        ({"user_id": SOMEBODY, "usage_date": "2026-03-12"}, "2026-03-20"),
        ({"session_id": "s2", "usage_date": "2026-03-12"}, "2026-03-20"),
    ],
)
def test_the_day_is_the_usage_date_that_fits(keeper: Keeper, daily_data: Any, day: str) -> None:
    keeper.set_now("2026-03-19T23:10:00Z")
    text = json.dumps(daily_data).replace("ME", keeper.user_id.upper())
    assert raw(keeper, json.dumps({**snapshot(), "user_id": keeper.user_id}), text)["new"] == 1
    assert [str(found) for found in keeper.days()] == [day]


def test_of_two_lists_of_one_length_each_session_has_the_day_at_its_place(keeper: Keeper) -> None:
    sessions = [snapshot(session_id=name) for name in ("a", "b", "c")]
    days = ["2026-03-11", "2026-03-12", "2026-03-10"]
    named = [{"user_id": keeper.user_id, **one} for one in sessions]
    assert send_as_is(keeper, named, [{"usage_date": day} for day in days])["new"] == 3
    found = {delta["session_id"]: str(delta["usage_date"]) for delta in deltas(keeper).values()}
    assert found == dict(zip(("a", "b", "c"), days, strict=True))


def test_who_names_no_user_is_meant_by_the_argument(keeper: Keeper) -> None:
    other = Keeper(keeper.db)
    sessions = [snapshot(), {**snapshot(session_id="s2"), "user_id": other.user_id}]
    daily_data = json.dumps({"usage_date": "2026-03-12"})
    answer = keeper.call("upsert_token_usage", json.dumps(sessions), daily_data, keeper.user_id)
    assert answer["new"] == 2
    assert [row["session_id"] for row in keeper.rows("sessions")] == ["s1"]
    assert [row["session_id"] for row in other.rows("sessions")] == ["s2"]
    act_as(keeper.db, "authenticated", keeper.user_id)
    with pytest.raises(psycopg.Error) as refusal, keeper.undone():
        keeper.call("upsert_token_usage", json.dumps([snapshot()]), daily_data, other.user_id)
    assert refusal.value.sqlstate == "PT403"


def test_daily_data_may_be_left_out(keeper: Keeper) -> None:
    keeper.set_now("2026-03-12T10:00:00Z")
    assert raw(keeper, json.dumps({**snapshot(), "user_id": keeper.user_id}))["new"] == 1
    keeper.call("upsert_token_usage", json.dumps({**snapshot(session_id="s2"), "user_id": keeper.user_id}))
    assert list(keeper.days()) == [TWELFTH]


# -- times


@pytest.mark.parametrize(
    ("started_at", "occurred_at"),
    [
        ("2026-03-12T00:30:00+01:00", "2026-03-11T23:30:00+00:00"),
        ("2026-03-12T23:59:59.5+01:00", "2026-03-12T22:59:59.5+00:00"),
        ("2026-03-11T23:30:00+01:00", "2026-03-11T23:00:00+00:00"),  # before: midnight in Berlin
        ("2026-01-01T00:00:00Z", "2026-03-11T23:00:00+00:00"),
        ("2026-03-13T00:30:00+01:00", "2026-03-12T22:59:59.999999+00:00"),  # after: the end of the day
        (None, "2026-03-12T11:00:00+00:00"),  # noon in Berlin
        ("", "2026-03-12T11:00:00+00:00"),
    ],
)
def test_a_session_starts_on_its_first_day(keeper: Keeper, started_at: str | None, occurred_at: str) -> None:
    send(keeper, snapshot(session_started_at=started_at))
    assert keeper.session()["session_started_at"] == utc(occurred_at)
    assert list(keeper.days()) == [TWELFTH]


def test_a_day_before_the_first_one_becomes_the_start(keeper: Keeper) -> None:
    send(keeper, snapshot(), on="2026-03-13")
    assert keeper.session()["session_started_at"] == utc("2026-03-12T23:00:00+00:00")
    send(keeper, grown(2), on="2026-03-12")
    assert keeper.session()["session_started_at"] == utc("2026-03-12T09:30:00+00:00")


@pytest.mark.parametrize("started_at", ["2026-03-12T15:00:00Z", "2026-03-12T05:00:00Z"])
def test_the_model_that_came_later_on_a_day_is_the_latest(keeper: Keeper, started_at: str) -> None:
    for factor, model in enumerate(("model-z", "model-b", "model-a"), 1):
        send(keeper, grown(factor, model_used=model, session_started_at=started_at))
        assert keeper.session()["model_used"] == model
    assert keeper.session()["session_started_at"] == utc(started_at)


@pytest.mark.parametrize(
    ("zone", "day", "started_at", "counted_on"),
    [
        ("America/Nuuk", "2024-03-30", "2024-04-02T00:00:00Z", "2024-03-30"),  # ends at 23:00
        ("Africa/Cairo", "2024-04-26", "2024-04-01T00:00:00Z", "2024-04-26"),  # begins at 01:00
        ("America/Havana", "2024-11-03", "2024-11-05T00:00:00Z", "2024-11-03"),  # its first hour comes twice
        ("America/Havana", "2024-11-02", "2024-11-05T00:00:00Z", "2024-11-02"),
        ("Pacific/Apia", "2011-12-30", "2011-12-01T00:00:00Z", "2011-12-31"),  # never was
    ],
)
def test_the_day_is_kept_where_clocks_are_changed_at_midnight(
    keeper: Keeper, zone: str, day: str, started_at: str, counted_on: str
) -> None:
    keeper.call("set_time_zone", keeper.user_id, zone)
    for factor in (1, 2):
        send(keeper, grown(factor, session_started_at=started_at), on=day)
    assert list(keeper.days()) == [date.fromisoformat(counted_on)]
    assert len(deltas(keeper)) == 1


def test_a_day_is_that_day_whatever_the_connection_is_set_to(keeper: Keeper) -> None:
    # a zone's offset was no whole minutes then
    keeper.db.execute("set local timezone = 'Europe/Berlin'")
    keeper.db.execute("set local datestyle = 'ISO, DMY'")
    for day in ("1850-06-01", "2026-03-12"):
        with keeper.undone():
            for factor, count in ((1, "new"), (2, "revised")):
                answer = send(keeper, grown(factor, session_started_at=f"{day}T08:00:00Z"), on=day)
                assert answer == receipt(**{count: 1})
            assert [found.isoformat() for found in keeper.days()] == [day]
            assert list(deltas(keeper)) == [f"snapshot:s1:{day}:model-b"]


# -- users


def test_users_of_one_call_are_kept_apart(keeper: Keeper) -> None:
    others = [Keeper(keeper.db) for _ in range(3)]
    everybody = [keeper, *others]
    session_data = [
        {**snapshot(input_tokens=1000 * turn + number), "user_id": kept.user_id}
        for turn in (1, 2)
        for number, kept in enumerate(everybody)
    ]
    daily_data = [
        {"user_id": kept.user_id, "usage_date": f"2026-03-{12 + number}"} for number, kept in enumerate(everybody)
    ]
    assert send_as_is(keeper, session_data, daily_data) == receipt(8, new=4)
    for number, kept in enumerate(everybody):
        assert session_counts(kept) == counts_of(snapshot(input_tokens=2000 + number))
        assert [str(day) for day in kept.days()] == [f"2026-03-{12 + number}"]
        assert kept.bad_rows() == {}


def test_who_is_signed_in_may_leave_the_user_out_and_name_nobody_else(keeper: Keeper) -> None:
    act_as(keeper.db, "authenticated", keeper.user_id)
    daily_data = {"usage_date": "2026-03-12"}
    for mine in ({}, {"user_id": None}, {"user_id": ""}, {"user_id": keeper.user_id.upper()}):
        with keeper.undone():
            assert send_as_is(keeper, {**snapshot(), **mine}, daily_data)["new"] == 1
            assert day_counts(keeper, TWELFTH) == counts_of(snapshot())
    for theirs in ({**snapshot(), "user_id": SOMEBODY}, {"user_id": SOMEBODY}):
        with pytest.raises(psycopg.Error) as refusal, keeper.undone():
            send_as_is(keeper, [snapshot(), theirs], daily_data)
        assert (refusal.value.sqlstate, refusal.value.diag.constraint_name) == ("PT403", "caller_is_the_user")
    act_as(keeper.db, "none")
    assert keeper.rows("events") == []


def test_a_snapshot_of_nobody_is_told_and_the_others_count(keeper: Keeper) -> None:
    act_as(keeper.db, "service_role")
    theirs = [snapshot(session_id="s1"), snapshot(session_id="s2", user_id="me"), snapshot(user_id=5, session_id="s3")]
    answer = send_as_is(keeper, [*theirs, {**snapshot(), "user_id": keeper.user_id}, snapshot(user_id=None), 5])
    reasons = {"s1": "missing_user", "s2": "not_a_user", "s3": "not_a_user"}
    told = [{"user_id": None, "session_id": name, "reason": reason} for name, reason in reasons.items()]
    told += [{**told[0]}, {**told[0], "session_id": None}]
    assert answer == receipt(6, new=1, rejects=told)
    act_as(keeper.db, "none")
    assert keeper.rows("rejects") == []


def test_totals_without_a_time_are_of_now_and_never_of_a_time_to_come(keeper: Keeper) -> None:
    for now, counted_at in {
        "2026-03-12T07:00:00Z": "2026-03-12T07:00:00Z",
        "2026-03-12T10:59:00Z": "2026-03-12T10:59:00Z",
        "2026-03-12T20:00:00Z": "2026-03-12T11:00:00Z",  # noon in Berlin
    }.items():
        with keeper.undone():
            keeper.set_now(now)
            timeless = {**snapshot(), "user_id": keeper.user_id, "session_started_at": None}
            assert send_as_is(keeper, timeless)["new"] == 1
            (event,) = keeper.rows("events")
            assert (event["occurred_at"], event["usage_date"]) == (utc(counted_at), TWELFTH)


def test_the_example_of_the_docs_runs(keeper: Keeper) -> None:
    text = (Path(__file__).parents[2] / "docs" / "how-it-works.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```sql\n(.*?)```", text, flags=re.DOTALL)
    act_as(keeper.db, "authenticated", keeper.user_id)
    assert keeper.db.execute(example.encode()).fetchone() == (receipt(new=1),)
    assert keeper.db.execute(example.encode()).fetchone() == (receipt(),)


# -- rejected by itself


REASONS: list[tuple[Row, str]] = [
    ({"session_id": None}, "missing_key"),
    ({"session_id": ""}, "missing_key"),
    ({"session_id": "x" * 201}, "label_too_long"),
    ({"model_used": "x" * 201}, "label_too_long"),
    ({"input_tokens": -1}, "negative"),
    ({"message_count": -1}, "negative"),
    ({"cache_creation_tokens": 10**12 + 1}, "too_large"),
    ({"cache_read_tokens": "9" * 50}, "too_large"),
    ({"input_tokens": 1.5}, "not_an_integer"),
    ({"input_tokens": "abc"}, "not_an_integer"),
    ({"message_count": True}, "not_an_integer"),
    ({"output_tokens": [1]}, "not_an_integer"),
    ({"thinking_tokens": 101}, "thinking_over_output"),
    ({"estimated_cost_usd": "-0.1"}, "not_a_cost"),
    ({"estimated_cost_usd": "NaN"}, "not_a_cost"),
    ({"estimated_cost_usd": {}}, "not_a_cost"),
    ({"session_started_at": "2026-03-12T09:30:00"}, "time_without_offset"),
    ({"session_started_at": "2026-02-30T09:30:00Z"}, "not_a_time"),
    ({"session_started_at": "now"}, "not_a_time"),
    ({"session_started_at": 5}, "not_a_time"),
    ({"last_activity_at": "2026-03-12T09:30:00"}, "time_without_offset"),
    ({"last_activity_at": "soon"}, "not_a_time"),
    ({"last_activity_at": "2026-02-30T09:30:00Z"}, "not_a_time"),
    ({"project": "x" * 501}, "label_too_long"),
]


@pytest.mark.parametrize(
    ("members", "reason"), REASONS, ids=[f"{members} {reason}"[:60] for members, reason in REASONS]
)
def test_a_bad_snapshot_is_rejected_alone_and_kept_by_its_session(keeper: Keeper, members: Row, reason: str) -> None:
    first, last = OTHERS
    bad = snapshot(**members)
    told = reject(keeper, reason, (bad["session_id"] or "")[:200] or None)
    for _ in range(2):
        answer = send(keeper, first, bad, last)
        assert (answer["rejected"], answer["rejects"]) == (1, [told])
    assert sorted(row["session_id"] for row in keeper.rows("sessions")) == ["s8", "s9"]
    (kept,) = keeper.rows("rejects")
    assert (kept["source"], kept["reason"]) == ("snapshot", reason)
    if bad["session_id"]:
        assert kept["position"] == f"snapshot:{bad['session_id']}"
    else:
        assert kept["position"].startswith("sha256:")


def test_what_is_no_object_is_rejected_alone(keeper: Keeper) -> None:
    act_as(keeper.db, "authenticated", keeper.user_id)
    strange = [5, "text", True, None, [1], []]
    told = [reject(keeper, "not_an_object", None)] * len(strange)
    assert send_as_is(keeper, [snapshot(), *strange]) == receipt(1 + len(strange), new=1, rejects=told)
    act_as(keeper.db, "none")
    kept = keeper.rows("rejects")
    assert {row["source"] for row in kept} == {"snapshot"}
    assert len({row["position"] for row in kept}) == len(strange)


@pytest.mark.parametrize(
    "usage_date",
    ["today", "2026-3-12", "2026-02-30", "2026-03-12T00:00:00Z", "12.3.2026", "0001-01-01", "9999-12-31", 5, {"a": 1}],
)
def test_a_snapshot_whose_day_is_none_is_rejected(keeper: Keeper, usage_date: Any) -> None:
    daily_data = [{"session_id": "s1", "usage_date": usage_date}, {"usage_date": "2026-03-12"}]
    session_data = [{**snapshot(session_id=name), "user_id": keeper.user_id} for name in ("s1", "s2")]
    assert send_as_is(keeper, session_data, daily_data) == receipt(2, new=1, rejects=[reject(keeper, "not_a_time")])
    assert list(keeper.days()) == [TWELFTH]


def test_a_rejected_snapshot_leaves_nothing_of_its_content(keeper: Keeper) -> None:
    send(keeper, snapshot(model_used="secret-a", input_tokens=-1, prompt="secret-b"))
    send(keeper, "secret-c")
    tables = ("rejects", "events", "event_versions", "sessions")
    assert "secret" not in str([keeper.rows(table) for table in tables])


def test_counts_that_are_left_out_are_zero(keeper: Keeper) -> None:
    assert send(keeper, {"session_id": "s1", "message_count": None}) == receipt()
    assert keeper.rows("events") == []
    assert send(keeper, {"session_id": "s1", "output_tokens": "12"}) == receipt(new=1, unpriced=1)
    assert session_counts(keeper) == dict.fromkeys(counts_of(snapshot()), 0) | {"output_tokens": 12}
    assert keeper.session()["model_used"] == ""


# -- refused, and read all the same


def test_what_is_no_list_is_refused(keeper: Keeper) -> None:
    good = json.dumps({**snapshot(), "user_id": keeper.user_id})
    for session_data, daily_data, rule in (
        *(
            (text, None, "session_data_is_a_list")
            for text in (None, "null", "5", "true", '"text"', '"[1"', '"\\"[]\\""')
        ),
        *((good, text, "daily_data_is_a_list") for text in ("5", "true", '"text"', "[5]", '[{"usage_date": 1}, null]')),
    ):
        with pytest.raises(psycopg.Error) as refusal, keeper.undone():
            keeper.call("upsert_token_usage", session_data, daily_data)
        assert (refusal.value.sqlstate, refusal.value.diag.constraint_name) == ("PT400", rule), session_data
        assert refusal.value.diag.message_hint


def test_json_that_was_encoded_twice_is_read(keeper: Keeper) -> None:
    act_as(keeper.db, "authenticated", keeper.user_id)
    daily_data = json.dumps(json.dumps({"usage_date": "2026-03-12"}))
    for session_data in (json.dumps(snapshot()), json.dumps([snapshot()])):
        with keeper.undone():
            assert raw(keeper, json.dumps(session_data), daily_data)["new"] == 1
            assert day_counts(keeper, TWELFTH) == counts_of(snapshot())


def test_a_call_takes_a_thousand_sessions_and_no_more(keeper: Keeper) -> None:
    sessions = [snapshot(session_id=f"s{number}") for number in range(1001)]
    for session_data, daily_data, rule in (
        (sessions, None, "session_data_is_at_most_1000"),
        (sessions[:1], [{"usage_date": "2026-03-12"}] * 1001, "daily_data_is_at_most_1000"),
    ):
        with pytest.raises(psycopg.Error) as refusal, keeper.undone():
            send_as_is(keeper, session_data, daily_data)
        assert (refusal.value.sqlstate, refusal.value.diag.constraint_name) == ("PT413", rule)
    assert send(keeper, *sessions[1:]) == receipt(1000, new=1000, unpriced=0)
    assert send(keeper, *sessions[1:]) == receipt(1000)
    assert keeper.days()[TWELFTH]["daily_session_count"] == 1000


def test_nothing_is_done_for_an_empty_list(keeper: Keeper) -> None:
    stranger = str(uuid.uuid4())
    for role, user_id in (("service_role", None), ("authenticated", stranger), ("none", None)):
        act_as(keeper.db, role, user_id)
        assert send_as_is(keeper, []) == receipt(0)
    assert deltas(keeper) == {}
