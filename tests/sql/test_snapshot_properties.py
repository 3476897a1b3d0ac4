"""Snapshots of any sessions in any portions give the totals last sent, day by day; and no two callers lock up."""

from __future__ import annotations

import json
import threading
import uuid
from collections import Counter, defaultdict
from decimal import Decimal
from typing import Any, NamedTuple

import psycopg
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.sql.books import price_rows
from tests.sql.keeper import Keeper, Row
from tests.sql.snapshots import COUNTERS, cost_of, counts_of, day_counts, receipt, send_as_is, session_counts, snapshot
from tests.sql.waiting import wait_for


class Step(NamedTuple):
    """What a session did between two snapshots, on what day and with which model."""

    session_id: str
    day: str
    model: str
    counts: tuple[int, ...]
    cost_usd: Decimal
    is_sent: bool


few = st.sampled_from([0, 0, 1, 7, 5000])
steps = st.builds(
    Step,
    session_id=st.sampled_from(["s1", "s2", "s1:2026-03-12"]),
    day=st.sampled_from(["2026-03-11", "2026-03-12", "2026-03-13"]),
    model=st.sampled_from(["model-b", "nobody-knows"]),
    # one in three outputs is thinking
    counts=st.tuples(few, few, few, few, few).map(lambda c: (c[0], 3 * c[1], c[2], c[3], c[1], c[4])),
    cost_usd=st.sampled_from([Decimal(0), Decimal("0.1"), Decimal("0.000000025")]),
    is_sent=st.sampled_from([True, True, True, False]),
)


class Truth:
    """What sessions used, added up by whoever used it, and the snapshots that tell of it."""

    def __init__(self, user_id: str, taken: list[Step]) -> None:
        self.totals: dict[str, Row] = {}
        self.by_day: dict[str, Counter[str]] = defaultdict(Counter)
        self.cost_usd = Decimal(0)
        self.snapshots: list[tuple[Row, Row]] = []
        unsent: dict[str, tuple[Counter[str], Decimal]] = {}
        for step in taken:
            used = Counter(dict(zip(COUNTERS, step.counts, strict=True)))
            before, cost_before = unsent.pop(step.session_id, (Counter(), Decimal(0)))
            used, cost_usd = used + before, step.cost_usd + cost_before
            if not step.is_sent:
                unsent[step.session_id] = used, cost_usd
                continue
            totals = self.totals.setdefault(step.session_id, dict.fromkeys((*COUNTERS, "cost_usd"), 0))
            for name in COUNTERS:
                totals[name] += used[name]
                self.by_day[step.day][name] += used[name]
            is_priced = step.model == "model-b"
            if not used and not is_priced:
                # an estimate without any use is for the next part
                unsent[step.session_id] = Counter(), cost_usd
            elif used:
                totals["cost_usd"] += cost_usd
                self.cost_usd += cost_of({name: used[name] for name in COUNTERS}) if is_priced else cost_usd
            counts = {name: totals[name] for name in COUNTERS}
            self.snapshots.append(
                (
                    {
                        **counts,
                        "user_id": user_id,
                        "session_id": step.session_id,
                        "session_started_at": "2026-03-11T12:00:00Z",
                        "model_used": step.model,
                        "estimated_cost_usd": str(totals["cost_usd"]),
                    },
                    {"user_id": user_id, "usage_date": step.day},
                )
            )


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(taken=st.lists(steps, min_size=1, max_size=12), data=st.data())
def test_any_portions_repeated_at_will_give_the_totals_of_each_session_and_day(
    keeper: Keeper, taken: list[Step], data: st.DataObject
) -> None:
    with keeper.undone():
        books = Keeper(keeper.db)
        books.add_prices({**row, "provider": ""} for row in price_rows())
        truth = Truth(books.user_id, taken)
        for number, (session, daily) in enumerate(truth.snapshots):
            answer = send_as_is(books, session, daily)
            assert answer["new"] + answer["revised"] + answer["duplicate"] == 1
            before = books.digest()
            for again in data.draw(st.lists(st.integers(0, number), max_size=2)):
                earlier, day = truth.snapshots[again]
                answer = send_as_is(books, earlier, data.draw(st.sampled_from([day, None, daily])))
                assert answer["duplicate"] + answer["rejected"] == 1
            assert books.digest() == before
        for session_id, totals in truth.totals.items():
            if any(counts_of(totals).values()):
                assert session_counts(books, session_id) == counts_of(totals)
        used = {day: dict(counts) for day, counts in truth.by_day.items() if any(counts.values())}
        assert {str(day): day_counts(books, day) for day in books.days()} == used
        assert sum(row["estimated_cost_usd"] for row in books.rows("sessions")) == truth.cost_usd
        assert sum(row["daily_cost_usd"] for row in books.days().values()) == truth.cost_usd
        assert books.bad_rows() == {}


def test_two_callers_with_the_same_users_in_other_orders_take_turns(ledger_url: str) -> None:
    """The first holds one user and waits for the next; the second asks for the last user first."""
    low, middle, high = sorted(str(uuid.uuid4()) for _ in range(3))
    waits = "select count(*) = %s from pg_stat_activity where pid = any (%s) and wait_event_type = 'Lock'"
    answers: list[Any] = []

    def send_for(connection: psycopg.Connection[Any], *users: str) -> None:
        session_data = json.dumps([{**snapshot(), "user_id": user_id} for user_id in users])
        row = connection.execute("select public.upsert_token_usage(%s, null)", [session_data]).fetchone()
        answers.append(row and row[0])

    with (
        psycopg.connect(ledger_url) as holder,
        psycopg.connect(ledger_url, autocommit=True) as first,
        psycopg.connect(ledger_url, autocommit=True) as second,
        psycopg.connect(ledger_url, autocommit=True) as observer,
    ):
        for user_id in (low, middle, high):
            observer.execute("select public.make_account(%s, 'UTC')", [user_id])
        holder.execute("select from public.token_usage_accounts where user_id = %s for update", [middle])
        threads = [
            threading.Thread(target=send_for, args=(first, low, middle, high)),
            threading.Thread(target=send_for, args=(second, high, low)),
        ]
        pids = [first.info.backend_pid, second.info.backend_pid]
        for count, thread in enumerate(threads, 1):
            thread.start()
            wait_for(observer, waits, [count, pids])
        holder.rollback()
        for thread in threads:
            thread.join(timeout=60)
        assert sorted(answers, key=str) == sorted([receipt(3, new=3, unpriced=0), receipt(2)], key=str)
        for user_id in (low, middle, high):
            assert observer.execute(
                "select sum(bad_rows) from public.verify_token_usage(%s)", [user_id]
            ).fetchone() == (0,)
