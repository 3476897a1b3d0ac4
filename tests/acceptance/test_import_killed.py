"""An importer stopped at any moment, kindly or not: nobody stays behind, and the next run ends where all would have."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

from tallystick.collector.run import import_new
from tallystick.config import Settings, load_settings
from tallystick.errors import TallystickError
from tallystick.ledger import Ledger
from tallystick.model import UsageFilter
from tests.acceptance.made_transcripts import Truth, make_home

IMPORTER = """
import os, sys
from tallystick.collector.run import import_new
from tallystick.config import load_settings
from tallystick.ledger import Ledger

settings = load_settings(os.environ)
try:
    with Ledger.connect(sys.argv[1], user_id=settings.user_id) as ledger:
        print("connected", flush=True)
        import_new(ledger, settings, workers=int(sys.argv[2]))
        print("done", flush=True)
except KeyboardInterrupt:
    print("interrupted")
    sys.exit(130)
"""


class Run(NamedTuple):
    """One user's machine: where the importer finds everything."""

    url: str
    environ: Mapping[str, str]

    @property
    def settings(self) -> Settings:
        return load_settings(self.environ)

    def start(self, workers: int) -> subprocess.Popen[str]:
        """An importer in a process group of its own, as a shell would start it; returns when it has the ledger."""
        process = subprocess.Popen(
            [sys.executable, "-c", IMPORTER, self.url, str(workers)],
            env={**self.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "connected\n"
        return process

    def finish(self) -> tuple[str, int]:
        """Import the rest here; answers the digest and how many calls the ledger has."""
        with Ledger.connect(self.url, user_id=self.settings.user_id) as ledger:
            import_new(ledger, self.settings)
            assert all(check.bad_rows == 0 for check in ledger.verify_token_usage())
            assert import_new(ledger, self.settings).receipt.received == 0
            return ledger.ledger_digest(), sum(row.event_count for row in ledger.usage_models(UsageFilter()))


class Books(NamedTuple):
    """Transcripts, with what an undisturbed import of them comes to and how long it takes."""

    url: str
    folder: Path
    truth: Truth
    digest: str
    duration_s: float

    def run(self, name: str) -> Run:
        """Somebody new with the same transcripts."""
        environ = {
            "HOME": str(self.folder),
            "TALLYSTICK_HOME": str(self.folder / name),
            "CLAUDE_CONFIG_DIR": str(self.folder / "claude"),
            "USER_ID": str(uuid.uuid4()),
        }
        return Run(self.url, environ)


@pytest.fixture(scope="module")
def books(module_ledger_url_18: str, tmp_path_factory: pytest.TempPathFactory) -> Books:
    folder = tmp_path_factory.mktemp("killed")
    truth = make_home(folder / "claude", files=5, calls_per_file=700)
    made = Books(module_ledger_url_18, folder, truth, "", 0.0)
    process = made.run("first").start(2)
    started_at = time.monotonic()
    assert process.communicate() == ("done\n", "")
    duration_s = time.monotonic() - started_at
    digest, calls = made.run("undisturbed").finish()
    assert calls == truth.calls
    return made._replace(digest=digest, duration_s=duration_s)


@pytest.mark.torture
def test_killing_an_importer_with_workers_leaves_nobody_behind_and_changes_nothing_in_the_end(
    books: Books, torture_rounds: int
) -> None:
    random_ = random.Random(1)
    for number in range(torture_rounds):
        run = books.run(f"killed-{number}")
        process = run.start(2)
        time.sleep(random_.uniform(0, books.duration_s))
        process.kill()
        assert process.stdout is not None
        # the workers hold the pipe too, so it ends only when they are all gone
        assert process.stdout.read() in {"", "done\n"}
        process.communicate()
        assert run.finish() == (books.digest, books.truth.calls)


@pytest.mark.torture
@pytest.mark.parametrize("workers", [1, 2])
def test_an_interrupt_at_any_moment_is_clean_and_changes_nothing_in_the_end(
    books: Books, workers: int, torture_rounds: int
) -> None:
    random_ = random.Random(workers)
    for number in range(torture_rounds):
        run = books.run(f"interrupted-{workers}-{number}")
        process = run.start(workers)
        time.sleep(random_.uniform(0, books.duration_s))
        # a terminal sends it to the workers as well
        os.killpg(process.pid, signal.SIGINT)
        output, errors = process.communicate()
        assert errors == ""
        # once it is done, the interrupt may also meet an interpreter on its way out
        assert output == "done\n" or (output, process.returncode) == ("interrupted\n", 130)
        assert run.finish() == (books.digest, books.truth.calls)


def children() -> set[int]:
    """The processes that this one has started and that have not ended."""
    with subprocess.Popen(["ps", "-A", "-o", "pid=,ppid=,stat="], stdout=subprocess.PIPE, text=True) as listing:
        rows = [row.split() for row in listing.communicate()[0].splitlines()]
    return {int(pid) for pid, parent, state in rows if int(parent) == os.getpid() and "Z" not in state} - {listing.pid}


def test_a_worker_that_is_killed_is_one_clear_error_and_loses_nothing(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    # so that no worker can be done before the parent has taken in what it sends
    monkeypatch.setattr("tallystick.collector.workers.PIPE_BYTES", 4096)
    run = books.run("worker")
    before = children()
    killed: set[int] = set()

    def kill_one(_: object) -> None:
        if not killed:
            killed.add((children() - before).pop())
            os.kill(max(killed), signal.SIGKILL)

    with Ledger.connect(run.url, user_id=run.settings.user_id) as ledger:
        with pytest.raises(TallystickError, match="was killed by signal 9") as raised:
            import_new(ledger, run.settings, workers=2, on_progress=kill_one)
        assert "Nothing is lost" in raised.value.hint
    assert children() == before
    assert run.finish() == (books.digest, books.truth.calls)


def test_two_importers_at_once_do_no_harm(books: Books) -> None:
    run = books.run("both")
    processes = [run.start(workers) for workers in (1, 2)]
    assert [process.communicate() for process in processes] == [("done\n", "")] * 2
    assert run.finish() == (books.digest, books.truth.calls)
