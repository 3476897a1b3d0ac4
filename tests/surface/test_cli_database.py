"""`tally db`, as processes."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from typing import TYPE_CHECKING

import psycopg
import pytest

from tallystick.ledger import Ledger
from tests.servers import database_url

if TYPE_CHECKING:
    from tests.surface.cli_home import Tally

pytest_plugins = "tests.surface.cli_home"


def facts(tally: Tally, *arguments: str) -> dict[str, str]:
    return {line.split()[0]: line.split(maxsplit=1)[1] for line in tally.lines("db", "status", *arguments)}


def digest_of(tally: Tally) -> str:
    """The digest of the books that the settings of this home name."""
    user_id = tally.lines("config")[2].split()[-1]
    with Ledger.connect(tally.lines("db", "url")[0], user_id=user_id) as ledger:
        return ledger.ledger_digest()


@pytest.fixture
def empty_database(server_url: str) -> Iterator[str]:
    """A database of a server that is not the embedded one, without a ledger."""
    name = f"team_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(f"create database {name}")
        yield database_url(server_url, name)
        connection.execute(f"drop database {name} with (force)")


def test_the_server_comes_and_goes_with_the_commands_until_it_is_kept_up(own: Tally) -> None:
    assert own.lines("db", "stop") == ["The embedded Postgres is stopped."]
    assert own.lines("db", "stop") == ["The embedded Postgres was not running."]
    own.run("daily")
    assert "down; a command starts it" in facts(own)["server"]
    assert "is up, until `tally db stop`" in own.lines("db", "start")[0]
    own.run("daily")
    assert "up, until `tally db stop`" in facts(own)["server"]
    assert facts(own)["schema"].endswith("up to date")
    assert facts(own)["clients"] == "0"


def test_the_url_starts_the_server_and_leads_to_the_ledger(own: Tally) -> None:
    own.run("db", "stop")
    (url,) = own.lines("db", "url")
    with psycopg.connect(url) as connection:
        assert connection.execute("select count(*) from token_usage_events").fetchone() == (7,)
    assert "until `tally db stop`" in facts(own)["server"]


def test_a_backup_restored_elsewhere_is_the_same_ledger(own: Tally, fresh: Tally) -> None:
    backup = own.folder / "ledger.dump"
    own.run("db", "backup", str(backup))
    assert backup.stat().st_mode & 0o777 == 0o600
    lines = fresh.lines("db", "restore", str(backup))
    assert lines[0] == "Restored 7 calls. `tally verify` proves it."
    assert "now names the user of this backup" in lines[1]
    assert fresh.lines("verify")[-1].startswith("All ")
    assert fresh.json("daily", "--no-import") == own.json("daily", "--no-import")
    assert digest_of(fresh) == digest_of(own)
    # a ledger of its own, for which no checkpoint of the old one holds
    with psycopg.connect(own.lines("db", "url")[0]) as old, psycopg.connect(fresh.lines("db", "url")[0]) as new:
        query = "select ledger_id from tallystick.ledger"
        assert old.execute(query).fetchone() != new.execute(query).fetchone()


def test_a_restore_replaces_a_ledger_only_when_told_to(own: Tally) -> None:
    backup = own.folder / "ledger.dump"
    own.run("db", "backup", str(backup))
    before = digest_of(own)
    assert "exists already" in own.fail("db", "backup", str(backup))
    own.run("forget", "--project", "shop", "--yes")
    assert "the ledger is not empty" in own.fail("db", "restore", str(backup))
    assert own.json("daily", "--no-import")["totals"]["message_count"] == 4
    own.run("db", "restore", "--force", str(backup))
    assert digest_of(own) == before
    with psycopg.connect(own.lines("db", "url")[0]) as connection:
        names = connection.execute("select datname from pg_database where datname like 'tallystick%'").fetchall()
    assert names == [("tallystick",)]


def test_what_is_no_backup_is_refused_before_anything_is_touched(own: Tally) -> None:
    (own.folder / "text").write_text("no backup")
    assert "is no backup" in own.fail("db", "restore", "--force", str(own.folder / "text"))
    backup = own.folder / "ledger.dump"
    own.run("db", "backup", str(backup))
    cut = own.folder / "cut"
    cut.write_bytes(backup.read_bytes()[: backup.stat().st_size * 2 // 3])
    before = digest_of(own)
    assert "is damaged. Nothing of the ledger was changed" in own.fail("db", "restore", "--force", str(cut))
    assert digest_of(own) == before


def test_a_backup_that_cannot_be_written_is_told_by_its_own_name(own: Tally) -> None:
    there = own.folder / "nowhere" / "ledger.dump"
    assert f"cannot write {there}: No such file or directory. Name a file" in own.fail("db", "backup", str(there))


def test_another_database_is_used_and_never_migrated_unasked(own: Tally, empty_database: str) -> None:
    there = ["--database", empty_database]
    assert "`tally db migrate`" in own.fail("daily", *there)
    assert facts(own, *there)["schema"].startswith("not installed")
    assert own.lines("db", "migrate", *there)[0] == "applied 0001_initial"
    assert own.lines("db", "migrate", *there)[0].startswith("Nothing to do: ")
    own.run("import", *there)
    assert own.json("daily", *there)["totals"] == own.json("daily")["totals"]
    assert own.lines("verify", *there)[-1].startswith("All ")
    for command in ("start", "stop", "url"):
        assert "is for the embedded ledger" in own.fail("db", command, *there)


def test_a_backup_goes_into_another_database_and_comes_back(own: Tally, empty_database: str, empty: Tally) -> None:
    there, backup, again = ["--database", empty_database], own.folder / "ledger.dump", own.folder / "again.dump"
    own.run("db", "backup", str(backup))
    with psycopg.connect(empty_database) as connection:
        connection.execute("create table secrets_of_others (word text)")
    own.run("db", "restore", str(backup), *there)
    assert own.json("daily", "--no-import", *there) == own.json("daily", "--no-import")
    assert "the ledger is not empty" in own.fail("db", "restore", str(backup), *there)
    own.run("db", "restore", str(backup), *there, "--force")
    assert own.lines("verify", *there)[-1].startswith("All ")
    own.run("db", "backup", str(again), *there)
    assert b"secrets_of_others" not in again.read_bytes()
    empty.run("db", "restore", str(again))
    assert digest_of(empty) == digest_of(own)


def test_the_migrations_are_written_where_a_supabase_project_wants_them(fresh: Tally) -> None:
    folder = fresh.folder / "supabase" / "migrations"
    lines = fresh.lines("db", "export", str(folder))
    files = sorted(folder.iterdir())
    assert lines[:-1] == [str(file) for file in files]
    assert len(files) >= 2
    assert not fresh.home.exists()


def test_a_lost_config_file_is_found_again_in_the_ledger(own: Tally) -> None:
    config = own.home / "config" / "config.toml"
    before = config.read_text()
    config.unlink()
    own.run("daily", "--no-import")
    assert config.read_text() == before
    assert config.stat().st_mode & 0o777 == 0o600


def test_a_user_who_is_named_has_books_of_their_own(own: Tally) -> None:
    environ = {"USER_ID": str(uuid.uuid4())}
    assert json.loads(own.run("daily", "--no-import", "--json", environ=environ).stdout)["days"] == []


def test_commands_at_once_share_one_server(own: Tally) -> None:
    own.run("db", "stop")
    running = [own.start("daily", "--json") for _ in range(4)]
    answers = [process.communicate(timeout=120) for process in running]
    assert [process.returncode for process in running] == [0] * 4, answers
    assert len({out for out, _ in answers}) == 1
    assert "down" in facts(own)["server"]
