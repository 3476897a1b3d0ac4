"""Damaged Codex files: three calls of 100 output tokens each, told by totals or by records."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick.observation import Observation
from tests.corpus.codex_reading import read
from tests.corpus.codex_rollouts import ERA, Call, Thread, written

EACH_WAY = pytest.mark.parametrize("version", ["0.145.0", "0.169.0"])


def three_calls(version: str) -> Thread:
    thread = Thread(ERA[version])
    thread.begin_turn()
    for number in range(3):
        thread.call(Call(1000 + number, 500, 0, 100, 10))
    return thread


def is_of_call(line: dict[str, Any]) -> bool:
    return line["type"] == "token_usage_record" or line["payload"].get("type") == "token_count"


def calls_in(thread: Thread) -> list[dict[str, Any]]:
    """The lines that tell of the calls."""
    records = [line for line in thread.lines if line["type"] == "token_usage_record"]
    return records or [line for line in thread.lines if is_of_call(line)]


def usages_in(thread: Thread) -> list[dict[str, Any]]:
    """The usage objects that count, of each call."""
    payloads = [line["payload"] for line in calls_in(thread)]
    return [part.get("usage") or part["info"]["total_token_usage"] for part in payloads]


def output(content: bytes) -> int:
    return sum(seen.output_tokens for seen in read(content, "rollout.jsonl")[0])


def rejects(content: bytes) -> list[str]:
    return [seen.reject_reason for seen in read(content, "rollout.jsonl")[0] if seen.reject_reason]


def edit_call_lines(thread: Thread, edit: Callable[[bytes], bytes], *, at: int | None = None) -> bytes:
    """The file with the lines of all calls, or of one, edited as bytes."""
    of_calls = calls_in(thread)
    chosen = of_calls if at is None else [of_calls[at]]
    return b"".join(edit(written([line])) if line in chosen else written([line]) for line in thread.lines)


WHOLE: dict[str, Callable[[bytes], bytes]] = {
    "plain": lambda content: content,
    "carriage returns": lambda content: content.replace(b"\n", b"\r\n"),
    "no newline at the end": lambda content: content[:-1],
    "byte order mark": lambda content: b"\xef\xbb\xbf" + content,
    "NULs between lines": lambda content: content.replace(b"\n", b"\n\x00\x00\n"),
    "NULs before a line": lambda content: content.replace(b"\n", b"\n\x00\x00"),
    "an empty line": lambda content: content.replace(b"\n", b"\n\n"),
    "half a surrogate pair": lambda content: content.replace(b'"main"', b'"\\ud800"'),
    "nested too deeply": lambda content: content.replace(b'"main"', b"[" * 5000 + b"]" * 5000),
}


@EACH_WAY
@pytest.mark.parametrize("damage", WHOLE.values(), ids=WHOLE)
def test_nothing_is_lost_by(version: str, damage: Callable[[bytes], bytes]) -> None:
    content = damage(three_calls(version).content)
    assert (output(content), rejects(content)) == (300, [])


LINE: dict[str, Callable[[bytes], bytes]] = {
    "an invalid byte": lambda line: line.replace(b'"payload":{', b'"payload":{"text":"\xff",'),
    "half a surrogate pair in it": lambda line: line.replace(b'"payload":{', b'"payload":{"text":"\\ud800",'),
    "a control character": lambda line: line.replace(b'"payload":{', b'"payload":{"text":"\x01",'),
    "NaN": lambda line: line.replace(b'"payload":{', b'"payload":{"cost":NaN,'),
    "a name that comes twice": lambda line: line.replace(b'"output_tokens":', b'"output_tokens":7,"output_tokens":'),
    "20 MB of text": lambda line: line.replace(b'"payload":{', b'"payload":{"text":"' + b"x" * 20_000_000 + b'",'),
}


@EACH_WAY
@pytest.mark.parametrize("damage", LINE.values(), ids=LINE)
def test_nothing_is_lost_by_a_call_with(version: str, damage: Callable[[bytes], bytes]) -> None:
    content = edit_call_lines(three_calls(version), damage, at=1)
    assert (output(content), rejects(content)) == (300, [])


@EACH_WAY
def test_lines_that_are_glued_together_all_count(version: str) -> None:
    content = edit_call_lines(three_calls(version), lambda line: line.rstrip(b"\n"))
    assert (output(content), rejects(content)) == (300, [])


@EACH_WAY
def test_a_call_behind_a_torn_line_counts(version: str) -> None:
    torn = b'{"timestamp":"2026-11-22T18:06:44.758Z","type":"response_item","payload":{"type":"mess'
    content = edit_call_lines(three_calls(version), lambda line: torn + line, at=1)
    assert output(content) == 300


def test_a_torn_total_is_named_and_made_up_for_by_the_next() -> None:
    content = edit_call_lines(three_calls("0.145.0"), lambda line: line[:-60] + b"\n", at=1)
    assert (output(content), rejects(content)) == (300, ["not_json"])
    last = edit_call_lines(three_calls("0.145.0"), lambda line: line[:-60] + b"\n", at=2)
    assert (output(last), rejects(last)) == (200, ["not_json"])


def test_a_torn_record_is_named() -> None:
    content = edit_call_lines(three_calls("0.169.0"), lambda line: line[:-60] + b"\n", at=1)
    assert (output(content), rejects(content)) == (200, ["not_json"])


def test_a_first_record_that_is_torn_is_told_by_the_totals() -> None:
    content = edit_call_lines(three_calls("0.169.0"), lambda line: line[:-60] + b"\n", at=0)
    assert (output(content), rejects(content)) == (300, ["not_json"])


def test_a_torn_line_that_tells_of_no_call_is_no_rejected_one() -> None:
    thread = three_calls("0.145.0")
    turn = next(line for line in thread.lines if line["type"] == "turn_context")
    content = b"".join(written([line])[: -10 if line is turn else None] + b"\n" for line in thread.lines)
    found, state = read(content, thread.name)
    assert ([seen.reject_reason for seen in found], state.line_counts["(not json)"]) == ([""] * 3, 1)


def with_counts(version: str, change: Callable[[object], object], *, at: int | None = None) -> bytes:
    thread = three_calls(version)
    usages = usages_in(thread)
    for usage in usages if at is None else [usages[at]]:
        usage.update({name: change(value) for name, value in usage.items()})
    return thread.content


@EACH_WAY
@pytest.mark.parametrize("change", [str, float], ids=["strings", "whole floats"])
def test_counts_in_other_clothes_are_taken_and_flagged(version: str, change: Callable[[object], object]) -> None:
    content = with_counts(version, change)
    assert output(content) == 300
    assert {seen.flags for seen in read(content, "x.jsonl")[0]} == {("coerced",)}


@EACH_WAY
def test_counts_that_are_null_are_nothing(version: str) -> None:
    thread = three_calls(version)
    for usage in usages_in(thread):
        usage["cached_input_tokens"] = usage["cache_write_input_tokens"] = None
    found = read(thread.content, thread.name)[0]
    assert [(seen.input_tokens, seen.cache_read_tokens) for seen in found] == [(1000, 0), (1001, 0), (1002, 0)]


@EACH_WAY
@pytest.mark.parametrize(
    ("value", "reason"),
    [(1.5, "not_an_integer"), (True, "not_an_integer"), (2**63, "too_large"), ([], "not_an_integer")],
)
def test_what_is_no_count_rejects_the_record(version: str, value: object, reason: str) -> None:
    content = with_counts(version, lambda _: value, at=1)
    # a total that cannot be read is made up for by the next
    assert (output(content), rejects(content)) == (300 if version == "0.145.0" else 200, [reason])


def test_a_negative_total_is_rejected_and_made_up_for_by_the_next() -> None:
    content = with_counts("0.145.0", lambda _: -5, at=1)
    assert (output(content), rejects(content)) == (300, ["negative"])


def test_a_negative_record_is_left_to_the_ledger() -> None:
    content = with_counts("0.169.0", lambda _: -5, at=1)
    assert [seen.output_tokens for seen in read(content, "x.jsonl")[0]] == [100, -5, 100]


@EACH_WAY
def test_more_cached_than_sent_stays_below_zero_for_the_ledger_to_reject(version: str) -> None:
    thread = three_calls(version)
    usages_in(thread)[0]["cached_input_tokens"] = 5000
    assert read(thread.content, thread.name)[0][0].input_tokens == 1000 - 5000


@EACH_WAY
@pytest.mark.parametrize(
    ("written_as", "read_as"),
    [
        ("2026-11-22T18:06:44Z", "2026-11-22T18:06:44.000Z"),
        ("2026-11-22T20:06:44.758+02:00", "2026-11-22T18:06:44.758Z"),
        ("2026-11-22T18:06:44.758123Z", "2026-11-22T18:06:44.758123Z"),
    ],
)
def test_times_of_other_forms_are_the_same_instant(version: str, written_as: str, read_as: str) -> None:
    thread = three_calls(version)
    calls_in(thread)[1]["timestamp"] = written_as
    assert read(thread.content, thread.name)[0][1].occurred_at == read_as


@EACH_WAY
@pytest.mark.parametrize("timestamp", [None, "2026-11-22T18:06:44", "yesterday", 7])
def test_a_call_without_a_time_takes_that_of_the_record_before_it(version: str, timestamp: object) -> None:
    thread = three_calls(version)
    lines = [line for line in thread.lines if is_of_call(line)]
    call = calls_in(thread)[1]
    before = lines[lines.index(call) - 1]["timestamp"]
    call["timestamp"] = timestamp
    seen = read(thread.content, thread.name)[0][1]
    assert (seen.occurred_at, seen.flags) == (before, ("time_inherited",))


@EACH_WAY
def test_without_any_time_there_is_no_event(version: str) -> None:
    thread = three_calls(version)
    for line in thread.lines:
        del line["timestamp"]
    assert rejects(thread.content) == ["no_time"] * 3


@EACH_WAY
def test_a_file_in_utf_16_is_named_once(version: str) -> None:
    content = three_calls(version).content.decode().encode("utf-16")
    observations, state = read(content, "x.jsonl", cuts=[3, 9])
    assert observations == [Observation(source="codex", position="x:0", reject_reason="encoding")]
    assert state.encoding_problem == "utf-16"


@EACH_WAY
def test_a_reject_is_named_by_its_place_whether_the_file_is_compressed_or_not(version: str) -> None:
    thread = three_calls(version)
    content = edit_call_lines(thread, lambda line: line[:-60] + b"\n", at=1)
    at = content.index(b"\n", content.index(b'"output_tokens":200' if version == "0.145.0" else b'"total_tokens":1101'))
    place = content.rindex(b"\n", 0, at) + 1
    for name in (thread.name, f"{thread.name}.zst"):
        (seen,) = [seen for seen in read(content, name)[0] if seen.reject_reason]
        assert seen.position == f"{thread.name.removesuffix('.jsonl')}:{place}"


@EACH_WAY
@given(data=st.data())
def test_no_damage_of_any_kind_raises_or_counts_a_call_twice(version: str, data: st.DataObject) -> None:
    content = bytearray(three_calls(version).content)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content) - 1))
        content[at : at + data.draw(st.integers(0, 40))] = data.draw(st.binary(max_size=20))
    cuts = data.draw(st.lists(st.integers(0, 60)))
    whole = read(bytes(content), "rollout.jsonl")
    assert read(bytes(content), "rollout.jsonl", cuts=cuts) == whole
    keys = [seen.event_key for seen in whole[0] if not seen.reject_reason]
    assert len(keys) == len(set(keys))


@given(
    payload=st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda part: (
            st.lists(part)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "id",
                        "info",
                        "usage",
                        "total_token_usage",
                        "last_token_usage",
                        "source",
                        "git",
                        "turn_id",
                        "thread_id",
                        "type",
                        "x",
                    ]
                ),
                part,
            )
        ),
    )
)
def test_a_payload_of_any_shape_is_read(payload: object) -> None:
    lines = [{"type": kind, "payload": payload} for kind in ("session_meta", "turn_context", "token_usage_record")]
    told = [{"type": "event_msg", "payload": {"type": "token_count", "info": payload}}]
    read(b"".join(json.dumps(line).encode() + b"\n" for line in lines + told), "x.jsonl")
