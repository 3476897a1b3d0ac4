"""docs/supabase.md does what it says: its own commands, programs and SQL, run on a new project."""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tallystick.schema import known_migrations
from tests.servers import TcpServer
from tests.supabase.project import (
    CLI,
    FOLDER,
    PUBLISHABLE_KEY,
    SECRET_KEY,
    USER_PASSWORD,
    Api,
    environment,
    make_database,
    run,
)

ROOT = Path(__file__).parents[2]
DOC = (ROOT / "docs" / "supabase.md").read_text(encoding="utf-8")
# these speak to an account on supabase.com; the rest runs as it stands
ACCOUNT_COMMANDS = {"supabase login", "supabase link --project-ref PROJECT"}
CALLS = [
    {
        "event_key": f"anthropic:msg_{number}",
        "occurred_at": f"2026-11-1{number}T12:00:00Z",
        "source": "claude-code",
        "provider": "anthropic",
        "model": "claude-opus-4-8",
        "session_id": f"session-{number}",
        "project": "/work/shop",
        "input_tokens": 1000,
        "output_tokens": 3000 + number,
    }
    for number in range(4)
]
# 5 and 25 dollars per million tokens
COST_USD = sum(1000 * Decimal(5) + (3000 + number) * Decimal(25) for number in range(4)) / 10**6


def section(title: str) -> str:
    """What stands under a heading."""
    (text,) = re.findall(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", DOC, flags=re.MULTILINE | re.DOTALL)
    return str(text)


def blocks(text: str, language: str) -> list[str]:
    """The code blocks of a language, without the indentation of a list that they may stand in."""
    found = re.findall(rf"^( *)```{language}\n(.*?)^\1```", text, flags=re.MULTILINE | re.DOTALL)
    return [re.sub(rf"^{indent}", "", code, flags=re.MULTILINE) for indent, code in found]


def commands(text: str) -> list[list[str]]:
    """The lines after a prompt, block by block."""
    return [re.findall(r"^\$ (.*)$", block, flags=re.MULTILINE) for block in blocks(text, "console")]


class Newcomer:
    """Somebody who follows the page, with a project that nobody has touched and a shell of their own."""

    def __init__(self, server: TcpServer, folder: Path) -> None:
        self.folder = folder
        self.server = server
        self.database_url = make_database(server, "newcomer")
        (folder / "bin").mkdir()
        (folder / "bin" / "supabase").symlink_to(CLI)
        (folder / "bin" / "tally").symlink_to(Path(sys.executable).with_name("tally"))
        self.environ = environment(folder)
        self.environ["PATH"] = f"{folder / 'bin'}:{self.environ['PATH']}"
        # what the page leaves to the reader, by what it writes in its place
        self.own = {"--remote": f"--remote={shlex.quote(self.database_url)} --yes"}

    def shell(self, lines: list[str]) -> str:
        """Type the lines into one shell, which ends at the first that fails; answers all that was printed."""
        typed = [self.filled_in(line) for line in lines if line not in ACCOUNT_COMMANDS]
        done = run(["bash", "-euc", "\n".join(typed)], cwd=self.folder, env=self.environ)
        return done.stdout + done.stderr

    def sign_up(self) -> Api:
        """The API over what was pushed, and a user of it."""
        self.api = api = Api(self.server, "newcomer")
        user = api.sign_up("you@example.com")
        self.own |= {
            "https://PROJECT.supabase.co": api.url,
            "sb_secret_YOURS": SECRET_KEY,
            "sb_publishable_YOURS": PUBLISHABLE_KEY,
            "YOUR-USER-ID": user.user_id,
            "YOUR-PASSWORD": USER_PASSWORD,
        }
        return api

    @property
    def user_id(self) -> str:
        return self.own["YOUR-USER-ID"]

    def filled_in(self, text: str) -> str:
        for placeholder, own in self.own.items():
            text = text.replace(placeholder, own)
        return text


@pytest.fixture(scope="module")
def newcomer(supabase_server: TcpServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Newcomer]:
    """The newcomer after the schema is pushed and with a few calls in the ledger."""
    somebody = Newcomer(supabase_server, tmp_path_factory.mktemp("newcomer"))
    schema, _ = commands(section("Set it up"))
    assert set(schema) >= ACCOUNT_COMMANDS
    somebody.shell(schema)
    api = somebody.sign_up()
    batch = {"p_user_id": somebody.user_id, "p_events": CALLS}
    api.client(SECRET_KEY).rpc("ingest_token_usage", batch).execute()
    yield somebody
    api.stop()


# supabase-py does this to its own postgrest
pytestmark = pytest.mark.filterwarnings(
    "ignore:The '(timeout|verify|proxy)' parameter is deprecated:DeprecationWarning"
)


def test_the_schema_of_a_new_project_is_pushed_by_the_steps_of_the_page(newcomer: Newcomer) -> None:
    with psycopg.connect(newcomer.database_url) as connection:
        installed = connection.execute("select name from tallystick.migrations order by name").fetchall()
    assert installed == [(name,) for name in known_migrations()]


def test_the_first_import_and_the_first_report_go_through_rest(newcomer: Newcomer) -> None:
    corpus = [sys.executable, "-m", "bench.make_corpus", str(newcomer.folder), "--bytes", "1m", "--days", "5"]
    run(corpus, cwd=ROOT)
    user_id = newcomer.api.sign_up("reporter@example.com").user_id
    _, report = commands(section("Set it up"))
    shown = newcomer.shell([line.replace("YOUR-USER-ID", user_id) for line in report])
    with psycopg.connect(newcomer.database_url) as connection:
        totals = "select sum(daily_message_count), count(*) from public.token_usage_daily where user_id = %s"
        message_count, day_count = connection.execute(totals, [user_id]).fetchone() or (0, 0)
    assert message_count > 50
    assert re.search(rf"^Total +{message_count:,} ", shown, flags=re.MULTILINE)
    assert len(re.findall(r"^2\d{3}-\d\d-\d\d ", shown, flags=re.MULTILINE)) == day_count
    # nothing was kept on this machine but how far the transcripts are read
    assert list(newcomer.folder.rglob("PG_VERSION")) == []


def test_the_ledger_opens_from_python_through_rest(newcomer: Newcomer) -> None:
    (program,) = blocks(section("Set it up"), "python")
    shown = run([sys.executable, "-c", newcomer.filled_in(program)], cwd=newcomer.folder, env=newcomer.environ).stdout
    assert "receipt_count=1" in shown


def test_the_update_of_the_page_finds_nothing_to_do(newcomer: Newcomer) -> None:
    (update,) = commands(section("Update"))
    assert "up to date" in newcomer.shell(update)


def test_the_program_in_javascript_shows_the_signed_in_users_days_and_sessions(newcomer: Newcomer) -> None:
    (program,) = blocks(section("Read it from an app"), "js")
    script = (
        newcomer.filled_in(program).replace("console.log(", "console.log(JSON.stringify(").replace("data);", "data));")
    )
    # before 22, Node brings the WebSocket that the client asks for only on demand
    node = ["node", "--experimental-websocket", "--input-type=module", "--eval"]
    shown = run([*node, script], cwd=FOLDER, env=newcomer.environ).stdout
    days, sessions = map(json.loads, shown.splitlines())
    assert sum(Decimal(day["cost_usd"]) for day in days) == COST_USD
    assert [day["model"] for day in days] == ["claude-opus-4-8"] * 4
    assert sum(Decimal(session["estimated_cost_usd"]) for session in sessions) == COST_USD
    assert sessions[0]["session_id"] == "session-3"


def test_the_program_in_python_adds_up_what_the_days_cost(newcomer: Newcomer) -> None:
    (program,) = blocks(section("Read it from an app"), "python")
    command = [sys.executable, "-W", "ignore", "-c", newcomer.filled_in(program)]
    total, sessions = run(command, cwd=newcomer.folder, env=newcomer.environ).stdout.splitlines()
    assert Decimal(total) == COST_USD
    assert sessions.count("estimated_cost_usd") == 4


def test_what_users_may_report_can_be_taken_away_as_the_page_says(pushed_copy: str) -> None:
    (statement,) = blocks(section("What is guaranteed"), "sql")
    user_id = "aaaaaaaa-0000-4000-8000-000000000001"
    claims = json.dumps({"sub": user_id, "role": "authenticated"})

    def report(connection: psycopg.Connection[Any]) -> None:
        with connection.transaction():
            connection.execute("set local role authenticated")
            connection.execute("select set_config('request.jwt.claims', %s, true)", [claims])
            connection.execute("select public.ingest_token_usage(%s, '[]')", [user_id])

    with psycopg.connect(pushed_copy, autocommit=True) as connection:
        report(connection)
        connection.execute(statement.encode())
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            report(connection)
