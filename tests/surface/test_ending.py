"""What ends the commands that run until they are stopped, and that the embedded server ends with them."""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import subprocess
import termios
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import pytest

from tallystick.private_files import is_locked
from tests.processes import LIMIT_S, until
from tests.servers import connect

if TYPE_CHECKING:
    from tests.surface.cli_home import Tally

pytest_plugins = "tests.surface.cli_home"

# pydantic's classes call this while they are made, and what it raises becomes a RuntimeError
SIGNAL_IN_AN_IMPORT = """
import os, signal, sys

def look(frame, event, _):
    code = frame.f_code
    if event == "call" and code.co_name == "__set_name__" and "/pydantic/_internal/" in code.co_filename:
        sys.setprofile(None)
        os.kill(os.getpid(), getattr(signal, os.environ["SIGNAL"]))

sys.setprofile(look)
"""

# the moment is that before a function of Python's runs, or after one of C's has run: no other can a signal interrupt
SIGNAL_AT_A_MOMENT = """
import os, signal, sys

FILE, FUNCTION, EVENT, *_ = MOMENT = os.environ["MOMENT"].split()
passed_over = len(MOMENT) > 3 and int(MOMENT[3])

def look(frame, event, _):
    global passed_over
    code = frame.f_code
    if event == EVENT and code.co_name == FUNCTION and code.co_filename.endswith("/tallystick/" + FILE):
        if passed_over:
            passed_over -= 1
            return
        sys.setprofile(None)
        os.kill(os.getpid(), signal.SIGHUP)

sys.setprofile(look)
"""


@pytest.fixture
def down(own: Tally) -> Tally:
    """A home of the test's own whose server runs only while a command needs it."""
    own.server().stop()
    return own


def is_down(tally: Tally) -> bool:
    status = tally.server().status()
    is_alive = is_locked(status.data_dir / "server.alive")  # one that is only on its way is not running yet
    return (status.is_running, is_alive, status.client_count) == (False, False, 0)


def follows(tally: Tally) -> bool:
    with tally.start("status") as process:
        process.communicate()
    return process.returncode == 0


@pytest.fixture
def in_a_terminal(down: Tally) -> Iterator[Callable[..., tuple[subprocess.Popen[str], int]]]:
    """Commands that have a terminal for their own, and that terminal."""
    processes: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> tuple[subprocess.Popen[str], int]:
        screen, inside = pty.openpty()
        process = down.start(
            *arguments,
            stdin=inside,
            stdout=inside,
            stderr=inside,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        processes.append(process)
        os.close(inside)
        return process, screen

    yield start
    for process in processes:
        process.kill()
        process.wait()


@pytest.mark.parametrize("command", [["watch"], ["up", "--port", "0"]], ids=["watch", "up"])
def test_the_end_of_its_terminal_ends_it_and_its_embedded_server(
    down: Tally, in_a_terminal: Callable[..., tuple[subprocess.Popen[str], int]], command: list[str]
) -> None:
    process, screen = in_a_terminal(*command)
    said = b""
    while command[0] == "up" and b"Serving" not in said:
        said += os.read(screen, 1 << 16)
    until(lambda: follows(down))
    os.close(screen)
    assert process.wait(LIMIT_S) == 0
    assert is_down(down)


def test_a_batch_that_waits_does_not_keep_its_server_up(
    down: Tally, truth: ModuleType, in_a_terminal: Callable[..., tuple[subprocess.Popen[str], int]]
) -> None:
    process, screen = in_a_terminal("up", "--port", "0")
    said = b""
    while b"Serving" not in said:
        said += os.read(screen, 1 << 16)
    until(lambda: follows(down))
    with connect(down.server().status().url) as holder:
        holder.execute("lock table token_usage_accounts")
        truth.write_transcripts(down.claude, truth.CALLS[:1], first_number=100)
        until(lambda: holder.execute("select from pg_locks where not granted").rowcount == 1)
        process.send_signal(signal.SIGTERM)
        assert process.wait(LIMIT_S) == 0
        holder.close()
    assert is_down(down)


def test_a_terminal_that_tells_of_its_end_again_and_again_does_no_harm(
    down: Tally, in_a_terminal: Callable[..., tuple[subprocess.Popen[str], int]]
) -> None:
    process, screen = in_a_terminal("up", "--port", "0")
    said = b""
    while b"Serving" not in said:
        said += os.read(screen, 1 << 16)
    os.close(screen)
    until(lambda: process.send_signal(signal.SIGHUP) is None and process.poll() is not None)
    assert process.returncode == 0
    assert is_down(down)


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP"])
def test_a_signal_while_a_servers_libraries_are_imported_ends_it_in_peace(
    down: Tally, tmp_path: Path, name: str
) -> None:
    (tmp_path / "sitecustomize.py").write_text(SIGNAL_IN_AN_IMPORT)
    path = f"{tmp_path}{os.pathsep}{down.environ['PYTHONPATH']}"
    with down.start("serve", "--port", "0", environ={"PYTHONPATH": path, "SIGNAL": name}) as process:
        assert process.communicate(timeout=LIMIT_S) == ("", "")
    assert process.returncode == 0
    assert is_down(down)


@pytest.mark.parametrize(
    "moment",
    [
        "private_files.py try_lock c_return",
        "private_files.py try_lock c_return 1",
        "embedded.py _enter c_return",
        "embedded.py _wait_for_silence call",
        "embedded.py _spawn call",
        "embedded_cluster.py _told_by call",
        "embedded.py _wait_until_ready call",
        "private_files.py is_locked call",
        "embedded.py _url call",
        "ledger.py usage_daily call",
    ],
)
def test_a_signal_at_any_moment_leaves_no_embedded_server_up(down: Tally, tmp_path: Path, moment: str) -> None:
    assert hung_up(down, "daily", tmp_path, moment) == 128 + signal.SIGHUP
    assert is_down(down)


@pytest.mark.parametrize("moment", ["embedded.py _wait_until_ready call", "embedded.py _url call"])
def test_what_follows_and_is_ended_before_it_does_has_done_what_it_was_told(
    down: Tally, tmp_path: Path, moment: str
) -> None:
    assert hung_up(down, "watch", tmp_path, moment) == 0
    assert is_down(down)


def hung_up(tally: Tally, command: str, folder: Path, moment: str) -> int:
    """The exit code of a command whose terminal is closed at that moment."""
    (folder / "sitecustomize.py").write_text(SIGNAL_AT_A_MOMENT)
    path = f"{folder}{os.pathsep}{tally.environ['PYTHONPATH']}"
    with tally.start(command, environ={"PYTHONPATH": path, "MOMENT": moment}) as process:
        out, err = process.communicate(timeout=LIMIT_S)
    assert out == ""
    assert "Error" not in err
    return process.returncode
