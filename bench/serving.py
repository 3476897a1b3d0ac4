"""What the HTTP API costs: single events from sixteen clients, batches against the same over SQL, a year's report."""

from __future__ import annotations

import http.client
import os
import re
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from bench.bare_ledger import Connection, bare_ledger, check_durable, owner_connection, service_connection
from bench.events import make_batches
from bench.ingest import INGEST
from bench.results import Result, at_least, at_most, equal
from bench.setting import Setting
from bench.timing import BenchError, compare, percentile
from tallystick.keys import digest_of, make_key

CLIENTS = 16
WARM_UP_SECONDS = 3
LOAD_SECONDS = 20
LEAST_REQUESTS_PER_SECOND = 600
TRACK_P50_MS = 25.0
TRACK_P99_MS = 100.0
BATCH_SIZE = 1_000
BATCHES = 40
LEAST_SHARE_OF_SQL = 0.5
REPORT_P99_MS = 30.0
WARM_UP_REPORTS = 50
REPORTS = 300
PAIR_COUNT = 3
KEY_SECRET = "bench"
SQL_USER = "00000000-0000-4000-8000-00000000000a"
HTTP_USER = "00000000-0000-4000-8000-00000000000b"
EVENTS_OF_USERS = "select count(*) from public.token_usage_events where project = 'bench'"
FORGET = "select * from public.forget_token_usage(%s, null, 100000)"


class Served(NamedTuple):
    """A running server of the HTTP API, and a service key for it."""

    address: str
    key: str


def measure_serving(setting: Setting) -> Iterator[Result]:
    """Single events by wrk; then batches of 1,000 against the same batches over SQL."""
    with bare_ledger(setting, "serving") as url, owner_connection(url) as owner, serve(url, owner) as served:
        check_durable(owner)
        yield from measure_track(owner, served)
        yield compare_with_sql(url, owner, served)


@contextmanager
def serve(url: str, owner: Connection) -> Iterator[Served]:
    """`tally serve` on this ledger, for as long as it is measured."""
    key = make_key()
    owner.execute(
        "select public.create_api_key(null, 'bench', %s, %s, '{ingest,read}', null, 100000000)",
        [key.prefix, digest_of(key.key, secret=KEY_SECRET)],
    )
    environment = {**os.environ, "TALLYSTICK_KEY_SECRET": KEY_SECRET}
    command = [sys.executable, "-m", "tallystick", "serve", "--workers", "2", "--port", "0", "--database", url]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as server:
        try:
            assert server.stdout is not None
            told = re.search(r"http://\S+?:\d+", server.stdout.readline())
            if told is None:
                raise BenchError("the server did not start")
            yield Served(told[0], key.key)
        finally:
            server.terminate()


def measure_track(owner: Connection, served: Served) -> Iterator[Result]:
    """One new event a request, each acknowledged after its commit; database, server and load on the same cores."""
    if shutil.which("wrk") is None:
        raise BenchError("wrk is missing: apt-get install wrk")
    load_with_wrk(served, seconds=WARM_UP_SECONDS)
    stood = owner.execute(EVENTS_OF_USERS).fetchone()
    requests, rate, errors, p50, p99 = load_with_wrk(served, seconds=LOAD_SECONDS)
    found = owner.execute(EVENTS_OF_USERS).fetchone()
    assert stood is not None
    assert found is not None
    yield at_least("POST track, 16 clients, requests per second", rate, LEAST_REQUESTS_PER_SECOND, unit="/s")
    yield at_most("POST track, 16 clients, p50", p50, TRACK_P50_MS, unit="ms")
    yield at_most("POST track, 16 clients, p99", p99, TRACK_P99_MS, unit="ms")
    yield equal("POST track, errors", errors, 0)
    # there may be more: what was under way when a load ended is stored without its answer having been read
    yield equal("POST track, acknowledged events that are missing", max(0, requests - (found[0] - stood[0])), 0)


def load_with_wrk(served: Served, *, seconds: int) -> tuple[int, float, int, float, float]:
    """Requests, requests per second, errors, and the latencies p50 and p99 in milliseconds."""
    finished = subprocess.run(
        [
            "wrk",
            "-t1",
            f"-c{CLIENTS}",
            f"-d{seconds}s",
            "-s",
            str(Path(__file__).with_name("track.lua")),
            served.address,
        ],
        env={"PATH": os.environ["PATH"], "BENCH_KEY": served.key, "BENCH_RUN": secrets.token_hex(6)},
        check=True,
        capture_output=True,
        text=True,
    )
    told = re.search(r"^RESULT (\d+) (\d+) (\d+) (\S+) (\S+)$", finished.stdout, flags=re.MULTILINE)
    if told is None:
        raise BenchError(f"wrk said: {finished.stdout}{finished.stderr}")
    requests, microseconds, errors = int(told[1]), int(told[2]), int(told[3])
    return requests, requests / microseconds * 1e6, errors, float(told[4]), float(told[5])


def compare_with_sql(url: str, owner: Connection, served: Served) -> Result:
    """One client each, the same batches: over the HTTP API, and over SQL."""
    batches = make_batches("serving", event_count=BATCHES * BATCH_SIZE, batch_size=BATCH_SIZE)
    with service_connection(url) as service:

        def over_http() -> float:
            owner.execute(FORGET, [HTTP_USER])
            return post_all(served, batches)

        def over_sql() -> float:
            owner.execute(FORGET, [SQL_USER])
            started_at = time.perf_counter()
            for batch in batches:
                service.execute(INGEST, [SQL_USER, batch])
            return time.perf_counter() - started_at

        over_http(), over_sql()
        pairs = compare(over_http, over_sql, pair_count=PAIR_COUNT)
    events = BATCHES * BATCH_SIZE
    return at_least(
        "POST track in batches of 1,000, of the rate over SQL",
        1 / pairs.ratio,
        LEAST_SHARE_OF_SQL,
        note=f" ({events / pairs.ours_seconds:,.0f}/s of {events / pairs.theirs_seconds:,.0f}/s)",
    )


def post_all(served: Served, batches: Sequence[str]) -> float:
    """The seconds that all batches take on one connection."""
    connection = http.client.HTTPConnection(urlsplit(served.address).netloc)
    headers = {"Authorization": f"Bearer {served.key}", "Content-Type": "application/json"}
    started_at = time.perf_counter()
    for batch in batches:
        connection.request("POST", f"/api/token-usage/track?user_id={HTTP_USER}", batch.encode(), headers)
        answer = connection.getresponse()
        text = answer.read()
        if answer.status != 200 or b'"new":1000' not in text:
            raise BenchError(f"a batch was answered {answer.status}: {text[:200]!r}")
    seconds = time.perf_counter() - started_at
    connection.close()
    return seconds


def measure_year_over_http(url: str, owner: Connection, user_id: str) -> Iterator[Result]:
    """A year by day over HTTP, one client, from the question to the last byte."""
    with serve(url, owner) as served:
        connection = http.client.HTTPConnection(urlsplit(served.address).netloc)
        durations = []
        for number in range(WARM_UP_REPORTS + REPORTS):
            started_at = time.perf_counter()
            connection.request(
                "GET",
                f"/api/token-usage/daily?user_id={user_id}&since=2025-11-20&until=2026-11-19",
                headers={"Authorization": f"Bearer {served.key}"},
            )
            answer = connection.getresponse()
            text = answer.read()
            if number >= WARM_UP_REPORTS:
                durations.append((time.perf_counter() - started_at) * 1000)
            if answer.status != 200 or text.count(b'"period_start"') != 365:
                raise BenchError(f"the year's report was answered {answer.status}")
        connection.close()
    yield at_most(
        "GET daily for a year, p99",
        percentile(durations, 0.99),
        REPORT_P99_MS,
        unit="ms",
        note=f" (p50 {percentile(durations, 0.5):.2f} ms)",
    )
