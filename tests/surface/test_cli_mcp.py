"""`tally mcp` as agents meet it: the SDK's own client, over standard input and output, before a real ledger."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal

from tallystick.ledger import Ledger
from tests.sql.waiting import LOCKED_OUT, server_process, wait_for
from tests.surface.records import batch_of, observation

# the SDK takes a second to import: whoever asks for a client pays, not every process that collects the tests
if TYPE_CHECKING:
    from mcp import ClientSession
    from mcp_types import CallToolResult, Tool

    from tests.surface.cli_home import Tally

pytest_plugins = "tests.surface.cli_home"

LIMIT_S = 120
# tool, its arguments, and the command that asks the same
SAME_QUESTIONS: list[tuple[str, dict[str, Any], str]] = [
    ("usage_daily", {}, "daily"),
    (
        "usage_daily",
        {"by": "model", "since": "2026-11-03", "until": "2026-11-08"},
        "daily --by model --since 2026-11-03 --until 2026-11-08",
    ),
    ("usage_daily", {"by": "device", "timezone": "Asia/Tokyo"}, "daily --by device --timezone Asia/Tokyo"),
    ("usage_weekly", {"week_start": "sunday"}, "weekly --week-start sunday"),
    ("usage_monthly", {"by": "project", "last": None}, "monthly --by project"),
    ("usage_sessions", {"source": ["claude-code"]}, "sessions --source claude-code"),
    ("usage_session", {"session_id": "1a000000"}, "session 1a000000"),
    ("usage_blocks", {"by": "session"}, "blocks --by session"),
    (
        "usage_models",
        {"model": ["acme-large-1", "claude-opus-4-8"]},
        "models --model acme-large-1 --model claude-opus-4-8",
    ),
    ("usage_projects", {"project": ["/nowhere/ann/shop"]}, "projects --project /nowhere/ann/shop"),
]


class Client:
    """An agent with one server of its own."""

    def __init__(self, portal: BlockingPortal, session: ClientSession) -> None:
        self._portal = portal
        self._session = session

    def tools(self) -> dict[str, Tool]:
        return {tool.name: tool for tool in self._portal.call(self._session.list_tools).tools}

    def start(self, name: str, **arguments: Any) -> Future[CallToolResult]:
        return self._portal.start_task_soon(self._session.call_tool, name, arguments)

    def call(self, name: str, **arguments: Any) -> CallToolResult:
        return self.start(name, **arguments).result(LIMIT_S)

    def ask(self, name: str, **arguments: Any) -> dict[str, Any]:
        """The document that a tool answers, which its text says too."""
        result = self.call(name, **arguments)
        assert not result.is_error, result.content
        document = result.structured_content
        assert json.loads(result.content[0].text) == document
        assert isinstance(document, dict)
        return document

    def refusal(self, name: str, **arguments: Any) -> str:
        """The one line of an error."""
        result = self.call(name, **arguments)
        assert result.is_error
        assert result.structured_content is None
        (content,) = result.content
        assert "\n" not in content.text
        assert "Traceback" not in content.text
        return str(content.text)


@contextmanager
def client_of(tally: Tally, *arguments: str, **environ: str) -> Iterator[Client]:
    from mcp import ClientSession, StdioServerParameters
    from mcp.client.stdio import stdio_client

    parameters = StdioServerParameters(
        command=sys.executable, args=["-m", "tallystick", "mcp", *arguments], env={**tally.environ, **environ}
    )

    @asynccontextmanager
    async def connected() -> Any:
        async with stdio_client(parameters) as streams, ClientSession(*streams) as session:
            await session.initialize()
            yield session

    with start_blocking_portal() as portal, portal.wrap_async_context_manager(connected()) as session:
        yield Client(portal, session)


@pytest.fixture(scope="module")
def client(books: Tally) -> Iterator[Client]:
    with client_of(books) as client:
        yield client


def test_every_tool_says_that_it_only_reads_what_it_takes_and_what_its_figures_are(client: Client) -> None:
    tools = client.tools()
    assert tools.keys() == {tool for tool, _, _ in SAME_QUESTIONS} | {
        *("usage_summary", "usage_limits", "verify_token_usage")
    }
    for tool in tools.values():
        assert tool.annotations is not None
        assert (tool.annotations.read_only_hint, tool.annotations.destructive_hint) == (True, False)
        assert (tool.annotations.idempotent_hint, tool.annotations.open_world_hint) == (True, False)
        assert tool.output_schema is not None
        assert tool.input_schema["additionalProperties"] is False
        assert all("description" in told for told in tool.input_schema["properties"].values())
        assert "user_id" not in tool.input_schema["properties"]
    daily = tools["usage_daily"]
    breakdown = daily.input_schema["properties"]["by"]["anyOf"][0]
    assert breakdown["enum"] == ["model", "project", "source", "session", "device"]
    for words in ("inclusive", "exact decimal text in US dollars", "null is not 0", "time_zone", "`next`"):
        assert words in str(daily.description)


@pytest.mark.parametrize(("tool", "arguments", "command"), SAME_QUESTIONS)
def test_a_tool_answers_what_the_command_prints(
    client: Client, books: Tally, *, tool: str, arguments: dict[str, Any], command: str
) -> None:
    document = client.ask(tool, **arguments)
    assert document.pop("next") is None
    assert document == books.json(*command.split(), "--no-import")


def test_the_summary_is_the_sum_of_the_calls_to_the_last_digit(client: Client, truth: Any) -> None:
    whole = client.ask("usage_summary")
    assert truth.expected(truth.CALLS).items() <= whole.items()
    assert (whole["session_count"], whole["event_count"]) == (3, len(truth.CALLS))
    one_day = client.ask("usage_summary", since="2026-11-03", until="2026-11-03")
    assert one_day["cost_usd"] == "0.00053"  # haiku: 30 in at 1, 80 out at 5, 1,000 from the cache at 0.1 per million
    unpriced = client.ask("usage_summary", model=["acme-large-1"])
    assert (unpriced["cost_usd"], unpriced["unpriced_event_count"]) == (None, 2)


def test_the_limits_are_those_that_the_provider_told(client: Client, books: Tally) -> None:
    told = datetime.now(UTC).replace(microsecond=0)
    ends = told.replace(second=0) + timedelta(hours=2)
    limit = {
        "source": "codex",
        "limit_name": "five_hour",
        "window_minutes": 300,
        "used_percent": "12.50",
        "resets_at": ends.isoformat(),
        "observed_at": told.isoformat(),
    }
    with Ledger.connect(books.server().status().url) as ledger:
        ledger.user_id = ledger.only_account()
        assert ledger.observe_usage_limits(json.dumps([limit])).new == 1
    as_json = {"resets_at": f"{ends:%Y-%m-%dT%H:%M:%SZ}", "observed_at": f"{told:%Y-%m-%dT%H:%M:%SZ}"}
    document = client.ask("usage_limits")
    assert document == {"limits": [{**limit, **as_json, "used_percent": "12.5"}]}
    assert document == books.json("limits", "--no-import")


def test_the_ledger_is_proved(client: Client) -> None:
    checks = client.ask("verify_token_usage")["checks"]
    assert len(checks) > 5
    assert {check["bad_rows"] for check in checks} == {0}


def test_an_answer_of_many_rows_says_that_there_are_more_and_how_to_have_them(client: Client, truth: Any) -> None:
    rows: list[Any] = []
    arguments: dict[str, Any] = {"limit": 3}
    while True:
        result = client.call("usage_daily", by="session", **arguments)
        page = result.structured_content
        rows += page["days"]
        assert page["totals"] == truth.expected(truth.CALLS)
        if page["next"] is None:
            break
        arguments["after"] = json.dumps(page["next"])
        # what the words say to do is what the next question is
        assert json.loads(result.content[1].text.partition("`after`: ")[2]) == page["next"]
    assert len(result.content) == 1
    assert rows == client.ask("usage_daily", by="session")["days"]


@pytest.mark.parametrize(
    ("tool", "arguments", "words"),
    [
        ("usage_daily", {"since": "2026-11-09", "until": "2026-11-01"}, "the range ends before it begins"),
        ("usage_daily", {"since": "yesterday"}, "since: Value error, write a day as YYYY-MM-DD"),
        ("usage_daily", {"last": "7d", "until": "2026-11-01"}, "`last` says both ends of the range"),
        ("usage_daily", {"by": "weather"}, "no breakdown by 'weather'. Use model, project, source, session or device."),
        ("usage_daily", {"limit": 101}, "limit: Input should be less than or equal to 100"),
        ("usage_daily", {"after": "[]"}, "`after` is no row of this report"),
        ("usage_daily", {"project": "s3cr3t"}, "project: Input should be a valid list"),
        ("usage_models", {"timezone": "Mars/Olympus"}, "Mars/Olympus"),
        ("usage_session", {}, "session_id: Field required"),
        ("usage_session", {"session_id": "ffff"}, "no session 'ffff'"),
        ("verify_token_usage", {"user_id": "nobody"}, "user_id: Extra inputs are not permitted"),
    ],
)
def test_a_wrong_argument_is_an_error_of_the_tool_in_one_line(
    client: Client, tool: str, arguments: dict[str, Any], words: str
) -> None:
    told = client.refusal(tool, **arguments)
    assert words in told
    assert "s3cr3t" not in told


def test_a_tool_that_is_not_there_is_an_error_of_the_protocol(client: Client) -> None:
    from mcp.shared.exceptions import MCPError

    with pytest.raises(MCPError, match="no tool 'usage_yearly'; there are usage_daily, "):
        client.call("usage_yearly")


def test_many_questions_at_once_are_all_answered(client: Client) -> None:
    waiting = [client.start("usage_models") for _ in range(8)]
    answers = [one.result(LIMIT_S).structured_content for one in waiting]
    assert answers == [client.ask("usage_models")] * 8


def test_a_question_that_waits_for_the_database_holds_nobody_else_up(client: Client, books: Tally) -> None:
    with psycopg.connect(books.server().status().url) as connection:
        connection.execute("lock table public.token_usage_by_day")
        waiting = client.start("usage_summary")
        wait_for(connection, LOCKED_OUT, [server_process(connection)])
        assert client.tools()
        assert not waiting.done()
        connection.rollback()
        assert not waiting.result(LIMIT_S).is_error


def test_an_answer_is_never_large_however_long_its_labels_are(own: Tally) -> None:
    url = own.server().status().url
    with Ledger.connect(url) as ledger:
        ledger.user_id = ledger.only_account()
        observations = [
            observation(number, session_id=f"{number:0200}", project=f"/{number:0499}", model=f"unpriced-{number:0180}")
            for number in range(120)
        ]
        assert ledger.ingest_token_usage(batch_of(*observations)).new == 120
    with client_of(own, "--database", url) as client:
        rows: list[Any] = []
        arguments: dict[str, Any] = {"limit": 100}
        while True:
            result = client.call("usage_sessions", **arguments)
            page = result.structured_content
            assert len(result.content[0].text) <= 1 << 16
            assert 25 <= len(page["sessions"]) < 100 or page["next"] is None
            assert len(page["unpriced_models"]) == 50
            rows += page["sessions"]
            if page["next"] is None:
                break
            arguments["after"] = json.dumps(page["next"])
    assert rows == own.json("sessions", "--no-import")["sessions"]


def test_a_ledger_that_is_away_is_told_and_answers_once_it_is_back(own: Tally, truth: Any) -> None:
    server = own.server()
    url = server.status().url
    with client_of(own, "--database", url) as client:
        assert client.ask("usage_summary")["event_count"] == len(truth.CALLS)
        server.stop()
        told = client.refusal("usage_summary")
        assert "cannot reach the ledger" in told
        assert client.tools()
        server.acquire()
        server.keep_up()
        server.release()
        assert client.ask("usage_summary")["event_count"] == len(truth.CALLS)


def test_an_embedded_server_that_was_stopped_is_started_again_for_the_next_question(own: Tally, truth: Any) -> None:
    with client_of(own) as client:
        assert client.ask("usage_summary")["event_count"] == len(truth.CALLS)
        own.server().stop()
        assert client.ask("usage_summary")["event_count"] == len(truth.CALLS)


def test_a_password_in_the_address_of_the_ledger_is_never_told(own: Tally) -> None:
    with client_of(own, "--database", "postgresql://ann:s3cr3t@127.0.0.1:1/ledger") as client:
        told = client.refusal("usage_daily")
    assert told.startswith("cannot reach the ledger at postgresql://ann:***@127.0.0.1:1/ledger")
    assert told.endswith("Check that the server runs and that the URL is right.")
