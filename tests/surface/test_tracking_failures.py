"""Tracking without a ledger, in forked processes and at a process's end: what cannot be recorded is counted."""

from __future__ import annotations

import gc
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from tallystick import tracking
from tallystick.delivery import LedgerLike
from tallystick.errors import ConfigError
from tallystick.ledger import Ledger
from tallystick.schema import install_or_migrate
from tallystick.tracking import Tracker
from tests.servers import TcpServer, free_port
from tests.sql.waiting import wait_for
from tests.surface.tracked_answers import LIMIT_S, answer, events_of, key_of, output_tokens_of

# -- a ledger that is away


def test_nobody_waits_for_a_ledger_that_cannot_be_reached(make_tracker: Callable[..., Tracker]) -> None:
    # it takes connections and says nothing, so that connecting takes until its time is out
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        asked = threading.Event()

        def connect(owner: str) -> LedgerLike:
            asked.set()
            url = f"postgresql://u@127.0.0.1:{port}/db?connect_timeout=2"
            return Ledger.connect(url, user_id=owner, attempts=1)

        tracker = make_tracker(connect, retry_timeout_s=0.0, batch_interval_s=0.0)
        tracker.track(answer(1))
        assert asked.wait(LIMIT_S)
        tracker.track(answer(2))
        assert tracker.counts.waiting == 2  # and not one of them has been given up
        assert not tracker.flush(0.01)
        assert tracker.flush(LIMIT_S)
        assert tracker.counts.undelivered == 2


def test_answers_of_a_time_without_a_ledger_arrive_when_it_is_back(
    folder: Path, user_id: str, caplog: pytest.LogCaptureFixture
) -> None:
    server = TcpServer(folder)
    server.start()
    tracker = Tracker(lambda owner: Ledger.connect(server.url(), user_id=owner, attempts=1), user_id=user_id)
    try:
        install_or_migrate(server.url())
        tracker.track(answer(1))
        assert tracker.flush(LIMIT_S)
        server.stop(mode="immediate")
        for number in range(2, 5):
            tracker.track(answer(number))
        while "does not answer" not in caplog.text:
            assert not tracker.flush(0.05)
        server.start()
        assert tracker.flush(LIMIT_S)
        assert output_tokens_of(server.url(), user_id) == {key_of(number): 10 + number for number in range(1, 5)}
        assert (tracker.counts.delivered, tracker.counts.undelivered) == (4, 0)
    finally:
        tracker.close(LIMIT_S)
        server.stop()


def test_a_receipt_that_was_lost_is_no_second_event(
    tracker: Tracker, ledger_url: str, server_url: str, user_id: str
) -> None:
    tracker.track(answer(1))
    assert tracker.flush(LIMIT_S)
    name = psycopg.conninfo.conninfo_to_dict(ledger_url)["dbname"]
    with psycopg.connect(server_url, autocommit=True) as observer:
        ended = (
            "select pg_terminate_backend(pid, 60000) from pg_stat_activity where datname = %s and application_name = %s"
        )
        observer.execute(ended.encode(), [name, "tallystick"])
        gone = "select not exists (select from pg_stat_activity where datname = %s and application_name = %s)"
        wait_for(observer, gone, [name, "tallystick"])
    tracker.track(answer(1))
    tracker.track(answer(2))
    assert tracker.flush(LIMIT_S)
    assert output_tokens_of(ledger_url, user_id) == {key_of(1): 11, key_of(2): 12}
    assert (tracker.counts.delivered, tracker.counts.duplicates, tracker.counts.undelivered) == (2, 1, 0)


def test_a_ledger_that_refuses_costs_the_batch_and_is_told_once(
    make_tracker: Callable[..., Tracker], caplog: pytest.LogCaptureFixture
) -> None:
    def connect(_user_id: str) -> LedgerLike:
        raise ConfigError("no ledger is set up for tracking")

    tracker = make_tracker(connect)
    for number in range(3):
        tracker.track(answer(number))
        assert tracker.flush(LIMIT_S)
    assert tracker.counts.undelivered == 3
    assert caplog.text.count("no ledger is set up") == 1


def test_closing_gives_up_in_time_and_says_what_is_lost(user_id: str, caplog: pytest.LogCaptureFixture) -> None:
    nobody = f"postgresql://u@127.0.0.1:{free_port()}/db"
    tracker = Tracker(lambda owner: Ledger.connect(nobody, user_id=owner), user_id=user_id)
    for number in range(3):
        tracker.track(answer(number))
    assert not tracker.close(0.2)
    assert (tracker.counts.undelivered, tracker.counts.waiting) == (3, 0)
    assert "before 3 answers are recorded" in caplog.text
    tracker.track(answer(4))
    assert tracker.counts.dropped == 1
    assert tracker.close(LIMIT_S)


# -- processes


def test_a_forked_process_records_its_own_and_leaves_its_parents_alone(
    tracker: Tracker, ledger_url: str, user_id: str
) -> None:
    tracker.track(answer(1))
    assert tracker.flush(LIMIT_S)
    stream = tracker.tracked(iter(events_of(5, output_tokens=77)))
    next(stream)
    tracker.track(answer(2))
    child = os.fork()
    if child == 0:
        status = 1
        try:
            was_anew = sum(tracker.counts) == 0
            del stream
            gc.collect()
            tracker.track(answer(3))
            is_done = tracker.flush(LIMIT_S)
            status = 0 if was_anew and is_done and tracker.counts.delivered == 1 else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    list(stream)
    tracker.track(answer(4))
    assert tracker.flush(LIMIT_S)
    expected = {key_of(number): 10 + number for number in range(1, 5)}
    assert output_tokens_of(ledger_url, user_id) == {**expected, key_of(5): 77}
    counts = tracker.counts
    assert (counts.delivered, counts.duplicates, counts.undelivered) == (4, 0, 0)
    with psycopg.connect(ledger_url) as connection:
        assert connection.execute("select count(*) from public.token_usage_event_versions").fetchone() == (0,)


EXITING = """
import sys
import tallystick
from tests.surface.tracked_answers import answer, events_of

for number in range(20):
    tallystick.track(answer(number), session_id="exiting")
stream = tallystick.tracked(iter(events_of(20, output_tokens=77)))
next(stream)
sys.exit(3)
"""
IN_A_POOL = """
import multiprocessing
import tallystick
from tests.surface.tracked_answers import answer

def work(number):
    tallystick.track(answer(number))

if __name__ == "__main__":
    workers = [multiprocessing.get_context("fork").Process(target=work, args=[number]) for number in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
"""
UNTOLD = """
import tallystick
from tests.surface.tracked_answers import answer

tallystick.track(answer(1))
assert list(tallystick.tracked(iter([1, 2]))) == [1, 2]
print(tallystick.default_tracker().flush(60), tuple(tallystick.default_tracker().counts))
"""


def run_application(program: str, home: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program],
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": os.pathsep.join(sys.path),
            "TALLYSTICK_HOME": str(home),
            **environ,
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_an_application_that_ends_has_recorded_everything(ledger_url: str, user_id: str, home: Path) -> None:
    done = run_application(EXITING, home, TALLYSTICK_DATABASE_URL=ledger_url, USER_ID=user_id)
    assert (done.returncode, done.stdout, done.stderr) == (3, "", "")
    expected = {key_of(number): 10 + number for number in range(20)}
    assert output_tokens_of(ledger_url, user_id) == {**expected, key_of(20): 1}


def test_processes_of_multiprocessing_record_what_they_have_before_they_leave(
    ledger_url: str, user_id: str, home: Path
) -> None:
    done = run_application(IN_A_POOL, home, TALLYSTICK_DATABASE_URL=ledger_url, USER_ID=user_id)
    assert (done.returncode, done.stderr) == (0, "")
    assert set(output_tokens_of(ledger_url, user_id)) == {key_of(0), key_of(1)}


def test_an_application_without_settings_goes_on_and_is_told_why(home: Path) -> None:
    done = run_application(UNTOLD, home)
    assert (done.returncode, done.stdout) == (0, "True (0, 0, 0, 1, 0, 1, 0, 0)\n")
    assert "no ledger is set up for tracking" in done.stderr
    done = run_application(UNTOLD, home, TALLYSTICK_DATABASE_URL="postgresql://127.0.0.1/db")
    assert "nobody is named whose call it is" in done.stderr
    done = run_application(UNTOLD, home, USER_ID="me")
    assert (done.returncode, done.stdout) == (0, "True (0, 0, 0, 1, 0, 1, 0, 0)\n")
    assert "USER_ID is not a uuid" in done.stderr


def test_an_application_may_switch_tracking_off(home: Path) -> None:
    done = run_application(UNTOLD, home, TOKEN_TRACKING_ENABLED="false")
    assert (done.returncode, done.stdout, done.stderr) == (0, "True (0, 0, 0, 0, 0, 0, 0, 0)\n", "")


def test_the_ledger_of_the_settings_is_the_users(
    ledger_url: str, user_id: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TALLYSTICK_HOME", str(home))
    monkeypatch.setenv("TALLYSTICK_DATABASE_URL", ledger_url)
    ledger = tracking.ledger_for(user_id)
    assert isinstance(ledger, Ledger)
    with ledger:
        assert ledger.user_id == user_id


def test_the_command_line_loads_nothing_of_it() -> None:
    program = "import sys, tallystick.cli.main; print([name for name in sys.modules if name == 'tallystick.tracking'])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "[]\n"
