"""`tally live` at a real terminal: it leaves it as it was, however it is ended, and leaves nothing running."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit

import pytest

from tests.servers import Relay, hanging_server

if TYPE_CHECKING:
    from tests.surface.cli_home import Tally

pytest_plugins = "tests.surface.cli_home"

LIMIT_S = 60.0
# less than the wait for one connection to a ledger that hangs
LEAVING_LIMIT_S = 8.0
ENTERED, LEFT, CURSOR_SHOWN = b"\x1b[?1049h", b"\x1b[?1049l", b"\x1b[?25h"
# a colour other than the terminal's own
COLOUR = re.compile(rb"\x1b\[[0-9;]*(?:[34]8;[25]|\b[349][0-7]m|\b10[0-7]m)")


class Terminal:
    """A terminal of 80 columns and 24 lines with `tally live` in it."""

    def __init__(self, tally: Tally, *arguments: str, environ: dict[str, str] | None = None) -> None:
        self.screen, inside = pty.openpty()
        termios.tcsetwinsize(inside, (24, 80))
        self.settings = termios.tcgetattr(inside)
        self.said = b""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tallystick", "live", *arguments],
            env={**tally.environ, "TERM": "xterm-256color", **(environ or {})},
            cwd=tally.folder,
            stdin=inside,
            stdout=inside,
            stderr=inside,
            start_new_session=True,
        )
        self._inside = inside

    def until(self, is_so: Callable[[], bool], *, limit_s: float = LIMIT_S) -> None:
        """Read what it says until that is so."""
        deadline = time.monotonic() + limit_s
        while not is_so():
            assert time.monotonic() < deadline, self.said[-2000:]
            if select.select([self.screen], [], [], 0.05)[0]:
                self.said += os.read(self.screen, 1 << 16)

    def shows(self, text: str) -> None:
        self.until(lambda: text.encode() in self.said)

    def ends(self, *, limit_s: float = LIMIT_S) -> int:
        """The exit code, once it has ended and all that it said is read."""
        self.until(lambda: self.process.poll() is not None, limit_s=limit_s)
        while select.select([self.screen], [], [], 0)[0]:
            self.said += os.read(self.screen, 1 << 16)
        return self.process.returncode

    def is_as_it_was(self) -> bool:
        return (
            termios.tcgetattr(self._inside) == self.settings
            and self.said.rfind(LEFT) > self.said.rfind(ENTERED)
            and self.said.rfind(CURSOR_SHOWN) > self.said.rfind(LEFT) - 100
        )

    def close(self) -> None:
        for descriptor in (self.screen, self._inside):
            if descriptor >= 0:
                os.close(descriptor)
        self.screen = self._inside = -1


@pytest.fixture
def terminal(books: Tally) -> Iterator[Callable[..., Terminal]]:
    opened: list[Terminal] = []

    def open_terminal(*arguments: str, tally: Tally = books, **options: dict[str, str]) -> Terminal:
        opened.append(Terminal(tally, *arguments, **options))
        return opened[-1]

    yield open_terminal
    for one in opened:
        if one.process.poll() is None:
            one.process.kill()
            one.process.wait()
        one.close()


def add_call(tally: Tally) -> None:
    """A call of 2,003 tokens in a transcript of its own."""
    call = '{"type":"assistant","uuid":"x","timestamp":"2026-11-20T22:10:00.000Z","sessionId":"live","cwd":"/l",'
    call += '"message":{"id":"msg_live","model":"claude-opus-4-8","stop_reason":"end_turn",'
    call += '"usage":{"input_tokens":3,"output_tokens":2000}}}\n'
    (tally.claude / "projects" / "-nowhere" / "live.jsonl").write_text(call)


def test_without_a_terminal_it_says_what_to_run_instead(books: Tally) -> None:
    assert books.fail("live") == "tally: this needs a terminal. Run `tally daily` for the figures as text."


@pytest.mark.parametrize(
    "end",
    [
        pytest.param(lambda terminal: os.write(terminal.screen, b"q"), id="q"),
        pytest.param(lambda terminal: os.write(terminal.screen, b"\x03"), id="ctrl-c"),
        pytest.param(lambda terminal: terminal.process.send_signal(signal.SIGTERM), id="sigterm"),
        pytest.param(lambda terminal: terminal.process.send_signal(signal.SIGINT), id="sigint"),
    ],
)
def test_however_it_is_ended_the_terminal_is_as_it_was(
    terminal: Callable[..., Terminal], end: Callable[[Terminal], object]
) -> None:
    live = terminal()
    live.shows("Last calls")
    end(live)
    assert live.ends() == 0
    assert live.is_as_it_was()
    assert b"Traceback" not in live.said


def test_it_ends_with_its_terminal(terminal: Callable[..., Terminal]) -> None:
    live = terminal("--no-import")
    live.shows("Last calls")
    live.close()
    live.process.send_signal(signal.SIGHUP)  # as the system does to who has the terminal for its own
    live.process.wait(LIMIT_S)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_told_to_leave_before_its_ledger_has_answered_it_leaves(
    own: Tally, terminal: Callable[..., Terminal], number: signal.Signals
) -> None:
    with hanging_server() as port:
        live = terminal("--database", f"postgresql://tally@127.0.0.1:{port}/books?connect_timeout=600", tally=own)
        live.until(lambda: b"Waiting for the ledger" in live.said)
        live.process.send_signal(number)
        assert live.ends() == 0
        assert b"Traceback" not in live.said


def test_it_ends_while_its_ledger_hangs(own: Tally, terminal: Callable[..., Terminal]) -> None:
    url = urlsplit(own.server().status().url)
    with Relay(Path(dict(parse_qsl(url.query))["host"])) as relay:
        live = terminal("--database", f"postgresql://tallystick@127.0.0.1:{relay.port}/tallystick", tally=own)
        live.shows("Last calls")
        relay.hang()
        os.write(live.screen, b"r")
        add_call(own)
        # the view, and what takes in beside it
        live.until(lambda: relay.unanswered >= 2)
        os.write(live.screen, b"q")
        assert live.ends(limit_s=LEAVING_LIMIT_S) == 0
        assert live.is_as_it_was()


def test_where_no_colour_is_wanted_there_is_none(terminal: Callable[..., Terminal]) -> None:
    live = terminal("--no-import")
    live.shows("Last calls")
    assert COLOUR.search(live.said)
    plain = terminal("--no-import", environ={"NO_COLOR": "1"})
    plain.shows("Last calls")
    os.write(plain.screen, b"q")
    assert plain.ends() == 0
    assert not COLOUR.search(plain.said)


def test_what_keeps_it_from_taking_in_is_said(own: Tally) -> None:
    checkpoints = own.home / "state" / "checkpoints.sqlite3"
    checkpoints.unlink()
    checkpoints.mkdir()
    live = Terminal(own)
    try:
        live.shows("Nothing new is taken in")
        os.write(live.screen, b"q")
        assert live.ends() == 0
    finally:
        live.process.kill()
        live.process.wait()
        live.close()


def test_it_takes_in_what_is_new_by_itself(own: Tally) -> None:
    live = Terminal(own)
    try:
        live.shows("Last calls")
        assert b"2,003" not in live.said
        add_call(own)
        live.shows("2,003")
        assert f"`tally live` (process {live.process.pid}) follows into this ledger already" in own.fail("watch")
        os.write(live.screen, b"q")
        assert live.ends() == 0
    finally:
        live.process.kill()
        live.process.wait()
        live.close()
