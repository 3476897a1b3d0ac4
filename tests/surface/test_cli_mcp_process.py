"""The process of `tally mcp`, line by line: what ends it, what it leaves behind, and what does not disturb it."""

from __future__ import annotations

import json
import signal
import subprocess
from typing import IO, TYPE_CHECKING, Any

import pytest

from tests.processes import LIMIT_S, until
from tests.servers import connect, hanging_server

if TYPE_CHECKING:
    from tests.surface.cli_home import Tally

pytest_plugins = "tests.surface.cli_home"

# far from what an end takes, and far below what the waits for an answer last
LEAVING_LIMIT_S = 20


def line_of(method: str, number: int | None = None, **params: Any) -> str:
    identity = {} if number is None else {"id": number}
    return json.dumps({"jsonrpc": "2.0", "method": method, **identity, "params": params}) + "\n"


GREETING = line_of(
    "initialize", 0, protocolVersion="2025-11-25", capabilities={}, clientInfo={"name": "test", "version": "1"}
) + line_of("notifications/initialized")


def ask(process: subprocess.Popen[str], lines: str) -> IO[str]:
    """Put lines on its input, and answer that, to be closed."""
    assert process.stdin is not None
    process.stdin.write(lines)
    process.stdin.flush()
    return process.stdin


def answer(process: subprocess.Popen[str], number: int) -> dict[str, Any]:
    """The answer to one request; every line before it is JSON-RPC too."""
    assert process.stdout is not None
    for line in process.stdout:
        told = json.loads(line)
        assert told["jsonrpc"] == "2.0"
        if told.get("id") == number:
            assert isinstance(told, dict)
            return told
    raise AssertionError("the output ended")


def test_the_end_of_its_input_ends_it_and_the_server_that_it_started(own: Tally) -> None:
    server = own.server()
    server.stop()
    with own.start("mcp", stdin=subprocess.PIPE) as process:
        ask(process, GREETING + line_of("tools/list", 1))
        assert len(answer(process, 1)["result"]["tools"]) == 11
        assert not server.status().is_running
        ask(process, line_of("tools/call", 2, name="usage_summary", arguments={}))
        assert answer(process, 2)["result"]["structuredContent"]["event_count"] == 7
        assert server.status().is_running
        rest, said = process.communicate(timeout=LIMIT_S)
    assert (process.returncode, rest, said) == (0, "", "")
    assert (server.status().is_running, server.status().client_count) == (False, 0)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_while_it_waits_for_input_and_the_server_that_it_started(
    own: Tally, number: signal.Signals
) -> None:
    server = own.server()
    server.stop()
    with own.start("mcp", stdin=subprocess.PIPE) as process:
        ask(process, GREETING + line_of("tools/call", 1, name="usage_summary", arguments={}))
        answer(process, 1)
        assert server.status().is_running
        process.send_signal(number)
        assert process.wait(LIMIT_S) == 0
        assert process.stdout is not None
        assert process.stdout.read() == ""
    assert (server.status().is_running, server.status().client_count) == (False, 0)


def test_a_question_that_waits_for_a_lock_does_not_keep_the_server_up(own: Tally) -> None:
    server = own.server()
    server.stop()
    with own.start("mcp", stdin=subprocess.PIPE) as process:
        ask(process, GREETING + line_of("tools/call", 1, name="usage_summary", arguments={}))
        answer(process, 1)
        with connect(server.status().url) as holder:
            holder.execute("lock table token_usage_accounts")
            input_ = ask(process, line_of("tools/call", 2, name="usage_summary", arguments={}))
            until(lambda: holder.execute("select from pg_locks where not granted").rowcount == 1)
            input_.close()
            assert process.wait(LIMIT_S) == 0
            holder.close()
    assert (server.status().is_running, server.status().client_count) == (False, 0)


@pytest.mark.parametrize(("scheme", "is_told"), [("postgresql", True), ("http", False)])
def test_it_ends_while_its_ledger_hangs(fresh: Tally, scheme: str, is_told: bool) -> None:
    with hanging_server() as port:
        # it would wait for longer than this test does
        url = f"{scheme}://127.0.0.1:{port}/books" + ("?connect_timeout=600" if scheme == "postgresql" else "")
        key = {"TALLYSTICK_API_KEY": "tly_" + "x" * 43}
        with fresh.start("mcp", "--database", url, environ=key, stdin=subprocess.PIPE) as process:
            question = line_of("tools/call", 1, name="usage_summary", arguments={})
            input_ = ask(process, GREETING + question + line_of("tools/list", 2))
            answer(process, 2)
            if is_told:
                process.send_signal(signal.SIGTERM)
            else:
                input_.close()
            try:
                assert process.wait(LEAVING_LIMIT_S) == 0
            finally:
                process.kill()
            assert process.stderr is not None
            assert process.stderr.read() == ""


def test_garbage_on_its_input_disturbs_nothing(books: Tally) -> None:
    garbage = 'hello\n{"jsonrpc": "2.0"\n[]\n\n{"jsonrpc": "2.0", "id": 7}\n\x00\ufffd\n'
    with books.start("mcp", stdin=subprocess.PIPE) as process:
        wrong, right = ([1], {})
        questions = [
            line_of("tools/call", number, name="usage_summary", arguments=arguments)
            for number, arguments in enumerate((wrong, right), 1)
        ]
        ask(process, garbage + GREETING + garbage + "".join(questions))
        assert answer(process, 2)["result"]["structuredContent"]["event_count"] == 7
        _, said = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 0
    assert "Traceback" not in said


def test_input_that_is_empty_is_an_end(books: Tally) -> None:
    assert books.lines("mcp") == []
