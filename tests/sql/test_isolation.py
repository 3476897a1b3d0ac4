"""Nobody reads or changes what is another's: for every table and every function that the catalog knows."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

import psycopg
import pytest

from tests.sql.two_users import (
    ALICE,
    BOB,
    REPORTS,
    WRITES,
    Db,
    Function,
    act_as,
    call,
    entry,
    functions,
    keep_alices_books,
    keep_bobs_books,
    open_books,
    reports_of_alice,
    rows_of,
    tables,
    tables_of_users,
    undone,
    unknown_user,
    writes_of_alice,
)

ROLES = ("anon", "authenticated", "service_role")
# not one row is needed: the right is asked for first
FORBIDDEN_STATEMENTS = (
    "insert into {table} default values",
    "update {table} set {column} = {column} where false",
    "delete from {table} where false",
    "select * from {table} for update",
    "truncate {table}",
    "lock table {table} in row exclusive mode",
)
CALLERS = "n.nspname = 'public' or p.prosecdef"
CHECK = re.compile(r"^\s*perform tallystick\.check_caller\(.*\);\n", re.MULTILINE)
USER_FILTER = re.compile(r"\b(\w+\.)?user_id = p_user_id\b")
# with these gone only the time that it takes changes: the next condition asks for the user's own price again
SPARED_FILTERS = [
    ("tallystick.resolve_model(uuid,text,text)", 0),
]


@pytest.fixture
def books(db: Db) -> Db:
    """Alice's and Bob's books beside each other."""
    open_books(db)
    keep_alices_books(db)
    keep_bobs_books(db)
    return db


def error_of(db: Db, statement: str) -> psycopg.Error | None:
    try:
        with db.transaction(force_rollback=True):
            db.execute(statement.encode())
    except psycopg.Error as error:
        return error
    return None


def refusal(db: Db, function: Function, user_id: str | None) -> tuple[Any, ...] | None:
    """All that a caller learns from the refusal of a call for somebody, None where it is not refused."""
    arguments = {"p_user_id": user_id} if function.takes_user else {}
    try:
        with db.transaction(force_rollback=True):
            call(db, function, arguments)
    except psycopg.Error as error:
        told = error.diag
        return error.sqlstate, told.constraint_name, told.message_primary, told.message_hint, told.message_detail
    return None


def assert_refused(db: Db, function: Function) -> None:
    """Alice is refused whether or not there is a Bob, as the function is granted and also were it granted to all."""
    rule = "caller_is_the_user" if function.takes_user else "caller_is_service"
    with undone(db):
        for grant in (False, True):
            if grant:
                db.execute(f"grant execute on function {function.signature} to authenticated".encode())
                db.execute("grant execute on all functions in schema tallystick to authenticated")
            act_as(db, "authenticated", ALICE)
            told = refusal(db, function, BOB)
            assert told is not None, f"{function.signature} works for Bob"
            assert told[:2] == ("PT403", rule) or (told[0] == "42501" and not grant), (function.signature, told)
            assert told == refusal(db, function, unknown_user()), f"{function.signature} tells whether Bob is there"
            assert BOB not in str(told)
            act_as(db, "none")


# -- tables


def test_anon_reaches_no_table(books: Db) -> None:
    act_as(books, "anon")
    assert_no_right(books, "anon", [*FORBIDDEN_STATEMENTS, "select from {table}", "table {table}"])


@pytest.mark.parametrize("role", ["authenticated", "service_role"])
def test_no_role_writes_a_table(books: Db, role: str) -> None:
    act_as(books, role, ALICE)
    assert_no_right(books, role, FORBIDDEN_STATEMENTS)


def assert_no_right(db: Db, role: str, statements: list[str] | tuple[str, ...]) -> None:
    for table in tables(db):
        column = "user_id" if table in tables_of_users(db) else "ledger_id" if "ledger" in table else "name"
        for statement in statements:
            text = statement.format(table=table, column=column)
            error = error_of(db, text)
            assert error is not None, f"{role}: {text}"
            assert error.sqlstate == "42501", f"{role}: {text}: {error}"


def test_no_role_has_a_right_beyond_reading(db: Db) -> None:
    assert set(
        db.execute(
            "select a.grantee::regrole::text, a.privilege_type from pg_class as c "
            "join pg_namespace as n on n.oid = c.relnamespace cross join aclexplode(c.relacl) as a "
            "where n.nspname in ('public', 'tallystick') and a.grantee <> c.relowner"
        ).fetchall()
    ) == {("authenticated", "SELECT"), ("service_role", "SELECT")}
    columns = "select attrelid::regclass, attname from pg_attribute where attacl is not null and attrelid >= 16384"
    assert db.execute(columns).fetchall() == []


def test_a_user_reads_the_own_rows_and_nobody_elses(books: Db) -> None:
    stored = {table: (counts(books, table, ALICE), counts(books, table, BOB)) for table in tables_of_users(books)}
    assert all(own > 0 and other > 0 for own, other in stored.values()), stored
    act_as(books, "authenticated", ALICE)
    for table, (own, _) in stored.items():
        assert counts(books, table, ALICE) == own
        assert counts(books, table, BOB) == 0
    # what is nobody's own is for everybody: the price list, and nothing else
    others = {table: books.execute(f"select count(*) from {table} where user_id is distinct from %s".encode(), [ALICE])
              for table in stored}  # fmt: skip
    assert [table for table, count in others.items() if count.fetchone() != (0,)] == ["public.token_usage_prices"]


def counts(db: Db, table: str, user_id: str) -> int:
    row = db.execute(f"select count(*) from {table} where user_id = %s".encode(), [user_id]).fetchone()
    assert row is not None
    return int(row[0])


def test_a_user_without_claims_reads_nothing(books: Db) -> None:
    act_as(books, "authenticated")
    for table in tables_of_users(books):
        row = books.execute(f"select count(*) from {table} where user_id is not null".encode()).fetchone()
        assert row == (0,), table


def test_what_is_not_of_a_user_is_for_the_owner_alone(books: Db) -> None:
    private = set(tables(books)) - set(tables_of_users(books))
    assert private == {"tallystick.ledger", "tallystick.migrations"}
    for role in ROLES:
        act_as(books, role, ALICE)
        for table in private:
            error = error_of(books, f"select from {table}")
            assert error is not None
            assert error.sqlstate == "42501"


def test_the_service_role_reads_everybodys_rows(books: Db) -> None:
    stored = {user_id: rows_of(books, user_id) for user_id in (ALICE, BOB)}
    act_as(books, "service_role")
    assert {user_id: rows_of(books, user_id) for user_id in (ALICE, BOB)} == stored


# -- functions


def test_anon_calls_nothing(books: Db) -> None:
    act_as(books, "anon", ALICE)
    for function in functions(books, "true"):
        told = refusal(books, function, ALICE)
        assert told is not None, function.signature
        assert told[0] == "42501", function.signature


def test_no_function_works_for_another_user(books: Db) -> None:
    before = rows_of(books, BOB)
    for function in functions(books, CALLERS):
        assert_refused(books, function)
    assert rows_of(books, BOB) == before


def test_what_is_behind_the_bodies_is_closed_to_every_caller(books: Db) -> None:
    helpers = functions(books, f"not ({CALLERS})")
    assert len(helpers) > 20
    for role in ROLES:
        act_as(books, role, ALICE)
        for function in helpers:
            told = refusal(books, function, ALICE)
            assert told is not None, (role, function.signature)
            assert told[0] == "42501", (role, function.signature, told)


def test_a_caller_who_is_nobody_is_refused(books: Db) -> None:
    act_as(books, "authenticated")
    for function in functions(books, f"({CALLERS}) and has_function_privilege('authenticated', p.oid, 'execute')"):
        for user_id in (BOB, None):
            told = refusal(books, function, user_id)
            assert told is not None, function.signature
            assert told[0] in {"PT400", "PT403"}, (function.signature, told)


def test_a_login_that_chose_no_role_works_for_nobody(books: Db) -> None:
    books.execute("create role stranger login in role authenticated, service_role")
    books.execute("set local session authorization stranger")
    books.execute("select set_config('request.jwt.claims', %s, true)", [json.dumps({"sub": ALICE})])
    for function in functions(books, CALLERS):
        told = refusal(books, function, ALICE)
        assert told is not None, function.signature
        assert told[:2] == ("PT403", "caller_is_service"), (function.signature, told)


def test_the_service_role_works_for_any_user(books: Db) -> None:
    for user_id in (ALICE, BOB, unknown_user()):
        entry(books, "make_account", p_user_id=user_id, p_time_zone="UTC")
        act_as(books, "service_role")
        for _, name, arguments in WRITES:
            if name != "correct_token_usage":
                entry(books, name, p_user_id=user_id, **arguments)
        for name, arguments in REPORTS:
            if name != "usage_session":
                entry(books, name, p_user_id=user_id, **arguments)
        act_as(books, "none")


def test_the_user_may_be_left_out_and_is_then_the_caller(books: Db) -> None:
    act_as(books, "authenticated", ALICE)
    for name, arguments in REPORTS[:15]:
        assert entry(books, name, **arguments) == entry(books, name, p_user_id=ALICE, **arguments) != []


# -- together


def alone(db: Db) -> list[tuple[str, Any]]:
    """What Alice gets where there is no Bob."""
    with undone(db):
        open_books(db)
        keep_alices_books(db)
        return [*reports_of_alice(db), *writes_of_alice(db)]


def assert_same(story: Iterable[tuple[str, Any]], alone: Iterable[tuple[str, Any]]) -> None:
    for (name, told), (_, told_alone) in zip(story, alone, strict=True):
        assert told == told_alone, name


def test_the_books_of_another_make_no_difference_and_are_left_alone(db: Db) -> None:
    expected = alone(db)
    open_books(db)
    keep_alices_books(db)
    keep_bobs_books(db)
    before = rows_of(db, BOB)
    assert_same(itertools.chain(reports_of_alice(db), writes_of_alice(db)), expected)
    assert rows_of(db, BOB) == before


def test_the_story_is_about_every_function_of_public(db: Db) -> None:
    told = {name for name, _ in REPORTS} | {name for _, name, _ in WRITES}
    assert told | {"renew_ledger_id"} == {function.name for function in functions(db, "n.nspname = 'public'")}
    refused = [(name, answer) for name, answer in alone(db) if isinstance(answer, tuple)]
    assert [(name, answer[:2]) for name, answer in refused] == [
        ("usage_session", ("PT409", "session_prefix_is_unique")),
        *[("usage_session", ("PT404", "session_exists"))] * 2,
    ]


# -- would the tests above notice?


def definition(db: Db, function: Function) -> str:
    row = db.execute("select pg_get_functiondef(%s::regprocedure)", [function.signature]).fetchone()
    assert row is not None
    return str(row[0])


def test_a_body_without_its_check_would_be_noticed(books: Db) -> None:
    checked = functions(books, "n.nspname = 'tallystick' and p.prosrc like '%perform tallystick.check_caller(%'")
    assert {f.signature for f in checked} == {
        f.signature for f in functions(books, "p.prosecdef") if f.name != "renew_ledger_id"
    }
    for function in checked:
        assert_refused(books, function)
        text, found = CHECK.subn("", definition(books, function))
        assert found == 1
        with undone(books):
            books.execute(text.encode())
            for caller in (function, *callers_of(books, function)):
                with pytest.raises(AssertionError, match=re.escape(caller.name)):
                    assert_refused(books, caller)


def callers_of(db: Db, body: Function) -> list[Function]:
    found = functions(db, f"n.nspname = 'public' and p.prosrc like '%tallystick.{body.name}(%'")
    assert found
    return found


def test_a_forgotten_filter_for_the_user_would_be_noticed(db: Db) -> None:
    expected = alone(db)
    answers, written = expected[: len(REPORTS)], expected[len(REPORTS) :]
    open_books(db)
    keep_alices_books(db)
    keep_bobs_books(db)
    before = rows_of(db, BOB)
    unnoticed = []
    filters = list(user_filters(db))
    for signature, place, text, entries in filters:
        with undone(db):
            db.execute(text.encode())
            try:
                if not entries <= {name for name, _ in REPORTS}:
                    assert_same(writes_of_alice(db), written)
                chosen = [place for place, (name, _) in enumerate(REPORTS) if name in entries]
                assert_same((reports_of_alice(db, chosen)), [answers[place] for place in chosen])
                assert rows_of(db, BOB) == before
            except AssertionError:
                continue
        unnoticed.append((signature, place))
    assert len(filters) > 50
    assert unnoticed == SPARED_FILTERS


def user_filters(db: Db) -> Iterator[tuple[str, int, str, set[str]]]:
    """Each filter by user: its function, its place there, the function without it, and the entries that use that."""
    everything = {function.name: definition(db, function) for function in functions(db, "true")}
    for function in functions(db, "p.prosrc like '%user_id = p_user_id%'"):
        using = {function.name}
        while (
            more := {name for name, text in everything.items() if any(f"tallystick.{u}(" in text for u in using)}
            - using
        ):
            using |= more
        entries = {found.name for found in functions(db, "n.nspname = 'public'")} & using
        text = definition(db, function)
        for place, found in enumerate(USER_FILTER.finditer(text)):
            yield function.signature, place, text[: found.start()] + "true" + text[found.end() :], entries


# -- the catalog


def test_every_function_that_runs_as_its_owner_or_is_seen_pins_its_search_path(db: Db) -> None:
    unpinned = f"({CALLERS}) and not coalesce('search_path=\"\"' = any (p.proconfig), false)"
    assert functions(db, unpinned) == []
    assert len(functions(db, "p.prosecdef")) > 10


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
    made_up = [name for table, name, kind in constraints if kind != "p" and name.startswith(table)]
    assert made_up == []
    assert [name for table, name, kind in constraints if kind == "p" and name != f"{table}_pkey"] == []
    indexes = db.execute(
        "select r.relname, c.relname, obj_description(c.oid, 'pg_class') from pg_index as i "
        "join pg_class as c on c.oid = i.indexrelid join pg_class as r on r.oid = i.indrelid "
        + ours.format("c.rel")
        + " and not exists (select from pg_constraint as k where k.conindid = c.oid)"
    ).fetchall()
    assert len(indexes) > 2
    assert [name for table, name, comment in indexes if name.startswith(table) or comment is None] == []
