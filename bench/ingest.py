"""How fast the ledger takes batches in, against a COPY of the same rows, and two users at once against one."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from bench.bare_ledger import (
    Connection,
    bare_ledger,
    check_durable,
    owner_connection,
    run_script,
    service_connection,
)
from bench.events import make_batches
from bench.results import Result, at_least
from bench.setting import Setting
from bench.timing import BenchError, compare

EVENT_COUNT = 150_000
USERS = ("00000000-0000-4000-8000-000000000001", "00000000-0000-4000-8000-000000000002")
# Of a text COPY's rate, by the size of a batch.
LEAST_SHARE_OF_COPY = {1_000: 0.3, 10_000: 0.25}
LEAST_GAIN_OF_TWO_USERS = 1.6
PAIR_COUNT = 3
COPY_OUT = "copy public.token_usage_events to stdout"
COPY_IN = "copy bench.events_copy from stdin"
INGEST = "select public.ingest_token_usage(%s, %s::json)"


def measure_ingest(setting: Setting) -> Iterator[Result]:
    """Both batch sizes against COPY, then two connections against one."""
    with bare_ledger(setting, "ingest") as url, owner_connection(url) as owner:
        check_durable(owner)
        run_script(owner, "copy_floor.sql")
        if owner.execute("select bench.same_storage()").fetchone() != (True,):
            raise BenchError("the table to copy into is stored otherwise than token_usage_events: see copy_floor.sql")
        for batch_size, share in LEAST_SHARE_OF_COPY.items():
            yield compare_with_copy(url, owner, batch_size=batch_size, least_share=share)
        yield compare_two_users(url, owner)


def compare_with_copy(url: str, owner: Connection, *, batch_size: int, least_share: float) -> Result:
    """One connection: each batch a transaction of its own, on both sides."""
    batches = make_batches(USERS[0], event_count=EVENT_COUNT, batch_size=batch_size)
    with service_connection(url) as service:

        def ingest_seconds() -> float:
            empty_ledger(owner)
            return ingest_all(service, USERS[0], batches)

        ingest_seconds()
        chunks = read_chunks(owner, batch_size=batch_size)

        def copy_seconds() -> float:
            empty_ledger(owner)
            return copy_all(owner, chunks)

        copy_seconds()
        pairs = compare(ingest_seconds, copy_seconds, pair_count=PAIR_COUNT)
    rates = f"{EVENT_COUNT / pairs.ours_seconds:,.0f}/s of {EVENT_COUNT / pairs.theirs_seconds:,.0f}/s"
    return at_least(
        f"ingest in batches of {batch_size:,}, of a COPY's rate", 1 / pairs.ratio, least_share, note=f" ({rates})"
    )


def compare_two_users(url: str, owner: Connection) -> Result:
    """Two users on two connections against one on one."""
    batches = [make_batches(user, event_count=EVENT_COUNT, batch_size=1_000) for user in USERS]
    with service_connection(url) as first, service_connection(url) as second, ThreadPoolExecutor(2) as threads:

        def one_user_seconds() -> float:
            empty_ledger(owner)
            return ingest_all(first, USERS[0], batches[0])

        def two_users_seconds() -> float:
            empty_ledger(owner)
            started_at = time.perf_counter()
            list(threads.map(ingest_all, (first, second), USERS, batches))
            return time.perf_counter() - started_at

        two_users_seconds()
        pairs = compare(two_users_seconds, one_user_seconds, pair_count=PAIR_COUNT)
    gain = 2 / pairs.ratio
    rate = f" ({2 * EVENT_COUNT / pairs.ours_seconds:,.0f}/s of {EVENT_COUNT / pairs.theirs_seconds:,.0f}/s)"
    return at_least("two users at once, of one connection's rate", gain, LEAST_GAIN_OF_TWO_USERS, note=rate)


def ingest_all(connection: Connection, user_id: str, batches: Sequence[str]) -> float:
    """Seconds to take all batches in; every event must have been new, and priced."""
    counts = {"new": 0, "unpriced": 0}
    started_at = time.perf_counter()
    for batch in batches:
        row = connection.execute(INGEST, [user_id, batch]).fetchone()
        assert row is not None, "a function call answers one row"
        for name in counts:
            counts[name] += row[0][name]
    seconds = time.perf_counter() - started_at
    if counts != {"new": EVENT_COUNT, "unpriced": 0}:
        raise BenchError(f"of {EVENT_COUNT} events, all new and of known models, the ledger says {counts}")
    return seconds


def copy_all(connection: Connection, chunks: Sequence[bytes]) -> float:
    """Seconds to copy all chunks in, each committed by itself."""
    started_at = time.perf_counter()
    for chunk in chunks:
        with connection.cursor() as cursor, cursor.copy(COPY_IN) as copy:
            copy.write(chunk)
    return time.perf_counter() - started_at


def read_chunks(connection: Connection, *, batch_size: int) -> list[bytes]:
    """The rows as they were stored, in COPY's text format, as many to a chunk as a batch has."""
    with connection.cursor() as cursor, cursor.copy(COPY_OUT) as copy:
        rows = [bytes(row) for row in copy]
    if len(rows) != EVENT_COUNT:
        raise BenchError(f"{len(rows)} rows are stored, not {EVENT_COUNT}")
    return [b"".join(rows[start : start + batch_size]) for start in range(0, len(rows), batch_size)]


def empty_ledger(owner: Connection) -> None:
    owner.execute("call bench.empty_ledger()")
    owner.execute("checkpoint")
