"""The promises as properties: the same observations, in any order, batching and concurrency, give the same books."""

from __future__ import annotations

import json
import random
import threading
import uuid
from collections import Counter
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.servers import connect, database_url
from tests.sql.books import Observation, price_rows, totals, true_events, usage_date

ZONE = "Europe/Berlin"

times = st.sampled_from(
    ["1970-01-01T00:00:00Z"]
    + [f"2026-03-12T{hour:02}:{minute:02}:00.000Z" for hour in (20, 21, 22, 23) for minute in (0, 30)]
    + ["2026-03-13T01:30:00+02:00"]
)
few = st.sampled_from([0, 0, 1, 8, 5000])
observations = st.fixed_dictionaries(
    {
        "event_key": st.sampled_from([f"test:{number}" for number in range(5)]),
        "occurred_at": times,
        "source": st.sampled_from(["one", "Two"]),
        "provider": st.just("test"),
        "model": st.sampled_from(["model-a", "model-b", "nobody-knows"]),
        "session_id": st.sampled_from(["s1", "S2", ""]),
        "project": st.sampled_from(["p", "Q", "ü"]),
        "device": st.sampled_from(["d1", "d2"]),
        "git_branch": st.sampled_from(["", "main"]),
        "agent_version": st.sampled_from(["1", "2"]),
        "is_sidechain": st.booleans(),
        "speed": st.sampled_from(["", "fast"]),
        "inference_geo": st.sampled_from(["", "us"]),
        "input_tokens": few,
        "cache_creation_5m_tokens": few,
        "cache_creation_1h_tokens": few,
        "cache_read_tokens": few,
        "output_tokens": st.sampled_from([1, 8, 8, 5000]),
        "thinking_tokens": st.sampled_from([0, 1]),
        "web_search_requests": st.sampled_from([0, 2]),
        "is_final": st.booleans(),
        "origin_rank": st.sampled_from([0, 1, 2]),
        "place_order": st.sampled_from(["a", "B", "b"]),
    }
)


@pytest.fixture(scope="module")
def books_url(server_url: str, admin_url: str, request: pytest.FixtureRequest) -> str:
    """A database of this module's own, with the tests' prices."""
    name = f"books_{request.node.name.removesuffix('.py')}".replace("/", "_") + uuid.uuid4().hex[:8]
    with connect(admin_url, autocommit=True) as connection:
        connection.execute(f"create database {name} template installed")
    url = database_url(server_url, name)
    with connect(url, autocommit=True) as connection:
        connection.execute("select public.add_token_prices(%s::jsonb)", [json.dumps(price_rows())])
    return url


def new_user(connection: psycopg.Connection[Any]) -> str:
    user_id = str(uuid.uuid4())
    connection.execute("select public.make_account(%s, %s)", [user_id, ZONE])
    return user_id


def ingest(connection: psycopg.Connection[Any], user_id: str, batch: list[Observation]) -> Counter[str]:
    row = connection.execute("select public.ingest_token_usage(%s, %s::json)", [user_id, json.dumps(batch)]).fetchone()
    assert row is not None
    return Counter(row[0])


def cut(rnd: random.Random, items: list[Observation]) -> list[list[Observation]]:
    """The items in some order, some of them again, in batches of some size."""
    deck = items + [rnd.choice(items) for _ in range(rnd.randrange(4))]
    rnd.shuffle(deck)
    batches = []
    while deck:
        size = rnd.randint(1, len(deck))
        batches.append(deck[:size])
        deck = deck[size:]
    return batches


def digest(connection: psycopg.Connection[Any], user_id: str) -> str:
    checks = connection.execute("select * from public.verify_token_usage(%s)", [user_id]).fetchall()
    assert [check for check in checks if check[1]] == []
    row = connection.execute("select public.ledger_digest(%s)", [user_id]).fetchone()
    assert row is not None
    return str(row[0])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seen=st.lists(observations, min_size=1, max_size=12), seed=st.integers(0, 2**32))
def test_any_order_repetition_and_batching_gives_the_same_books(
    books_url: str, seen: list[Observation], seed: int
) -> None:
    rnd = random.Random(seed)
    with connect(books_url, autocommit=True) as connection:
        digests = set()
        for _ in range(3):
            user_id = new_user(connection)
            receipt: Counter[str] = Counter()
            for batch in cut(rnd, seen):
                receipt += ingest(connection, user_id, batch)
            assert receipt["received"] == receipt["new"] + receipt["revised"] + receipt["duplicate"]
            assert receipt["new"] == len({observation["event_key"] for observation in seen})
            digests.add(digest(connection, user_id))
        assert len(digests) == 1
        assert_books_are_true(connection, user_id, seen)


def assert_books_are_true(connection: psycopg.Connection[Any], user_id: str, seen: list[Observation]) -> None:
    events = true_events(seen)
    stored = connection.execute(
        "select event_key, model, project, input_tokens, output_tokens, device from token_usage_events"
        " where user_id = %s",
        [user_id],
    ).fetchall()
    assert {row[0]: row[1:] for row in stored} == {
        key: (event["model"], event["project"], event["input_tokens"], event["output_tokens"], event["device"])
        for key, event in events.items()
    }
    days = connection.execute(
        "select usage_date, daily_event_count, daily_input_tokens, daily_output_tokens, daily_cache_creation_tokens,"
        " daily_cache_read_tokens, daily_thinking_tokens, daily_web_search_requests, daily_unpriced_event_count,"
        " daily_cost_usd, daily_session_count from token_usage_daily where user_id = %s",
        [user_id],
    ).fetchall()
    by_day: dict[Any, list[Observation]] = {}
    for event in events.values():
        by_day.setdefault(usage_date(event, ZONE), []).append(event)
    assert {row[0]: row[1:10] for row in days} == {day: totals(chosen) for day, chosen in by_day.items()}
    assert {row[0]: row[10] for row in days} == {
        day: len({(event["source"], event["session_id"]) for event in chosen}) for day, chosen in by_day.items()
    }


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seen=st.lists(observations, min_size=2, max_size=14), seed=st.integers(0, 2**32))
def test_two_concurrent_ingests_of_overlapping_batches_give_the_same_books(
    books_url: str, seen: list[Observation], seed: int
) -> None:
    rnd = random.Random(seed)
    with connect(books_url, autocommit=True) as first, connect(books_url, autocommit=True) as second:
        alone = new_user(first)
        ingest(first, alone, seen)
        together = new_user(first)
        receipts: list[Counter[str]] = []

        def send(connection: psycopg.Connection[Any], batches: list[list[Observation]]) -> None:
            receipts.extend(ingest(connection, together, batch) for batch in batches)

        threads = [threading.Thread(target=send, args=(connection, cut(rnd, seen))) for connection in (first, second)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sum(receipt["new"] for receipt in receipts) == len({o["event_key"] for o in seen})
        assert digest(first, together) == digest(first, alone)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seen=st.lists(observations, min_size=1, max_size=12))
def test_moving_to_a_zone_gives_the_books_that_were_kept_there_all_along(
    books_url: str, seen: list[Observation]
) -> None:
    with connect(books_url, autocommit=True) as connection:
        moved, stayed = str(uuid.uuid4()), new_user(connection)
        connection.execute("select public.make_account(%s, 'America/Los_Angeles')", [moved])
        for user_id in (moved, stayed):
            ingest(connection, user_id, seen)
        connection.execute("select public.set_time_zone(%s, %s)", [moved, ZONE])
        assert digest(connection, moved) == digest(connection, stayed)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(kept=st.lists(observations, max_size=6), gone=st.lists(observations, min_size=1, max_size=6))
def test_forgetting_a_project_leaves_the_books_as_if_it_had_never_been(
    books_url: str, kept: list[Observation], gone: list[Observation]
) -> None:
    gone = [
        {**observation, "event_key": "gone" + observation["event_key"], "project": "secret"} for observation in gone
    ]
    with connect(books_url, autocommit=True) as connection:
        forgetful, innocent = new_user(connection), new_user(connection)
        ingest(connection, forgetful, kept + gone)
        ingest(connection, innocent, kept)
        more = True
        while more:
            row = connection.execute(
                "select more from public.forget_token_usage(%s, 'secret', 2)", [forgetful]
            ).fetchone()
            assert row is not None
            more = row[0]
        assert digest(connection, forgetful) == digest(connection, innocent)


def test_verify_finds_nothing_while_batches_come_in(books_url: str) -> None:
    rnd = random.Random(5)
    names = [f"test:{number}" for number in range(300)]
    template = {
        "source": "one", "provider": "test", "model": "model-a", "place_order": "a", "project": "p", "session_id": "s1",
    }  # fmt: skip
    with connect(books_url, autocommit=True) as writer, connect(books_url, autocommit=True) as reader:
        user_id = new_user(writer)
        stop, written = threading.Event(), []

        def write() -> None:
            while not stop.is_set():
                batch = [
                    {
                        **template,
                        "event_key": rnd.choice(names),
                        "occurred_at": f"2026-03-12T{rnd.randrange(18, 24)}:00:00Z",
                        "output_tokens": rnd.randrange(1000),
                        "session_id": rnd.choice(["s1", "s2"]),
                    }
                    for _ in range(20)
                ]
                written.append(ingest(writer, user_id, batch))

        thread = threading.Thread(target=write)
        thread.start()
        try:
            looks = 0
            while thread.is_alive() and (looks < 60 or len(written) < 30):
                looks += 1
                checks = reader.execute("select * from public.verify_token_usage(%s)", [user_id]).fetchall()
                assert [check for check in checks if check[1]] == []
        finally:
            stop.set()
            thread.join()
        # they are of two days in the zone of these books, and fewer of the later one the longer this takes
        days = reader.execute("select daily_event_count from token_usage_daily where user_id = %s", [user_id])
        assert sum(count for (count,) in days) > 100


def test_the_parts_sum_to_the_whole_to_the_last_digit(books_url: str) -> None:
    with connect(books_url, autocommit=True) as connection:
        user_id = new_user(connection)
        batch = [
            {
                "event_key": f"test:{number}",
                "occurred_at": "2026-03-12T10:00:00Z",
                "source": "one",
                "provider": "test",
                "model": "model-b",
                "cache_read_tokens": number,
                "project": f"p{number % 7}",
            }
            for number in range(1, 1001)
        ]
        ingest(connection, user_id, batch)
        row = connection.execute(
            "select sum(cost_usd) from token_usage_by_day where user_id = %s", [user_id]
        ).fetchone()
        assert row == (Decimal(1000 * 1001 // 2) * Decimal("0.0375") / 1_000_000,)
