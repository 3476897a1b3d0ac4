"""Fixtures for the tests of the command line: processes of `python -m tallystick` in a home of their own.

The transcripts are invented, call by call, with the prices that the expected costs are computed from beside them.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pytest

from tallystick.embedded import EmbeddedServer
from tests.processes import tally_environ

SHOP, SHOP_API, NOTES = "/nowhere/ann/shop", "/nowhere/ann/shop-api", "/nowhere/ben/notes"
FIRST, SECOND, THIRD = (f"{number}a000000-1111-4222-8333-444444444444" for number in (1, 2, 3))
OPUS, HAIKU, UNPRICED = "claude-opus-4-8", "claude-haiku-4-5-20251001", "acme-large-1"
# US dollars per million tokens: input, output, cache read, cache write for 5 minutes and for an hour.
RATES = {OPUS: ("5", "25", "0.5", "6.25", "10"), HAIKU: ("1", "5", "0.1", "1.25", "2")}
WEB_SEARCH_USD = Decimal("0.01")


class Call(NamedTuple):
    """One model call as the transcripts tell it."""

    session_id: str
    project: str
    model: str
    time: str
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    write_5m_tokens: int = 0
    write_1h_tokens: int = 0
    thinking_tokens: int = 0
    web_search_requests: int = 0

    @property
    def cost_usd(self) -> Decimal | None:
        """By hand: each bucket at its rate per million, and a cent per web search."""
        if self.model not in RATES:
            return None
        counts = (
            self.input_tokens,
            self.output_tokens,
            self.cache_read_tokens,
            self.write_5m_tokens,
            self.write_1h_tokens,
        )
        tokens = sum(count * Decimal(rate) for count, rate in zip(counts, RATES[self.model], strict=True))
        return tokens * Decimal("0.000001") + self.web_search_requests * WEB_SEARCH_USD

    @property
    def cache_creation_tokens(self) -> int:
        return self.write_5m_tokens + self.write_1h_tokens


# The zone of the tests is Europe/Berlin, in November an hour ahead of UTC: 23:30Z belongs to the next day.
CALLS = (
    Call(FIRST, SHOP, OPUS, "2026-11-02T09:15:00.000Z", 1200, 350, 40_000, 900, 100, 40),
    Call(FIRST, SHOP, OPUS, "2026-11-02T09:16:30.500Z", 7, 2_500, 61_000, 1_500, 0, 700, 2),
    Call(FIRST, SHOP, HAIKU, "2026-11-02T23:30:00.000Z", 30, 80, 1_000),
    Call(SECOND, SHOP_API, HAIKU, "2026-11-08T12:00:00.000Z", 11, 222, 3_333, 444, 55),
    Call(SECOND, SHOP_API, UNPRICED, "2026-11-08T12:05:00.000Z", 1_000, 2_000, 0),
    Call(SECOND, SHOP_API, UNPRICED, "2026-11-08T12:06:00.000Z", 10, 20, 0),
    Call(THIRD, NOTES, OPUS, "2026-11-20T22:00:00.000Z", 3, 1, 0),
)


def expected(calls: Sequence[Call]) -> dict[str, Any]:
    """The totals of these calls, as --json has them."""
    costs = [call.cost_usd for call in calls if call.cost_usd is not None]
    return {
        "input_tokens": sum(call.input_tokens for call in calls),
        "output_tokens": sum(call.output_tokens for call in calls),
        "thinking_tokens": sum(call.thinking_tokens for call in calls),
        "cache_creation_tokens": sum(call.cache_creation_tokens for call in calls),
        "cache_read_tokens": sum(call.cache_read_tokens for call in calls),
        "web_search_requests": sum(call.web_search_requests for call in calls),
        "message_count": len(calls),
        "cost_usd": f"{sum(costs, Decimal(0)).normalize():f}" if costs else None,
        "unpriced_event_count": len(calls) - len(costs),
    }


def write_transcripts(config_dir: Path, calls: Sequence[Call] = CALLS, *, first_number: int = 0) -> None:
    """One file per session; every call is written twice, as while it streams, the first time with little output.

    The number of a call makes its id.
    """
    for number, call in enumerate(calls, first_number):
        usage = {
            "input_tokens": call.input_tokens,
            "output_tokens": call.output_tokens,
            "output_tokens_details": {"thinking_tokens": call.thinking_tokens},
            "cache_read_input_tokens": call.cache_read_tokens,
            "cache_creation_input_tokens": call.cache_creation_tokens,
            "cache_creation": {
                "ephemeral_5m_input_tokens": call.write_5m_tokens,
                "ephemeral_1h_input_tokens": call.write_1h_tokens,
            },
            "server_tool_use": {"web_search_requests": call.web_search_requests, "web_fetch_requests": 0},
        }
        message = {"id": f"msg_01CliTest{number:08d}", "model": call.model, "stop_reason": "end_turn", "usage": usage}
        started = {
            **message,
            "stop_reason": None,
            "usage": {**usage, "output_tokens": 1, "output_tokens_details": None},
        }
        for copy, said in enumerate((started, message)):
            add_line(
                config_dir,
                call.session_id,
                {
                    "type": "assistant",
                    "uuid": f"{number}-{copy}",
                    "timestamp": call.time,
                    "sessionId": call.session_id,
                    "requestId": f"req_{number}",
                    "cwd": call.project,
                    "version": "2.1.330",
                    "message": said,
                },
            )


def add_line(config_dir: Path, session_id: str, line: dict[str, Any] | str) -> None:
    """Append one line to the transcript of a session."""
    folder = config_dir / "projects" / "-nowhere"
    folder.mkdir(parents=True, exist_ok=True)
    text = line if isinstance(line, str) else json.dumps(line, separators=(",", ":"))
    with (folder / f"{session_id}.jsonl").open("a", encoding="utf-8") as file:
        file.write(text + "\n")


class Tally:
    """`tally` in one home: settings, ledger and transcripts of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = folder / "my tälly"
        self.claude = folder / "claude"
        folders = {"TALLYSTICK_HOME": str(self.home), "CLAUDE_CONFIG_DIR": str(self.claude)}
        self.environ = tally_environ(folder, **folders, TZ="Europe/Berlin", COLUMNS="80")

    def server(self) -> EmbeddedServer:
        return EmbeddedServer(self.home / "data" / "postgres")

    def start(self, *arguments: str, environ: dict[str, str] | None = None, **options: Any) -> subprocess.Popen[str]:
        """A process of `tally`; an environment variable of "" is taken away."""
        merged = {**self.environ, **(environ or {})}
        return subprocess.Popen(
            [sys.executable, "-m", "tallystick", *arguments],
            env={name: value for name, value in merged.items() if value},
            cwd=options.pop("cwd", self.folder),
            text=True,
            encoding="utf-8",
            stdin=options.pop("stdin", subprocess.DEVNULL),
            stdout=options.pop("stdout", subprocess.PIPE),
            stderr=options.pop("stderr", subprocess.PIPE),
            **options,
        )

    def run(
        self,
        *arguments: str,
        exit_code: int = 0,
        environ: dict[str, str] | None = None,
        cwd: Path | None = None,
        answer: str = "",
    ) -> subprocess.CompletedProcess[str]:
        """Run to the end, which must be this exit code."""
        process = self.start(*arguments, environ=environ, cwd=cwd or self.folder, stdin=subprocess.PIPE)
        out, err = process.communicate(answer, timeout=120)
        assert process.returncode == exit_code, f"exit code {process.returncode}: {err}\n{out}"
        return subprocess.CompletedProcess(arguments, process.returncode, out, err)

    def lines(self, *arguments: str, **options: Any) -> list[str]:
        """What it prints, when all goes well and nothing is said beside it."""
        done = self.run(*arguments, **options)
        assert done.stderr == ""
        return done.stdout.splitlines()

    def json(self, *arguments: str, **options: Any) -> dict[str, Any]:
        """What it prints with --json."""
        document = json.loads("\n".join(self.lines(*arguments, "--json", **options)))
        assert isinstance(document, dict)
        return document

    def fail(self, *arguments: str, exit_code: int = 1, **options: Any) -> str:
        """The one line of an error."""
        done = self.run(*arguments, exit_code=exit_code, **options)
        assert done.stdout == ""
        (line,) = done.stderr.splitlines()
        assert line.startswith("tally: ")
        return line


def make_folder() -> Path:
    """A folder directly below /tmp: root's server cannot live below pytest's, which are closed to everybody else."""
    folder = Path(tempfile.mkdtemp(prefix="tally-cli-", dir="/tmp"))
    folder.chmod(0o755)
    return folder


def remove(tally: Tally) -> None:
    """Stop the server and delete everything."""
    tally.server().erase()
    shutil.rmtree(tally.folder)


@pytest.fixture(scope="session")
def truth() -> ModuleType:
    """This module, for tests that need what it knows: importing it themselves would keep pytest from doing it."""
    return sys.modules[__name__]


@pytest.fixture(scope="session")
def made_empty() -> Iterator[Path]:
    """A home with an empty ledger and its server down, to be copied: making a ledger takes seconds."""
    tally = Tally(make_folder())
    tally.run("daily")
    yield tally.folder
    remove(tally)


@pytest.fixture(scope="session")
def made_home(made_empty: Path) -> Iterator[Path]:
    """A home whose ledger holds CALLS, with its server down, to be copied."""
    tally = copy_of(made_empty)
    write_transcripts(tally.claude)
    tally.run("import")
    tally.server().stop()
    yield tally.folder
    remove(tally)


def copy_of(made: Path) -> Tally:
    """The same home at another place, with its server kept up."""
    folder = make_folder()
    subprocess.run(["cp", "-a", f"{made}/.", str(folder)], check=True)
    tally = Tally(folder)
    server = tally.server()
    server.acquire()
    server.keep_up()
    server.release()
    return tally


@pytest.fixture(scope="session")
def books(made_home: Path) -> Iterator[Tally]:
    """A home whose ledger holds CALLS; for tests that change nothing of it."""
    tally = copy_of(made_home)
    yield tally
    remove(tally)


@pytest.fixture
def own(made_home: Path) -> Iterator[Tally]:
    """A home of the test's own, whose ledger holds CALLS."""
    tally = copy_of(made_home)
    yield tally
    remove(tally)


@pytest.fixture
def empty(made_empty: Path) -> Iterator[Tally]:
    """A home of the test's own, with an empty ledger and without transcripts."""
    tally = copy_of(made_empty)
    yield tally
    remove(tally)


@pytest.fixture
def fresh() -> Iterator[Tally]:
    """A machine on which Tallystick has never run, and without transcripts."""
    tally = Tally(make_folder())
    yield tally
    remove(tally)
