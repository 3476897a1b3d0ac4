"""Limits of plans: how tellings of them merge, which are rejected, and which are current."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tallystick.model import UsageLimitRow
from tests.sql.keeper import Keeper, Row
from tests.sql.two_users import act_as

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
SECOND = timedelta(seconds=1)


def limit(used_percent: Any = 12, **members: Any) -> Row:
    """What Claude Code was told an hour ago of a window that lasts two hours from now."""
    return {
        "source": "claude-code",
        "limit_name": "five_hour",
        "used_percent": used_percent,
        "window_minutes": 300,
        "resets_at": (NOW + 2 * HOUR).isoformat(),
        "observed_at": (NOW - HOUR).isoformat(),
        "device": "desk",
        **members,
    }


def at(moment: datetime, used_percent: Any = 12, **members: Any) -> Row:
    return limit(used_percent, observed_at=moment.isoformat(), **members)


def observe(keeper: Keeper, *limits: Any) -> Row:
    keeper.set_now(NOW.isoformat())
    answer: Row = keeper.call("observe_usage_limits", keeper.user_id, json.dumps(limits))
    return answer


def receipt(received: int, *, new: int = 0, rejects: Iterable[tuple[str, str]] = ()) -> Row:
    told = [
        {"record_index": 0, "event_key": position.partition(":")[2], "position": position, "reason": reason}
        for position, reason in rejects
    ]
    counts = {"received": received, "new": new, "duplicate": received - new - len(told), "rejected": len(told)}
    return {**counts, "rejects": told}


def current(keeper: Keeper, now: datetime = NOW) -> list[UsageLimitRow]:
    keeper.set_now(now.isoformat())
    return [UsageLimitRow(**row) for row in keeper.table("usage_limits", keeper.user_id)]


def stored(keeper: Keeper) -> list[Row]:
    """The rows as JSON, because Python has no time that is infinity."""
    rows = keeper.db.execute(
        "select to_jsonb(l) - 'user_id' from public.token_usage_limits as l where l.user_id = %s "
        "order by l.source, l.limit_name, l.resets_at, l.whole_percent",
        [keeper.user_id],
    )
    return [row for (row,) in rows]


# -- what is current


def test_the_latest_telling_of_each_limit_is_answered_until_its_window_ends(keeper: Keeper) -> None:
    week = limit(41.25, limit_name="seven_day", window_minutes=10080, resets_at=(NOW + 50 * HOUR).isoformat())
    limits = [at(NOW - HOUR, 12), at(NOW - 30 * SECOND, "13.5"), at(NOW - 2 * HOUR, 11), week]
    assert observe(keeper, *limits, limit(7, source="codex")) == receipt(5, new=5)
    ends, week_ends = NOW + 2 * HOUR, NOW + 50 * HOUR
    five_hour = UsageLimitRow("claude-code", "five_hour", Decimal("13.5"), 300, ends, NOW - 30 * SECOND)
    seven_day = UsageLimitRow("claude-code", "seven_day", Decimal("41.25"), 10080, week_ends, NOW - HOUR)
    codex = UsageLimitRow("codex", "five_hour", Decimal(7), 300, ends, NOW - HOUR)
    assert current(keeper) == [five_hour, seven_day, codex]
    assert current(keeper, ends - SECOND) == [five_hour, seven_day, codex]
    assert current(keeper, ends) == [seven_day]
    assert current(keeper, week_ends) == []


def test_a_window_that_has_ended_hides_none_that_runs(keeper: Keeper) -> None:
    # a session that was left open tells what it was told last, hours later
    ended = at(NOW - SECOND, 90, resets_at=(NOW - HOUR).isoformat())
    assert observe(keeper, at(NOW - HOUR, 3), ended)["new"] == 2
    assert [(row.used_percent, row.observed_at) for row in current(keeper)] == [(3, NOW - HOUR)]


@pytest.mark.parametrize(("window_minutes", "holds_for"), [(None, 5 * HOUR), (60, HOUR), (10080, 168 * HOUR)])
def test_a_window_whose_end_is_unknown_holds_for_its_length_from_the_last_telling(
    keeper: Keeper, window_minutes: int | None, holds_for: timedelta
) -> None:
    observe(keeper, limit(resets_at=None, window_minutes=window_minutes))
    told_at = NOW - HOUR
    expected = [UsageLimitRow("claude-code", "five_hour", Decimal(12), window_minutes, None, told_at)]
    assert current(keeper, told_at + holds_for - SECOND) == expected
    assert current(keeper, told_at + holds_for) == []
    assert observe(keeper, at(NOW, resets_at="", window_minutes=window_minutes)) == receipt(1)
    assert current(keeper, told_at + holds_for) == [expected[0]._replace(observed_at=NOW)]


# -- how tellings merge


def test_ends_that_differ_by_seconds_are_of_one_window(keeper: Keeper) -> None:
    ends = [(NOW + 2 * HOUR + seconds * SECOND).isoformat() for seconds in (-29, -1, 0, 1, 29)]
    assert observe(keeper, *(limit(resets_at=end) for end in ends)) == receipt(5, new=1)
    assert observe(keeper, limit(resets_at=(NOW + 2 * HOUR + 31 * SECOND).isoformat())) == receipt(1, new=1)
    assert [row.resets_at for row in current(keeper)] == [NOW + 2 * HOUR + 60 * SECOND]


def test_a_window_costs_a_hundred_rows_however_often_it_is_told(keeper: Keeper) -> None:
    for start in range(0, 5000, 1000):
        tellings = [at(NOW - HOUR + number * SECOND / 10, number / 50) for number in range(start, start + 1000)]
        observe(keeper, *tellings)
    assert len(stored(keeper)) == 100
    (row,) = current(keeper)
    assert (row.used_percent, row.observed_at) == (Decimal("99.98"), NOW - HOUR + 4999 * SECOND / 10)


TELLINGS = st.lists(
    st.builds(
        lambda minutes, end, percent, window, device: at(
            NOW - HOUR + timedelta(minutes=minutes),
            percent,
            resets_at=None if end is None else (NOW + end * HOUR).isoformat(),
            window_minutes=window,
            device=device,
        ),
        st.integers(0, 4),
        st.sampled_from([None, 1, 2]),
        st.sampled_from([11, 11.2, "11.9", 12]),
        st.sampled_from([None, 300]),
        st.sampled_from(["desk", "Desk", ""]),
    ),
    max_size=12,
)


def expected_rows(tellings: Iterable[Row]) -> list[Row]:
    """What tellings come to, worked out without the ledger."""
    groups: dict[tuple[str, int], list[Row]] = {}
    for telling in tellings:
        groups.setdefault((telling["resets_at"] or "infinity", int(float(telling["used_percent"]))), []).append(telling)
    rows = []
    for (resets_at, whole_percent), told in sorted(groups.items()):
        latest = max(
            told,
            key=lambda one: (
                one["observed_at"],
                Decimal(str(one["used_percent"])),
                one["window_minutes"] or 0,
                one["device"],
            ),
        )
        rows.append(
            {
                "source": "claude-code",
                "limit_name": "five_hour",
                "resets_at": resets_at,
                "whole_percent": whole_percent,
                "used_percent": float(latest["used_percent"]),
                "window_minutes": latest["window_minutes"] or 0,
                "device": latest["device"],
                "first_observed_at": min(one["observed_at"] for one in told),
                "last_observed_at": latest["observed_at"],
            }
        )
    return rows


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tellings=TELLINGS, data=st.data())
def test_any_order_repetition_and_batching_gives_the_same_rows(
    keeper: Keeper, tellings: list[Row], data: st.DataObject
) -> None:
    with keeper.undone():
        again = data.draw(st.permutations(tellings + tellings[::2]))
        cut = data.draw(st.integers(0, len(again)))
        receipts = [observe(keeper, *again[:cut]), observe(keeper, *again[cut:])]
        assert stored(keeper) == expected_rows(tellings)
        assert sum(told["new"] for told in receipts) == len(expected_rows(tellings))
        assert observe(keeper, *tellings) == receipt(len(tellings))


def test_what_is_told_again_writes_nothing(keeper: Keeper) -> None:
    observe(keeper, limit(), limit(40))
    places = "select ctid::text from public.token_usage_limits where user_id = %s order by 1"
    before = keeper.db.execute(places, [keeper.user_id]).fetchall()
    observe(keeper, limit(), limit(40), limit(40))
    assert keeper.db.execute(places, [keeper.user_id]).fetchall() == before


# -- what is no good


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        *(
            ({"used_percent": value}, "not_a_percent")
            for value in (None, "", "much", "1e2", "NaN", "-1", -0.01, 1000.01, 1e300, True, [], {"a": 1})
        ),
        *(({"window_minutes": value}, "not_a_window") for value in (0.5, -1, 1000001, "300", True, [])),
        ({"source": ""}, "missing_source"),
        ({"source": None}, "missing_source"),
        ({"limit_name": ""}, "missing_limit_name"),
        ({"observed_at": ""}, "missing_time"),
        ({"observed_at": "2026-11-23T11:00:00"}, "time_without_offset"),
        ({"observed_at": "now"}, "not_a_time"),
        ({"observed_at": "2026-11-32T11:00:00Z"}, "not_a_time"),
        ({"resets_at": "2026-11-23T14:00:00"}, "time_without_offset"),
        ({"resets_at": 1795380000}, "not_a_time"),
        ({"resets_at": "2026-13-23T14:00:00Z"}, "not_a_time"),
        ({"observed_at": "2022-12-31T23:59:59Z"}, "implausible_time"),
        ({"observed_at": (NOW + 24 * HOUR + SECOND).isoformat()}, "implausible_time"),
        ({"resets_at": "2022-12-31T23:59:00Z"}, "implausible_time"),
        ({"resets_at": (NOW + 400 * 24 * HOUR).isoformat()}, "implausible_time"),
        ({"limit_name": "x" * 201}, "label_too_long"),
        ({"device": "x" * 201}, "label_too_long"),
        ({"source": "x" * 201}, "label_too_long"),
    ],
)
def test_a_telling_that_is_no_good_is_rejected_alone_and_kept_once(keeper: Keeper, members: Row, reason: str) -> None:
    bad = {**limit(), **members}
    for new in (2, 0):
        told = observe(keeper, limit(1), bad, limit(2))
        assert (told["received"], told["new"], told["duplicate"], told["rejected"]) == (3, new, 2 - new, 1)
        assert [reject["reason"] for reject in told["rejects"]] == [reason]
    (kept,) = keeper.rows("rejects")
    assert (kept["reason"], kept["position"]) == (reason, told["rejects"][0]["position"])
    assert [row["whole_percent"] for row in stored(keeper)] == [1, 2]


def test_a_reject_is_told_by_its_source_and_limit(keeper: Keeper) -> None:
    assert observe(keeper, limit(-1, source="codex")) == receipt(1, rejects=[("codex:five_hour", "not_a_percent")])
    assert observe(keeper, 5, limit())["rejects"][0]["reason"] == "not_an_object"


@pytest.mark.parametrize("limits", ["{}", "5", "null", '"[]"', None])
def test_what_is_no_list_is_refused(keeper: Keeper, limits: str | None) -> None:
    with pytest.raises(psycopg.Error) as refusal, keeper.undone():
        keeper.call("observe_usage_limits", keeper.user_id, limits)
    assert (refusal.value.sqlstate, refusal.value.diag.constraint_name) == ("PT400", "limits_are_a_list")


def test_more_than_a_thousand_at_once_are_refused(keeper: Keeper) -> None:
    assert observe(keeper, *[limit()] * 1000) == receipt(1000, new=1)
    with pytest.raises(psycopg.Error) as refusal, keeper.undone():
        observe(keeper, *[limit()] * 1001)
    assert (refusal.value.sqlstate, refusal.value.diag.constraint_name) == ("PT413", "limits_are_at_most_1000")


# -- whose, and beside what


def test_limits_are_no_part_of_the_books(keeper: Keeper) -> None:
    before = keeper.digest()
    observe(keeper, limit())
    assert keeper.digest() == before
    assert keeper.days() == {}


def test_a_user_sees_the_own_limits_and_no_others(keeper: Keeper) -> None:
    other = Keeper(keeper.db)
    observe(keeper, limit(1))
    observe(other, at(NOW, 2))
    act_as(keeper.db, "authenticated", keeper.user_id)
    assert [row["used_percent"] for row in keeper.table("usage_limits")] == [1]
    for call in (lambda: current(other), lambda: observe(other, limit())):
        with pytest.raises(psycopg.Error) as refusal, keeper.undone():
            call()
        assert (refusal.value.sqlstate, refusal.value.diag.constraint_name) == ("PT403", "caller_is_the_user")
    act_as(keeper.db, "none")
