"""requireAuth: whose requests are answered, by which keys and which tokens, and what each of them may do."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tallystick.keys import make_key
from tallystick.ledger import Ledger
from tests.api.conftest import digest
from tests.api.serving import PREFIX, Api, event, new_user
from tests.api.signers import Signer
from tests.servers import connect

STATE = f"{PREFIX}/state"


def refusal(api: Api, token: str, *, status: int = 401) -> dict[str, Any]:
    answer = api.ask("GET", STATE, key=token)
    assert answer.status_code == status, answer.text
    assert status != 401 or answer.headers["www-authenticate"].startswith("Bearer")
    problem: dict[str, Any] = answer.json()
    return problem


# -- keys


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Bearer",
        "Basic YWxpY2U6cHc=",
        "Bearer tly_",
        "Bearer tly_abcdefgh_short",
        "Bearer sb_secret_abc",
        "Bearer a.b.c",
        "Bearer " + "x" * 20_000,
    ],
)
def test_without_a_key_that_holds_nobody_learns_anything(api: Api, header: str | None) -> None:
    answer = api.ask("GET", STATE, headers={} if header is None else {"Authorization": header})
    assert answer.status_code == 401
    assert answer.json()["constraint"] in ("caller_is_known", "token_is_valid")


def test_a_key_of_the_right_form_that_nobody_made_is_refused_like_one_that_ended(api: Api, alice: str) -> None:
    ended, revoked = api.key(alice), api.key(alice)
    with connect(api.database_url, autocommit=True) as owner:
        owner.execute(
            "update tallystick.api_keys set created_at = now() - interval '2 hours', "
            "expires_at = now() - interval '1 second' where prefix = %s",
            [ended[:12]],
        )
    with Ledger.connect(api.database_url) as ledger:
        ledger.revoke_api_key(revoked[:12])
    told = [refusal(api, key) for key in (make_key().key, ended, revoked, ended[:-1] + "A")]
    assert {(one["detail"], one["hint"], one["constraint"]) for one in told} == {
        (told[0]["detail"], told[0]["hint"], "caller_is_known")
    }


def test_a_key_opens_the_books_of_its_user_and_no_others(api: Api, alice: str, bob: str) -> None:
    key = api.key(alice)
    assert api.get("/state", key)["user_id"] == alice
    assert api.get("/state", key, user_id=alice)["user_id"] == alice
    before = digest(api, bob)
    for method, path, body in (
        ("GET", "/daily", None),
        ("GET", "/digest", None),
        ("POST", "/track", event(1)),
        ("POST", "/forget", {}),
        ("PUT", "/time-zone", {"time_zone": "Asia/Tokyo"}),
        ("POST", "/upsert", {"session_data": {"user_id": bob, "session_id": "s", "input_tokens": 5}}),
    ):
        query = {} if path == "/upsert" else {"user_id": bob}
        answer = api.ask(method, PREFIX + path, key=key, params=query, json=body)
        assert (answer.status_code, answer.json()["constraint"]) == (403, "caller_is_the_user"), path
    assert digest(api, bob) == before


# what each scope opens
OPENED_BY: dict[str, list[tuple[str, str, Any]]] = {
    "read": [("GET", "/daily", None), ("GET", "/limits", None)],
    "ingest": [("POST", "/track", event(1)), ("POST", "/limits", [])],
    "admin": [("POST", "/forget", {})],
}


@pytest.mark.parametrize("scope", OPENED_BY)
def test_a_key_may_do_what_its_scopes_say(api: Api, scope: str) -> None:
    key = api.key(new_user(), scope)
    for needed, requests in OPENED_BY.items():
        for method, path, body in requests:
            answer = api.ask(method, PREFIX + path, key=key, json=body)
            assert (answer.status_code != 403) == (needed == scope), (method, path)
            if answer.status_code == 403:
                assert answer.json()["constraint"] == "key_has_the_scope"
                assert "tally keys create --scope" in answer.json()["hint"]


def test_a_service_key_acts_for_the_user_that_it_names(api: Api, alice: str) -> None:
    key = api.key(None)
    answer = api.ask("GET", f"{PREFIX}/daily", key=key)
    assert (answer.status_code, answer.json()["constraint"]) == (400, "user_is_given")
    assert "?user_id=" in answer.json()["hint"]
    assert api.get("/state", key, user_id=alice)["user_id"] == alice
    user = new_user()
    assert api.post("/track", key, event(5), user_id=user)["new"] == 1
    assert api.get("/summary", key, user_id=user)["event_count"] == 1
    for path, body in (("/rerate", {}), ("/corrections", []), ("/forget", {})):
        assert api.ask("POST", PREFIX + path, key=key, json=body).json()["constraint"] == "user_is_given", path


def test_what_only_the_service_may_do_a_user_may_not(api: Api, alice: str, alices_key: str) -> None:
    for path, body in (("/rerate", {}), ("/corrections", [{"event_key": "anthropic:msg_api_1", "project": "x"}])):
        assert api.ask("POST", PREFIX + path, key=alices_key, json=body).status_code == 403, path
    before = api.get("/digest", alices_key)
    key = api.key(None)
    assert api.post("/rerate", key, {}, user_id=alice)["examined"] == 120
    assert api.get("/digest", alices_key) == before


def test_a_key_says_when_it_was_last_used(api: Api) -> None:
    key = api.key(new_user())
    with Ledger.connect(api.database_url) as ledger:
        assert next(row for row in ledger.api_keys() if row.prefix == key[:12]).last_used_at is None
        api.get("/state", key)
        used = next(row for row in ledger.api_keys() if row.prefix == key[:12]).last_used_at
    assert used is not None
    assert abs(datetime.now(UTC) - used) < timedelta(minutes=2)


# -- tokens


@pytest.mark.parametrize("algorithm", ["ES256", "RS256", "HS256"])
def test_a_signed_in_user_reads_and_writes_the_own_books(api: Api, signer: Signer, algorithm: str) -> None:
    user = new_user()
    token = signer.token(user, algorithm=algorithm)
    assert api.post("/track", token, event(3))["new"] == 1
    assert api.get("/state", token)["user_id"] == user
    assert api.get("/summary", token)["event_count"] == 1


def test_a_token_opens_nobody_elses_books(api: Api, signer: Signer, alice: str) -> None:
    answer = api.ask("GET", f"{PREFIX}/daily", key=signer.token(new_user()), params={"user_id": alice})
    assert (answer.status_code, answer.json()["constraint"]) == (403, "caller_is_the_user")


def forged(signer: Signer, kind: str) -> str:
    user, now = new_user(), int(time.time())
    public = signer.es256.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    head, body, signature = signer.token(user).split(".")
    other = base64.urlsafe_b64encode(json.dumps({"sub": new_user()}).encode()).rstrip(b"=").decode()
    return {
        "expired": lambda: signer.token(user, exp=now - 60),
        "not yet": lambda: signer.token(user, nbf=now + 600),
        "another audience": lambda: signer.token(user, aud="somebody"),
        "another issuer": lambda: signer.token(user, iss="https://evil.example/auth/v1"),
        "no issuer": lambda: signer.token(user, iss=None),
        "no audience": lambda: signer.token(user, aud=None),
        "no end": lambda: signer.token(user, exp=None),
        "no subject": lambda: signer.token(user, sub=None),
        "a subject that is nobody": lambda: signer.token("admin"),
        "a subject that is a number": lambda: signer.token(user, sub=5),
        "a role of the service": lambda: signer.token(user, role="service_role"),
        "a role of nobody": lambda: signer.token(user, role="anon"),
        "no role": lambda: signer.token(user, role=None),
        "another key": lambda: signer.token(user, key=ec.generate_private_key(ec.SECP256R1())),
        "an unknown kid": lambda: signer.token(user, kid="nobody"),
        "a kid that is a path": lambda: signer.token(user, kid="../../etc/passwd"),
        "no algorithm": lambda: signer.token(user, algorithm="none"),
        "another secret": lambda: signer.token(user, algorithm="HS256", key="another secret of at least 32 signs"),
        "the public key as a secret": lambda: _hs256_with(public, signer, user),
        "another body": lambda: f"{head}.{other}.{signature}",
        "a cut signature": lambda: f"{head}.{body}.{signature[:-6]}",
        "no signature": lambda: f"{head}.{body}.",
    }[kind]()


def _hs256_with(secret: bytes, signer: Signer, user: str) -> str:
    """PyJWT itself refuses to sign with a public key as if it were a secret."""

    def part(data: bytes) -> bytes:
        return base64.urlsafe_b64encode(data).rstrip(b"=")

    claims = jwt.decode(signer.token(user), options={"verify_signature": False})
    signed = part(b'{"alg":"HS256","kid":"es"}') + b"." + part(json.dumps(claims).encode())
    return (signed + b"." + part(hmac.new(secret, signed, hashlib.sha256).digest())).decode()


KINDS = (
    *("expired", "not yet", "another audience", "another issuer", "no issuer", "no audience", "no end", "no subject"),
    *("a subject that is nobody", "a subject that is a number", "a role of the service", "a role of nobody"),
    *("no role", "another key", "an unknown kid", "a kid that is a path", "no algorithm", "another secret"),
    *("the public key as a secret", "another body", "a cut signature", "no signature"),
)


@pytest.mark.parametrize("kind", KINDS)
def test_a_token_that_is_not_right_in_every_claim_is_refused(api: Api, signer: Signer, kind: str) -> None:
    problem = refusal(api, forged(signer, kind))
    assert problem["constraint"] in ("token_is_valid", "token_is_a_users")
    assert ("expired" in problem["detail"]) == (kind == "expired")


def test_a_secret_that_is_not_configured_signs_nothing(
    start_api: Callable[..., Api], api_database: str, signer: Signer
) -> None:
    api = start_api(api_database, SUPABASE_URL=signer.url)
    refusal(api, signer.token(new_user(), algorithm="HS256"))
    assert api.ask("GET", STATE, key=signer.token(new_user())).status_code == 200


def test_without_a_project_no_token_counts(start_api: Callable[..., Api], api_database: str, signer: Signer) -> None:
    fetches = signer.fetches
    assert refusal(start_api(api_database), signer.token(new_user()))["constraint"] == "caller_is_known"
    assert signer.fetches == fetches


def test_unknown_signing_keys_cause_no_storm_of_fetches(api: Api, signer: Signer) -> None:
    api.get("/state", signer.token(new_user()))
    fetches = signer.fetches
    for number in range(50):
        refusal(api, signer.token(new_user(), kid=f"kid-{number}"))
    assert signer.fetches - fetches <= 1


def test_where_the_signing_keys_cannot_be_had_the_caller_is_told_to_come_again(
    start_api: Callable[..., Api], api_database: str
) -> None:
    signer = Signer()
    try:
        signer.is_down = True
        api = start_api(api_database, SUPABASE_URL=signer.url)
        for _ in range(20):
            answer = api.ask("GET", STATE, key=signer.token(new_user()))
            assert answer.status_code == 503
            assert int(answer.headers["retry-after"]) > 0
        assert signer.fetches <= 2
        assert api.get("/state", api.key(new_user()))["receipt_count"] == 0
    finally:
        signer.close()
