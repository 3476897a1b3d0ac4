"""Callers of the HTTP API as its server knows them: keys, and the requests that they are let through with."""

from __future__ import annotations

import hashlib
import hmac
import uuid
from datetime import UTC, datetime
from typing import Any, NamedTuple

import psycopg
import pytest

from tests.sql.two_users import ALICE, Db, entry

NOON = datetime(2026, 6, 20, 12, tzinfo=UTC)
COLUMNS = (
    *("key_id", "user_id", "name", "prefix", "scopes", "requests_per_minute"),
    *("created_at", "expires_at", "revoked_at", "last_used_at"),
)


class Admission(NamedTuple):
    """What admit_key answers with."""

    key_id: uuid.UUID
    user_id: uuid.UUID | None
    scopes: list[str]
    admitted: int
    request_limit: int
    remaining: int
    reset_s: float


def digest_of(key: str) -> str:
    return hmac.new(b"the server's own", key.encode(), hashlib.sha256).hexdigest()


def set_now(db: Db, now: datetime) -> None:
    db.execute("select set_config('tallystick.now', %s, true)", [now.isoformat()])


def make_key(db: Db, key: str = "tly_a", **parameters: Any) -> uuid.UUID:
    """Keep a key of Alice's that may read; its prefix is the key itself."""
    given = {"p_user_id": ALICE, "p_name": "a key", "p_prefix": key, "p_digest": digest_of(key), "p_scopes": ["read"]}
    ((key_id,),) = entry(db, "create_api_key", **{**given, **parameters})
    assert isinstance(key_id, uuid.UUID)
    return key_id


def keys(db: Db, **parameters: Any) -> list[dict[str, Any]]:
    return [dict(zip(COLUMNS, row, strict=True)) for row in entry(db, "api_keys", **parameters)]


def admit(db: Db, key: str = "tly_a", *, limit: int | None = 60, requests: int = 1) -> Admission | None:
    """Ask for requests with a key, as the server does; None where the key is not in force."""
    rows = db.execute("select * from tallystick.admit_key(%s, %s, %s)", [digest_of(key), limit, requests]).fetchall()
    assert len(rows) < 2
    return Admission(*rows[0]) if rows else None


def remaining(db: Db, key: str = "tly_a", *, limit: int = 60) -> int | None:
    """What is left after one more request, None where that was refused."""
    admission = admit(db, key, limit=limit)
    assert admission is not None
    assert admission.admitted or admission.remaining == 0
    return admission.remaining if admission.admitted else None


def windows(db: Db) -> list[tuple[Any, ...]]:
    return db.execute(
        "select caller, request_count from tallystick.request_windows order by 1, window_start"
    ).fetchall()


def refusal(db: Db, statement: str, arguments: list[Any]) -> tuple[str | None, str | None]:
    with pytest.raises(psycopg.Error) as caught, db.transaction():
        db.execute(statement.encode(), arguments)
    assert caught.value.diag.message_hint or caught.value.sqlstate == "42501"
    return caught.value.sqlstate, caught.value.diag.constraint_name
