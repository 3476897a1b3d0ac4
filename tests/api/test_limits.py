"""What a caller may ask of the server: requests per minute, the size of a body, and the time that it takes to come."""

from __future__ import annotations

import gzip
import json
import socket
import time
import zlib
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.api.serving import PREFIX, Api, event, new_user
from tests.api.signers import Signer

TRACK = f"{PREFIX}/track"
MIB = 1 << 20

# the same at every start, as the names of tests must be
EMPTY_GZIP = gzip.compress(b"[]", mtime=0)


def test_a_key_has_its_own_limit_and_is_told_how_far_it_is(api: Api, alice: str) -> None:
    key = api.key(alice, requests_per_minute=5)
    answers = [api.ask("GET", f"{PREFIX}/state", key=key) for _ in range(8)]
    statuses = [answer.status_code for answer in answers]
    if statuses.count(429) < 3:  # a new minute has begun in between
        answers = [api.ask("GET", f"{PREFIX}/state", key=key) for _ in range(8)]
    refused = [answer for answer in answers if answer.status_code == 429]
    assert len(refused) >= 3
    for answer in answers:
        assert answer.headers["ratelimit-policy"] == '"minute";q=5;w=60'
        name, remaining, reset = answer.headers["ratelimit"].split(";")
        assert name == '"minute"'
        assert 0 <= int(remaining.removeprefix("r=")) < 5
        assert 0 < int(reset.removeprefix("t=")) <= 60
    for answer in refused:
        assert 0 < int(answer.headers["retry-after"]) <= 60
        assert answer.json()["constraint"] == "requests_per_minute"
    assert api.ask("GET", f"{PREFIX}/state", key=api.key(alice)).status_code == 200


def test_a_limit_holds_for_requests_at_once(api: Api, alice: str) -> None:
    key = api.key(alice, requests_per_minute=10)
    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(lambda _: api.ask("GET", f"{PREFIX}/state", key=key).status_code, range(40)))
    # twenty where a new minute began in between
    assert statuses.count(200) in (10, 20)
    assert set(statuses) == {200, 429}


def test_a_signed_in_user_has_a_limit_too(api: Api, signer: Signer) -> None:
    answer = api.ask("GET", f"{PREFIX}/state", key=signer.token(new_user()))
    assert answer.headers["ratelimit-policy"] == '"minute";q=6000;w=60'


def test_who_is_over_the_limit_need_not_send_the_body(api: Api, alice: str) -> None:
    key = api.key(alice, requests_per_minute=1)
    while api.ask("GET", f"{PREFIX}/state", key=key).status_code != 429:
        pass
    head = f"POST {TRACK} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\nContent-Length: 1000\r\n\r\n"
    assert raw(api, head.encode()).startswith(b"HTTP/1.1 429")


def test_who_has_no_key_need_not_send_the_body(api: Api) -> None:
    head = f"POST {TRACK} HTTP/1.1\r\nHost: x\r\nContent-Length: {10 * MIB}\r\n\r\n"
    assert raw(api, head.encode()).startswith(b"HTTP/1.1 401")


def raw(api: Api, request: bytes) -> bytes:
    """The beginning of the answer to these bytes, with nothing behind them."""
    host, _, port = api.address.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=15) as connection:
        connection.sendall(request)
        return connection.recv(4096)


def test_a_large_body_is_refused_before_it_is_read(api: Api, alices_key: str) -> None:
    head = (
        f"POST {TRACK} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {alices_key}\r\nContent-Length: {17 * MIB}\r\n\r\n"
    )
    assert raw(api, head.encode()).startswith(b"HTTP/1.1 413")


def test_a_body_that_does_not_say_its_length_is_cut_off_at_the_limit(api: Api, alices_key: str) -> None:
    answer = api.ask("POST", TRACK, key=alices_key, content=(b" " * MIB for _ in range(20)))
    assert (answer.status_code, answer.json()["constraint"]) == (413, "body_is_small_enough")


@pytest.mark.parametrize("size", [17 * MIB, 100 * MIB])
def test_a_body_that_unpacks_to_too_much_is_refused(api: Api, alices_key: str, size: int) -> None:
    packer = zlib.compressobj(9, wbits=16 + zlib.MAX_WBITS)
    block = b" " * MIB
    bomb = b"".join(packer.compress(block) for _ in range(size // MIB)) + packer.flush()
    started = time.monotonic()
    answer = api.ask("POST", TRACK, key=alices_key, content=bomb, headers={"Content-Encoding": "gzip"})
    assert (answer.status_code, answer.json()["constraint"]) == (413, "body_is_small_enough")
    assert time.monotonic() - started < 5


@pytest.mark.parametrize(
    "body",
    [b"no gzip", b"", EMPTY_GZIP[:-4], EMPTY_GZIP + b"more", zlib.compress(b"[]")],
)
def test_a_body_that_is_not_the_gzip_it_says_it_is_is_refused(api: Api, alices_key: str, body: bytes) -> None:
    answer = api.ask("POST", TRACK, key=alices_key, content=body, headers={"Content-Encoding": "gzip"})
    assert (answer.status_code, answer.json()["constraint"]) == (400, "body_is_gzip")


def test_fifteen_mib_of_events_are_taken(api: Api) -> None:
    key = api.key(new_user())
    events = [event(number, agent_version="x" * 190, device="y" * 190, git_branch="z" * 190) for number in range(9_000)]
    body = json.dumps([{**one, "note": "n" * 600} for one in events]).encode()
    assert 12 * MIB < len(body) < 16 * MIB
    answer = api.ask("POST", TRACK, key=key, content=body)
    assert answer.json()["new"] == 9_000


def test_ten_thousand_records_that_nobody_can_read_end_in_time(api: Api) -> None:
    body = b"[" + b",".join(b'{"source":"api","event_key":"\\u0000%d"}' % number for number in range(10_000)) + b"]"
    started = time.monotonic()
    answer = api.ask("POST", TRACK, key=api.key(new_user()), content=body)
    assert answer.status_code == 200, answer.text
    assert answer.json()["rejected"] == 10_000
    assert time.monotonic() - started < 30
