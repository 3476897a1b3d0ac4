"""Histories of Claude Code with one thing each that is easily miscounted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from tests.corpus.histories import Tokens
from tests.corpus.reading import written
from tests.differential.made import BEGIN, Made, Use, files, lines, list_cost
from tests.differential.plain import claude_line

SONNET = "claude-sonnet-4-5-20250929"
OPUS = "claude-opus-4-6"
HAIKU = "claude-haiku-4-5-20251001"
FOLDER = ".claude/projects/-w-shop"
SESSION = "0b9d1f5e-1111-4222-8333-444455556666"
OTHER_SESSION = "f0f0f0f0-1111-4222-8333-444455556666"
AGENT = f"{FOLDER}/{SESSION}/subagents/agent-a1b2c3d.jsonl"

Line = dict[str, Any]


def make_trap_histories() -> list[Made]:
    return [*_copies(), *_times(), *_spellings(), *_hidden_calls(), *_costs()]


def _copies() -> list[Made]:
    uses = some_uses(4)
    final = [claude_line(number, use) for number, use in enumerate(uses)]
    streamed = [line for number, use in enumerate(uses) for line in _streamed(number, use)]
    resumed = [_moved(line, minutes=60, requestId=None, uuid=f"r-{at}") for at, line in enumerate(final)]
    for line in resumed:
        del line["requestId"]
    forked = [line | {"sessionId": OTHER_SESSION, "requestSessionId": SESSION} for line in final]
    agents = [line | {"isSidechain": True, "agentId": "a1b2c3d"} for line in final[2:]]
    mirrors = [_mirror(line) for line in agents]
    return [
        _main("each block of a call in a line of its own, the first with 3 output tokens", uses, streamed),
        _main("resumed up to 1.0.x: a copy with new times and without request ids", uses, final, resumed),
        _main("forked: a copy under another session", uses, final, forked),
        _main("a sub-agent's lines among the main ones", uses, [*final[:2], *agents]),
        Made(
            ("claude-code",),
            "a sub-agent's file, and its lines mirrored in the main one",
            uses,
            lines({f"{FOLDER}/{SESSION}.jsonl": [*final[:2], *mirrors], AGENT: agents}),
        ),
        Made(
            ("claude-code",),
            "the same session in both of its folders",
            uses,
            lines({f"{root}/projects/-w-shop/{SESSION}.jsonl": final for root in (".claude", ".config/claude")}),
        ),
    ]


def _times() -> list[Made]:
    midnight = [
        Use(datetime(2026, 9, 1, 21, 59, 59, tzinfo=UTC), SONNET, Tokens(10, 0, 0, 100)),
        Use(datetime(2026, 9, 1, 22, 0, 0, tzinfo=UTC), SONNET, Tokens(20, 0, 0, 200)),
        Use(datetime(2026, 9, 1, 23, 59, 59, tzinfo=UTC), SONNET, Tokens(30, 0, 0, 300)),
        Use(datetime(2026, 9, 2, 0, 0, 0, tzinfo=UTC), SONNET, Tokens(40, 0, 0, 400)),
    ]
    # 25 hours, from 22:00 to 23:00
    autumn = [
        Use(datetime(2025, 10, 25, 22, 0, 0, tzinfo=UTC), SONNET, Tokens(1, 0, 0, 10)),
        Use(datetime(2025, 10, 26, 22, 59, 59, tzinfo=UTC), SONNET, Tokens(2, 0, 0, 20)),
        Use(datetime(2025, 10, 26, 23, 0, 0, tzinfo=UTC), SONNET, Tokens(4, 0, 0, 40)),
    ]
    uses = some_uses(3)
    final = [claude_line(number, use) for number, use in enumerate(uses)]
    micro = [line | {"timestamp": line["timestamp"].replace("Z", "123Z")} for line in final]
    untimed = [final[0], {name: value for name, value in final[1].items() if name != "timestamp"}, final[2]]
    return [
        _main("midnight in Berlin", midnight, [claude_line(n, use) for n, use in enumerate(midnight)]),
        _main("the day of 25 hours in Berlin", autumn, [claude_line(n, use) for n, use in enumerate(autumn)]),
        _main("times with microseconds", uses, micro),
        _main("a line without a time", uses, untimed),
    ]


def _spellings() -> list[Made]:
    uses = some_uses(3)
    final = [claude_line(number, use) for number, use in enumerate(uses)]
    as_written = [written(line) for line in final]
    nulls = [_with_usage(line, cache_read_input_tokens=None, cache_creation_input_tokens=None) for line in final]
    bare = [Use(use.at, use.model, use.tokens._replace(written=0, read=0)) for use in uses]
    unsure = [_with_usage(line, cache_creation=None) for line in nulls]
    spoken = final[0] | {"message": final[0]["message"] | {"content": [{"type": "text", "text": "word"}]}}
    torn, surrogate = (written(spoken).replace(b"word", broken) for broken in (b"caf\xe9", b"\\ud800"))
    strings = [_with_usage(line, output_tokens=str(line["message"]["usage"]["output_tokens"])) for line in final]
    return [
        _raw("blanks behind the colons", uses, b"".join(line.replace(b'":', b'": ') for line in as_written)),
        _raw("a byte order mark", uses, b"\xef\xbb\xbf" + b"".join(as_written)),
        _raw("a byte in the text of a line that is no UTF-8", uses, torn + b"".join(as_written[1:])),
        _raw("half of a surrogate pair in the text of a line", uses, surrogate + b"".join(as_written[1:])),
        _raw("two lines without a line end between them", uses, b"".join(as_written).replace(b"\n", b"", 1)),
        _raw("NULs in front of a line", uses, as_written[0] + b"\0" * 64 + b"".join(as_written[1:])),
        _main("null for the cache", bare, unsure),
        _main("null for the request id", uses, [line | {"requestId": None} for line in final]),
        _main("counts as strings", uses, strings),
    ]


def _hidden_calls() -> list[Made]:
    uses = some_uses(3)
    final = [claude_line(number, use) for number, use in enumerate(uses)]
    silent = claude_line(7, uses[0])
    del silent["message"]["usage"]
    synthetic = claude_line(8, Use(uses[0].at, "<synthetic>", Tokens(0, 0, 0, 0)), isApiErrorMessage=True)
    advisor = Use(uses[0].at, OPUS, Tokens(1_000, 0, 0, 700))
    part = {"type": "message", "input_tokens": uses[0].tokens.input, "output_tokens": uses[0].tokens.output}
    advice = {"type": "advisor_message", "model": OPUS, "input_tokens": 1_000, "output_tokens": 700}
    asked = _with_usage(final[0], iterations=[part, advice])
    summary = Use(uses[0].at, uses[0].model, Tokens(5_000, 0, 0, 50))
    summed = _with_usage(
        final[0], iterations=[part, {"type": "compaction", "input_tokens": 5_000, "output_tokens": 50}]
    )
    tool = {"type": "user", "timestamp": final[0]["timestamp"], "sessionId": SESSION, "uuid": "u-t"}
    tool |= {"toolUseResult": {"status": "completed", "totalTokens": 999, "usage": final[0]["message"]["usage"]}}
    flat = _with_usage(final[0], cache_creation={"ephemeral_5m_input_tokens": 1, "ephemeral_1h_input_tokens": 0})
    unnamed = [dict(line, message={k: v for k, v in line["message"].items() if k != "model"}) for line in final]
    nameless = [Use(use.at, "", use.tokens) for use in uses]
    return [
        _main("an answer without usage, and the agent's own error", uses, [*final, silent, synthetic]),
        _main("a tool's result that repeats its sub-agent's usage", uses, [*final, tool]),
        _main("an advisor asked within a call", [*uses, advisor], [asked, *final[1:]]),
        _main("a compaction within a call", [*uses, summary], [summed, *final[1:]]),
        _main("more cache writes than the two lifetimes explain", uses, [flat, *final[1:]]),
        _main("a call that does not name its model", nameless, unnamed),
    ]


def _costs() -> list[Made]:
    """The same tokens, priced by what stands beside them."""
    use = Use(BEGIN, SONNET, Tokens(1_000, 10_000, 20_000, 500))
    hour = {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 10_000}
    usual = list_cost([use])
    # an hour's writes cost twice the input, five minutes' 1.25 times
    dearer = Decimal("0.75") * 3 * 10_000 / 1_000_000
    opus = use._replace(model=OPUS)
    long = Use(BEGIN, SONNET, Tokens(100_000, 0, 150_000, 1_000))
    # above 200,000 tokens of prompt the whole request costs twice as much in, half as much again out
    whole = (Decimal(6) * 100_000 + Decimal("0.6") * 150_000 + Decimal("22.5") * 1_000) / 1_000_000
    return [
        _main("cache writes that last an hour", [use], [_usage(use, cache_creation=hour)], cost_usd=usual + dearer),
        _main(
            "two web searches",
            [use],
            [_usage(use, server_tool_use={"web_search_requests": 2})],
            cost_usd=usual + Decimal("0.02"),
        ),
        _main(
            "inference in the United States",
            [opus],
            [_usage(opus, inference_geo="us")],
            cost_usd=list_cost([opus]) * Decimal("1.1"),
        ),
        _main("a prompt of more than 200,000 tokens, most of it cached", [long], [_usage(long)], cost_usd=whole),
        _main("fast mode", [opus], [_usage(opus, speed="fast")], cost_usd=list_cost([opus]) * 6),
    ]


def some_uses(count: int) -> list[Use]:
    models = (SONNET, OPUS)
    return [
        Use(BEGIN + timedelta(minutes=at), models[at % 2], Tokens(10 + at, 200 + at, 3_000 + at, 400 + 10 * at))
        for at in range(count)
    ]


def _streamed(number: int, use: Use) -> Iterable[Line]:
    for block in range(3):
        line = claude_line(number, use, uuid=f"u-{number}-{block}")
        if block < 2:
            line = _with_usage(line, output_tokens=3)
            line["message"]["stop_reason"] = None
        yield line


def _moved(line: Line, *, minutes: int, **changes: object) -> Line:
    at = datetime.fromisoformat(line["timestamp"]) + timedelta(minutes=minutes)
    moved = at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return line | {"timestamp": moved, "sessionId": OTHER_SESSION} | changes


def _mirror(line: Line) -> Line:
    said = {name: line[name] for name in ("type", "timestamp", "message", "requestId", "uuid")}
    outside = {"type": "progress", "sessionId": SESSION, "timestamp": line["timestamp"], "uuid": f"p-{line['uuid']}"}
    return outside | {"data": {"type": "agent_progress", "agentId": "a1b2c3d", "message": said}}


def _usage(use: Use, **usage: object) -> Line:
    return _with_usage(claude_line(0, use), **usage)


def _with_usage(line: Line, **usage: object) -> Line:
    message = line["message"]
    return line | {"message": message | {"usage": message["usage"] | usage}}


def _main(
    what: str, uses: list[Use], first: list[Line], second: list[Line] | None = None, *, cost_usd: Decimal | None = None
) -> Made:
    """A session, and perhaps another one."""
    records: Mapping[str, list[Line]] = {f"{FOLDER}/{SESSION}.jsonl": first}
    if second is not None:
        records = {**records, f"{FOLDER}/{OTHER_SESSION}.jsonl": second}
    return Made(("claude-code",), what, uses, lines(records), cost_usd)


def _raw(what: str, uses: list[Use], content: bytes) -> Made:
    return Made(("claude-code",), what, uses, files({f"{FOLDER}/{SESSION}.jsonl": content}))
