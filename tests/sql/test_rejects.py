"""What cannot be counted is set apart by itself, with its place and a reason, and everything around it counts."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime

import psycopg
import pytest

from tallystick.model import RejectRow
from tests.sql.keeper import Keeper, Row, observation

OTHERS = observation(8), observation(9)
COUNTS = (
    *("input_tokens", "cache_creation_5m_tokens", "cache_creation_1h_tokens", "cache_read_tokens"),
    *("output_tokens", "thinking_tokens", "web_search_requests", "message_count"),
)
SHORT_LABELS = (
    *("source", "session_id", "provider", "model", "device", "git_branch", "agent_version", "request_id"),
    *("service_tier", "speed", "inference_geo"),
)
LIMITS_BYTES = {"event_key": 300, "project": 500, "place_order": 300, **dict.fromkeys(SHORT_LABELS, 200)}


def text_of(record: Row, **raw: str) -> str:
    """A record as JSON, with some of its members as exactly that text."""
    members = {name: json.dumps(value) for name, value in record.items()} | raw
    return "{" + ",".join(f'"{name}":{value}' for name, value in members.items()) + "}"


def digest_of(record: str) -> str:
    return "sha256:" + hashlib.sha256(record.encode()).hexdigest()


def assert_rejected(keeper: Keeper, record: str, reason: str, *, position: str = "file:1", source: str = "one") -> None:
    """Between two good records it is rejected alone, once, under this place and for this reason."""
    first, last = OTHERS
    with keeper.undone():
        receipt = keeper.ingest(first, record, last)
        (told,) = receipt.pop("rejects")
        assert (told["record_index"], told["position"], told["reason"]) == (1, position, reason), record
        assert receipt == {"received": 3, "new": 2, "revised": 0, "duplicate": 0, "rejected": 1, "unpriced": 0}, record
        (kept,) = keeper.rows("rejects")
        assert (kept["source"], kept["position"], kept["reason"]) == (source, position, reason), record
        assert [row["event_key"] for row in keeper.rows("events")] == [first["event_key"], last["event_key"]]
        assert keeper.bad_rows() == {}


def assert_taken(keeper: Keeper, record: str) -> None:
    with keeper.undone():
        assert keeper.ingest(record)["new"] == 1, record


# -- what is told of them


def test_a_receipt_tells_which_of_the_records_could_not_be_counted(keeper: Keeper) -> None:
    nameless = {name: value for name, value in observation().items() if name != "event_key"}
    of_any_kind = {
        text_of(observation(1), input_tokens="-1"): observation(1)["event_key"],
        text_of(observation(2), input_tokens="1.5"): observation(2)["event_key"],
        text_of(observation(3), is_final="[]"): observation(3)["event_key"],
        text_of(observation(4, event_key="x" * 400)): "x" * 300,
        text_of(nameless): None,
        text_of({**nameless, "event_key": 5}, input_tokens='"?"'): "5",
        "[]": None,
    }
    told = keeper.ingest(observation(8), *of_any_kind, observation(9))["rejects"]
    assert [(reject["record_index"], reject["event_key"]) for reject in told] == list(
        enumerate(of_any_kind.values(), start=1)
    )


# -- the reasons


def test_a_count_is_neither_negative_nor_more_than_a_million_million(keeper: Keeper) -> None:
    greatest = {"output_tokens": "1000000000000"}
    for name in COUNTS:
        assert_rejected(keeper, text_of(observation(), **{name: "-1"}), "negative")
        assert_taken(keeper, text_of(observation(), **greatest | {name: "1000000000000"}))
        assert_rejected(keeper, text_of(observation(), **greatest | {name: "1000000000001"}), "too_large")


def test_a_count_that_is_no_integer_is_rejected(keeper: Keeper) -> None:
    for value in ("1.5", "true", '"abc"', "[1]", '{"a":1}', '""', '"1.5"', '"3.0"', '"-"', '"1 2"', "1e-1"):
        assert_rejected(keeper, text_of(observation(), input_tokens=value), "not_an_integer")


def test_a_count_that_no_call_can_reach_is_rejected(keeper: Keeper) -> None:
    for value in ("1e400", "-1e400", "9223372036854775808", "1e130000"):
        assert_rejected(keeper, text_of(observation(), input_tokens=value), "too_large")
    for digits in ("1000000000001", "9223372036854775808", "9" * 140_000):
        assert_rejected(keeper, text_of(observation(), input_tokens=f'"{digits}"'), "too_large")
    assert_rejected(keeper, text_of(observation(), origin_rank="40000"), "too_large")


def test_a_label_is_bounded_in_bytes(keeper: Keeper) -> None:
    for name, limit in LIMITS_BYTES.items():
        fits = "x" * (limit - 2) + "ü"
        assert_taken(keeper, text_of(observation(**{name: fits})))
        # what becomes of a reject is bounded too, its source at 50 characters
        source = "x" * 50 if name == "source" else "one"
        assert_rejected(keeper, text_of(observation(**{name: "x" + fits})), "label_too_long", source=source)


def test_flags_are_bounded_together(keeper: Keeper) -> None:
    assert_taken(keeper, text_of(observation(flags=["x" * 100, "y" * 99])))
    assert_rejected(keeper, text_of(observation(flags=["x" * 100, "y" * 100])), "label_too_long")


def test_what_every_record_must_have(keeper: Keeper) -> None:
    reasons = {"event_key": "missing_key", "occurred_at": "missing_time", "source": "missing_source"}
    for name, reason in reasons.items():
        without = {member: value for member, value in observation().items() if member != name}
        for record in (without, {**without, name: ""}, {**without, name: None}):
            source = "unknown" if name == "source" else "one"
            assert_rejected(keeper, json.dumps(record), reason, source=source)


def test_a_time_without_an_offset_is_rejected(keeper: Keeper) -> None:
    for value in ("2026-03-12T10:00:00", "2026-03-12 10:00:00.123", "2026-03-12T10:00:00.123456789"):
        assert_rejected(keeper, text_of(observation(occurred_at=value)), "time_without_offset")


def test_what_is_no_time_is_rejected(keeper: Keeper) -> None:
    for value in (
        # what Postgres takes for a time
        *("now", "today", "infinity", "-infinity", "epoch", "2026-03-12", "01-02-2026T00:00:00Z", "2026-3-2T1:2:3Z"),
        *("2026-03-12T10:00:00 EST", "2026-03-12T10:00:00Europe/Berlin", "20260-03-12T10:00:00Z", "1773309600"),
        *("2026-03-12T10:00:0012.5Z", "2026-03-12T10:00:00Z5", " 2026-03-12T10:00:00Z", "2026-03-12T10:00:00Z\n"),
        # what it does not
        *("EST", "10:00:00Z", "2026-02-30T00:00:00Z", "2026-13-01T00:00:00Z", "2026-03-12T25:00:00Z"),
        *("2026-03-12T10:60:00Z", "2026-03-12T10:00:00+99:99", "2026-02-30T00:00:00.000Z"),
        # in some zone the day of these has a year that no date in Python can have
        *("0000-06-01T00:00:00Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999Z"),
    ):
        assert_rejected(keeper, text_of(observation(occurred_at=value)), "not_a_time")


def test_a_time_that_is_no_text_is_no_time(keeper: Keeper) -> None:
    for value in ("1773309600", "true", '{"at":"2026-03-12T10:00:00Z"}'):
        assert_rejected(keeper, text_of(observation(), occurred_at=value), "not_a_time")


def test_a_time_with_its_offset_is_that_time_whatever_the_session_is_set_to(keeper: Keeper) -> None:
    spellings = (
        *("2026-03-12T10:00:00Z", "2026-03-12T10:00:00.000000000Z", "2026-03-12 10:00:00Z"),
        *("2026-03-12T11:00:00+01:00", "2026-03-12T11:00:00.000+0100", "2026-03-12 05:30:00-04:30"),
    )
    keeper.db.execute("set local datestyle = 'ISO, DMY'")
    keeper.db.execute("set local timezone = 'America/New_York'")
    for beside in ([], ["5"]):
        for value in spellings:
            with keeper.undone():
                keeper.ingest(observation(occurred_at=value), *beside)
                assert keeper.event()["occurred_at"].timestamp() == 1773309600, value


def test_what_is_no_object_is_rejected_by_its_digest(keeper: Keeper) -> None:
    for record in ("5", "true", "null", '"text"', "[]", "[[1]]", "[" * 100 + "]" * 100):
        assert_rejected(keeper, record, "not_an_object", position=digest_of(record), source="unknown")


def test_what_postgres_cannot_read_is_rejected_by_its_place_or_its_digest(keeper: Keeper) -> None:
    for name, value in (
        *(("project", '"a\\u0000b"'), ("project", '"\\ud800"'), ("event_key", '"\\udc00x"'), ("source", '"\\u0000"')),
        ("input_tokens", "1e140000"),
    ):
        source = "unknown" if name == "source" else "one"
        record = text_of(observation(), **{name: value})
        assert_rejected(keeper, record, "unreadable", source=source)
        for no_place in ('""', '"two words"', '"a\\"b"', '"\u00e9"', f'"{"x" * 201}"'):
            record = text_of(observation(), **{name: value, "position": no_place})
            assert_rejected(keeper, record, "unreadable", position=digest_of(record), source=source)


def test_more_thinking_than_output_is_rejected(keeper: Keeper) -> None:
    assert_taken(keeper, text_of(observation(output_tokens=7, thinking_tokens=7)))
    assert_rejected(keeper, text_of(observation(output_tokens=7, thinking_tokens=8)), "thinking_over_output")


def test_what_is_no_cost_is_rejected(keeper: Keeper) -> None:
    for value in ('"NaN"', "-1", '"-0.01"', '"Infinity"', '"abc"', "true", "[1]", '""', "1000000000001", "1e-31"):
        assert_rejected(keeper, text_of(observation(), reported_cost_usd=value), "not_a_cost")
    for value in ("0", "0.5", '"0.123456789012345678901234567890"', "1000000000000"):
        assert_taken(keeper, text_of(observation(), reported_cost_usd=value))


def test_an_unknown_grain_is_rejected(keeper: Keeper) -> None:
    for grain in ("call", "turn", "session_delta", "import"):
        assert_taken(keeper, text_of(observation(grain=grain)))
    assert_rejected(keeper, text_of(observation(grain="week")), "unknown_grain")


def test_what_is_neither_true_nor_false_is_rejected(keeper: Keeper) -> None:
    for name in ("is_final", "is_sidechain"):
        for value in ('"maybe"', "[]", "{}"):
            assert_rejected(keeper, text_of(observation(), **{name: value}), "not_a_boolean")


def test_flags_that_are_no_list_of_texts_are_rejected(keeper: Keeper) -> None:
    for value in ('"coerced"', "{}", "5", '[["coerced"],["weak_key"]]', '[["time_inherited"]]', '[["a"],"b"]'):
        assert_rejected(keeper, text_of(observation(), flags=value), "not_a_list")


# -- kept once


def test_a_rejected_record_is_kept_once_and_remembers_when_it_was_met(keeper: Keeper) -> None:
    bad = observation(1, input_tokens=-1)
    for day in ("2026-04-01", "2026-04-02", "2026-04-03"):
        keeper.set_now(f"{day}T00:00:00Z")
        assert keeper.ingest(bad, observation(2), bad)["rejected"] == 2
    (kept,) = keeper.rows("rejects")
    assert kept["first_seen_at"].isoformat() == "2026-04-01T00:00:00+00:00"
    assert kept["last_seen_at"].isoformat() == "2026-04-03T00:00:00+00:00"


def test_source_position_and_reason_tell_rejects_apart(keeper: Keeper) -> None:
    bad = observation(1, input_tokens=-1)
    keeper.ingest(bad, {**bad, "source": "two"}, {**bad, "position": "file:2"}, {**bad, "input_tokens": 1.5}, bad)
    assert {(row["source"], row["position"], row["reason"]) for row in keeper.rows("rejects")} == {
        ("one", "file:1", "negative"),
        ("two", "file:1", "negative"),
        ("one", "file:2", "negative"),
        ("one", "file:1", "not_an_integer"),
    }


def test_a_rejected_record_leaves_nothing_of_its_content(keeper: Keeper) -> None:
    keeper.ingest(observation(1, input_tokens=-1, project="secret-a", prompt="secret-b"))
    keeper.ingest('"secret-c"', '{"source":"one","event_key":"secret-d\\u0000"}')
    assert len(keeper.rows("rejects")) == 3
    assert "secret" not in str([keeper.rows(table) for table in ("rejects", "events", "event_versions", "sessions")])


def test_a_record_that_its_source_could_not_use_is_kept_with_that_reason(keeper: Keeper) -> None:
    record = {"source": "one", "position": "file:7", "reject_reason": "no_usage"}
    assert_rejected(keeper, json.dumps(record), "no_usage", position="file:7")
    assert_rejected(keeper, json.dumps(observation(reject_reason="not_sure")), "not_sure")


def test_no_source_no_place_and_no_reason_is_too_long_to_be_kept(keeper: Keeper) -> None:
    # what does not compress, as repeated letters would, and what takes four bytes a letter
    digits = "".join(hashlib.sha256(str(number).encode()).hexdigest() for number in range(200))
    signs = "".join(chr(0x10000 + 37 * number) for number in range(9000))
    for text in (digits, signs):
        with keeper.undone():
            record = {"source": text, "position": text, "reject_reason": text}
            assert keeper.ingest(record, {**observation(), **record})["rejected"] == 2
            (kept,) = keeper.rows("rejects")
            assert (kept["source"], kept["position"], kept["reason"]) == (text[:50], text[:500], text[:100])


def test_rejects_are_told_by_source_and_reason_with_one_of_their_places(keeper: Keeper) -> None:
    other = Keeper(keeper.db)
    other.ingest(observation(1, input_tokens=-1, position="another's"))
    assert keeper.table("usage_rejects", keeper.user_id) == []
    bad = observation(1, input_tokens=-1)
    keeper.set_now("2026-03-13T10:00:00Z")
    keeper.ingest({**bad, "position": "file:3"}, {**bad, "position": "file:2"}, {**bad, "source": "Zwei"})
    keeper.set_now("2026-03-14T10:00:00Z")
    keeper.ingest({**bad, "position": "file:4"}, {**bad, "input_tokens": 1.5})
    first, last = datetime(2026, 3, 13, 10, tzinfo=UTC), datetime(2026, 3, 14, 10, tzinfo=UTC)
    expected = [
        RejectRow("Zwei", "negative", 1, first, first, "file:1"),
        RejectRow("one", "negative", 3, first, last, "file:2"),
        RejectRow("one", "not_an_integer", 1, last, last, "file:1"),
    ]
    assert keeper.table("usage_rejects", keeper.user_id) == [row._asdict() for row in expected]


# -- the same in any company


def test_an_integer_counts_however_it_is_written(keeper: Keeper) -> None:
    for name in (*COUNTS, "origin_rank"):
        for value in ("3.0", "3e0", "30e-1", '"3"', '" 3 "', '"+3"', '"003"'):
            for beside in ([], ["5"], [text_of(observation(2), project="null")]):
                with keeper.undone():
                    keeper.ingest(text_of(observation(output_tokens=3), **{name: value}), *beside)
                    assert keeper.event()[name] == 3, (value, beside)


def test_a_record_is_read_the_same_alone_and_beside_a_bad_one(keeper: Keeper) -> None:
    for name, value in (
        *(("model", value) for value in ("1e3", "1.0", "true", '"\\ud83d\\ude00 \\u00fc"', '""')),
        *((name, "null") for name in ("project", "input_tokens", "reported_cost_usd", "flags", "grain", "is_final")),
        *(("is_final", value) for value in ('"yes"', "1", '"f"')),
        *(("flags", value) for value in ('["weak_key",null,"coerced"]', "[1,true]", '["a,b","{}"]', "[]")),
        *(("reported_cost_usd", value) for value in ('"0.10"', "1e-3", "0.10")),
        ("unheard_of", '{"deep":[1,{"er":null}]}'),
    ):
        record = text_of(observation(), **{name: value})
        found = []
        for beside in ([], ["5"]):
            with keeper.undone():
                assert keeper.ingest(record, *beside)["new"] == 1
                found.append(keeper.event())
        assert found[0] == found[1], (name, value)


def test_a_member_that_is_null_counts_as_left_out(keeper: Keeper) -> None:
    needed = {name: observation()[name] for name in ("event_key", "occurred_at", "source")}
    nulls = dict.fromkeys([*observation(), *COUNTS, "grain", "flags", "request_id", "reported_cost_usd"])
    found = []
    for record in (needed, {**nulls, **needed}):
        with keeper.undone():
            assert keeper.ingest(record)["new"] == 1
            found.append(keeper.event())
    assert found[0] == found[1]
    assert (found[0]["grain"], found[0]["message_count"], found[0]["project"]) == ("call", 1, "")


def test_a_batch_that_is_no_list_is_refused(keeper: Keeper) -> None:
    for batch in ("{}", "5", "null", '"text"', None):
        with pytest.raises(psycopg.Error) as refusal, keeper.undone():
            keeper.call("ingest_token_usage", keeper.user_id, batch)
        assert (refusal.value.sqlstate, refusal.value.diag.constraint_name) == ("PT400", "events_are_a_list")


def test_an_empty_batch_changes_nothing(keeper: Keeper) -> None:
    keeper.ingest(observation())
    before = keeper.digest()
    assert set(keeper.ingest().values()) == {0}
    assert keeper.digest() == before
