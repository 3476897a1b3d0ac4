"""What Prometheus is told: requests, latencies, what ingesting did, the pool, and the slowest statements."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily
from prometheus_client.multiprocess import MultiProcessCollector

from tallystick.db import Database
from tallystick.errors import LedgerError
from tallystick.model import Receipt, SnapshotReceipt

LATENCY_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
SLOWEST_STATEMENTS = """\
select queryid::text, left(regexp_replace(query, '\\s+', ' ', 'g'), 120) as statement, calls,
  total_exec_time / 1000 as seconds
from pg_stat_statements where dbid = (select oid from pg_database where datname = current_database())
order by total_exec_time desc limit 10
"""


class Metrics:
    """The figures of one server process, or of all that share a folder; then the variable of processes.py is set."""

    def __init__(self, folder: str = "") -> None:
        self._folder = folder
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "tallystick_requests", "Requests answered.", ["method", "route", "status"], registry=self._registry
        )
        self._latency = Histogram(
            "tallystick_request_seconds",
            "From the request's head to the answer.",
            ["method", "route"],
            buckets=LATENCY_BUCKETS_S,
            registry=self._registry,
        )
        self._observations = Counter(
            "tallystick_observations",
            "Observations taken in, by what became of them; unpriced ones are among the new.",
            ["outcome"],
            registry=self._registry,
        )
        self._pool = Gauge(
            "tallystick_pool_connections",
            "Connections to the database, of all processes.",
            ["state"],
            registry=self._registry,
            multiprocess_mode="livesum",
        )

    def count_request(self, *, method: str, route: str, status: int, seconds: float) -> None:
        self._requests.labels(method, route, str(status)).inc()
        self._latency.labels(method, route).observe(seconds)

    def count_receipt(self, receipt: Receipt | SnapshotReceipt) -> None:
        for outcome in ("new", "revised", "duplicate", "rejected", "unpriced"):
            self._observations.labels(outcome).inc(getattr(receipt, outcome))

    def note_pool(self, stats: dict[str, int]) -> None:
        for state, count in stats.items():
            self._pool.labels(state).set(count)

    def text(self, database: Database | None) -> bytes:
        """Everything in Prometheus' text format; without a database, all but the statements."""
        registry = self._registry
        if self._folder:
            registry = CollectorRegistry()
            MultiProcessCollector(registry, path=self._folder)  # type: ignore[no-untyped-call]  # it has no types
        parts = [generate_latest(registry)]
        statements = _slowest_statements(database) if database else []
        if statements:
            registry = CollectorRegistry()
            registry.register(_Statements(statements))
            parts.append(generate_latest(registry))
        return b"".join(parts)


class _Statements:
    """A collector of what pg_stat_statements holds at this moment."""

    def __init__(self, statements: list[tuple[str, str, int, float]]) -> None:
        self._statements = statements

    def collect(self) -> Iterator[CounterMetricFamily]:
        labels = ["queryid", "statement"]
        seconds = CounterMetricFamily(
            "tallystick_statement_seconds", "Time in the ten statements that took most of it.", labels=labels
        )
        calls = CounterMetricFamily("tallystick_statement_calls", "How often they were executed.", labels=labels)
        for queryid, statement, count, total in self._statements:
            seconds.add_metric([queryid, statement], total)
            calls.add_metric([queryid, statement], count)
        yield seconds
        yield calls


def _slowest_statements(database: Database) -> list[tuple[str, str, int, float]]:
    """Nothing where pg_stat_statements is not installed, or not for this login."""

    def row(*columns: object) -> tuple[str, str, int, float]:
        queryid, statement, calls, seconds = columns
        return str(queryid), str(statement), int(str(calls)), float(str(seconds))

    try:
        with database.transaction():
            schema = database.rows(
                str,
                "select n.nspname::text from pg_extension as e join pg_namespace as n on n.oid = e.extnamespace "
                "where e.extname = 'pg_stat_statements'",
            )
            if not schema:
                return []
            database.value("select set_config('search_path', %s, true)", [f"{schema[0]}, pg_catalog"])
            return database.rows(row, SLOWEST_STATEMENTS)
    except LedgerError:
        return []
