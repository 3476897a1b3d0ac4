"""Damaged transcripts: three calls of 100 output tokens each, and what is left of them after each kind of damage."""

from __future__ import annotations

import json
import time
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick.observation import Observation
from tallystick.sources.claude_code import ParserState, is_whole_record, new_state, parse

STEM = "0b9d1f5e-1111-4222-8333-444455556666"


class Outcome(NamedTuple):
    """What came of a file: the calls, and what was rejected by place and reason."""

    calls: list[Observation]
    rejects: list[tuple[str, str]]
    state: ParserState

    @property
    def output_tokens(self) -> int:
        return sum(call.output_tokens for call in self.calls)

    @property
    def keys(self) -> list[str]:
        return [call.event_key for call in self.calls]


def read(content: bytes) -> Outcome:
    state = new_state(f"-w/{STEM}.jsonl")
    observations = parse(content, offset=0, state=state, project_of=str, device="").observations
    calls = [o for o in observations if not o.reject_reason]
    rejects = [(o.position.removeprefix(f"{STEM}:"), o.reject_reason) for o in observations if o.reject_reason]
    expected = {reason: sum(r == reason for _, r in rejects) for _, reason in rejects}
    assert state.reject_counts == expected
    return Outcome(calls, rejects, state)


def record(number: int, **changes: object) -> dict[str, object]:
    usage = {"input_tokens": 1, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 5, "output_tokens": 100}
    content = [{"type": "text", "text": "words"}]
    message = {"id": f"msg_0000000{number}", "model": "claude-opus-4-8", "content": content, "usage": usage}
    return {
        "type": "assistant",
        "message": message | {"stop_reason": "end_turn"},
        "requestId": f"req_{number}",
        "uuid": f"uuid-{number}",
        "timestamp": f"2026-11-22T18:06:4{number}.000Z",
        "cwd": "/home/ann",
        "sessionId": STEM,
        "version": "2.1.330",
        **changes,
    }


def encode(each: dict[str, object]) -> bytes:
    return json.dumps(each, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogatepass")


def with_second(second: bytes) -> bytes:
    return b"\n".join([encode(record(1)), second, encode(record(3)), b""])


def second_with(old: str, new: str) -> bytes:
    """The second record as text, with one thing in it replaced."""
    text = encode(record(2)).decode()
    assert text.count(old) == 1
    return with_second(text.replace(old, new).encode("utf-8", "surrogateescape"))


PLAIN = with_second(encode(record(2)))
KEYS = [f"anthropic:msg_0000000{number}" for number in (1, 2, 3)]


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(PLAIN, id="plain"),
        pytest.param(PLAIN.replace(b"\n", b"\r\n"), id="crlf"),
        pytest.param(PLAIN[:-1], id="last line without newline"),
        pytest.param(PLAIN.replace(b'":', b'": '), id="spaces after colons"),
        pytest.param(b"\xef\xbb\xbf" + PLAIN, id="byte order mark"),
        pytest.param(PLAIN.replace(b"}\n{", b"}\n" + bytes(4_096) + b"\n{"), id="NULs between lines"),
        pytest.param(PLAIN.replace(b"}\n{", b"}\n" + bytes(4_096) + b"{"), id="NULs in front of a line"),
        pytest.param(second_with("words", "w\udcfford"), id="invalid UTF-8"),
        pytest.param(second_with("words", "w\\ud800ords"), id="lone surrogate escape"),
        pytest.param(second_with("words", "w\x01or\tds"), id="raw control characters"),
        pytest.param(second_with('"words"', "NaN"), id="NaN"),
        pytest.param(second_with('"words"', "-Infinity"), id="infinity"),
        pytest.param(second_with('"words"', "1e99999999999999999999"), id="absurd exponent"),
        pytest.param(second_with('"words"', "9" * 5_000), id="absurd integer"),
        pytest.param(second_with('"words"', "[" * 2_000 + "]" * 2_000), id="deep nesting"),
        pytest.param(second_with('"words"', '{"a":' * 90_000 + "1" + "}" * 90_000), id="very deep nesting"),
        pytest.param(PLAIN.replace(b"}\n{", b"}{", 1), id="two lines glued"),
        pytest.param(PLAIN.replace(b"}\n{", b"} \x00{"), id="three lines glued with blanks"),
        pytest.param(PLAIN.replace(b"\n", b"\n \n\n"), id="blank lines"),
        pytest.param(second_with('"requestId":"req_2"', '"requestId":null'), id="requestId null"),
        pytest.param(second_with('"requestId":"req_2",', ""), id="requestId missing"),
        pytest.param(second_with('"cache_creation_input_tokens":0', '"cache_creation_input_tokens":null'), id="null"),
        pytest.param(second_with('"version":"2.1.330"', '"version":null,"speed":null'), id="version null"),
        pytest.param(second_with('"version":"2.1.330"', '"version":7'), id="version a number"),
        pytest.param(second_with('"output_tokens":100', '"speed":null,"output_tokens":100'), id="speed null"),
        pytest.param(second_with('"output_tokens":100', '"output_tokens":1,"output_tokens":100'), id="name twice"),
        pytest.param(second_with('"type":"assistant"', '"type":"user","type":"assistant"'), id="type twice"),
        pytest.param(second_with('"usage"', '"us\\u0061ge"'), id="escaped name"),
        pytest.param(second_with("words", "x" * 20_000_000), id="20 MB line"),
    ],
)
def test_no_call_is_lost_or_changed(content: bytes) -> None:
    outcome = read(content)
    assert outcome.keys == KEYS
    assert outcome.output_tokens == 300
    assert {call.input_tokens for call in outcome.calls} == {1}
    assert [call.occurred_at[-7:] for call in outcome.calls] == ["41.000Z", "42.000Z", "43.000Z"]
    assert [call.flags for call in outcome.calls] == [(), (), ()]
    assert outcome.rejects == []
    assert set(outcome.state.line_counts) <= {"(blank)"}


def test_a_line_cut_short_is_pending_until_the_rest_arrives() -> None:
    cut = PLAIN[:-20]
    whole_lines = cut[: cut.rfind(b"\n") + 1]
    assert not is_whole_record(cut[len(whole_lines) :])
    assert is_whole_record(PLAIN[len(whole_lines) : -1])
    state = new_state(f"-w/{STEM}.jsonl")
    first = parse(whole_lines, offset=0, state=state, project_of=str, device="").observations
    rest = parse(
        PLAIN[len(whole_lines) :], offset=len(whole_lines), state=state, project_of=str, device=""
    ).observations
    assert [o.output_tokens for o in first] == [100, 100]
    assert [*first, *rest] == read(PLAIN).calls


@pytest.mark.parametrize(
    ("text", "is_whole"),
    [
        (b"", False),
        (b"\x00", False),
        (b'{"a":1}', True),
        (b'\x00{"a":1}{"b":2}', True),
        (b'{"a":1}{"b"', False),
        (b'{"type":"progress","data":{"message":{"type":"assistant","uuid":"u-1"}', False),
        (b"12", False),
    ],
)
def test_a_record_is_whole_when_its_json_is_complete(text: bytes, is_whole: bool) -> None:
    assert is_whole_record(text) == is_whole


def test_a_missing_id_is_replaced_by_a_flagged_weak_key() -> None:
    outcome = read(second_with('"id":"msg_00000002",', ""))
    assert outcome.keys == [KEYS[0], "claude-code:u:uuid-2", KEYS[2]]
    assert [call.flags for call in outcome.calls] == [(), ("weak_key",), ()]
    assert outcome.output_tokens == 300


@pytest.mark.parametrize("literal", ['"100"', "100.0", "1e2", '"0100"'])
def test_a_count_written_as_text_or_as_a_whole_float_is_taken_and_flagged(literal: str) -> None:
    outcome = read(second_with('"output_tokens":100', f'"output_tokens":{literal}'))
    assert (outcome.keys, outcome.output_tokens) == (KEYS, 300)
    assert [call.flags for call in outcome.calls] == [(), ("coerced",), ()]


@pytest.mark.parametrize(
    ("literal", "reason"),
    [
        *(
            (literal, "not_an_integer")
            for literal in [
                "1.5",
                "true",
                '"abc"',
                '"-5"',
                '" 5"',
                '"٣"',
                "NaN",
                "1e99999999999999999999",
                "[100]",
                "{}",
                '""',
            ]
        ),
        *(
            (literal, "too_large")
            for literal in ["9223372036854775808", "-9223372036854775809", "1e400", "9" * 5_000, '"9' + "9" * 50 + '"']
        ),
    ],
)
def test_a_count_that_is_no_integer_of_64_bits_rejects_its_record(literal: str, reason: str) -> None:
    content = second_with('"output_tokens":100', f'"output_tokens":{literal}')
    outcome = read(content)
    assert outcome.keys == [KEYS[0], KEYS[2]]
    assert outcome.rejects == [(str(content.index(b"\n") + 1), reason)]


def test_a_rejected_record_keeps_nothing_but_its_place() -> None:
    content = second_with('"output_tokens":100', '"output_tokens":1.5')
    observations = parse(
        content, offset=1_000, state=new_state(f"-w/{STEM}.jsonl"), project_of=str, device="x"
    ).observations
    place = f"{STEM}:{1_000 + content.index(b'{', 1 + content.index(b'}' + chr(10).encode()))}"
    assert observations[1] == Observation(source="claude-code", position=place, reject_reason="not_an_integer")


@pytest.mark.parametrize("literal", ["-100", "-9223372036854775808", "9223372036854775807"])
def test_any_integer_of_64_bits_is_left_to_the_ledger(literal: str) -> None:
    outcome = read(second_with('"output_tokens":100', f'"output_tokens":{literal}'))
    assert [call.output_tokens for call in outcome.calls] == [100, int(literal), 100]


def test_unreadable_thinking_does_not_cost_the_call_its_counts() -> None:
    details = '"output_tokens":100,"output_tokens_details":{"thinking_tokens":1.5}'
    outcome = read(second_with('"output_tokens":100', details))
    assert outcome.output_tokens == 300
    assert (outcome.calls[1].thinking_tokens, outcome.calls[1].flags) == (0, ("coerced",))


def test_an_unreadable_iteration_is_rejected_by_itself() -> None:
    bad = '"output_tokens":1.5'
    steps = f'[{{"type":"message",{bad}}},{{"type":"advisor_message",{bad}}},7,{{"type":"compaction"}}]'
    content = second_with('"output_tokens":100', f'"output_tokens":100,"iterations":{steps}')
    outcome = read(content)
    assert outcome.keys == [*KEYS[:2], f"{KEYS[1]}:compaction:3", KEYS[2]]
    assert outcome.rejects == [(f"{content.index(chr(10).encode()) + 1}:advisor:1", "not_an_integer")]


@pytest.mark.parametrize("model", ['"model":null', '"model":""', '"model":5'])
def test_a_missing_model_leaves_the_counts(model: str) -> None:
    outcome = read(second_with('"model":"claude-opus-4-8"', model))
    assert (outcome.output_tokens, outcome.calls[1].model) == (300, "")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_a_file_in_utf_16_is_flagged_once_and_not_silently_empty(encoding: str) -> None:
    content = PLAIN.decode().encode(encoding)
    state = new_state(f"-w/{STEM}.jsonl")
    first = parse(content, offset=0, state=state, project_of=str, device="").observations
    more = parse(content, offset=len(content), state=state, project_of=str, device="").observations
    assert [(o.position, o.reject_reason) for o in first] == [(f"{STEM}:0", "encoding")]
    assert more == []
    assert (state.encoding_problem, state.line_counts) == ("utf-16", {"(not utf-8)": 6})


def test_one_nul_in_front_of_a_file_is_not_utf_16() -> None:
    assert read(b"\x00" + PLAIN).keys == KEYS


def test_a_record_glued_behind_one_that_would_be_skipped_is_found() -> None:
    user = encode({"type": "user", "message": {"content": "x" * 5_000}, "timestamp": "2026-11-22T10:00:00.000Z"})
    outcome = read(user + encode(record(1)) + user + b"\n" + user + b"\n")
    assert outcome.keys == KEYS[:1]
    assert outcome.calls[0].position == f"{STEM}:0+1"
    assert outcome.state.line_counts == {"user": 3}


@pytest.mark.parametrize("cut", range(1, 420, 7))
def test_a_record_appended_to_a_torn_one_is_found_and_the_torn_one_rejected(cut: int) -> None:
    torn = encode(record(2))[:cut]
    outcome = read(encode(record(1)) + b"\n" + torn + encode(record(3)) + b"\n")
    assert outcome.keys == [KEYS[0], KEYS[2]]
    assert outcome.calls[1].occurred_at == "2026-11-22T18:06:43.000Z"
    shows_a_call = b'"type":"assistant"' in torn
    assert [reason for _, reason in outcome.rejects] == ["not_json"] * shows_a_call
    assert outcome.state.line_counts == ({} if shows_a_call else {"(not json)": 1})


@pytest.mark.parametrize(
    "torn",
    [
        b'{"type":"assistant","mess',
        b'{"parentUuid":null,"message":{"role": "assistant","content":[',
        b'{"x":{"usage":{"inp',
    ],
)
def test_a_torn_line_that_shows_a_call_is_rejected_with_its_place(torn: bytes) -> None:
    outcome = read(PLAIN + torn + b"\n")
    assert outcome.keys == KEYS
    assert outcome.rejects == [(str(len(PLAIN)), "not_json")]


@pytest.mark.parametrize(
    ("junk", "name"),
    [
        (b"half a li", "(not json)"),
        (b'{"x":{"inp', "(not json)"),
        (b"[1, 2]", "(not an object)"),
        (b'["usage"]', "(not an object)"),
        (b"17", "(not an object)"),
        (b"", "(blank)"),
        (b"\x00\x00 \t", "(blank)"),
    ],
)
def test_other_junk_is_counted(junk: bytes, name: str) -> None:
    outcome = read(with_second(junk))
    assert (outcome.keys, outcome.rejects) == ([KEYS[0], KEYS[2]], [])
    assert outcome.state.line_counts == {name: 1}


def test_usage_that_is_no_object_is_no_usage() -> None:
    for usage in ("[]", "5", '"x"', "null"):
        text = encode(record(2, message={"id": "msg_00000002", "usage": "?"})).decode().replace('"?"', usage)
        outcome = read(with_second(text.encode()))
        assert outcome.keys == [KEYS[0], KEYS[2]]
        assert outcome.state.line_counts == {"(assistant without usage)": 1}


def test_labels_of_a_damaged_line_are_storable() -> None:
    outcome = read(second_with('"cwd":"/home/ann"', '"cwd":"/ü\\ud800b\\u0000\\ud83d\\ude00","gitBranch":["x"]'))
    assert (outcome.calls[1].project, outcome.calls[1].git_branch) == ("/ü\ufffdb\N{GRINNING FACE}", "")


def test_a_damaged_progress_line_still_gives_its_copy() -> None:
    copy = {name: record(2)[name] for name in ("type", "timestamp", "message", "requestId", "uuid")}
    around = encode(record(2, type="progress", message=None, data={"message": copy})).decode()
    outcome = read(with_second(around.replace('"output_tokens":100', '"output_tokens":"100"').encode()))
    assert outcome.keys == KEYS
    assert (outcome.calls[1].origin_rank, outcome.calls[1].flags) == (0, ("coerced",))
    outcome = read(with_second(around.replace('"output_tokens":100', '"output_tokens":1.5').encode()))
    assert [reason for _, reason in outcome.rejects] == ["not_an_integer"]


def test_damaged_books_are_read_as_far_as_they_go() -> None:
    usage = '{"inputTokens":"5","outputTokens":1.5,"costUSD":NaN}'
    books = f'{{"type":"cost-state","sessionId":"s","modelUsage":{{"m":{usage},"n":7}}}}'
    state = new_state(f"-w/{STEM}.jsonl")
    (total,) = parse(books.encode(), offset=9, state=state, project_of=str, device="").reported_totals
    assert (total.session_id, total.model, total.input_tokens, total.output_tokens) == ("s", "m", 5, 0)
    assert (total.cost_usd, total.position, state.line_counts) == (0, f"{STEM}:9", {"cost-state": 1})


def test_a_line_that_opens_without_end_is_given_up_in_time() -> None:
    """Each place where a record may begin is a try, and each try reads on until the nesting is too deep."""
    torn = b'{"type":"user" ' + (b'{"a":"' + b"x" * 1_000 + b'","b":') * 40_000
    started = time.monotonic()
    outcome = read(with_second(torn + b'{"usage":{'))
    assert time.monotonic() - started < 20
    assert outcome.keys == [KEYS[0], KEYS[2]]
    assert [reason for _, reason in outcome.rejects] == ["not_json"]


@given(st.data())
def test_no_bytes_whatever_stop_the_reading(data: st.DataObject) -> None:
    """Every line of a file gives its call, a rejected record or a count, whatever a fault has done to it."""
    content = bytearray(PLAIN)
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(content)))
        end = min(len(content), start + data.draw(st.integers(0, 30)))
        content[start:end] = data.draw(st.binary(max_size=12) | st.sampled_from([b'"', b"{", b"}", b"[", b"\\", b"\n"]))
    outcome = read(bytes(content))
    taken = len(outcome.calls) + len(outcome.rejects) + sum(outcome.state.line_counts.values())
    assert taken >= bytes(content).rstrip(b"\n").count(b"\n") + (content.strip(b"\n") != b"")
