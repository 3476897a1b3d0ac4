"""Single Claude Code lines, invented, and how a test reads them."""

from __future__ import annotations

import json
from collections.abc import Iterable

import msgspec

from tallystick.observation import Observation
from tallystick.sources.claude_code import Parsed, ParserState, new_state, parse
from tests.corpus.reading import cut_at

MAIN = "-w/0b9d1f5e-1111-4222-8333-444455556666.jsonl"
MESSAGE_ID = "msg_01AbCdEfGhIj"
KEY = f"anthropic:{MESSAGE_ID}"


def read(content: bytes, *, path: str = MAIN, cuts: Iterable[int] = ()) -> tuple[Parsed, ParserState]:
    """Parses a file, cut at the given lines, the state going through JSON at each cut as it does between two runs."""
    state = new_state(path)
    whole = Parsed([], [])
    for start, end in cut_at(content, cuts):
        state = msgspec.json.decode(msgspec.json.encode(state), type=ParserState)
        part = parse(
            memoryview(content)[start:end], offset=start, state=state, project_of="at {}".format, device="laptop"
        )
        whole.observations.extend(part.observations)
        whole.reported_totals.extend(part.reported_totals)
    return whole, state


def line(**changes: object) -> dict[str, object]:
    """An assistant line that nothing is wrong with."""
    usage = {"input_tokens": 7, "cache_read_input_tokens": 42, "output_tokens": 310}
    message = {"id": MESSAGE_ID, "model": "claude-opus-5-5", "stop_reason": "end_turn", "usage": usage}
    return {
        "isSidechain": False,
        "message": message,
        "requestId": "req_1",
        "type": "assistant",
        "uuid": "u-1",
        "timestamp": "2026-11-22T18:06:44.758Z",
        "cwd": "/home/ann/shop",
        "sessionId": "0b9d1f5e-1111-4222-8333-444455556666",
        "version": "2.1.330",
        "gitBranch": "main",
        **changes,
    }


def with_usage(**usage: object) -> dict[str, object]:
    return line(message={"id": MESSAGE_ID, "model": "claude-opus-5-5", "stop_reason": "end_turn", "usage": usage})


def with_message(**message: object) -> dict[str, object]:
    usage = {"input_tokens": 7, "output_tokens": 310}
    return line(message={"id": MESSAGE_ID, "model": "claude-opus-5-5", "usage": usage} | message)


def written(*lines: dict[str, object]) -> bytes:
    return b"".join(json.dumps(each).encode() + b"\n" for each in lines)


def only(*lines: dict[str, object], path: str = MAIN) -> Observation:
    (observation,) = read(written(*lines), path=path)[0].observations
    return observation
