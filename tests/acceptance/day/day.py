"""A day of twenty agents, of the collector that follows them, and of all that goes wrong meanwhile."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import psycopg

from tallystick.collector.checkpoint import Checkpoints, storable
from tallystick.collector.discover import discover
from tallystick.collector.run import import_new
from tallystick.collector.watch_status import place_of
from tallystick.config import load_settings
from tallystick.ledger import Ledger
from tallystick.schema import install_or_migrate
from tests.acceptance.day.agents import Agent, LineAgent, Used
from tests.acceptance.day.disks import Disk
from tests.acceptance.day.everybody import make_agents
from tests.acceptance.day.files import Files
from tests.acceptance.day.line_agents import ClaudeCode
from tests.acceptance.day.other_agents import DatabaseAgent, DocumentAgent
from tests.servers import TcpServer, connect

# midnight in the zone of the ledger, so that no session with totals alone has two days
BEGIN = datetime(2026, 8, 31, 22, tzinfo=UTC)
TICK = timedelta(minutes=5)
ZONE = "Europe/Berlin"
LIMIT_S = 120.0
LEDGER_MEGABYTES = 320
STATE_MEGABYTES = 4


class Books(NamedTuple):
    """What a ledger says of one user."""

    digest: str
    used: dict[str, Used]
    bad_checks: list[str]


class Day:
    """One home, one ledger on a server of its own, one collector; `run` lets the time pass and everything fail."""

    def __init__(self, folder: Path, server: TcpServer, ledger_disk: Disk, *, seed: int) -> None:
        self._random = random.Random(seed)
        self._folder = folder
        self._server = server
        self._ledger_disk = ledger_disk
        self._state_disk = Disk(folder / "tallystick" / "state", megabytes=STATE_MEGABYTES)
        self.files = Files(folder / "home", folder / "aside", self._random)
        self.files.live.mkdir()
        self.agents: list[Agent] = make_agents(self.files, self._random, BEGIN)
        self.url = f"{server.url('tallystick')}?sslmode=disable"
        self.environ = self._environ(self.files.live, folder / "tallystick", str(uuid.uuid4()))
        self.log_file = folder / "watch.log"
        self.kills = 0
        self._collector: subprocess.Popen[bytes] | None = None
        self._end_of_fault: list[tuple[int, Callable[[], None]]] = []

    def run(self, hours: int) -> None:
        """Let the hours pass; every kind of fault comes once in two of them."""
        self._start_collector()
        ticks = round(timedelta(hours=hours) / TICK)
        faults = self._plan(ticks)
        for tick in range(ticks):
            for agent in self.agents:
                agent.work(BEGIN + (tick + 1) * TICK)
            for fault in faults.get(tick, []):
                if ends := fault():
                    self._end_of_fault.append((tick + self._random.randrange(1, 4), ends))
            self._end_faults(until=tick)
            # for the collector to be in the midst of something, whatever the next fault is
            time.sleep(self._random.uniform(0, 0.2))
        self._end_faults(until=ticks + 4)
        for agent in self.agents:
            agent.stop()
        self.wait_until_read()

    def books(self) -> Books:
        return self._books_of(self.environ)

    def clean_books(self) -> Books:
        """The books of somebody who takes in all that was ever completely written, at once and undisturbed."""
        user_id = str(uuid.uuid4())
        for home in self.files.asides:
            environ = self._environ(home, self._folder / f"clean-{home.name}", user_id)
            with Ledger.connect(self.url, user_id=user_id) as ledger:
                summary = import_new(ledger, load_settings(environ))
                assert summary.problems == ()
        return self._books_of(environ)

    def wait_until_read(self) -> None:
        """Wait for a checkpoint behind the end of every file."""
        self._wait_until(lambda: self._unread() == [])

    def close(self) -> None:
        with suppress(Exception):
            self._kill_collector()
        self._state_disk.free()
        self._state_disk.remove()

    # -- faults: each answers how it ends, if that is later

    def _plan(self, ticks: int) -> dict[int, list[Callable[[], Callable[[], None] | None]]]:
        plan: dict[int, list[Callable[[], Callable[[], None] | None]]] = {}
        for begin in range(0, ticks, 24):
            kinds = [
                *(self.kill_collector, self.kill_collector, self.stop_ledger, self.kill_ledger),
                *(self.fill_state_disk, self.fill_ledger_disk),
                *(self.cut_a_file, self.cut_a_file, self.delete_what_was_read, self.move_a_folder, self.tear_lines),
                *(self.jump_clocks, self.jump_clocks, self.set_times_of_files, self.restart_databases),
            ]
            for kind in kinds:
                plan.setdefault(begin + self._random.randrange(2, 22), []).append(kind)
        return plan

    def kill_collector(self) -> None:
        self._kill_collector()
        self._start_collector()

    def stop_ledger(self) -> Callable[[], None]:
        self._stop_server()
        return self._start_server

    def kill_ledger(self) -> Callable[[], None]:
        self._kill_server()
        return self._start_server

    def fill_state_disk(self) -> Callable[[], None]:
        assert self._collector is not None
        self._state_disk.fill([self._collector.pid])
        return self._state_disk.free

    def fill_ledger_disk(self) -> Callable[[], None]:
        self._ledger_disk.fill(self._server.processes())

        def free() -> None:
            self._ledger_disk.free()
            # it may have ended by itself, or be about to
            self._kill_server()
            self._start_server()

        return free

    def cut_a_file(self) -> None:
        agent = self._random.choice([each for each in self.agents if isinstance(each, LineAgent) and each.places])
        self._end_faults(until=sys.maxsize)
        self.files.finish(agent.places[-1])
        path = str(self.files.path(agent.places[-1]).resolve())
        self._wait_until(lambda: path not in self._unread())
        agent.cut()

    def delete_what_was_read(self) -> None:
        self._let_everything_be_read()
        for agent in self.agents:
            if isinstance(agent, (ClaudeCode, DocumentAgent, DatabaseAgent)) and self._random.random() < 0.5:
                agent.delete_oldest()
            elif isinstance(agent, DocumentAgent):
                agent.forget()

    def move_a_folder(self) -> None:
        self._random.choice([each for each in self.agents if isinstance(each, ClaudeCode)]).move_folder()

    def tear_lines(self) -> None:
        for agent in self.agents:
            if isinstance(agent, LineAgent):
                agent.tear()

    def jump_clocks(self) -> None:
        for agent in self._random.sample(self.agents, 6):
            agent.jump()

    def set_times_of_files(self) -> None:
        """The clock of the machine was wrong for a while, either way."""
        for path in self._random.sample([path for path in self.files.live.rglob("*.json*") if path.is_file()], 8):
            at = time.time() + self._random.uniform(-86_400, 86_400)
            os.utime(path, (at, at))

    def restart_databases(self) -> None:
        for agent in self.agents:
            if isinstance(agent, DatabaseAgent):
                agent.restart()

    def _end_faults(self, *, until: int) -> None:
        due = [end for end in self._end_of_fault if end[0] <= until]
        self._end_of_fault = [end for end in self._end_of_fault if end[0] > until]
        for _, ends in due:
            ends()

    # -- the collector

    def _let_everything_be_read(self) -> None:
        self._end_faults(until=sys.maxsize)
        self.files.finish_all()
        for agent in self.agents:
            if isinstance(agent, DatabaseAgent):
                agent.commit()
        self.wait_until_read()

    def _unread(self) -> list[str]:
        """Files without a checkpoint behind their end."""
        settings = load_settings(self.environ)
        files = discover(settings.roots).files
        told = place_of(settings).read()
        pair = (told.ledger_id, told.user_id) if told else ("", "")
        with Checkpoints(settings.checkpoint_file, ledger_id=pair[0], user_id=pair[1]) as checkpoints:
            known = checkpoints.checkpoints()
        return [
            file.path
            for file in files
            if (found := known.get(storable(file.path))) is None or found[:4] != file[1:5] or not found.is_settled
        ]

    def _wait_until(self, is_so: Callable[[], bool]) -> None:
        deadline = time.monotonic() + LIMIT_S
        while not is_so():
            assert self._collector is not None
            assert self._collector.poll() is None, self.log_file.read_text(encoding="utf-8")[-2000:]
            assert time.monotonic() < deadline, self._unread()
            time.sleep(0.1)

    def _start_collector(self) -> None:
        with self.log_file.open("ab") as log:
            self._collector = subprocess.Popen(
                [sys.executable, "-m", "tallystick", "watch"], env=self.environ, stdin=subprocess.DEVNULL, stderr=log
            )

    def _kill_collector(self) -> None:
        assert self._collector is not None
        assert self._collector.poll() is None, self.log_file.read_text(encoding="utf-8")[-2000:]
        self._collector.kill()
        self._collector.wait()
        self.kills += 1

    # -- the ledger

    def _is_server_up(self) -> bool:
        return bool(self._server.processes())

    def _start_server(self) -> None:
        if not self._is_server_up() and not self._ledger_disk.is_full:
            self._server.start()

    def _stop_server(self) -> None:
        if self._is_server_up() and not self._ledger_disk.is_full:
            self._server.stop()

    def _kill_server(self) -> None:
        self._server.kill()

    # -- places

    def _environ(self, home: Path, tallystick_home: Path, user_id: str) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
            "HOME": str(home),
            "TALLYSTICK_HOME": str(tallystick_home),
            "TALLYSTICK_DATABASE_URL": self.url,
            "USER_ID": user_id,
            "LANG": "C.UTF-8",
            "TZ": ZONE,
        }

    def _books_of(self, environ: dict[str, str]) -> Books:
        user_id = environ["USER_ID"]
        with Ledger.connect(self.url, user_id=user_id) as ledger, psycopg.connect(self.url) as connection:
            rows = connection.execute(
                "select source, count(*), sum(input_tokens), sum(cache_creation_5m_tokens + cache_creation_1h_tokens), "
                "sum(cache_read_tokens), sum(output_tokens) from public.token_usage_events where user_id = %s "
                "group by source",
                [user_id],
            ).fetchall()
            used = {source: Used(*map(int, amounts)) for source, *amounts in rows}
            bad = [check.check_name for check in ledger.verify_token_usage() if check.bad_rows]
            return Books(ledger.ledger_digest(), used, bad)


@contextmanager
def a_day(folder: Path, *, seed: int) -> Iterator[Day]:
    """A day with a server of its own, whose disk is small; everything is gone afterwards."""
    place = Path(tempfile.mkdtemp(prefix="tally-", dir="/tmp"))
    disk = Disk(place / "data", megabytes=LEDGER_MEGABYTES)
    try:
        server = TcpServer(place, settings="fsync = off\nmax_wal_size = 64MB\nmin_wal_size = 32MB\n")
        server.start()
        try:
            with connect(server.url(), autocommit=True) as connection:
                connection.execute("create database tallystick")
            install_or_migrate(f"{server.url('tallystick')}?sslmode=disable")
            day = Day(folder, server, disk, seed=seed)
            try:
                yield day
            finally:
                day.close()
        finally:
            server.kill()
    finally:
        disk.free()
        disk.remove()
        shutil.rmtree(place)
