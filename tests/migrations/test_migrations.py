"""The schema as it is today, and the migrations that bring a database there, are the same text."""

from __future__ import annotations

import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tallystick.embedded_cluster import wheel_binaries
from tallystick.errors import ConfigError, LedgerError, LedgerNotInstalled, LedgerTooNew
from tallystick.ledger import Ledger
from tallystick.schema import (
    MIGRATION_LOCK,
    SQL_FOLDER,
    check_installed,
    export_migrations,
    install_or_migrate,
    known_migrations,
)
from tests.servers import DEBIAN_15_BINARIES, database_url
from tests.sql.waiting import wait_for

MIGRATE = "import sys; from tallystick.schema import install_or_migrate as go; print(*go(sys.argv[1]))"
INSTALLED = "select name from tallystick.migrations order by name"


@pytest.fixture
def empty_url(server_url: str) -> Iterator[Callable[[], str]]:
    """URLs of new databases that hold nothing at all."""
    names: list[str] = []
    with psycopg.connect(server_url, autocommit=True) as connection:

        def make() -> str:
            names.append(f"empty_{uuid.uuid4().hex}")
            connection.execute(f"create database {names[-1]}")
            return database_url(server_url, names[-1])

        yield make
        for name in names:
            connection.execute(f"drop database {name} with (force)")


@pytest.fixture
def server_without_service_role(server_url: str) -> Iterator[None]:
    """Roles belong to a server and not to a database, so this one lends its role another name for a moment."""
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute("alter role service_role rename to resting_role")
        try:
            yield
        finally:
            connection.execute("alter role resting_role rename to service_role")


def run_tool(name: str, url: str, *arguments: str) -> str:
    """What a client program of the server's own version prints."""
    with psycopg.connect(url) as connection:
        is_embedded = connection.info.server_version >= 180000
    program = (wheel_binaries() if is_embedded else DEBIAN_15_BINARIES) / name
    return subprocess.run([program, *arguments, url], check=True, capture_output=True, text=True).stdout


def dump(url: str) -> str:
    """The schema as text, without the lines that pg_dump makes up anew each time."""
    text = run_tool("pg_dump", url, "--schema-only")
    return "".join(line for line in text.splitlines(True) if not line.startswith(("\\restrict ", "\\unrestrict ")))


def run_files(url: str, *files: Path) -> None:
    with psycopg.connect(url) as connection:
        for file in files:
            connection.execute(file.read_bytes())


def query(url: str, statement: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(url) as connection:
        return connection.execute(statement.encode()).fetchall()


def test_the_migrations_make_the_schema_of_today(empty_url: Callable[[], str], ledger_url: str) -> None:
    built = empty_url()
    run_files(built, SQL_FOLDER / "bootstrap.sql", *sorted((SQL_FOLDER / "schema").glob("*.sql")))
    text = dump(ledger_url)
    assert dump(built) == text
    assert "CREATE FUNCTION tallystick.ingest_token_usage" in text


def test_migrating_again_applies_nothing(ledger_url: str) -> None:
    rows = "select * from tallystick.migrations, tallystick.ledger order by name"
    before = dump(ledger_url), query(ledger_url, rows)
    assert [row[0] for row in before[1]] == known_migrations()
    assert install_or_migrate(ledger_url) == []
    assert (dump(ledger_url), query(ledger_url, rows)) == before


def test_two_processes_that_migrate_at_once_apply_each_migration_once(empty_url: Callable[[], str]) -> None:
    url = empty_url()
    waiting = "select count(*) = 2 from pg_locks where locktype = 'advisory' and not granted and database = %s"
    with psycopg.connect(url) as holder, psycopg.connect(url, autocommit=True) as observer:
        (oid,) = observer.execute("select oid from pg_database where datname = current_database()").fetchone() or (0,)
        holder.execute("select pg_advisory_xact_lock(%s)", [MIGRATION_LOCK])
        processes = [
            subprocess.Popen(
                [sys.executable, "-c", MIGRATE, url], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            )
            for _ in range(2)
        ]
        wait_for(observer, waiting, [oid])
        holder.rollback()
        answers = [process.communicate(timeout=60) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], answers
    assert sorted(" ".join(printed for printed, _ in answers).split()) == known_migrations()
    assert query(url, INSTALLED) == [(name,) for name in known_migrations()]


def test_a_ledger_that_a_newer_program_has_migrated_is_left_alone(ledger_url: str) -> None:
    with psycopg.connect(ledger_url) as connection:
        connection.execute("insert into tallystick.migrations (name) values ('9999_from_the_future')")
    before = dump(ledger_url)
    with pytest.raises(LedgerTooNew, match="9999_from_the_future") as refusal:
        install_or_migrate(ledger_url)
    assert "Upgrade" in refusal.value.hint
    assert dump(ledger_url) == before
    with pytest.raises(LedgerTooNew):
        check_installed([*known_migrations(), "9999_from_the_future"])


@pytest.mark.parametrize("installed", [[], known_migrations()[:1]])
def test_a_ledger_that_lacks_a_migration_says_what_to_run(installed: list[str]) -> None:
    check_installed(known_migrations())
    with pytest.raises(LedgerNotInstalled) as refusal:
        check_installed(installed)
    assert "tally db migrate" in refusal.value.hint


def test_a_migration_that_fails_half_way_leaves_nothing(empty_url: Callable[[], str]) -> None:
    url = empty_url()
    with psycopg.connect(url) as connection:
        # most of the tables are there already when the migration comes to this one
        connection.execute("create table public.token_usage_rejects (somebody text)")
    before = dump(url)
    with pytest.raises(LedgerError, match="token_usage_rejects"):
        install_or_migrate(url)
    assert dump(url) == before


def test_a_failing_migration_leaves_the_ones_before_it(empty_url: Callable[[], str]) -> None:
    url = empty_url()
    run_files(url, SQL_FOLDER / "bootstrap.sql", SQL_FOLDER / "migrations" / f"{known_migrations()[0]}.sql")
    with psycopg.connect(url) as connection:
        connection.execute("insert into tallystick.migrations (name) values (%s)", [known_migrations()[0]])
        connection.execute("alter table public.token_usage_prices add constraint nobody check (model <> 'gpt-4o')")
    with pytest.raises(LedgerError, match="nobody"):
        install_or_migrate(url)
    assert query(url, INSTALLED) == [(known_migrations()[0],)]
    assert query(url, "select count(*) from public.token_usage_prices") == [(0,)]


def test_exported_migrations_can_be_pushed_by_psql(
    empty_url: Callable[[], str], ledger_url: str, tmp_path: Path
) -> None:
    pushed = empty_url()
    run_files(pushed, SQL_FOLDER / "bootstrap.sql")
    files = export_migrations(tmp_path / "a new folder")
    assert [file.name for file in files] == sorted(file.name for file in files)
    for file in files:
        run_tool("psql", pushed, "--quiet", "--set=ON_ERROR_STOP=1", "--single-transaction", f"--file={file}")
    assert dump(pushed) == dump(ledger_url)
    assert install_or_migrate(pushed) == []
    prices = "select count(*) from public.token_usage_prices"
    assert query(pushed, prices) == query(ledger_url, prices) != [(0,)]


def test_exporting_again_is_fine_and_never_goes_over_a_file_that_differs(tmp_path: Path) -> None:
    files = export_migrations(tmp_path)
    assert export_migrations(tmp_path) == files
    files[0].write_text("-- mine\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=files[0].name) as refusal:
        export_migrations(tmp_path)
    assert refusal.value.hint
    assert files[0].read_text(encoding="utf-8") == "-- mine\n"


def test_exporting_into_what_is_no_folder_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(ConfigError, match="cannot write") as refusal:
        export_migrations(tmp_path / "file")
    assert refusal.value.hint


def test_a_database_that_was_never_migrated_says_so(empty_url: Callable[[], str]) -> None:
    url = empty_url()
    with Ledger.connect(url, user_id=str(uuid.uuid4())) as ledger:
        for use in (ledger.ledger_state, ledger.verify_token_usage, ledger.only_account):
            with pytest.raises(LedgerNotInstalled) as refusal:
                use()
            assert "tally db migrate" in refusal.value.hint


@pytest.mark.usefixtures("server_without_service_role")
def test_a_server_that_never_held_a_ledger_says_so(empty_url: Callable[[], str]) -> None:
    with (
        Ledger.connect(empty_url(), user_id=str(uuid.uuid4())) as ledger,
        pytest.raises(LedgerNotInstalled, match="service_role") as refusal,
    ):
        ledger.ledger_state()
    assert "tally db migrate" in refusal.value.hint
