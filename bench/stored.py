"""What one call and one report cost in a ledger that holds years of many users' books."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

from bench.bare_ledger import (
    Connection,
    bare_ledger,
    check_durable,
    owner_connection,
    run_script,
    service_connection,
)
from bench.events import make_batches
from bench.results import Result, at_most, equal
from bench.serving import measure_year_over_http
from bench.setting import Setting
from bench.timing import BenchError, percentile

MEASURED_USER = UUID(int=0xA)
SESSION_DAYS = 100_000
MODELS_PER_SESSION = 2
OTHER_USER_EVENTS = 100_000
OTHER_USER_SESSIONS = 5_000
LOADERS = 2
WARM_UP_CALLS = 200
SINGLE_EVENTS = 2_000
REPORTS = 300
SINGLE_EVENT_P50_MS = 1.0
SINGLE_EVENT_P99_MS = 2.5
YEAR_REPORT_P99_MS = 10.0
STORE = "select bench.store_events(%s, %s, %s)"
INGEST = "select public.ingest_token_usage(%s, %s::json)"
TIME_SINGLE_EVENTS = "call bench.time_single_events(%s, %s)"
READ_CALL_TIMES = "delete from bench.call_times returning duration_ms"
COUNT_SESSION_DAYS = "select count(*) from public.token_usage_by_session_day where user_id = %s"
VERIFY = "select check_name, bad_rows from public.verify_token_usage(%s) where bad_rows > 0"
REPORT = "select * from public.usage_daily(%s, '2025-11-20', '2026-11-19', p_limit => 1000)"


def measure_stored(setting: Setting) -> Iterator[Result]:
    """Load the ledger, prove the load, then time single events and the year's report."""
    with bare_ledger(setting, "stored") as url, owner_connection(url) as owner:
        check_durable(owner)
        owner.execute("set synchronous_commit = off")
        run_script(owner, "stored_events.sql")
        load(url, setting.stored_events)
        owner.execute("vacuum (analyze)")
        owner.execute("checkpoint")
        yield equal(
            "rows by session and day of the measured user",
            owner.execute(COUNT_SESSION_DAYS, [MEASURED_USER]).fetchone(),
            (SESSION_DAYS,),
        )
        yield equal("the loaded ledger, verified", owner.execute(VERIFY, [MEASURED_USER]).fetchall(), [])
        with service_connection(url) as service:
            yield from measure_year_report(service)
            yield from measure_single_events(url, service)
        yield from measure_year_over_http(url, owner, str(MEASURED_USER))


def load(url: str, stored_events: int) -> None:
    """A tenth of the events for the measured user, the rest for users of ordinary size."""
    measured_events = max(SESSION_DAYS, stored_events // 10)
    other_users = (stored_events - measured_events) // OTHER_USER_EVENTS
    jobs = [(MEASURED_USER, measured_events, SESSION_DAYS // MODELS_PER_SESSION)]
    jobs += [(UUID(int=0xB00 + number), OTHER_USER_EVENTS, OTHER_USER_SESSIONS) for number in range(other_users)]

    def load_user(job: tuple[UUID, int, int]) -> None:
        with owner_connection(url) as connection:
            connection.execute("set synchronous_commit = off")
            connection.execute("set work_mem = '256MB'")
            # Compiling takes longer than what it speeds up, for each user anew.
            connection.execute("set jit = off")
            connection.execute(STORE, job)

    with ThreadPoolExecutor(LOADERS) as threads:
        list(threads.map(load_user, jobs))


def measure_year_report(service: Connection) -> Iterator[Result]:
    """A year by day, from the question to its last row in the client."""
    durations = []
    for number in range(WARM_UP_CALLS + REPORTS):
        started_at = time.perf_counter()
        rows = service.execute(REPORT, [MEASURED_USER]).fetchall()
        if number >= WARM_UP_CALLS:
            durations.append((time.perf_counter() - started_at) * 1000)
        if len(rows) != 365:
            raise BenchError(f"the year's report has {len(rows)} days")
    yield at_most(
        "a year's daily report, p99",
        percentile(durations, 0.99),
        YEAR_REPORT_P99_MS,
        unit="ms",
        note=p50_note(durations),
    )


def measure_single_events(url: str, service: Connection) -> Iterator[Result]:
    """One new event a call, each committed: by the server's clock, and as a client meets it over the socket."""
    with owner_connection(url) as owner:
        owner.execute(TIME_SINGLE_EVENTS, [MEASURED_USER, WARM_UP_CALLS + SINGLE_EVENTS])
        inside = [row[0] for row in owner.execute(READ_CALL_TIMES)][WARM_UP_CALLS:]
    yield at_most("one event in the database, p50", percentile(inside, 0.5), SINGLE_EVENT_P50_MS, unit="ms")
    yield at_most("one event in the database, p99", percentile(inside, 0.99), SINGLE_EVENT_P99_MS, unit="ms")
    outside = []
    batches = make_batches("single", event_count=WARM_UP_CALLS + SINGLE_EVENTS, batch_size=1)
    for batch in batches:
        started_at = time.perf_counter()
        service.execute(INGEST, [MEASURED_USER, batch])
        outside.append((time.perf_counter() - started_at) * 1000)
    warm = outside[WARM_UP_CALLS:]
    yield Result("one event, as the client meets it", f"{percentile(warm, 0.99):.2f} ms p99{p50_note(warm)}")


def p50_note(durations_ms: list[float]) -> str:
    return f" (p50 {percentile(durations_ms, 0.5):.2f} ms)"
