"""Corrections by hand, and forgetting."""

from __future__ import annotations

import json
import uuid
from datetime import date

import psycopg
import pytest

from tests.sql.keeper import Keeper, Row, assert_day, observation, other_price
from tests.sql.two_users import limits, tables_of_users

THIRTEENTH = date(2026, 3, 13)


def correct(keeper: Keeper, *corrections: Row) -> Row:
    answer: Row = keeper.call("correct_token_usage", keeper.user_id, json.dumps(corrections))
    return answer


def test_a_correction_outranks_every_later_observation(keeper: Keeper) -> None:
    keeper.ingest(observation(output_tokens=500))
    corrected = observation(output_tokens=2, project="q", occurred_at="2026-03-13T12:00:00Z")
    receipt = correct(
        keeper,
        {"event_key": "test:1", "output_tokens": 2, "project": "q", "occurred_at": "2026-03-13T12:00:00Z"},
    )
    assert (receipt["received"], receipt["revised"]) == (1, 1)
    assert list(keeper.days()) == [THIRTEENTH]
    assert_day(keeper, THIRTEENTH, corrected)
    before = keeper.digest()
    better = observation(output_tokens=9999, occurred_at="2026-03-01T00:00:00Z")
    assert keeper.ingest(better)["duplicate"] == 1
    assert keeper.digest() == before
    (version,) = keeper.versions()
    assert (version["reason"], version["event"]["output_tokens"]) == ("corrected", 500)
    assert correct(keeper, {"event_key": "test:1", "output_tokens": 3})["revised"] == 1
    assert keeper.event()["output_tokens"] == 3


def test_a_correction_reads_a_member_as_an_observation_would(keeper: Keeper) -> None:
    keeper.ingest(observation(reported_cost_usd="1"))
    correct(keeper, {"event_key": "test:1", "input_tokens": 3.0, "output_tokens": "4", "project": None})
    event = keeper.event()
    assert (event["input_tokens"], event["output_tokens"], event["project"]) == (3, 4, "")
    assert (event["model"], event["session_id"], event["reported_cost_usd"]) == ("model-a", "s1", 1)


def test_a_correction_takes_the_flag_along_that_it_makes_untrue(keeper: Keeper) -> None:
    keeper.ingest(observation(occurred_at="1850-06-01T00:00:00Z", input_tokens=50_000_001, flags=["weak_key"]))
    assert keeper.event()["flags"] == ["weak_key", "implausible", "clock_skew"]
    # a zone's offset was no whole minutes then
    keeper.db.execute("set local timezone = 'Europe/Berlin'")
    correct(keeper, {"event_key": "test:1", "input_tokens": 5})
    assert keeper.event()["flags"] == ["weak_key", "clock_skew"]
    correct(keeper, {"event_key": "test:1", "occurred_at": "2026-03-12T12:00:00Z"})
    assert keeper.event()["flags"] == ["weak_key"]


@pytest.mark.parametrize(
    ("corrections", "code", "rule"),
    [
        ([{"event_key": "test:1", "output_tokens": -1}], "PT400", "correction_is_valid"),
        ([{"event_key": "test:1", "output_tokens": 10**12 + 1}], "PT400", "correction_is_valid"),
        ([{"event_key": "test:1", "occurred_at": "now"}], "PT400", "correction_is_valid"),
        ([{"event_key": "test:1", "project": "x" * 501}], "PT400", "correction_is_valid"),
        ([{"event_key": "test:1", "cost_usd": 0}], "PT400", "correction_is_of_a_member"),
        ([{"event_key": "test:1", "user_id": str(uuid.UUID(int=1))}], "PT400", "correction_is_of_a_member"),
        ([{"event_key": "test:9"}], "PT404", "corrected_event_exists"),
        ([{"output_tokens": 1}], "PT404", "corrected_event_exists"),
        ([{"event_key": "test:1"}, {"event_key": "test:1"}], "PT400", "corrections_name_an_event_once"),
        ([5], "PT400", "corrections_are_a_list"),
        ({"event_key": "test:1"}, "PT400", "corrections_are_a_list"),
        (None, "PT400", "corrections_are_a_list"),
    ],
)
def test_a_correction_that_is_no_good_changes_nothing(
    keeper: Keeper, corrections: object, code: str, rule: str
) -> None:
    keeper.ingest(observation(1), observation(2))
    before = keeper.digest()
    good = [{"event_key": "test:2", "output_tokens": 1}] if isinstance(corrections, list) else []
    with pytest.raises(psycopg.Error) as refusal, keeper.undone():
        keeper.call("correct_token_usage", keeper.user_id, json.dumps([*good, *corrections] if good else corrections))
    assert (refusal.value.sqlstate, refusal.value.diag.constraint_name) == (code, rule)
    assert refusal.value.diag.message_hint
    assert keeper.digest() == before


def test_forgetting_everything_leaves_the_account_alone(keeper: Keeper) -> None:
    other = Keeper(keeper.db)
    for kept in (keeper, other):
        kept.add_prices([other_price("4")], own=True)
        kept.ingest(*(observation(n, output_tokens=1, session_id=f"s{n}") for n in range(5)), observation(9, speed=5))
        kept.ingest(*(observation(n, session_id=f"s{n}") for n in range(5)), observation(8, input_tokens=-1), "5")
        kept.call("observe_usage_limits", kept.user_id, limits(10, 20)["p_limits"])
    assert all(keeper.rows(table.removeprefix("token_usage_")) for table in tables_of_users(keeper.db))
    before = {
        table: other.rows(table) for table in ("events", "event_versions", "rejects", "prices", "limits", "sessions")
    }
    receipts = []
    while not receipts or receipts[-1]["more"]:
        receipts += keeper.table("forget_token_usage", keeper.user_id, None, 2)
    erased = ("events", "versions", "rejects", "sessions", "days")
    assert [sum(receipt[name] for receipt in receipts) for name in erased] == [6, 5, 2, 5, 1]
    left = {table for table in tables_of_users(keeper.db) if keeper.rows(table.removeprefix("token_usage_"))}
    assert left == {"token_usage_accounts"}
    assert {table: other.rows(table) for table in before} == before
    assert other.bad_rows() == {}
