"""The exported migrations through Supabase's own command line, on a database as Supabase makes it."""

from __future__ import annotations

import json
import uuid
from typing import Any

import psycopg

from tallystick.ledger import Ledger
from tallystick.model import UsageFilter
from tallystick.schema import install_or_migrate, known_migrations
from tests.servers import TcpServer
from tests.sql.two_users import observation
from tests.supabase.project import SUPERUSER, ProjectFolder, make_database

RIGHTS = """
select c.relname, a.grantee::regrole::text, a.privilege_type
from pg_class as c cross join aclexplode(c.relacl) as a
where c.relnamespace in ('public'::regnamespace, 'tallystick'::regnamespace) and c.relkind in ('r', 'S', 'v')
  and a.grantee <> c.relowner
union all
select p.oid::regprocedure::text, a.grantee::regrole::text, a.privilege_type
from pg_proc as p cross join aclexplode(p.proacl) as a
where p.pronamespace in ('public'::regnamespace, 'tallystick'::regnamespace) and a.grantee <> p.proowner
order by 1, 2, 3
"""
# what a project granted by itself before 2026
OLD_DEFAULTS = """
alter default privileges for role postgres in schema public grant all on tables to anon, authenticated, service_role;
alter default privileges for role postgres in schema public grant all on sequences to anon, authenticated, service_role;
alter default privileges for role postgres in schema public grant all on functions to anon, authenticated, service_role;
"""


def query(url: str, statement: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(url) as connection:
        return connection.execute(statement.encode()).fetchall()


def versions(project: ProjectFolder) -> list[tuple[str, str]]:
    """Of each migration, what the folder has and what the database has."""
    listed = json.loads(project.supabase_remote("migration", "list", "--output-format=json").stdout)
    return [(line["local"], line["remote"]) for line in listed["migrations"]]


def findings(project: ProjectFolder, *, exit_code: int) -> list[dict[str, Any]]:
    done = project.supabase_remote(
        *("db", "advisors", "--level=warn", "--fail-on=warn", "--output-format=json"), exit_code=exit_code
    )
    return list(json.loads(done.stdout)["results"])


def test_the_pushed_ledger_is_the_one_that_the_program_knows(pushed_copy: str) -> None:
    installed = [(name,) for name in known_migrations()]
    assert query(pushed_copy, "select name from tallystick.migrations order by name") == installed
    assert install_or_migrate(pushed_copy) == []


def test_pushing_again_does_nothing(pushed_project: ProjectFolder) -> None:
    count = len(known_migrations())
    files = sorted(file.name for file in pushed_project.migrations.iterdir())
    assert len(files) == count
    assert versions(pushed_project) == [(name[:14], name[:14]) for name in files]
    pushed_project.tally("db", "export", "supabase/migrations")
    done = pushed_project.supabase_remote("db", "push", "--include-all")
    assert "up to date" in done.stdout + done.stderr


def test_a_project_with_newer_migrations_of_its_own_takes_the_ledger_and_its_updates(
    new_project: ProjectFolder,
) -> None:
    new_project.migrations.mkdir()
    (new_project.migrations / "20260901120000_notes.sql").write_text("create table public.notes (body text);\n")
    new_project.supabase_remote("db", "push")
    new_project.tally("db", "export", "supabase/migrations")
    refused = new_project.supabase_remote("db", "push", exit_code=1)
    assert "--include-all" in refused.stdout + refused.stderr
    new_project.supabase_remote("db", "push", "--include-all")
    update = new_project.migrations / "20260101009999_tallystick_later.sql"
    update.write_text("comment on table public.token_usage_daily is 'renewed';\n")
    new_project.supabase_remote("db", "push", "--include-all")
    described = "select obj_description('public.token_usage_daily'::regclass, 'pg_class')"
    assert query(new_project.database_url, described) == [("renewed",)]
    assert all(local == remote for local, remote in versions(new_project))


def test_a_migration_that_fails_is_undone_as_a_whole(new_project: ProjectFolder) -> None:
    new_project.tally("db", "export", "supabase/migrations")
    first = sorted(new_project.migrations.iterdir())[0]
    first.write_text(first.read_text(encoding="utf-8") + "\nselect 1 / 0;\n", encoding="utf-8")
    failed = new_project.supabase_remote("db", "push", exit_code=1)
    assert "division by zero" in failed.stdout + failed.stderr
    assert query(new_project.database_url, "select to_regnamespace('tallystick')") == [(None,)]


def test_the_advisors_find_nothing(new_project: ProjectFolder, pushed_copy: str) -> None:
    new_project.database_url = pushed_copy
    assert findings(new_project, exit_code=0) == []


def test_the_advisors_would_find_a_table_without_row_level_security(
    new_project: ProjectFolder, pushed_copy: str
) -> None:
    new_project.database_url = pushed_copy
    with psycopg.connect(pushed_copy) as connection:
        connection.execute("alter table public.token_usage_daily disable row level security")
    found = {(finding["name"], finding["level"]) for finding in findings(new_project, exit_code=1)}
    assert {("policy_exists_rls_disabled", "ERROR"), ("rls_disabled_in_public", "ERROR")} <= found


def test_the_projects_own_role_keeps_books_and_is_no_superuser(pushed_copy: str) -> None:
    assert query(pushed_copy, "select rolsuper from pg_roles where rolname = current_user") == [(False,)]
    with Ledger.connect(pushed_copy, user_id=str(uuid.uuid4())) as ledger:
        receipt = ledger.ingest_token_usage(json.dumps([observation(1), observation(2)]).encode())
        assert receipt.new == 2
        assert sum(row.message_count for row in ledger.usage_daily(UsageFilter())) == 2
        assert [check for check in ledger.verify_token_usage() if check.bad_rows] == []


def test_migrating_by_ourselves_makes_the_same_ledger(supabase_server: TcpServer, pushed_copy: str) -> None:
    migrated = make_database(supabase_server, "migrated")
    assert install_or_migrate(migrated) == known_migrations()
    assert query(migrated, RIGHTS) == query(pushed_copy, RIGHTS) != []


def test_a_project_that_grants_everything_by_itself_ends_with_the_same_rights(
    supabase_server: TcpServer, new_project: ProjectFolder, pushed_copy: str
) -> None:
    name = new_project.database_url.rpartition("/")[2]
    with psycopg.connect(supabase_server.url(name, user=SUPERUSER)) as connection:
        connection.execute(OLD_DEFAULTS.encode())
    new_project.push_ledger()
    assert query(new_project.database_url, RIGHTS) == query(pushed_copy, RIGHTS)
