"""verify_token_usage finds whatever damage is done to the books, and names the rule that it breaks."""

from __future__ import annotations

import json
from datetime import datetime
from decimal import Decimal

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

ONE = "ctid = (select min(t.ctid) from public.token_usage_{table} as t where t.user_id = %(user_id)s)"

# What is done to the books, and how many rows each rule then finds broken: where a total is wrong, the row that stands
# and the row that should.
ALL_TOTALS = dict.fromkeys(ROLLUPS.values(), 2)
DAMAGE = [
    (
        f"update {EVENT} set usage_date = usage_date + 1 where event_key = 'test:2'",
        {
            "usage_dates_are_days_of_the_zone": 1,
            "days_equal_their_events": 3,
            "by_day_equals_its_events": 2,
            "by_session_day_equals_its_events": 2,
        },
    ),
    (
        "update public.token_usage_accounts set time_zone = 'Asia/Tokyo' where user_id = %(user_id)s",
        {"usage_dates_are_days_of_the_zone": 1},
    ),
    (
        f"update {EVENT} set cost_usd = cost_usd + 0.000000000001 where event_key = 'test:1'",
        {"costs_equal_their_price": 1, **ALL_TOTALS},
    ),
    (f"update {EVENT} set cost_basis = 'custom' where event_key = 'test:1'", {"costs_equal_their_price": 1}),
    (f"update {EVENT} set price_id = -1 where event_key = 'test:1'", {"costs_equal_their_price": 1}),
    (
        # the same figures, and another user's
        f"update {EVENT} set cost_basis = 'custom', price_id = (select max(price_id) from public.token_usage_prices "
        "where user_id is not null and user_id <> %(user_id)s) where event_key = 'test:1'",
        {"costs_equal_their_price": 1},
    ),
    (f"update {EVENT} set reported_cost_usd = 1 where event_key = 'test:4'", {"costs_equal_their_price": 1}),
    ("delete from public.token_usage_accounts where user_id = %(user_id)s", {"events_have_an_account": 4}),
    (
        "update public.token_usage_event_versions set event_key = 'nobody' where user_id = %(user_id)s",
        {"versions_have_an_event": 1},
    ),
    (
        f"delete from {EVENT} where event_key = 'test:1'",
        {
            "versions_have_an_event": 1,
            "sessions_equal_their_events": 2,
            "days_equal_their_events": 2,
            # no other event has its labels
            "by_day_equals_its_events": 1,
            "by_session_day_equals_its_events": 1,
        },
    ),
]


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


def bad_rows_after(keeper: Keeper, statement: str, **arguments: str) -> dict[str, int]:
    with keeper.undone():
        changed = keeper.db.execute(statement.encode(), {"user_id": keeper.user_id, **arguments}).rowcount
        assert changed == 1, statement
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
    columns = {name: value for name, value in damaged.rows(table)[0].items() if name not in NOT_CHECKED}
    assert len(columns) > 10
    for name, value in columns.items():
        statement = f"update public.token_usage_{table} set {name} = {other(name, value)} where "
        assert bad_rows_after(damaged, statement + ONE.format(table=table)) == {rule: 2}, name


def other(name: str, value: object) -> str:
    """What makes a column say something else."""
    if isinstance(value, str):
        return f"{name} || 'x'"
    if isinstance(value, datetime):
        return f"{name} + interval '1 microsecond'"
    return f"{name} + 0.000000000001" if isinstance(value, Decimal) else f"{name} + 100"


@pytest.mark.parametrize(("table", "rule"), ROLLUPS.items())
def test_a_total_that_is_missing_and_one_that_is_no_sum_are_found(damaged: Keeper, table: str, rule: str) -> None:
    one = ONE.format(table=table)
    assert bad_rows_after(damaged, f"delete from public.token_usage_{table} where {one}") == {rule: 1}
    ghost = (
        f"insert into public.token_usage_{table} select g.* from public.token_usage_{table} as s "
        f"cross join lateral jsonb_populate_record(s, %(key)s::jsonb) as g where s.{one}"
    )
    key = {"session_id" if table == "sessions" else "usage_date": "2020-01-01"}
    assert bad_rows_after(damaged, ghost, key=json.dumps(key)) == {rule: 1}
