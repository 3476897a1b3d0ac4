"""What an attacker, or a careless program, may send: no 5xx, no effect on anybody's books, and words that help."""

from __future__ import annotations

import gzip
import json
from typing import Any, NamedTuple

import pytest

from tests.api.conftest import digest, make_books
from tests.api.serving import PREFIX, Api, event
from tests.api.signers import Signer

HUGE = "9" * 400
DEEP = b"[" * 3000 + b"]" * 3000
DROP = "'; drop table token_usage_events; --"


class Hostile(NamedTuple):
    """One input, the status that it must be answered with, and words of the answer."""

    name: str
    method: str
    path: str
    status: int
    words: str
    body: bytes | None = None
    headers: dict[str, str] = {}  # noqa: RUF012  # never changed
    token: str = "key"


def get(name: str, path: str, status: int, words: str, **more: Any) -> Hostile:
    return Hostile(name, "GET", PREFIX + path, status, words, **more)


def post(name: str, path: str, body: bytes, status: int, words: str, **more: Any) -> Hostile:
    return Hostile(name, "POST", PREFIX + path, status, words, body, **more)


def one(**members: Any) -> bytes:
    return json.dumps(event(900, **members)).encode()


GZIP = {"Content-Encoding": "gzip"}
INPUTS = [
    # addresses and methods
    Hostile("no such address", "GET", "/admin.php", 404, "no such address"),
    Hostile("a way out of the folder", "GET", f"{PREFIX}/../../etc/passwd", 404, "no such address"),
    Hostile("no method of ours", "DELETE", f"{PREFIX}/daily", 405, "does not take DELETE"),
    Hostile("a method nobody knows", "PROPFIND", f"{PREFIX}/daily", 405, "does not take PROPFIND"),
    Hostile("head", "HEAD", f"{PREFIX}/daily", 405, ""),
    Hostile("options", "OPTIONS", f"{PREFIX}/track", 405, "does not take OPTIONS"),
    get("a very long address", "/session/" + "a" * 20_000, 400, "session_id: "),
    # parameters
    get("SQL in a filter", f"/daily?project={DROP}", 200, '"days":[]'),
    get("SQL in a session", f"/session/{DROP}", 404, "no session"),
    get("SQL in a zone", f"/daily?timezone={DROP}", 400, "time zone"),
    get("a path as a zone", "/daily?timezone=../../etc/passwd", 400, "time zone"),
    get("a path as a zone, with a range", "/daily?timezone=../../etc/passwd&last=7d", 400, "time zone"),
    get("a zone of nowhere, with a range", "/daily?timezone=Mars/Olympus&last=7d", 400, "time zone"),
    get("NUL in a filter", "/daily?model=a%00b", 400, "model.0: "),
    get("NUL in a zone", "/daily?timezone=%00", 400, "timezone: "),
    get("NUL in a session", "/session/a%00bc", 400, "session_id: "),
    get("NUL in a key of a page", "/daily?after=%7B%22source%22:%22%5Cu0000%22%7D", 400, "`after` is no row"),
    get("bytes that are no text", "/daily?model=%ff%fe", 200, '"days":[]'),
    get("half a surrogate in a key of a page", "/daily?after=%7B%22source%22:%22%5Cud800%22%7D", 400, "`after`"),
    get("a deep key of a page", "/daily?after=" + "%5B" * 1000, 400, "`after` is no row"),
    get("a key of another report", "/sessions?after=%7B%7D", 400, "no row of this report"),
    get("a day in a key of a page", "/daily?after=%7B%22period_start%22:%22x%22%7D", 400, "no row of this report"),
    get("the first day", "/daily?since=0001-01-01&until=0001-01-01", 200, '"days":[]'),
    get("the last day", "/daily?since=9999-12-31&until=9999-12-31", 200, '"days":[]'),
    get("a day that is not", "/daily?since=2026-02-30", 400, "since: "),
    get("a day as a number", "/daily?since=1764547200", 400, "since: "),
    get("many months", "/monthly?last=9999m", 200, '"months":['),
    get("Indian digits", "/daily?last=%D9%A3d", 400, "write 7d, 4w or 3m"),
    get("a huge limit", f"/daily?limit={HUGE}", 400, "limit: "),
    get("a limit of 1e3", "/daily?limit=1e3", 400, "limit: "),
    get("a thousand filters", "/daily?" + "&".join(["model=m"] * 1000), 400, "model: "),
    get("a user that is none", "/daily?user_id=admin", 400, "user_id: "),
    get("somebody else", "/daily?user_id=00000000-0000-4000-8000-000000000000", 403, "own books"),
    get("a weekday that is none", "/weekly?week_start=8", 400, "a week starts on one of"),
    # bodies
    post("nothing", "/track", b"", 400, "neither a JSON object nor a list"),
    post("a text", "/track", b'"text"', 400, "neither a JSON object nor a list"),
    post("a form", "/track", b"event_key=a", 400, "neither a JSON object nor a list"),
    post("XML", "/track", b"<a><!ENTITY b 'c'></a>", 400, "neither a JSON object nor a list"),
    post("UTF-16", "/track", "[{}]".encode("utf-16"), 400, "neither a JSON object nor a list"),
    post("an open list", "/track", b"[" * 100_000, 400, "list"),
    post("deep nesting", "/track", b"[" + DEEP + b"]", 200, '"rejected":1'),
    post("a huge number", "/track", one(input_tokens=int(HUGE)), 200, "too_large"),
    post("a number too huge to be one", "/track", b'{"source":"a","input_tokens":1e999999}', 200, "unreadable"),
    post("a fraction of a token", "/track", one(input_tokens=0.5), 200, "not_an_integer"),
    post("a token as a list", "/track", one(input_tokens=[1]), 200, "not_an_integer"),
    post("fewer than no tokens", "/track", one(output_tokens=-1), 200, "negative"),
    post("NaN", "/track", b'{"source":"a","input_tokens":NaN}', 200, "unreadable"),
    post("a cost of infinity", "/track", one(reported_cost_usd="Infinity"), 200, "not_a_cost"),
    post("NUL in a label", "/track", one(model="a\x00b"), 200, "unreadable"),
    post("half a surrogate", "/track", b'{"source":"a","event_key":"\\ud800"}', 200, "unreadable"),
    post("bytes that are no text in a label", "/track", b'{"source":"a","event_key":"\xff"}', 200, "unreadable"),
    post("a label of a megabyte", "/track", one(project="p" * (1 << 20)), 200, "label_too_long"),
    post("a time of another planet", "/track", one(occurred_at="infinity"), 200, "not_a_time"),
    post(
        "a place of its own",
        "/track",
        one(user_id="00000000-0000-4000-8000-000000000000", input_tokens=-1),
        200,
        '"rejected":1',
    ),
    post("no gzip", "/track", b"[]", 400, "not gzip", headers=GZIP),
    post("a bomb", "/track", gzip.compress(b" " * (32 << 20)), 413, "16 MiB", headers=GZIP),
    post(
        "an encoding nobody asked for",
        "/track",
        b"[]",
        400,
        "no Content-Encoding 'br'",
        headers={"Content-Encoding": "br"},
    ),
    post("two encodings", "/track", b"[]", 400, "no Content-Encoding", headers={"Content-Encoding": "gzip, gzip"}),
    post("SQL in a zone that is set", "/account", json.dumps({"time_zone": DROP}).encode(), 400, "time zone"),
    post("a zone as a number", "/account", b'{"time_zone":5}', 400, "$.time_zone"),
    post("a member nobody knows", "/account", b'{"time_zone":"UTC","role":"admin"}', 400, "role"),
    post("NUL in a zone that is set", "/account", b'{"time_zone":"\\u0000"}', 400, ""),
    post("keys that are no texts", "/events", b'{"event_keys":[1]}', 400, "$.event_keys[0]"),
    post("NUL in a key", "/events", b'{"event_keys":["\\u0000"]}', 400, ""),
    post("too many keys", "/events", json.dumps({"event_keys": ["k"] * 10_001}).encode(), 400, "10000"),
    post("totals of nobody", "/upsert", b'{"session_data":5}', 400, "session_data"),
    post("days with NUL", "/upsert", b'{"session_data":[],"daily_data":{"usage_date":"\\u0000"}}', 400, ""),
    post("totals that are deep", "/upsert", b'{"session_data":' + DEEP + b"}", 400, ""),
    post("prices that are none", "/prices", b'[{"provider":5}]', 400, ""),
    post("prices of NaN", "/prices", b'[{"provider":"a","model":"b","input_usd_per_mtok":"NaN"}]', 400, ""),
    post("a price with NUL", "/prices", b'["\\u0000"]', 400, ""),
    post("a slice of minus one", "/forget", b'{"limit":-1}', 400, "a slice is 1 to 100,000 events"),
    post("a project with NUL", "/forget", b'{"project":"\\u0000"}', 400, ""),
    post("a re-rating by a user", "/rerate", b"{}", 403, "service"),
    post("a correction by a user", "/corrections", b"[]", 403, ""),
    # callers
    get("no token", "/daily", 401, "no key or token", token=""),
    get("an expired token", "/daily", 401, "expired", token="expired"),
    get("a forged token", "/daily", 401, "does not hold", token="forged"),
    get("another user's token", "/daily?user_id=ALICE", 403, "own books", token="other"),
    get("SQL as a key", "/daily", 401, "no key or token", token=f"tly_{DROP}"),
]


@pytest.fixture(scope="module")
def tokens(signer: Signer, bob: str, alices_key: str) -> dict[str, str]:
    return {
        "key": alices_key,
        "expired": signer.token(bob, exp=1_600_000_000),
        "forged": signer.token(bob)[:-8] + "AAAAAAAA",
        "other": signer.token(bob),
    }


@pytest.fixture(scope="module")
def before(api: Api, alice: str, bob: str) -> list[str]:
    return [digest(api, alice), digest(api, bob)]


def test_there_are_more_than_sixty_of_them() -> None:
    assert len({hostile.name for hostile in INPUTS}) == len(INPUTS) > 60


@pytest.mark.parametrize("hostile", INPUTS, ids=lambda hostile: hostile.name.replace(" ", "_"))
def test_hostile_input_is_told_what_is_wrong(
    api: Api, tokens: dict[str, str], alice: str, before: list[str], hostile: Hostile
) -> None:
    assert before
    answer = api.ask(
        hostile.method,
        hostile.path.replace("ALICE", alice),
        key=tokens.get(hostile.token, hostile.token),
        content=hostile.body,
        headers=hostile.headers,
    )
    assert answer.status_code == hostile.status, answer.text
    assert hostile.words in answer.text
    if hostile.status == 400 and hostile.method == "POST":
        assert answer.json()["hint"]
    assert "Traceback" not in answer.text
    assert "psycopg" not in answer.text


def test_none_of_it_had_an_effect(api: Api, alice: str, bob: str, before: list[str]) -> None:
    assert [digest(api, alice), digest(api, bob)] == before
    assert not [line for line in api.log_lines() if line["event"] != "request" or line["status"] >= 500]
    assert make_books(api, 3)
