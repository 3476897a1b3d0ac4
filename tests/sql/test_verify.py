"""verify_token_usage finds whatever damage is done to the books, and names the rule that it breaks."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from tests.sql.keeper import Keeper, observation, other_price

ROLLUPS = {
    "sessions": "sessions_equal_their_events",
    "daily": "days_equal_their_events",
    "by_day": "by_day_equals_its_events",
    "by_session_day": "by_session_day_equals_its_events",
}
# when a row was written says nothing about what it must hold
NOT_CHECKED = {"user_id", "last_updated_at", "updated_at"}
EVENT = "public.token_usage_events"

# what is done to the books, and how many rows each rule then finds broken
DAMAGE = [
    (
        f"update {EVENT} set usage_date = usage_date + 1 where event_key = 'test:2'",
        # as many rows of a day as are too few, and as are too many
        {"usage_dates_are_days_of_the_zone": 1, "days_equal_their_events": 2, "by_day_equals_its_events": 2,
         "by_session_day_equals_its_events": 2},
    ),
    (
        "update public.token_usage_accounts set time_zone = 'Asia/Tokyo' where user_id = %(user_id)s",
        {"usage_dates_are_days_of_the_zone": 1},
    ),
    (f"update {EVENT} set cost_usd = cost_usd + 0.000000000001 where event_key = 'test:1'", {"costs_equal_their_price": 1}),
    (f"update {EVENT} set cost_basis = 'custom' where event_key = 'test:1'", {"costs_equal_their_price": 1}),
    (f"update {EVENT} set price_id = -1 where event_key = 'test:1'", {"costs_equal_their_price": 1}),
    (
        f"update {EVENT} set cost_basis = 'custom', price_id = (select max(price_id) from public.token_usage_prices "
        "where user_id is not null and user_id <> %(user_id)s) where event_key = 'test:1'",
        {"costs_equal_their_price": 1},
    ),
    (f"update {EVENT} set reported_cost_usd = 1 where event_key = 'test:4'", {"costs_equal_their_price": 1}),
    (
        "delete from public.token_usage_accounts where user_id = %(user_id)s",
        {"events_have_an_account": 4},
    ),
    (
        "update public.token_usage_event_versions set event_key = 'nobody' where user_id = %(user_id)s",
        {"versions_have_an_event": 1},
    ),
    (
        f"delete from {EVENT} where event_key = 'test:1'",
        {"versions_have_an_event": 1, "sessions_equal_their_events": 2, "days_equal_their_events": 2,
         "by_day_equals_its_events": 2, "by_session_day_equals_its_events": 2},
    ),
]  # fmt: skip


@pytest.fixture
def damaged(keeper: Keeper) -> Keeper:
    """Books with all that there is to check; whatever is done to them is undone before they are looked at last."""
    another = Keeper(keeper.db)
    another.add_prices([other_price("3")], own=True)
    keeper.ingest(observation(1, output_tokens=1))
    keeper.ingest(
        observation(1),
        observation(2, occurred_at="2026-03-12T18:00:00Z", session_id="s2", model="model-b"),
        observation(3, model="nobody-knows", project="q"),
        observation(4, model="nobody-knows", reported_cost_usd="0.5"),
    )
    return keeper


def bad_rows_after(keeper: Keeper, statement: str) -> dict[str, int]:
    with keeper.undone():
        changed = keeper.db.execute(statement.encode(), {"user_id": keeper.user_id}).rowcount
        assert changed > 0, statement
        return keeper.bad_rows()


def test_books_that_are_right_are_found_right(damaged: Keeper) -> None:
    assert damaged.bad_rows() == {}
    assert len(damaged.versions()) == 1


def test_every_rule_is_broken_once_below(damaged: Keeper) -> None:
    rules = {row["check_name"] for row in damaged.table("verify_token_usage", damaged.user_id)}
    assert rules == set(ROLLUPS.values()) | {rule for _, broken in DAMAGE for rule in broken}


@pytest.mark.parametrize(("statement", "broken"), DAMAGE, ids=[", ".join(broken) for _, broken in DAMAGE])
def test_damage_is_found_by_the_rule_that_it_breaks(damaged: Keeper, statement: str, broken: dict[str, int]) -> None:
    assert bad_rows_after(damaged, statement) == broken


@pytest.mark.parametrize(("table", "rule"), ROLLUPS.items())
def test_every_column_of_a_total_is_checked(damaged: Keeper, table: str, rule: str) -> None:
    ways: dict[type, Callable[[str], str]] = {
        int: lambda name: f"{name} + 1",
        str: lambda name: f"{name} || 'x'",
    }
    row = damaged.rows(table)[0]
    checked = 0
    for name, value in row.items():
        if name not in NOT_CHECKED:
            change = ways.get(type(value), other_way)(name)
            statement = f"update public.token_usage_{table} set {name} = {change} where ctid = (select min(ctid) from"
            statement += f" public.token_usage_{table} where user_id = %(user_id)s)"
            assert bad_rows_after(damaged, statement) == {rule: 2}, name
            checked += 1
    assert checked > 10


def other_way(name: str) -> str:
    """Something else for a time, a date or an amount of money."""
    if re.search("cost_usd$", name):
        return f"{name} + 0.000000000001"
    return f"{name} + interval '1 microsecond'" if name.endswith("_at") else f"{name} + 100"


@pytest.mark.parametrize(("table", "rule"), ROLLUPS.items())
def test_a_total_too_few_and_one_too_many_are_found(damaged: Keeper, table: str, rule: str) -> None:
    one = f"ctid = (select min(ctid) from public.token_usage_{table} where user_id = %(user_id)s)"
    assert bad_rows_after(damaged, f"delete from public.token_usage_{table} where {one}") == {rule: 1}
    key = "session_id" if table == "sessions" else "usage_date"
    ghost = "jsonb_populate_record(t, jsonb_build_object(%(key)s, %(value)s))".replace("%(key)s", f"'{key}'").replace(
        "%(value)s", "'2020-01-01'"
    )
    statement = f"insert into public.token_usage_{table} select g.* from public.token_usage_{table} as t"
    statement += f" cross join lateral {ghost} as g where t.{one}"
    assert bad_rows_after(damaged, statement) == {rule: 1}
