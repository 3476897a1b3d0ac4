"""Chats of Gemini CLI, invented."""

from __future__ import annotations

from typing import Any

SESSION = "f90b3c5e-1111-4222-8333-444455556666"
MAIN = f"tmp/shop/chats/session-2026-11-22T17-53-{SESSION[:8]}.jsonl"
DOCUMENT = MAIN.removesuffix("l")
SUBAGENT = f"tmp/shop/chats/{SESSION}/0c0ffee0-1111-4222-8333-444455556666.jsonl"


def header(**changes: object) -> dict[str, Any]:
    return {
        "sessionId": SESSION,
        "projectHash": "47a7" * 16,
        "startTime": "2026-11-22T17:53:46.382Z",
        "lastUpdated": "2026-11-22T17:53:46.382Z",
        "kind": "main",
        **changes,
    }


def tokens(*, output: int = 100, cached: int = 5) -> dict[str, Any]:
    """What a call of 1 token from nowhere, `cached` from the cache and `output` to be read comes to."""
    return {
        "input": 1 + cached,
        "output": output,
        "cached": cached,
        "thoughts": 0,
        "tool": 0,
        "total": 1 + cached + output,
    }


def message(number: int, **changes: object) -> dict[str, Any]:
    return {
        "id": f"b263{number:04d}-1111-4222-8333-444455556666",
        "timestamp": f"2026-11-22T18:06:{number % 60:02d}.000Z",
        "type": "gemini",
        "content": "words",
        "thoughts": [],
        "tokens": tokens(),
        "model": "gemini-2.5-pro",
        **changes,
    }


def prompt(number: int) -> dict[str, Any]:
    return {
        "id": f"aaaa{number:04d}-1111-4222-8333-444455556666",
        "timestamp": f"2026-11-22T18:06:{number % 60:02d}.000Z",
        "type": "user",
        "content": "how far?",
    }
