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
from typing import TYPE_CHECKING

import pytest

from tests.processes import LIMIT_S, until

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


@pytest.fixture
def down(own: Tally) -> Tally:
    """A home of the test's own whose server runs only while a command needs it."""
    own.server().stop()
    return own


def is_down(tally: Tally) -> bool:
    status = tally.server().status()
    return (status.is_running, status.client_count) == (False, 0)


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
