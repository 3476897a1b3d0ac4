"""Adding prices: what is taken, what is refused and why, and by whom."""

from __future__ import annotations

import json
import uuid
from typing import Any

import psycopg
import pytest

from tallystick.prices import price_rows

Db = psycopg.Connection[Any]

ALICE, BOB = uuid.UUID(int=1), uuid.UUID(int=2)
PRICE = {
    "provider": "anthropic",
    "model": "m",
    "valid_from": "2026-01-01",
    "input_usd_per_mtok": "3",
    "output_usd_per_mtok": "15",
}
LONG_PRICE = PRICE | {
    "long_context_threshold_tokens": 200000,
    "long_input_usd_per_mtok": "6",
    "long_output_usd_per_mtok": "22.5",
}


def add(db: Db, prices: object, user_id: uuid.UUID | None = ALICE) -> dict[str, int]:
    row = db.execute("select public.add_token_prices(%s::jsonb, %s)", [json.dumps(prices), user_id]).fetchone()
    assert row is not None
    receipt: dict[str, int] = row[0]
    return receipt


def act_as(db: Db, role: str, user_id: uuid.UUID | None = None) -> None:
    db.execute("select set_config('request.jwt.claims', %s, true)", [json.dumps({"sub": str(user_id or "")})])
    db.execute(f"set local role {role}")


def stored(db: Db, columns: str) -> list[tuple[Any, ...]]:
    return db.execute(f"select {columns} from public.token_usage_prices where model = 'm' order by price_id").fetchall()


def test_the_complete_list_is_in_the_ledger_and_adding_it_again_adds_nothing(db: Db) -> None:
    rows = price_rows()
    assert add(db, rows, None) == {"received": len(rows), "added": 0, "unchanged": len(rows)}


def test_adding_a_price_twice_adds_it_once(db: Db) -> None:
    assert add(db, [PRICE, PRICE]) == {"received": 2, "added": 1, "unchanged": 1}
    assert add(db, [PRICE]) == {"received": 1, "added": 0, "unchanged": 1}


def test_the_same_figures_in_other_words_are_the_same_price(db: Db) -> None:
    add(db, [PRICE])
    same = PRICE | {
        "provider": " Anthropic",
        "model": "M[1m]",
        "valid_from": "2026-01-01T01:00:00+01:00",
        "input_usd_per_mtok": 3.00,
        "cache_read_usd_per_mtok": "3.0",
        "us_multiplier": 1,
        "origin": "another list",
    }
    assert add(db, [same]) == {"received": 1, "added": 0, "unchanged": 1}


@pytest.mark.parametrize(
    "change",
    [
        {"input_usd_per_mtok": "3.000000000001"},
        {"cache_creation_1h_usd_per_mtok": "6"},
        {"valid_from": "2026-01-02"},
        {"batch_multiplier": "1"},
        {"web_search_usd": "0.01"},
        {"long_context_threshold_tokens": 1, "long_input_usd_per_mtok": "3", "long_output_usd_per_mtok": "15"},
    ],
)
def test_any_other_figure_makes_another_price(db: Db, change: dict[str, Any]) -> None:
    add(db, [PRICE])
    assert add(db, [PRICE | change])["added"] == 1


def test_going_back_to_an_earlier_price_is_a_change_and_recorded(db: Db) -> None:
    dearer = PRICE | {"input_usd_per_mtok": "4"}
    assert [add(db, [price])["added"] for price in (PRICE, dearer, PRICE)] == [1, 1, 1]
    assert [rate for (rate,) in stored(db, "input_usd_per_mtok")] == [3, 4, 3]


def test_of_two_prices_with_one_date_in_a_list_the_last_is_added_and_only_once(db: Db) -> None:
    prices = [PRICE, PRICE | {"input_usd_per_mtok": "4"}]
    assert [add(db, prices)["added"] for _ in range(2)] == [1, 0]
    assert [rate for (rate,) in stored(db, "input_usd_per_mtok")] == [4]


def test_prices_of_two_owners_do_not_stand_for_each_other(db: Db) -> None:
    assert [add(db, [PRICE], owner)["added"] for owner in (ALICE, BOB, None)] == [1, 1, 1]


def test_a_cache_rate_left_out_is_the_next_more_general_one(db: Db) -> None:
    write_rates = {"cache_creation_5m_usd_per_mtok": "3.750", "long_cache_creation_5m_usd_per_mtok": "7.5"}
    add(db, [LONG_PRICE, LONG_PRICE | write_rates | {"valid_from": "2026-02-01"}])
    rates = "cache_read_usd_per_mtok, cache_creation_5m_usd_per_mtok, cache_creation_1h_usd_per_mtok"
    long_rates = ", ".join(f"long_{rate}" for rate in rates.split(", "))
    assert [[str(rate) for rate in row] for row in stored(db, f"{rates}, {long_rates}")] == [
        ["3", "3", "3", "6", "6", "6"],
        ["3", "3.75", "3.75", "6", "7.5", "7.5"],
    ]


def test_a_context_that_is_not_given_is_unknown(db: Db) -> None:
    add(db, [PRICE])
    multipliers = "batch_multiplier, flex_multiplier, priority_multiplier, fast_multiplier, us_multiplier"
    assert stored(db, multipliers) == [(None, None, None, None, 1)]


@pytest.mark.parametrize(
    ("prices", "rule"),
    [
        ({}, "prices_are_a_list"),
        (None, "prices_are_a_list"),
        ([5], "prices_are_objects"),
        ([None], "prices_are_objects"),
        ([PRICE | {"inputs": 1}], "prices_have_known_members"),
        ([PRICE | {"user_id": str(BOB)}], "prices_have_known_members"),
        ([PRICE | {"model": " "}], "prices_name_a_model"),
        ([PRICE | {"provider": None}], "prices_name_a_model"),
        ([PRICE | {"model": "m" * 201}], "prices_name_a_model"),
        ([PRICE | {"origin": "o" * 201}], "prices_name_a_model"),
        ([{name: value for name, value in PRICE.items() if name != "output_usd_per_mtok"}], "prices_have_rates"),
        ([PRICE | {"input_usd_per_mtok": -1}], "prices_numbers_are_plain"),
        ([PRICE | {"input_usd_per_mtok": "NaN"}], "prices_numbers_are_plain"),
        ([PRICE | {"input_usd_per_mtok": "1e3"}], "prices_numbers_are_plain"),
        ([PRICE | {"input_usd_per_mtok": True}], "prices_numbers_are_plain"),
        ([PRICE | {"input_usd_per_mtok": 10000000}], "prices_numbers_are_plain"),
        ([PRICE | {"input_usd_per_mtok": "0.000000000000000000001"}], "prices_numbers_are_plain"),
        ([PRICE | {"valid_from": "now"}], "prices_valid_from_is_a_time"),
        ([PRICE | {"valid_from": "2026-02-30"}], "prices_valid_from_is_a_time"),
        ([PRICE | {"valid_from": "2026-01-01T00:00:00"}], "prices_valid_from_is_a_time"),
        ([PRICE | {"valid_from": None}], "prices_valid_from_is_a_time"),
        ([PRICE | {"fast_multiplier": 0}], "prices_multipliers_are_positive"),
        ([LONG_PRICE | {"long_context_threshold_tokens": 0}], "prices_threshold_is_a_count"),
        ([LONG_PRICE | {"long_context_threshold_tokens": 1.5}], "prices_threshold_is_a_count"),
        ([LONG_PRICE | {"long_context_threshold_tokens": None}], "prices_have_all_long_rates_or_none"),
        ([LONG_PRICE | {"long_output_usd_per_mtok": None}], "prices_have_all_long_rates_or_none"),
        ([LONG_PRICE | {"cache_read_usd_per_mtok": "0.3"}], "prices_have_all_long_rates_or_none"),
        ([LONG_PRICE | {"long_cache_read_usd_per_mtok": "0.6"}], "prices_have_all_long_rates_or_none"),
        ([PRICE] * 10_001, "prices_are_at_most_10000"),
    ],
)
def test_what_is_no_price_is_refused_by_name(db: Db, prices: object, rule: str) -> None:
    with pytest.raises(psycopg.Error) as refusal:
        add(db, prices)
    assert refusal.value.sqlstate in {"PT400", "PT413"}
    assert refusal.value.diag.constraint_name == rule
    assert refusal.value.diag.message_hint


def test_a_refusal_says_which_price_and_adds_none(db: Db) -> None:
    with pytest.raises(psycopg.Error, match="price 2: output_usd_per_mtok is not a plain number"), db.transaction():
        add(db, [PRICE, PRICE | {"output_usd_per_mtok": "dear"}])
    assert stored(db, "model") == []


def test_a_user_adds_own_prices_only(db: Db) -> None:
    act_as(db, "authenticated", ALICE)
    assert add(db, [PRICE])["added"] == 1
    for owner in (BOB, None):
        with pytest.raises(psycopg.Error) as refusal, db.transaction():
            add(db, [PRICE], owner)
        assert refusal.value.sqlstate == "PT403"


def test_the_service_role_adds_to_everybodys_list(db: Db) -> None:
    act_as(db, "service_role")
    assert add(db, [PRICE], None)["added"] == 1


def test_anon_adds_nothing_and_nobody_reaches_what_stands_behind_the_entry(db: Db) -> None:
    for role, statement in [
        ("anon", "select public.add_token_prices('[]')"),
        ("anon", "select public.add_token_prices('[]', null)"),
        ("authenticated", "select tallystick.append_prices(null, '{}')"),
        ("service_role", "select tallystick.append_prices(null, '{}')"),
        ("authenticated", "select tallystick.find_price(null, 'anthropic', 'claude-opus-4-8', now())"),
        ("service_role", "delete from public.token_usage_prices"),
    ]:
        act_as(db, role)
        with pytest.raises(psycopg.errors.InsufficientPrivilege), db.transaction():
            db.execute(statement)
