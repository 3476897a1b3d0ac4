"""Sessions of pi, Oh-My-Pi and OpenClaw, invented."""

from __future__ import annotations

from typing import Any

SESSION = "01a2b3c4-1111-4222-8333-444455556666"
PATH = f"sessions/--w-shop--/2026-11-22T18-00-00-000Z_{SESSION}.jsonl"
FORK = "sessions/--w-shop--/2026-11-22T19-00-00-000Z_0f0f0f0f-1111-4222-8333-444455556666.jsonl"
BEGIN_MS = 1_795_370_800_000  # 2026-11-22T18:06:40Z


def header(**changes: object) -> dict[str, Any]:
    begun = {"version": 3, "id": SESSION, "timestamp": "2026-11-22T18:00:00.000Z", "cwd": "/w/shop"}
    return {"type": "session", **begun, **changes}


def usage(*, output: int = 100, cost: float = 0.00982) -> dict[str, Any]:
    parts = {"input": 0.002, "output": 0.00702, "cacheRead": 0.0008, "cacheWrite": 0, "total": cost}
    return {"input": 1, "output": output, "cacheRead": 5, "cacheWrite": 0, "totalTokens": 6 + output, "cost": parts}


def message(number: int, *, entry: dict[str, object] | None = None, **changes: object) -> dict[str, Any]:
    """A line; `changes` are made to the message in it, `entry` to the line itself."""
    return {
        "type": "message",
        "id": f"bcfb{number:04d}",
        "parentId": "ec929416",
        "timestamp": "2026-11-22T18:30:00.000Z",
        "message": {
            "role": "assistant",
            "content": [{"type": "text", "text": "words"}],
            "api": "openai-responses",
            "provider": "openai",
            "model": "gpt-5.6-sol",
            "usage": usage(),
            "stopReason": "stop",
            "timestamp": BEGIN_MS + 1000 * number,
            "responseId": f"resp_{number:024d}",
            **changes,
        },
        **(entry or {}),
    }
