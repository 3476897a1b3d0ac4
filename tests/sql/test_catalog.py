"""What the catalog must say of everything that is ours."""

from __future__ import annotations

import itertools
import re

from pglast import scan

from tests.sql.two_users import Db, functions, tables, tables_of_users

# what Postgres calls what was given no name
MADE_UP_NAME = re.compile(r"_(check|key|idx|fkey|excl|not_null)\d*$")


def test_every_table_and_function_and_type_says_what_it_is(db: Db) -> None:
    assert tables(db, "obj_description(c.oid, 'pg_class') is null") == []
    assert functions(db, "obj_description(p.oid, 'pg_proc') is null") == []
    types = db.execute(
        "select c.oid::regclass::text from pg_class as c join pg_namespace as n on n.oid = c.relnamespace "
        "where n.nspname in ('public', 'tallystick') and c.relkind = 'c' "
        "and obj_description(c.reltype, 'pg_type') is null"
    )
    assert types.fetchall() == []


def test_every_constraint_and_index_has_a_name_of_ours_and_an_index_says_what_for(db: Db) -> None:
    ours = "join pg_namespace as n on n.oid = {}namespace where n.nspname in ('public', 'tallystick')"
    constraints = db.execute(
        "select r.relname, c.conname, c.contype::text from pg_constraint as c join pg_class as r on r.oid = c.conrelid "
        + ours.format("c.con")
        + " and c.contype <> 'n'"
    ).fetchall()
    assert len(constraints) > 20
    assert [name for _, name, kind in constraints if kind != "p" and MADE_UP_NAME.search(name)] == []
    assert [name for table, name, kind in constraints if kind == "p" and name != f"{table}_pkey"] == []
    indexes = db.execute(
        "select r.relname, c.relname, obj_description(c.oid, 'pg_class') from pg_index as i "
        "join pg_class as c on c.oid = i.indexrelid join pg_class as r on r.oid = i.indrelid "
        + ours.format("c.rel")
        + " and not exists (select from pg_constraint as k where k.conindid = c.oid)"
    ).fetchall()
    assert len(indexes) > 2
    assert [name for _, name, comment in indexes if MADE_UP_NAME.search(name) or comment is None] == []


def test_every_function_pins_its_search_path(db: Db) -> None:
    assert functions(db, "not coalesce('search_path=pg_catalog, pg_temp' = any (p.proconfig), false)") == []
    assert len(functions(db, "p.prosecdef")) > 10


def changes_without_where(source: str) -> int:
    """How many updates and deletes of a function's text say nothing of which rows; what a merge does is none."""
    words = [token.name for token in scan(source)]
    count = 0
    for place, pair in enumerate(itertools.pairwise(words)):
        is_update = pair[0] == "UPDATE" and pair[1] != "SET" and words[place - 1] not in {"FOR", "KEY"}
        if is_update or pair == ("DELETE_P", "FROM"):
            end = words.index("ASCII_59", place) if "ASCII_59" in words[place:] else len(words)
            count += "WHERE" not in words[place:end]
    return count


def test_every_update_and_delete_says_which_rows_as_hosted_supabase_demands(db: Db) -> None:
    # it loads safeupdate for whoever comes by REST, which reads what functions run too
    assert changes_without_where("update t set a = 1; insert into t values (1) on conflict do update set a = 1") == 1
    sources = db.execute(
        "select p.oid::regprocedure::text, p.prosrc from pg_proc as p join pg_namespace as n on n.oid = p.pronamespace "
        "where n.nspname in ('public', 'tallystick')"
    ).fetchall()
    assert [name for name, source in sources if changes_without_where(source)] == []
    assert sum("update public." in source for _, source in sources) > 3


def test_entries_run_with_the_rights_of_their_caller_and_bodies_with_their_owners(db: Db) -> None:
    assert functions(db, "n.nspname = 'public' and p.prosecdef") == []
    granted = "has_function_privilege('authenticated', p.oid, 'execute')"
    assert functions(db, f"n.nspname = 'tallystick' and {granted} and not p.prosecdef") == []


def test_no_function_is_for_everybody(db: Db) -> None:
    anybody = "p.proacl is null or exists (select from aclexplode(p.proacl) as a where a.grantee = 0)"
    assert functions(db, anybody) == []


def test_every_table_has_row_level_security_and_policies_for_reading_only(db: Db) -> None:
    assert tables(db, "not c.relrowsecurity") == []
    policies = db.execute("select polcmd::text, polroles::regrole[]::text[], polrelid::regclass::text from pg_policy")
    found = policies.fetchall()
    assert sorted(table for _, _, table in found) == tables_of_users(db)
    assert all((command, roles) == ("r", ["authenticated"]) for command, roles, _ in found)
