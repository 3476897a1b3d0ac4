"""Transcripts made up for tests, with the truth about them kept while they are made."""

from __future__ import annotations

import json
import random
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

MODELS = ("claude-opus-4-6", "claude-sonnet-4-5-20250929", "claude-haiku-4-5-20251001")
BEGIN = datetime(2026, 8, 22, 10, tzinfo=UTC)


class Truth(NamedTuple):
    """What a whole set of transcripts holds."""

    calls: int
    lines_with_usage: int
    input_tokens: int
    output_tokens: int


class Call(NamedTuple):
    """One model call and the lines that report it; the last line has the final figures."""

    message_id: str
    input_tokens: int
    output_tokens: int
    lines: list[bytes]


def make_line(
    *,
    session_id: str,
    message_id: str,
    output_tokens: int,
    at: datetime,
    input_tokens: int = 3,
    stop_reason: str | None = "end_turn",
    model: str = MODELS[0],
    cwd: str = "/nowhere/project",
    text: str = "",
) -> bytes:
    """An assistant line as current versions write it, with its newline."""
    usage = {
        "input_tokens": input_tokens,
        "cache_creation_input_tokens": 120,
        "cache_read_input_tokens": 40_000,
        "cache_creation": {"ephemeral_5m_input_tokens": 100, "ephemeral_1h_input_tokens": 20},
        "output_tokens": output_tokens,
        "service_tier": "standard",
    }
    message = {
        "model": model,
        "id": message_id,
        "type": "message",
        "role": "assistant",
        "content": [{"type": "text", "text": text}],
        "stop_reason": stop_reason,
        "usage": usage,
    }
    line = {
        "parentUuid": None,
        "isSidechain": False,
        "message": message,
        "requestId": f"req_{message_id}",
        "type": "assistant",
        "uuid": f"{message_id}-{output_tokens}",
        "timestamp": at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}Z",
        "cwd": cwd,
        "sessionId": session_id,
        "version": "2.1.280",
        "gitBranch": "main",
    }
    return json.dumps(line, separators=(",", ":")).encode() + b"\n"


def make_call(random_: random.Random, session_id: str, number: int, at: datetime) -> Call:
    """A call as it streams: copies with the output known so far, then the final one."""
    message_id = f"msg_{uuid.UUID(int=random_.getrandbits(128)).hex}"
    output_tokens, input_tokens = random_.randrange(20, 5000), random_.randrange(1, 9)
    copies = random_.choice((1, 2, 2, 3))
    lines = [
        make_line(
            session_id=session_id,
            message_id=message_id,
            input_tokens=input_tokens,
            output_tokens=output_tokens if copy == copies - 1 else copy + 1,
            stop_reason="tool_use" if copy == copies - 1 else None,
            model=MODELS[number % len(MODELS)],
            at=at + timedelta(milliseconds=1500 * copy),
            text="x" * random_.randrange(50, 500),
        )
        for copy in range(copies)
    ]
    return Call(message_id, input_tokens, output_tokens, lines)


def make_home(folder: Path, *, files: int, calls_per_file: int, seed: int = 1) -> Truth:
    """A configuration folder with that many sessions, each also copied in part into a fork of it."""
    random_ = random.Random(seed)
    truth = Truth(0, 0, 0, 0)
    for number in range(files):
        session_id = str(uuid.UUID(int=random_.getrandbits(128), version=4))
        at = BEGIN + timedelta(hours=7 * number)
        calls = []
        for call_number in range(calls_per_file):
            at += timedelta(seconds=random_.randrange(5, 300))
            calls.append(make_call(random_, session_id, call_number, at))
        prompt = json.dumps({"type": "user", "message": {"role": "user", "content": "?" * 2000}}).encode() + b"\n"
        whole = b"".join(prompt + b"".join(call.lines) for call in calls)
        copied = calls[: calls_per_file // 4]
        project = folder / "projects" / f"-nowhere-{number % 3}"
        project.mkdir(parents=True, exist_ok=True)
        (project / f"{session_id}.jsonl").write_bytes(whole)
        fork = str(uuid.UUID(int=random_.getrandbits(128), version=4))
        forked = b"".join(b"".join(call.lines) for call in copied)
        (project / f"{fork}.jsonl").write_bytes(forked.replace(session_id.encode(), fork.encode()))
        truth = Truth(
            truth.calls + len(calls),
            truth.lines_with_usage + sum(len(call.lines) for call in calls + copied),
            truth.input_tokens + sum(call.input_tokens for call in calls),
            truth.output_tokens + sum(call.output_tokens for call in calls),
        )
    return truth
