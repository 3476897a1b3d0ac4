"""`tally watch` as a process: what is written while it follows, and what becomes of it when things go wrong."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from tallystick import statusline
from tallystick.collector.account import make_account
from tallystick.collector.reader import BATCH_RECORDS
from tallystick.collector.watch import HINT_WAIT_MS, Watcher
from tallystick.config import Settings
from tallystick.errors import LedgerUnavailable
from tallystick.ledger import Ledger
from tallystick.model import UsageFilter
from tests.acceptance.machines import Machine, line
from tests.acceptance.watched import Watched
from tests.corpus import pi
from tests.corpus.reading import written
from tests.processes import LIMIT_S, until
from tests.servers import connect, free_port, hanging_server
from tests.sql.waiting import LOCKED_OUT, server_process, wait_for

CAN_LIMIT = (
    os.geteuid() == 0 and subprocess.run(["unshare", "-U", "true"], capture_output=True, check=False).returncode == 0
)


def test_what_is_written_while_it_follows_is_taken_in(watched: Watched) -> None:
    watched.append("one.jsonl", line(1), line(2))
    process = watched.start()
    watched.wait_for_events(2)
    watched.append("one.jsonl", line(3))
    watched.wait_for_events(3)
    # a new file in a new folder, and a line in two pieces
    watched.append("../two.jsonl", line(4)[:40])
    (watched.folder / "deep" / "er").mkdir(parents=True)
    watched.append("deep/er/three.jsonl", line(5))
    watched.wait_for_events(4)
    watched.append("../two.jsonl", line(4)[40:])
    watched.wait_for_events(5)
    # what the ledger has it logs a moment later, or not at all where it is ended in between
    until(lambda: sum(entry["new"] for entry in watched.log() if entry["event"] == "taken in") == 5)
    process.send_signal(signal.SIGTERM)
    assert process.wait(LIMIT_S) == 0
    assert {entry["level"] for entry in watched.log()} == {"info"}


def test_what_is_broken_is_not_behind_but_cannot_be_read(watched: Watched) -> None:
    database = watched.home / "opencode.db"
    database.write_bytes(b"no database at all" * 500)
    os.utime(database, (1_790_000_000, 1_790_000_000))
    watched.environ["OPENCODE_DB"] = str(database)
    watched.append("one.jsonl", line(1))
    watched.start()
    watched.wait_for_events(1)
    until(lambda: "Behind: nothing." in watched.tally("status").stdout)
    assert "Cannot read 1 file or folder: `tally sources` names what." in watched.tally("status").stdout


def test_a_last_line_without_its_newline_is_taken_in_when_it_has_rested(watched: Watched) -> None:
    watched.append("one.jsonl", line(1))
    watched.start()
    watched.wait_for_events(1)
    watched.append("one.jsonl", line(2).rstrip(b"\n"))
    watched.wait_for_events(2)


def test_a_line_at_rest_is_taken_in_while_others_are_written_without_end(watched: Watched) -> None:
    watched.append("one.jsonl", line(1))
    watched.start()
    watched.wait_for_events(1)
    watched.append("one.jsonl", line(2, output_tokens=10**6).rstrip(b"\n"))
    numbers = itertools.count(3)

    def is_taken_in() -> bool:
        watched.append("two.jsonl", line(next(numbers)))
        time.sleep(0.2)
        with Ledger.connect(watched.url, user_id=watched.user_id) as ledger:
            return ledger.usage_summary(UsageFilter()).output_tokens > 10**6

    until(is_taken_in)


def test_folders_that_come_while_it_follows_are_followed(watched: Watched) -> None:
    watched.append("one.jsonl", line(1))
    watched.start()
    watched.wait_for_events(1)
    watched.append("one.jsonl", line(4).rstrip(b"\n"))
    # by then the looks at everything are over with which it begins
    watched.wait_for_events(2)
    # of an agent that was not there
    session = watched.home / ".pi" / "agent" / pi.PATH
    session.parent.mkdir(parents=True)
    session.write_bytes(written(pi.header(), pi.message(1)))
    watched.wait_for_events(3)
    # and one that was, in its own place
    shutil.rmtree(watched.folder)
    watched.folder.mkdir()
    watched.append("two.jsonl", line(2))
    watched.wait_for_events(4)
    watched.append("two.jsonl", line(3))
    watched.wait_for_events(5)


def test_what_a_link_leads_to_is_followed(watched: Watched) -> None:
    elsewhere = watched.home / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "one.jsonl").write_bytes(line(1))
    (watched.folder.parent / "link").symlink_to(elsewhere)
    (elsewhere / "loop").symlink_to(elsewhere)
    watched.start()
    watched.wait_for_events(1)
    # at rest when the looks are over with which it begins
    watched.append("two.jsonl", line(2).rstrip(b"\n"))
    watched.wait_for_events(2)
    with (elsewhere / "one.jsonl").open("ab") as file:
        file.write(line(3))
    watched.wait_for_events(3)
    # links that are made while it follows, and files behind a link that grow
    for number, name in ((4, "file"), (6, "folder")):
        target = watched.home / name / "kept"
        target.parent.mkdir()
        target.with_suffix(".jsonl").write_bytes(line(number))
        link = watched.folder / (f"{name}.jsonl" if name == "file" else name)
        link.symlink_to(target.with_suffix(".jsonl") if name == "file" else target.parent)
        watched.wait_for_events(number)
        with target.with_suffix(".jsonl").open("ab") as file:
            file.write(line(number + 1))
        watched.wait_for_events(number + 1)
    # the same file by two paths
    assert {entry["duplicate"] for entry in watched.log() if entry["event"] == "taken in"} == {0}


def test_what_the_status_line_leaves_of_the_plans_limits_is_taken_in_though_no_transcript_changes(
    watched: Watched,
) -> None:
    watched.start()
    # by then the looks at everything are over with which it begins
    watched.append("one.jsonl", line(1).rstrip(b"\n"))
    watched.wait_for_events(1)
    for used_percent in (42, 43):
        window = f'"five_hour":{{"used_percentage":{used_percent},"resets_at":{int(time.time()) + 3600}}}'
        statusline.main([str(watched.home / "tallystick" / "state"), window])
        until(lambda expected=used_percent: watched.used_percents() == [expected])


def test_a_root_that_cannot_be_looked_for_keeps_nothing_from_being_told(watched: Watched) -> None:
    watched.environ["CLAUDE_CONFIG_DIR"] += f",{watched.home / ('x' * 300)}"
    watched.append("one.jsonl", line(1))
    watched.start()
    for number in (1, 2):
        watched.wait_for_events(number)
        watched.append("one.jsonl", line(number + 1))
    assert {entry["event"] for entry in watched.log() if entry["level"] == "warning"} == {"cannot read"}


def start_with_one_watch(watched: Watched) -> None:
    """In a user namespace, which has a limit of its own, and whose users are those outside."""
    limited = 'echo 1 > /proc/sys/user/max_inotify_watches && exec "$@"'
    process = watched.start("unshare", "-U", "sh", "-c", f"read _ && exec sh -c '{limited}' sh \"$@\"", "sh")
    outside = Path("/proc/self/ns/user").readlink()
    until(lambda: Path(f"/proc/{process.pid}/ns/user").readlink() != outside)
    for kind in ("uid_map", "gid_map"):
        Path(f"/proc/{process.pid}/{kind}").write_text("0 0 65536\n")
    assert process.stdin is not None
    process.stdin.write(b"\n")
    process.stdin.close()


@pytest.mark.skipif(not CAN_LIMIT, reason="needs a user namespace, in which watches can be limited")
def test_where_the_system_tells_of_nothing_more_it_looks_by_itself_and_says_so_once(watched: Watched) -> None:
    watched.append("one.jsonl", line(1))
    start_with_one_watch(watched)
    watched.wait_for_events(1)
    for number in (2, 3):
        watched.append("one.jsonl", line(number))
        watched.wait_for_events(number)
    (told,) = [entry for entry in watched.log() if entry["level"] == "warning"]
    assert told["event"] == "not told of changes"
    assert "limit reached" in told["reason"]
    assert "max_user_watches" in told["hint"]


class Hurried(threading.Event):
    """Waits for nothing, and notes for how long it was to; the ledger goes when files are waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None
        if timeout == HINT_WAIT_MS / 1000:
            raise LedgerUnavailable("gone again")
        self.waits.append(timeout)
        if len(self.waits) == 6:
            self.set()
        return self.is_set()


def test_pauses_grow_until_everything_was_taken_in(here: Machine) -> None:
    stop = Hurried()

    @contextmanager
    def open_ledger() -> Iterator[tuple[Ledger, Settings]]:
        if len(stop.waits) != 4:
            raise LedgerUnavailable("gone")
        yield here.ledger, here.settings

    Watcher(here.settings, open_ledger=open_ledger, stop=stop, pid=1).run()
    bases = [1, 2, 4, 8, 1, 2]
    assert [0.5 * base <= wait <= 1.5 * base for base, wait in zip(bases, stop.waits, strict=True)] == [True] * 6


def test_told_to_stop_it_ends_between_two_batches_of_an_import(here: Machine) -> None:
    calls = 3 * BATCH_RECORDS
    here.write("one.jsonl", b"".join(line(number) for number in range(calls)))
    make_account(here.ledger, "UTC")
    stop = threading.Event()

    @contextmanager
    def open_ledger() -> Iterator[tuple[Ledger, Settings]]:
        yield here.ledger, here.settings

    watcher = Watcher(here.settings, open_ledger=open_ledger, stop=stop, pid=1, command="tally watch")
    thread = threading.Thread(target=watcher.run)
    with connect(here.url) as connection:
        connection.execute("lock table public.token_usage_events")
        thread.start()
        wait_for(connection, LOCKED_OUT, [server_process(connection)])
        stop.set()
    thread.join(LIMIT_S)
    taken_in = here.tokens()[0]
    assert 0 < taken_in <= BATCH_RECORDS
    assert here.take_in().receipt.new == calls - taken_in


def test_one_follows_and_another_is_told_so_by_whatever_name_it_has_of_the_ledger(watched: Watched) -> None:
    first = watched.start()
    until(lambda: watched.tally("status").returncode == 0)
    parts = psycopg.conninfo.conninfo_to_dict(watched.url)
    (watched.home / "socket").symlink_to(str(parts["host"]))
    # the other folder's name is one that only the ledger's own id tells for the same
    for others in ({"password": "s3cret"}, {"host": str(watched.home / "socket")}):
        watched.environ["TALLYSTICK_DATABASE_URL"] = psycopg.conninfo.make_conninfo(**{**parts, **others})
        second = watched.tally("watch")
        assert second.returncode == 1
        assert f"`tally watch` (process {first.pid}) follows into this ledger already" in second.stderr
        status = watched.tally("status")
        assert status.returncode == 0
        assert f"(`tally watch`, process {first.pid})" in status.stdout


def test_after_a_kill_another_goes_on_where_it_was(watched: Watched) -> None:
    watched.append("one.jsonl", line(1), line(2))
    process = watched.start()
    watched.wait_for_events(2)
    # killed between the two it would send both again, and the ledger would tell of them as duplicates
    until(lambda: "Behind: nothing." in watched.tally("status").stdout)
    process.kill()
    process.wait()
    status = watched.tally("status")
    assert status.returncode == 3
    assert status.stdout.startswith("Nothing follows")
    watched.append("one.jsonl", line(3))
    assert "Behind: 1 file with " in watched.tally("status").stdout
    watched.start()
    watched.wait_for_events(3)
    until(lambda: "Behind: nothing." in watched.tally("status").stdout)
    # it read on, and nothing twice; what the killed one did last it may not have logged
    until(lambda: any(entry["new"] == 1 for entry in watched.log() if entry["event"] == "taken in"))
    assert {entry["duplicate"] for entry in watched.log() if entry["event"] == "taken in"} == {0}


def test_while_the_ledger_is_away_it_says_how_far_it_lags_and_then_catches_up(watched: Watched) -> None:
    watched.append("one.jsonl", line(1))
    watched.start()
    watched.wait_for_events(1)
    with connect(watched.url) as connection:
        name = connection.info.dbname
    with connect(watched.postgres_url, autocommit=True) as admin:
        admin.execute(f"alter database {name} with allow_connections false")
        admin.execute("select pg_terminate_backend(pid) from pg_stat_activity where datname = %s", [name])
        for number in range(2, 12):
            watched.append(f"{number}.jsonl", line(number))
        until(lambda: any(entry.get("files_waiting") == 10 for entry in watched.log()))
        status = watched.tally("status")
        assert status.returncode == 3
        assert "Waiting, the next try in " in status.stdout
        assert "Behind: 10 files with " in status.stdout
        admin.execute(f"alter database {name} with allow_connections true")
    watched.wait_for_events(11)
    until(lambda: watched.tally("status").returncode == 0)


def test_of_a_server_that_is_away_the_log_says_in_our_words_that_it_waits_and_nothing_else(watched: Watched) -> None:
    watched.environ["TALLYSTICK_DATABASE_URL"] = f"http://127.0.0.1:{free_port()}"
    watched.environ["TALLYSTICK_API_KEY"] = "tly_nobodys"
    watched.start()
    until(lambda: len(watched.log()) >= 2)
    assert {(entry["event"], entry["level"]) for entry in watched.log()} == {("waiting", "warning")}


def test_while_the_ledger_hangs_the_status_says_that_it_is_waited_for(watched: Watched) -> None:
    with hanging_server() as port:
        watched.environ["TALLYSTICK_DATABASE_URL"] = f"postgresql://tally@127.0.0.1:{port}/books?connect_timeout=600"
        process = watched.start()
        until(lambda: "Waiting since " in watched.tally("status").stdout)
        status = watched.tally("status")
        assert status.returncode == 3
        assert "for the ledger to answer." in status.stdout
        process.send_signal(signal.SIGTERM)
        assert process.wait(LIMIT_S) == 0


def test_a_ledger_that_is_not_installed_ends_it_with_one_line(watched: Watched) -> None:
    watched.environ["TALLYSTICK_DATABASE_URL"] = watched.postgres_url
    finished = watched.tally("watch")
    assert finished.returncode == 1
    assert finished.stderr.startswith("tally: the ledger is not installed in this database")


def test_what_starts_without_its_ledger_knows_how_far_it_lags_if_it_was_ever_answered(watched: Watched) -> None:
    url = watched.environ["TALLYSTICK_DATABASE_URL"]
    watched.environ["TALLYSTICK_DATABASE_URL"] = "postgresql://tally@127.0.0.1:1/nowhere"
    watched.start()
    until(lambda: "Waiting" in watched.tally("status").stdout)
    assert "Behind: unknown until the ledger has answered once." in watched.tally("status").stdout
    watched.environ["TALLYSTICK_DATABASE_URL"] = url
    process = watched.start()
    until(lambda: watched.tally("status").returncode == 0)
    assert "No transcripts were found on this machine." in watched.tally("status").stdout
    process.kill()
    process.wait()
    watched.append("one.jsonl", line(1))
    (watched.folder / "loop.jsonl").symlink_to("loop.jsonl")
    assert "Cannot read 1 file or folder: `tally sources` names what." in watched.tally("status").stdout
    with connect(url) as connection:
        name = connection.info.dbname
    with connect(watched.postgres_url, autocommit=True) as admin:
        admin.execute(f"alter database {name} with allow_connections false")
        watched.start()
        until(lambda: any(entry.get("files_waiting") == 1 for entry in watched.log()))
        assert "Behind: 1 file with " in watched.tally("status").stdout
        admin.execute(f"alter database {name} with allow_connections true")


def test_tracking_that_is_switched_off_is_not_followed(watched: Watched) -> None:
    watched.environ["TOKEN_TRACKING_ENABLED"] = "false"
    finished = watched.tally("watch")
    assert (finished.returncode, finished.stdout) == (1, "")
    assert finished.stderr.startswith("tally: token tracking is switched off")


def test_up_follows_too(watched: Watched) -> None:
    watched.append("one.jsonl", line(1))
    with watched.log_file.open("ab") as log:
        up = subprocess.Popen(
            [sys.executable, "-m", "tallystick", "up", "--port", "0"],
            env=watched.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=log,
        )
    watched.processes.append(up)
    watched.wait_for_events(1)
    until(lambda: watched.tally("status").returncode == 0)
    assert f"`tally up` (process {up.pid}) follows into this ledger already" in watched.tally("watch").stderr
    watched.append("one.jsonl", line(2))
    watched.wait_for_events(2)
    up.send_signal(signal.SIGTERM)
    assert up.wait(LIMIT_S) == 0
