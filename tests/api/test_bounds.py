"""What nobody may take from the others: a head without end, all threads, and the words of the log."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from tallystick.api import protocol
from tests.api.serving import PREFIX, Api, event, new_user
from tests.servers import connect

KIB = 1 << 10


def talk(api: Api, *pieces: bytes) -> bytes:
    """What is answered to these bytes until the server ends the connection, or breaks it off."""
    answer = b""
    host, _, port = api.address.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        try:
            for piece in pieces:
                connection.sendall(piece)
            while piece := connection.recv(4096):
                answer += piece
        except ConnectionError:
            pass
    return answer


def test_a_head_without_end_is_cut_off_at_64_kib(api: Api) -> None:
    head = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
    assert talk(api, head + b"X-Long: " + b"a" * 60 * KIB + b"\r\n\r\n").startswith(b"HTTP/1.1 200")
    answer = talk(api, head + b"X-Long: ", *[b"a" * KIB] * 200)
    assert answer == b"" or answer.startswith(b"HTTP/1.1 431 Request Header Fields Too Large\r\n")


@pytest.mark.parametrize(
    "head", [b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Odd: a\x01b\r\n\r\n", b"\x16\x03\x01\x02\x00\x01"]
)
def test_what_is_no_http_is_a_problem_like_any_other(api: Api, head: bytes) -> None:
    status, _, told = talk(api, head).partition(b"\r\n")
    assert status == b"HTTP/1.1 400 Bad Request"
    headers, _, body = told.partition(b"\r\n\r\n")
    assert {b"content-type: application/problem+json", b"x-content-type-options: nosniff"} <= set(
        headers.split(b"\r\n")
    )
    assert json.loads(body)["status"] == 400
    assert "no HTTP request" in json.loads(body)["detail"]


def test_a_large_body_is_no_large_head(api: Api) -> None:
    key = api.key(new_user())
    body = json.dumps([event(number) for number in range(2_000)])
    assert len(body) > protocol.MAX_HEAD_BYTES
    for _ in range(3):
        assert api.ask("POST", f"{PREFIX}/track", key=key, content=body.encode()).status_code == 200


def test_a_head_that_does_not_come_is_not_waited_for(api: Api) -> None:
    started_at = time.monotonic()
    assert talk(api, b"GET /healthz HT") == b""
    assert protocol.HEAD_TIMEOUT_S - 1 < time.monotonic() - started_at < 2 * protocol.HEAD_TIMEOUT_S


def test_a_caller_whose_books_are_locked_leaves_the_others_room(api: Api) -> None:
    users = new_user(), new_user()
    locked, other = (api.key(user) for user in users)
    for key in (locked, other):
        api.post("/track", key, event(1))
    with connect(api.database_url) as holder, ThreadPoolExecutor(14) as pool:
        holder.execute("select from token_usage_accounts where user_id = %s for update", [users[0]])
        waiting = [pool.submit(api.ask, "POST", f"{PREFIX}/track", key=locked, json=event(2)) for _ in range(14)]
        time.sleep(0.5)
        for _ in range(5):
            assert api.get("/summary", other)["event_count"] == 1
            assert api.ask("GET", "/readyz").status_code == 200
        assert not all(answer.done() for answer in waiting)
        holder.rollback()
        assert {answer.result().status_code for answer in waiting} == {200}


def test_books_that_stay_locked_are_busy_and_to_be_asked_for_again(api: Api) -> None:
    user = new_user()
    key = api.key(user)
    api.post("/track", key, event(1))
    with connect(api.database_url) as holder:
        holder.execute("select from token_usage_accounts where user_id = %s for update", [user])
        answer = api.ask("POST", f"{PREFIX}/track", key=key, json=event(2))
        holder.rollback()
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) > 0
    assert "another writer holds the books" in answer.json()["detail"]


def test_a_key_of_any_scope_may_ask_whose_books_it_opens(api: Api) -> None:
    user = new_user()
    for scope in ("ingest", "read", "admin"):
        assert api.get("/state", api.key(user, scope))["user_id"] == user


def test_running_totals_that_name_no_user_are_those_of_the_address(api: Api) -> None:
    alice, bob = new_user(), new_user()
    totals = {"session_data": {"session_id": "s", "model_used": "m", "input_tokens": 5, "message_count": 1}}
    service = api.key(None)
    assert api.post("/upsert", service, totals, user_id=bob)["new"] == 1
    assert api.get("/summary", service, user_id=bob)["input_tokens"] == 5
    refused = api.ask("POST", f"{PREFIX}/upsert", key=api.key(alice), json=totals, params={"user_id": bob})
    assert refused.status_code == 403


def test_a_token_that_no_published_key_can_have_signed_is_refused_without_fetching_any(
    start_api: Callable[..., Api], api_database: str
) -> None:
    api = start_api(api_database, SUPABASE_URL="http://127.0.0.1:1")
    # {"alg":"none"} and {"alg":"HS256"}, over {}
    for head in ("eyJhbGciOiJub25lIn0", "eyJhbGciOiJIUzI1NiJ9"):
        assert api.ask("GET", f"{PREFIX}/state", key=f"{head}.e30.x").status_code == 401


@pytest.mark.parametrize("text", ["7", "0d", "1000000m", "d"])
def test_a_range_that_is_none_is_told_in_words(api: Api, text: str) -> None:
    answer = api.ask("GET", f"{PREFIX}/daily", key=api.key(new_user()), params={"last": text})
    assert answer.status_code == 400
    assert "7d" in answer.text
    assert "pattern" not in answer.text
