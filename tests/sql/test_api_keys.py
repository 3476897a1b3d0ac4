"""Keys of the HTTP API: what they are, and who makes, sees and ends them."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from tests.sql.callers import NOON, admit, digest_of, keys, make_key, refusal, remaining, set_now
from tests.sql.two_users import ALICE, BOB, Db, act_as, entry


def test_a_key_is_told_as_it_was_made_and_its_digest_never(db: Db) -> None:
    set_now(db, NOON)
    until = NOON + timedelta(days=90)
    given = {"p_scopes": ["read", "ingest", "read"], "p_expires_at": until, "p_requests_per_minute": 5}
    key_id = make_key(db, "tly_ab12cd34", p_name="The lab's désk", **given)
    assert keys(db) == [
        {
            "key_id": key_id,
            "user_id": uuid.UUID(ALICE),
            "name": "The lab's désk",
            "prefix": "tly_ab12cd34",
            "scopes": ["ingest", "read"],
            "requests_per_minute": 5,
            "created_at": NOON,
            "expires_at": until,
            "revoked_at": None,
            "last_used_at": None,
        }
    ]
    stored = db.execute("select encode(digest, 'hex') from tallystick.api_keys").fetchall()
    assert stored == [(digest_of("tly_ab12cd34"),)]


def test_keys_are_told_of_one_user_or_of_all_the_oldest_first(db: Db) -> None:
    for minutes, (key, user_id) in enumerate([("tly_z", BOB), ("tly_s", None), ("tly_a", ALICE), ("tly_b", ALICE)]):
        set_now(db, NOON + timedelta(minutes=minutes))
        make_key(db, key, p_user_id=user_id)
    assert [row["prefix"] for row in keys(db)] == ["tly_z", "tly_s", "tly_a", "tly_b"]
    assert [row["prefix"] for row in keys(db, p_user_id=ALICE)] == ["tly_a", "tly_b"]
    assert keys(db, p_user_id=str(uuid.uuid4())) == []


@pytest.mark.parametrize(
    ("parameters", "rule"),
    [
        ({"p_name": ""}, "name_is_1_to_100"),
        ({"p_name": "  "}, "name_is_1_to_100"),
        ({"p_name": "x" * 101}, "name_is_1_to_100"),
        ({"p_name": None}, "name_is_1_to_100"),
        ({"p_prefix": ""}, "prefix_is_1_to_20"),
        ({"p_prefix": "x" * 21}, "prefix_is_1_to_20"),
        ({"p_prefix": None}, "prefix_is_1_to_20"),
        ({"p_digest": "ab" * 31}, "digest_is_64_hex"),
        ({"p_digest": "ab" * 33}, "digest_is_64_hex"),
        ({"p_digest": "AB" * 32}, "digest_is_64_hex"),
        ({"p_digest": "xy" * 32}, "digest_is_64_hex"),
        ({"p_digest": "ab" * 32 + "\n"}, "digest_is_64_hex"),
        ({"p_digest": None}, "digest_is_64_hex"),
        ({"p_scopes": []}, "scopes_are_known"),
        ({"p_scopes": ["read", "write"]}, "scopes_are_known"),
        ({"p_scopes": ["read", None]}, "scopes_are_known"),
        ({"p_scopes": None}, "scopes_are_known"),
        ({"p_expires_at": NOON}, "expiry_is_ahead"),
        ({"p_expires_at": NOON - timedelta(days=1)}, "expiry_is_ahead"),
        ({"p_requests_per_minute": 0}, "limit_is_positive"),
        ({"p_requests_per_minute": -1}, "limit_is_positive"),
    ],
)
def test_a_key_that_is_no_good_is_refused_by_name(db: Db, parameters: dict[str, Any], rule: str) -> None:
    set_now(db, NOON)
    with pytest.raises(psycopg.Error) as caught, db.transaction():
        make_key(db, **parameters)
    assert (caught.value.sqlstate, caught.value.diag.constraint_name) == ("PT400", rule)
    assert caught.value.diag.message_hint
    assert keys(db) == []


def test_limits_of_what_a_key_may_be_are_within(db: Db) -> None:
    set_now(db, NOON)
    make_key(db, "x" * 20, p_name="ü" * 100, p_expires_at=NOON + timedelta(seconds=1), p_requests_per_minute=1)
    assert admit(db, "x" * 20) is not None


@pytest.mark.parametrize("same", ["p_digest", "p_prefix"])
def test_no_two_keys_have_the_same_digest_or_prefix(db: Db, same: str) -> None:
    value = {"p_digest": digest_of("one"), "p_prefix": "tly_one"}[same]
    first = make_key(db, "tly_a", **{same: value})
    with pytest.raises(psycopg.Error) as caught, db.transaction():
        make_key(db, "tly_b", p_user_id=BOB, **{same: value})
    assert (caught.value.sqlstate, caught.value.diag.constraint_name) == ("PT409", "api_key_is_new")
    # not even after the first one was ended
    entry(db, "revoke_api_key", p_key=str(first))
    with pytest.raises(psycopg.Error, match="another key"), db.transaction():
        make_key(db, "tly_b", **{same: value})


@pytest.mark.parametrize("name_it", [str, lambda key_id: str(key_id).upper(), lambda _: "tly_a"])
def test_a_key_is_ended_by_its_id_or_prefix_once_and_for_all(db: Db, name_it: Any) -> None:
    set_now(db, NOON)
    key_id, other = make_key(db, "tly_a"), make_key(db, "tly_ab", p_user_id=BOB)
    assert admit(db) is not None
    for minutes in (1, 2):
        set_now(db, NOON + timedelta(minutes=minutes))
        assert entry(db, "revoke_api_key", p_key=name_it(key_id)) == [(key_id,)]
        assert {row["key_id"]: row["revoked_at"] for row in keys(db)} == {
            key_id: NOON + timedelta(minutes=1),
            other: None,
        }
        assert admit(db) is None
        assert admit(db, "tly_ab") is not None


def test_what_names_no_key_ends_none_and_is_not_told_again(db: Db) -> None:
    make_key(db, "tly_ab12cd34")
    for name in ("tly_ab12cd3", "tly_ab12cd34-and-the-secret", "TLY_AB12CD34", "%", "", None, str(uuid.uuid4())):
        with pytest.raises(psycopg.Error) as caught, db.transaction():
            entry(db, "revoke_api_key", p_key=name)
        assert (caught.value.sqlstate, caught.value.diag.constraint_name) == ("PT404", "api_key_exists")
        assert not name or name not in str(caught.value)
    assert keys(db)[0]["revoked_at"] is None


def test_forgetting_a_users_books_leaves_the_keys_in_force(db: Db) -> None:
    key_id = make_key(db)
    entry(db, "make_account", p_user_id=ALICE, p_time_zone="UTC")
    entry(db, "forget_token_usage", p_user_id=ALICE)
    admission = admit(db)
    assert admission is not None
    assert admission.key_id == key_id


# -- who may


def test_a_user_makes_sees_ends_and_counts_no_key(db: Db) -> None:
    key_id = make_key(db)
    statements: list[tuple[str, list[Any]]] = [
        ("select public.create_api_key(%s, 'mine', 'tly_m', %s, array['read'])", [ALICE, digest_of("tly_m")]),
        ("select public.api_keys(%s)", [ALICE]),
        ("select public.api_keys()", []),
        ("select public.revoke_api_key(%s)", [str(key_id)]),
        ("select tallystick.create_api_key(%s, 'mine', 'tly_m', %s, '{read}', null, 1)", [ALICE, digest_of("tly_m")]),
        ("select tallystick.api_keys(%s)", [ALICE]),
        ("select tallystick.revoke_api_key('tly_a')", []),
        ("select tallystick.admit_key(%s, 60)", [digest_of("tly_a")]),
        ("select tallystick.admit_user(%s, 60)", [ALICE]),
        ("select from tallystick.api_keys", []),
        ("select from tallystick.request_windows", []),
    ]
    for role in ("anon", "authenticated"):
        act_as(db, role, ALICE)
        for statement, arguments in statements:
            assert refusal(db, statement, arguments)[0] == "42501", (role, statement)
    act_as(db, "none")
    assert [(row["key_id"], row["revoked_at"], row["last_used_at"]) for row in keys(db)] == [(key_id, None, None)]


def test_the_service_role_has_the_functions_and_not_the_tables(db: Db) -> None:
    act_as(db, "service_role")
    key_id = make_key(db)
    assert [row["key_id"] for row in keys(db, p_user_id=ALICE)] == [key_id]
    assert remaining(db) == 59
    assert entry(db, "revoke_api_key", p_key="tly_a") == [(key_id,)]
    for table in ("api_keys", "request_windows"):
        assert refusal(db, f"select from tallystick.{table}", [])[0] == "42501"
