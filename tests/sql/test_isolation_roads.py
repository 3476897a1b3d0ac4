"""Roads that might lead around the rights: copies, sequences, statistics, odd claims, and names put in the way."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.sql.two_users import (
    ALICE,
    BOB,
    CALLERS,
    WRITES,
    Db,
    act_as,
    assert_refused,
    error_of,
    functions,
    outcome,
    refusal,
    reports_of_alice,
    tables,
    tables_of_users,
    undone,
    unknown_user,
)

ROLES = ("anon", "authenticated", "service_role")
# what only an owner may do to a table, and what would write it by another road than insert, update and delete
OWNERS_STATEMENTS = (
    "copy {table} from stdin",
    "merge into {table} using (select 1) as s on false when not matched then insert default values",
    "alter table {table} disable row level security",
    "alter table {table} add column mine integer",
    "create policy mine on {table} using (true)",
    "create rule mine as on insert to {table} do instead nothing",
    "create trigger mine before insert on {table} execute function tsvector_update_trigger()",
    "create index mine on {table} ((1))",
    "comment on table {table} is 'mine'",
    "drop table {table}",
)


def assert_forbidden(db: Db, statement: str) -> None:
    error = error_of(db, statement)
    assert error is not None, statement
    assert error.sqlstate == "42501", f"{statement}: {error}"


# -- tables


@pytest.mark.parametrize("role", ROLES)
def test_no_role_does_to_a_table_what_its_owner_may(books: Db, role: str) -> None:
    act_as(books, role, ALICE)
    for table in tables(books):
        for statement in OWNERS_STATEMENTS:
            assert_forbidden(books, statement.format(table=table))


def copied(db: Db, source: str) -> list[bytes]:
    with db.cursor() as cursor, cursor.copy(f"copy {source} to stdout".encode()) as lines:
        return sorted(b"".join(bytes(part) for part in lines).splitlines())


def test_a_copy_holds_what_its_reader_may_read(books: Db) -> None:
    for table in tables_of_users(books):
        with undone(books):
            act_as(books, "authenticated", ALICE)
            text = b"\n".join(copied(books, table)).decode()
            assert ALICE in text
            assert BOB not in text, table
            assert copied(books, table) == copied(books, f"(table {table})")
    for role in ROLES:
        act_as(books, role, ALICE)
        for table in tables(books):
            if role == "anon" or table not in tables_of_users(books):
                assert_forbidden(books, f"copy {table} to stdout")
            for target in ("'/tmp/copied'", "program 'true'"):
                assert_forbidden(books, f"copy {table} to {target}")


def test_the_policies_cannot_be_switched_off(books: Db) -> None:
    act_as(books, "authenticated", ALICE)
    books.execute("set local row_security = off")
    for table in tables_of_users(books):
        assert_forbidden(books, f"select from {table}")


def test_a_condition_of_the_callers_own_never_sees_a_row_of_another(books: Db) -> None:
    fails_for_bob = "1 / (user_id is distinct from %s)::integer = 1"
    for table in tables_of_users(books):
        query = f"select count(*) > 0 from {table} where {fails_for_bob}".encode()
        with undone(books):
            act_as(books, "authenticated", ALICE)
            assert books.execute(query, [BOB]).fetchone() == (True,)


def test_the_statistics_of_the_planner_tell_nothing(books: Db) -> None:
    for table in tables_of_users(books):
        books.execute(f"analyze {table}".encode())
    stored = "select count(*) from pg_stats where tablename like 'token_usage%%' and schemaname = 'public'"
    assert books.execute(stored, []).fetchone() > (50,)
    for role in ("anon", "authenticated"):
        act_as(books, role, ALICE)
        assert books.execute(stored, []).fetchone() == (0,)
        assert_forbidden(books, "select from pg_statistic")


def test_no_role_touches_a_sequence(books: Db) -> None:
    query = (
        "select c.oid::regclass::text from pg_class as c join pg_namespace as n on n.oid = c.relnamespace "
        "where c.relkind = 'S' and n.nspname in ('public', 'tallystick')"
    )
    sequences = [name for (name,) in books.execute(query)]
    assert sequences
    for role in ROLES:
        act_as(books, role, ALICE)
        for name in sequences:
            for statement in ("table {0}", "select nextval('{0}')", "select setval('{0}', 1)", "select currval('{0}')"):
                assert_forbidden(books, statement.format(name))


# -- roles and schemas


def test_the_roles_are_nothing_but_their_grants(db: Db) -> None:
    query = (
        "select rolname, rolsuper, rolbypassrls, rolcreaterole, rolcreatedb, rolreplication, rolcanlogin "
        "from pg_roles where rolname = any (%s) order by 1"
    )
    assert db.execute(query, [list(ROLES)]).fetchall() == [
        (role, False, role == "service_role", False, False, False, False) for role in ROLES
    ]
    members = "select roleid::regrole from pg_auth_members where member::regrole::text = any (%s)"
    assert db.execute(members, [list(ROLES)]).fetchall() == []


def test_no_right_comes_by_default(db: Db) -> None:
    assert db.execute("select * from pg_default_acl").fetchall() == []


@pytest.mark.parametrize("role", ROLES)
def test_no_role_makes_anything_where_the_ledger_looks(books: Db, role: str) -> None:
    act_as(books, role, ALICE)
    for schema in ("public", "tallystick", "auth", "pg_catalog"):
        assert_forbidden(books, f"create table {schema}.mine ()")
        assert_forbidden(books, f"create type {schema}.mine as (id integer)")
        assert_forbidden(books, f"create function {schema}.mine() returns integer language sql return 1")
    assert_forbidden(books, "create schema mine")


def test_anon_cannot_even_name_what_is_not_public(books: Db) -> None:
    act_as(books, "anon")
    for statement in ("select null::tallystick.observation", "select tallystick.current_time()"):
        assert_forbidden(books, statement)


# -- claims


ODD_CLAIMS = [
    *("", " ", "null", "[]", "{}", "5", '"text"', "{", json.dumps([BOB]), json.dumps([{"sub": BOB}])),
    *(json.dumps({"sub": sub}) for sub in (None, "", " ", 5, "nobody", f"{BOB} ", BOB[:-1], [BOB], {"sub": BOB})),
    *(json.dumps({name: BOB}) for name in ("Sub", "user_id", "id", "SUB ")),
    json.dumps({"claims": {"sub": BOB}, "role": "service_role"}),
]


@pytest.mark.parametrize("claims", ODD_CLAIMS)
def test_claims_that_name_nobody_open_nothing(books: Db, claims: str) -> None:
    act_as(books, "authenticated")
    books.execute("select set_config('request.jwt.claims', %s, true)", [claims])
    for table in tables_of_users(books):
        assert_reads_nobodys(books, table)
    for function in functions(books, f"({CALLERS}) and has_function_privilege('authenticated', p.oid, 'execute')"):
        told = refusal(books, function, BOB)
        assert told is not None, function.signature
        assert told[0] in {"PT403", "22P02"}, (function.signature, told)
        assert told == refusal(books, function, unknown_user())


def assert_reads_nobodys(db: Db, table: str) -> None:
    statement = (
        f"do $$ begin if exists (select from {table} where user_id is not null) then raise 'seen'; end if; end $$"
    )
    error = error_of(db, statement)
    # a sub that is no uuid is told as that
    assert error is None or error.sqlstate == "22P02", f"{table}: {error}"


@pytest.mark.parametrize(
    "claims",
    [
        {"sub": ALICE, "role": "service_role"},
        {"sub": ALICE, "role": "authenticated", "user_role": "service_role", "is_admin": True},
        {"sub": ALICE, "app_metadata": {"role": "service_role"}, "user_metadata": {"sub": BOB}},
        {"sub": ALICE.upper(), "user_id": BOB},
    ],
)
def test_claims_beside_the_user_open_nothing_more(books: Db, claims: dict[str, Any]) -> None:
    act_as(books, "authenticated")
    books.execute("select set_config('request.jwt.claims', %s, true)", [json.dumps(claims)])
    assert_is_alice(books)


@pytest.mark.parametrize(
    ("sub", "claims_sub"),
    [(ALICE, BOB), (ALICE, None), ("", ALICE)],
)
def test_the_claim_that_is_given_alone_comes_before_the_one_among_others(
    books: Db, sub: str, claims_sub: str | None
) -> None:
    act_as(books, "authenticated", claims_sub)
    books.execute("select set_config('request.jwt.claim.sub', %s, true)", [sub])
    assert_is_alice(books)


def assert_is_alice(db: Db) -> None:
    """Whoever this is reads Alice's rows and nobody else's, and is refused Bob's books."""
    for table in tables_of_users(db):
        found = db.execute(f"select distinct user_id::text from {table} where user_id is not null".encode())
        assert found.fetchall() == [(ALICE,)], table
    for function in functions(db, f"({CALLERS}) and has_function_privilege('authenticated', p.oid, 'execute')"):
        if function.takes_user:
            told = refusal(db, function, BOB)
            assert told is not None, function.signature
            assert told[:2] == ("PT403", "caller_is_the_user")


# -- names put in the way


HIJACK = f"""
create schema hijack;
create function hijack.current_setting(text, boolean) returns text language sql return 'service_role';
create function hijack.now() returns timestamptz language sql return timestamptz '2020-01-01Z';
create function hijack.jsonb_typeof(jsonb) returns text language sql return 'array';
create function hijack.sub(jsonb, text) returns text language sql return '{BOB}';
create operator hijack.->> (leftarg = jsonb, rightarg = text, function = hijack.sub);
create function hijack.same(uuid, uuid) returns boolean language sql return true;
create operator hijack.= (leftarg = uuid, rightarg = uuid, function = hijack.same);
create table hijack.token_usage_events as table public.token_usage_events;
create domain hijack.uuid as pg_catalog.text;
grant usage on schema hijack to authenticated;
grant select on all tables in schema hijack to authenticated;
"""


def test_a_schema_of_the_callers_that_comes_first_changes_nothing(books: Db) -> None:
    expected = list(reports_of_alice(books))
    books.execute(HIJACK.encode())
    for path in ("hijack, pg_catalog, public", "hijack, public, pg_catalog, pg_temp"):
        books.execute(f"set local search_path = {path}".encode())
        assert list(reports_of_alice(books)) == expected
        act_as(books, "authenticated", ALICE)
        for table in tables_of_users(books):
            others = f"select from {table} where user_id operator(pg_catalog.<>) '{ALICE}'::pg_catalog.uuid"
            assert books.execute(others.encode()).fetchall() == [], (path, table)
        act_as(books, "none")
        for function in functions(books, f"({CALLERS}) and p.prosecdef"):
            assert_refused(books, function)


# A temporary schema is searched before all others, unless a path says otherwise, and a type of it brings a check that
# runs with the rights of whoever uses the type.
SPY = """
create function pg_temp.spy(pg_catalog.{kind}) returns pg_catalog.bool language plpgsql as $$
begin
  if current_user <> 'authenticated' then
    raise exception 'the caller runs as %', current_user;
  end if;
  return true;
end
$$;
create domain pg_temp.{kind} as pg_catalog.{kind} check (pg_temp.spy(value));
"""


def test_no_type_of_the_callers_own_is_used_with_the_owners_rights(books: Db) -> None:
    with undone(books):
        expected = list(what_alice_does(books))
    act_as(books, "authenticated", ALICE)
    for kind in ("text", "uuid", "date", "jsonb", "json", "timestamptz"):
        books.execute(SPY.format(kind=kind).encode())
    assert list(what_alice_does(books)) == expected


def what_alice_does(db: Db) -> Iterator[tuple[str, Any]]:
    yield from reports_of_alice(db)
    for role, name, arguments in WRITES:
        if role == "authenticated":
            yield name, outcome(db, role, name, arguments)
