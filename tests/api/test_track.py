"""Events in over HTTP: each once however it comes, and a receipt that says what became of them."""

from __future__ import annotations

import gzip
import json
import time
from typing import Any

import pytest

from tallystick.ledger import Ledger
from tallystick.model import Receipt, RejectedRecord
from tests.api.conftest import digest
from tests.api.serving import PREFIX, Api, event, new_user

TRACK = f"{PREFIX}/track"


@pytest.fixture
def key(api: Api) -> str:
    """The key of a new user."""
    return api.key(new_user())


def receipt(received: int, **counts: Any) -> dict[str, Any]:
    return {
        "received": received,
        "new": 0,
        "revised": 0,
        "duplicate": 0,
        "rejected": 0,
        "unpriced": 0,
        "rejects": [],
        "unknown_members": [],
    } | counts


def test_one_event_a_list_and_both_again_are_each_counted_once(api: Api, key: str) -> None:
    assert api.post("/track", key, event(1)) == receipt(1, new=1)
    assert api.post("/track", key, [event(1), event(2)]) == receipt(2, new=1, duplicate=1, unpriced=1)
    before = api.get("/digest", key)
    assert api.post("/track", key, [event(2), event(1)]) == receipt(2, duplicate=2)
    assert api.post("/track", key, []) == receipt(0)
    assert api.get("/digest", key) == before
    assert api.post("/track", key, event(1, output_tokens=9999)) == receipt(1, revised=1)


def test_a_packed_body_is_the_same_body(api: Api, key: str) -> None:
    packed = gzip.compress(json.dumps([event(number) for number in range(500)]).encode())
    for expected in ({"new": 500, "unpriced": 166}, {"duplicate": 500}):
        answer = api.ask("POST", TRACK, key=key, content=packed, headers={"Content-Encoding": "gzip"})
        assert answer.json() == receipt(500, **expected)


def test_a_rejected_event_is_told_with_its_reason(api: Api, key: str) -> None:
    told = api.post("/track", key, event(1, occurred_at="2026-01-01T10:00:00", position="app.py:17"))
    of_it = {
        "record_index": 0,
        "event_key": "anthropic:msg_api_1",
        "position": "app.py:17",
        "reason": "time_without_offset",
    }
    assert told == receipt(1, rejected=1, rejects=[of_it])
    assert api.get("/rejects", key)["rejects"][0]["reason"] == "time_without_offset"


def test_a_name_that_no_event_has_is_told_and_harms_nothing(api: Api, key: str) -> None:
    wrong = [event(number, sesion_id="s", **{"of a newer collector": 1}) for number in range(300, 400)]
    told = api.post("/track", key, wrong)
    assert (told["new"], told["unknown_members"]) == (100, ["of a newer collector", "sesion_id"])
    assert api.post("/track", key, event(401, sesion_id="s"))["unknown_members"] == ["sesion_id"]
    assert api.post("/track", key, event(402))["unknown_members"] == []


def test_bad_records_among_good_ones_fail_alone(api: Api, key: str) -> None:
    bad = [
        b"5",
        b"null",
        b'"text"',
        b"[]",
        b"{}",
        json.dumps(event(1001, input_tokens=-1)).encode(),
        json.dumps(event(1002, input_tokens=1.5)).encode(),
        json.dumps(event(1003, output_tokens=10**13)).encode(),
        json.dumps(event(1004, model="\x00")).encode(),
        json.dumps(event(1005)).replace("acme", "\\ud800").replace("claude", "\\ud800").encode(),
        json.dumps(event(1006, occurred_at="now")).encode(),
        json.dumps(event(1007, project="p" * 501)).encode(),
        b'{"event_key":"k","source":"api","input_tokens":1e400}',
    ]
    good = [json.dumps(event(number)).encode() for number in range(50)]
    records = [*good[:25], *bad, *good[25:]]
    answer = api.ask("POST", TRACK, key=key, content=b"[" + b",".join(records) + b"]")
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert (told["received"], told["new"], told["rejected"]) == (63, 50, 13)
    assert [one["reason"] for one in told["rejects"]] == [
        *("not_an_object", "not_an_object", "not_an_object", "not_an_object", "missing_source", "negative"),
        *("not_an_integer", "too_large", "unreadable", "unreadable", "not_a_time", "label_too_long"),
        told["rejects"][12]["reason"],
    ]
    assert all(check["bad_rows"] == 0 for check in api.get("/verify", key)["checks"])


def test_ten_thousand_events_are_taken_and_one_more_is_too_many(api: Api, key: str) -> None:
    events = [event(number) for number in range(10_001)]
    answer = api.ask("POST", TRACK, key=key, json=events)
    assert (answer.status_code, answer.json()["constraint"]) == (413, "batch_is_at_most_10000")
    assert api.get("/summary", key)["event_count"] == 0
    assert api.post("/track", key, events[:10_000])["new"] == 10_000
    assert api.get("/summary", key)["event_count"] == 10_000


def test_a_body_that_is_no_list_is_refused_whole(api: Api, key: str) -> None:
    for body in (b"[1", b"[" * 5000, b'{"a":1}}', b"[1] [2]", b"", b"null", b'"text"', b"5", b"{"):
        answer = api.ask("POST", TRACK, key=key, content=body)
        assert (answer.status_code, answer.json()["constraint"]) == (400, "events_are_a_list"), body


@pytest.mark.parametrize("sign", [b",", b'"', b"[", b"{"])
def test_a_body_in_which_nobody_could_look_for_the_record_at_fault_is_refused_at_once(
    api: Api, key: str, sign: bytes
) -> None:
    started = time.monotonic()
    answer = api.ask("POST", TRACK, key=key, content=b"[" + sign * 15_000_000 + b"]")
    assert (answer.status_code, answer.json()["constraint"]) == (400, "batch_is_readable")
    assert time.monotonic() - started < 5


def test_a_ledger_behind_a_server_sends_what_is_no_json_in_halves(api: Api) -> None:
    user = new_user()
    batch = b"[" + b",".join([json.dumps(event(number)).encode() for number in range(20)] + [b"nonsense"]) + b"]"
    with Ledger.connect(api.address, key=api.key(user)) as over_http:
        told = over_http.ingest_token_usage(batch)
        (kept,) = over_http.rejects()
    assert told == Receipt(
        received=21, new=20, rejected=1, unpriced=6, rejects=(RejectedRecord(kept.position, "unreadable", 20),)
    )
    with Ledger.connect(api.database_url, user_id=new_user()) as over_sql:
        assert over_sql.ingest_token_usage(batch) == told
    assert digest(api, user) == digest(api, over_sql.user_id or "")


def test_a_service_key_sends_for_each_user_that_it_names(api: Api) -> None:
    service, users = api.key(None, "ingest"), [new_user(), new_user()]
    for count, user in enumerate(users, start=1):
        assert api.post("/track", service, [event(number) for number in range(count)], user_id=user)["new"] == count
    for count, user in enumerate(users, start=1):
        assert api.get("/summary", api.key(user))["event_count"] == count


def test_running_totals_of_a_session_grow_and_do_not_double(api: Api, key: str) -> None:
    body = {
        "session_data": {
            "session_id": "s",
            "model_used": "claude-sonnet-4-5",
            "input_tokens": 100,
            "output_tokens": 10,
        },
        "daily_data": {"usage_date": "2026-11-20"},
    }
    assert api.post("/upsert", key, body)["new"] == 1
    assert api.post("/upsert", key, body)["duplicate"] == 1
    body["session_data"]["input_tokens"] = 50
    told = api.post("/upsert", key, body)
    assert [reject["reason"] for reject in told["rejects"]] == ["totals_shrank"]
    assert api.get("/summary", key)["input_tokens"] == 100


def test_an_own_price_a_new_zone_and_forgetting_over_http(api: Api, key: str) -> None:
    assert api.post("/account", key, {"time_zone": "Asia/Tokyo"}) == {}
    price = {
        "provider": "anthropic",
        "model": "acme-large-1",
        "valid_from": "2026-01-01T00:00:00Z",
        "input_usd_per_mtok": "2",
        "output_usd_per_mtok": "3",
        "origin": "our contract",
    }
    assert api.post("/prices", key, [price]) == {"received": 1, "added": 1, "unchanged": 0}
    called = event(2, input_tokens=5, output_tokens=7, cache_read_tokens=0, occurred_at="2026-05-01T20:00:00Z")
    assert api.post("/track", key, called)["unpriced"] == 0
    day = api.get("/daily", key)["days"][0]
    assert (day["period_start"], day["cost_usd"]) == ("2026-05-02", "0.000031")
    answer = api.ask("PUT", f"{PREFIX}/time-zone", key=key, json={"time_zone": "UTC"})
    assert answer.status_code == 200
    assert api.get("/daily", key)["days"][0]["period_start"] == "2026-05-01"
    assert api.post("/forget", key, {})["events"] == 1
    assert api.get("/summary", key)["event_count"] == 0
