"""Whatever ends under load, the server, its database or the pooler: what was acknowledged is there once."""

from __future__ import annotations

import itertools
import queue
import random
import shutil
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tallystick.errors import LedgerUnavailable
from tallystick.ledger import ATTEMPTS, Ledger
from tallystick.model import Receipt, UsageFilter
from tallystick.schema import install_or_migrate
from tests.roads.places import Place, ServerProcess
from tests.servers import PgBouncer, TcpServer, connect
from tests.surface.records import batch_of, key_of, observation

CLIENTS = 4
BATCH = 3
# how many batches are acknowledged between one blow and the next, and after the last
BETWEEN = 40
LIMIT_S = 120.0
EVERYTHING = UsageFilter()


class Site(NamedTuple):
    """A server on a pooler on a database, each of which a test may end."""

    database: TcpServer
    pooler: PgBouncer
    server: ServerProcess
    place: Place


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    folder = Path(tempfile.mkdtemp(prefix="tally-", dir="/tmp"))
    database = TcpServer(folder)
    database.start()
    with connect(database.url(), autocommit=True) as connection:
        connection.execute("create database tallystick")
    install_or_migrate(f"{database.url('tallystick')}?sslmode=disable")
    pooler = PgBouncer(database)
    pooler.start()
    home = Path(tempfile.mkdtemp(prefix="tally-", dir="/tmp"))
    server = ServerProcess(pooler.url(), home)
    server.start()
    try:
        yield Site(database, pooler, server, Place(pooler.direct_url(), server.url, ""))
    finally:
        server.stop()
        pooler.stop()
        database.stop(mode="immediate")
        shutil.rmtree(folder)
        shutil.rmtree(home)


class Load:
    """Clients of the server that send batches, each until it is acknowledged, as long as they are not told to end."""

    def __init__(self, place: Place) -> None:
        self.user_ids = [str(uuid.uuid4()) for _ in range(2)]
        self.acknowledged: dict[str, set[str]] = {user_id: set() for user_id in self.user_ids}
        self.failures: list[BaseException] = []
        self._done: queue.Queue[None] = queue.Queue()
        self._is_over = threading.Event()
        self._threads = [
            threading.Thread(target=self._send, args=(place, place.key(user_id), user_id, number))
            for number, user_id in enumerate(self.user_ids * (CLIENTS // 2))
        ]

    def _send(self, place: Place, key: str, user_id: str, client: int) -> None:
        try:
            with Ledger.connect(place.server_url, key=key, attempts=ATTEMPTS) as ledger:
                for step in itertools.count():
                    if self._is_over.is_set():
                        return
                    keys = [key_of(1_000_000 * client + BATCH * step + number) for number in range(BATCH)]
                    receipt = send_until_acknowledged(
                        ledger, batch_of(*(observation(step % 1000, event_key=key) for key in keys))
                    )
                    # an answer that was lost is given again
                    assert receipt.new + receipt.duplicate == BATCH
                    self.acknowledged[user_id].update(keys)
                    self._done.put(None)
        except BaseException as error:
            self.failures.append(error)
            self._done.put(None)

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def wait_for_batches(self) -> None:
        """Until so many more of them are acknowledged; every client must still be at work."""
        deadline = time.monotonic() + LIMIT_S
        for _ in range(BETWEEN):
            self._done.get(timeout=deadline - time.monotonic())
            if self.failures:
                raise self.failures[0]

    def end(self) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join(timeout=LIMIT_S)
        assert not any(thread.is_alive() for thread in self._threads)


def send_until_acknowledged(ledger: Ledger, batch: bytes) -> Receipt:
    """The receipt of a batch, asked for anew while a machine takes longer to restart a server than a client waits."""
    deadline = time.monotonic() + LIMIT_S
    while True:
        try:
            return ledger.ingest_token_usage(batch)
        except LedgerUnavailable:
            if time.monotonic() > deadline:
                raise


def kill_the_server(site: Site) -> None:
    site.server.kill()
    site.server.start()


def crash_the_database(site: Site) -> None:
    site.database.stop(mode="immediate")
    site.database.start()


def restart_the_pooler(site: Site) -> None:
    site.pooler.restart()


BLOWS: list[Callable[[Site], None]] = [kill_the_server, crash_the_database, restart_the_pooler]


def assert_nothing_is_lost(site: Site, blows: list[Callable[[Site], None]]) -> None:
    load = Load(site.place)
    load.start()
    try:
        for blow in blows:
            load.wait_for_batches()
            blow(site)
        load.wait_for_batches()
    finally:
        load.end()
    assert load.failures == []
    for user_id in load.user_ids:
        with site.place.open("sql", user_id) as ledger:
            keys = sorted(load.acknowledged[user_id])
            assert len(ledger.usage_events(keys)) == len(keys) >= BATCH
            summary = ledger.usage_summary(EVERYTHING)
            # nobody gave up, so that what was sent is what was acknowledged
            assert (summary.event_count, summary.input_tokens) == (len(keys), 1000 * len(keys))
            assert [check for check in ledger.verify_token_usage() if check.bad_rows] == []


@pytest.mark.parametrize("blow", BLOWS)
def test_what_was_acknowledged_is_there_once_after(site: Site, blow: Callable[[Site], None]) -> None:
    assert_nothing_is_lost(site, [blow])


@pytest.mark.torture
@pytest.mark.timeout(3000)
def test_what_was_acknowledged_is_there_once_after_any_number_of_blows(site: Site, torture_rounds: int) -> None:
    chance = random.Random(4)
    assert_nothing_is_lost(site, [chance.choice(BLOWS) for _ in range(torture_rounds)])
