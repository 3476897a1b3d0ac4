"""Wire files of Kimi CLI and of Kimi Code, invented."""

from __future__ import annotations

from typing import Any

CLI_SESSION = "5e550001-1111-4222-8333-444455556666"
CLI_PATH = f"sessions/{'0a' * 16}/{CLI_SESSION}/wire.jsonl"
CLI_SUBAGENT = f"sessions/{'0a' * 16}/{CLI_SESSION}/subagents/a1/wire.jsonl"
CODE_SESSION = "session_5e550002-1111-4222-8333-444455556666"
CODE_PATH = f"sessions/wd_shop_0123456789ab/{CODE_SESSION}/agents/main/wire.jsonl"
CODE_SUBAGENT = f"sessions/wd_shop_0123456789ab/{CODE_SESSION}/agents/agent-1/wire.jsonl"
BEGIN_S = 1_795_370_800  # 2026-11-22T18:06:40Z


def cli_header() -> dict[str, Any]:
    return {"type": "metadata", "protocol_version": "1.9"}


def cli_usage(*, output: int = 100) -> dict[str, Any]:
    return {"input_other": 1, "output": output, "input_cache_read": 5, "input_cache_creation": 0}


def cli_status(number: int, **changes: object) -> dict[str, Any]:
    """The event behind a call."""
    payload = {"context_usage": 0.1, "token_usage": cli_usage(), "message_id": f"chatcmpl-{number:024d}", **changes}
    return {"type": "StatusUpdate", "payload": payload}


def cli_line(number: int, **changes: object) -> dict[str, Any]:
    return {"timestamp": BEGIN_S + number + 0.125, "message": cli_status(number, **changes)}


def cli_nested(number: int) -> dict[str, Any]:
    """The same from a sub-agent, as its parent passes it on."""
    payload = {"parent_tool_call_id": "call_1", "event": cli_status(number)}
    return {"timestamp": BEGIN_S + number + 0.125, "message": {"type": "SubagentEvent", "payload": payload}}


def code_header() -> list[dict[str, Any]]:
    begun = BEGIN_S * 1000
    return [
        {"type": "metadata", "protocol_version": "1.5", "created_at": begun},
        {"type": "config.update", "cwd": "/w/shop", "systemPrompt": "You are Kimi.", "time": begun + 1},
        {
            "type": "llm.request",
            "kind": "loop",
            "provider": "moonshot",
            "model": "kimi-k3",
            "modelAlias": "k",
            "time": begun + 2,
        },
    ]


def code_line(number: int, **changes: object) -> dict[str, Any]:
    usage = {"inputOther": 1, "output": 100, "inputCacheRead": 5, "inputCacheCreation": 0}
    time = (BEGIN_S + number) * 1000 + 125
    return {"type": "usage.record", "model": "k", "usage": usage, "usageScope": "turn", "time": time, **changes}


def code_forked(number: int) -> dict[str, Any]:
    return {"type": "forked", "time": (BEGIN_S + number) * 1000}
