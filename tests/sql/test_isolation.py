"""Nobody reads or changes what is another's: for every table and every function that the catalog knows."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import psycopg
import pytest

from tests.servers import connect
from tests.sql.two_users import (
    ALICE,
    BOB,
    CALLERS,
    OF_THE_LEDGER,
    OF_THE_SERVICE,
    REPORTS,
    WRITES,
    Db,
    Function,
    act_as,
    assert_refused,
    entry,
    error_of,
    for_user,
    functions,
    keep_alices_books,
    keep_bobs_books,
    open_books,
    refusal,
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
CHECK = re.compile(r"^\s*perform tallystick\.check_caller\(.*\);\n", re.MULTILINE)
CHECK_OF_SERVICE = re.compile(r"^\s*perform tallystick\.check_service_caller\(\);\n", re.MULTILINE)
USER_FILTER = re.compile(r"\b(\w+\.)?user_id = p_user_id\b")
# Without these nothing of another is read or changed. The first two choose whether and where to look: what is looked at
# there is filtered again. So is what a chain of blocks is counted from. The next two stand where rows of others are
# taken away from rows of the user. The last one matters only in damaged books; test_verify.py has them.
SPARED_FILTERS = {
    ("resolve_model", "if exists (select from public.token_usage_prices as p where p.user_id = p_user_id) then"),
    ("usage_session", "where z.user_id = p_user_id and z.session_id = v_filter.sessions[1]"),
    (
        "walk_blocks",
        "where e.user_id = p_user_id and e.occurred_at > v_last - interval '5 hours' and e.occurred_at <= v_last",
    ),
    ("verify_token_usage", "except all select * from public.token_usage_by_day as d where d.user_id = p_user_id"),
    (
        "verify_token_usage",
        "except all select * from public.token_usage_by_session_day as d where d.user_id = p_user_id",
    ),
    ("verify_token_usage", "(p.user_id is null or p.user_id = p_user_id)"),
}


# -- tables


def test_anon_reaches_no_table(books: Db) -> None:
    act_as(books, "anon")
    assert_no_right(books, "anon", [*FORBIDDEN_STATEMENTS, "select from {table}", "table {table}"])


@pytest.mark.parametrize("role", ["authenticated", "service_role"])
def test_no_role_writes_a_table(books: Db, role: str) -> None:
    act_as(books, role, ALICE)
    assert_no_right(books, role)


def assert_no_right(
    db: Db, role: str, statements: Sequence[str] = FORBIDDEN_STATEMENTS, *, names: Sequence[str] = ()
) -> None:
    for table in names or tables(db):
        for statement in statements:
            text = statement.format(table=table, column=first_column(db, table))
            error = error_of(db, text)
            assert error is not None, f"{role}: {text}"
            assert error.sqlstate == "42501", f"{role}: {text}: {error}"


def first_column(db: Db, table: str) -> str:
    # not an identity column, which nobody at all may set
    query = (
        "select a.attname from pg_attribute as a join pg_class as c on c.oid = a.attrelid "
        "where c.oid::regclass::text = %s and a.attnum > 0 and a.attidentity = '' order by a.attnum limit 1"
    )
    row = db.execute(query, [table]).fetchone()
    assert row is not None
    return str(row[0])


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
    assert_reads_own_rows(books, tables_of_users(books))
    # what is nobody's own is for everybody: the price list, and nothing else
    act_as(books, "authenticated", ALICE)
    assert [table for table in tables_of_users(books) if counts(books, table, None)] == ["public.token_usage_prices"]


def assert_reads_own_rows(db: Db, names: Sequence[str]) -> None:
    stored = {table: (counts(db, table, ALICE), counts(db, table, BOB)) for table in names}
    assert all(own > 0 and other > 0 for own, other in stored.values()), stored
    with undone(db):
        act_as(db, "authenticated", ALICE)
        for table, (own, _) in stored.items():
            assert counts(db, table, ALICE) == own, table
            assert counts(db, table, BOB) == 0, table


def counts(db: Db, table: str, user_id: str | None) -> int:
    row = db.execute(
        f"select count(*) from {table} where user_id is not distinct from %s".encode(), [user_id]
    ).fetchone()
    assert row is not None
    return int(row[0])


def test_a_user_without_claims_reads_nothing(books: Db) -> None:
    act_as(books, "authenticated")
    for table in tables_of_users(books):
        row = books.execute(f"select count(*) from {table} where user_id is not null".encode()).fetchone()
        assert row == (0,), table


def test_what_is_not_for_users_to_read_is_for_the_owner_alone(books: Db) -> None:
    private = set(tables(books)) - set(tables_of_users(books))
    assert private == {f"tallystick.{name}" for name in ("ledger", "migrations", "api_keys", "request_windows")}
    for role in ROLES:
        act_as(books, role, ALICE)
        for table in private:
            error = error_of(books, f"select from {table}")
            assert error is not None
            assert error.sqlstate == "42501"


def test_the_service_role_reads_everybodys_rows(books: Db) -> None:
    stored = [rows_of(books, user_id, with_keys=False) for user_id in (ALICE, BOB)]
    act_as(books, "service_role")
    assert [rows_of(books, user_id, with_keys=False) for user_id in (ALICE, BOB)] == stored


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
        with undone(books):
            entry(books, "make_account", p_user_id=user_id, p_time_zone="UTC")
            act_as(books, "service_role")
            for name, arguments in [*(write[1:] for write in WRITES), *REPORTS]:
                if name not in {"correct_token_usage", "usage_session"}:
                    entry(books, name, **for_user(name, user_id, arguments))


def test_the_user_may_be_left_out_and_is_then_the_caller(books: Db) -> None:
    act_as(books, "authenticated", ALICE)
    for name, arguments in REPORTS[:15]:
        assert entry(books, name, **arguments) == entry(books, name, p_user_id=ALICE, **arguments) != []


# -- together


def alone(db: Db) -> tuple[list[tuple[str, Any]], list[tuple[str, Any]]]:
    """What Alice gets where there is no Bob, for all that she reads and for all that she writes."""
    with undone(db):
        open_books(db)
        with undone(db):
            keep_alices_books(db)
            read = list(reports_of_alice(db))
        return read, list(writes_of_alice(db))


def assert_same(story: Iterable[tuple[str, Any]], expected: Iterable[tuple[str, Any]]) -> None:
    for told, told_alone in zip(story, expected, strict=True):
        assert told == told_alone


def test_the_books_of_another_make_no_difference_and_are_left_alone(db: Db) -> None:
    read, written = alone(db)
    open_books(db)
    keep_bobs_books(db)
    before = rows_of(db, BOB)
    with undone(db):
        assert_same(writes_of_alice(db), written)
        assert rows_of(db, BOB) == before
    keep_alices_books(db)
    assert_same(reports_of_alice(db), read)


def test_the_story_is_about_every_function_of_public(db: Db) -> None:
    told = {name for name, _ in REPORTS} | {name for _, name, _ in WRITES}
    assert told | OF_THE_LEDGER == {function.name for function in functions(db, "n.nspname = 'public'")}
    refused = [(name, answer[:2]) for name, answer in itertools.chain(*alone(db)) if isinstance(answer, tuple)]
    assert refused == [
        ("usage_session", ("PT409", "session_prefix_is_unique")),
        *[("usage_session", ("PT404", "session_exists"))] * 2,
        ("correct_token_usage", ("PT404", "corrected_event_exists")),
    ]


# -- would the tests above notice?


def definition(db: Db, function: Function) -> str:
    row = db.execute("select pg_get_functiondef(%s::regprocedure)", [function.signature]).fetchone()
    assert row is not None
    return str(row[0])


def test_a_body_without_its_check_would_be_noticed(books: Db) -> None:
    for function in functions(books, "p.prosecdef"):
        assert_refused(books, function)
        check = CHECK_OF_SERVICE if function.name in OF_THE_SERVICE else CHECK
        text, found = check.subn("", definition(books, function))
        assert found == 1, function.signature
        with undone(books):
            books.execute(text.encode())
            for caller in (function, *callers_of(books, function)):
                with pytest.raises(AssertionError, match=re.escape(caller.name)):
                    assert_refused(books, caller)


def callers_of(db: Db, body: Function) -> list[Function]:
    found = functions(db, f"n.nspname = 'public' and p.prosrc like '%tallystick.{body.name}(%'")
    # these are called past public
    assert found or body.name in {"admit_key", "admit_user", "start_listening"}
    return found


def test_a_table_that_was_left_open_would_be_noticed(books: Db) -> None:
    for table in tables_of_users(books):
        for change in (
            f"alter table {table} disable row level security",
            f"create policy everybody on {table} for select to authenticated using (true)",
            f"create policy nobody on {table} as restrictive for select to authenticated using (false)",
        ):
            with undone(books):
                books.execute(change.encode())
                with pytest.raises(AssertionError, match=table):
                    assert_reads_own_rows(books, [table])
        for right in ("update", "delete", "truncate"):
            with undone(books):
                books.execute(f"grant {right} on {table} to authenticated".encode())
                act_as(books, "authenticated", ALICE)
                with pytest.raises(AssertionError, match=table):
                    assert_no_right(books, "authenticated", names=[table])


def test_a_forgotten_filter_for_the_user_would_be_noticed(ledger_url_18: str) -> None:
    with connect(ledger_url_18) as db:
        read, written = alone(db)
        open_books(db)
        keep_bobs_books(db)
        before = rows_of(db, BOB)

        def write(_: UserFilter) -> None:
            assert_same(writes_of_alice(db), written)
            assert rows_of(db, BOB) == before

        def look(found: UserFilter) -> None:
            expected = [line for line in read if line[0] in found.entries]
            assert_same(reports_of_alice(db, found.entries), expected)

        filters = list(user_filters(db))
        # whether the books are right is also asked before there are any
        reports = {name for name, _ in REPORTS} - {"verify_token_usage"}
        only_read = [found for found in filters if found.entries <= reports]
        passed = [found for found in filters if found not in only_read and not is_noticed(db, found, write)]
        keep_alices_books(db)
        unnoticed = [found for found in only_read + passed if not is_noticed(db, found, look)]
    assert len(filters) > 50
    assert {(found.name, found.line) for found in unnoticed} == SPARED_FILTERS


class UserFilter(NamedTuple):
    """One filter by user: the line that it stands in, the function without it, and the entries that use that."""

    name: str
    line: str
    text_without: str
    entries: set[str]


def user_filters(db: Db) -> Iterator[UserFilter]:
    texts = {function.name: definition(db, function) for function in functions(db, "true")}
    entries = {function.name for function in functions(db, "n.nspname = 'public'")}
    for function in functions(db, "p.prosrc like '%user_id = p_user_id%'"):
        using = {function.name}
        while more := {n for n, text in texts.items() if any(f"tallystick.{u}(" in text for u in using)} - using:
            using |= more
        text = definition(db, function)
        for found in USER_FILTER.finditer(text):
            line = text[text.rfind("\n", 0, found.start()) : text.find("\n", found.end())].strip()
            without = text[: found.start()] + "true" + text[found.end() :]
            yield UserFilter(function.name, line, without, entries & using)


def is_noticed(db: Db, found: UserFilter, check: Callable[[UserFilter], None]) -> bool:
    with undone(db):
        db.execute(found.text_without.encode())
        try:
            check(found)
        except (AssertionError, psycopg.Error):
            return True
    return False
