"""Tasks of Cline and of the extensions that grew out of it, and sessions of its command line, invented."""

from __future__ import annotations

import json

from tests.corpus.histories import Call, History, make_calls

STORAGE = ".config/Code/User/globalStorage"
EXTENSIONS = {
    "cline": "saoudrizwan.claude-dev",
    "roo-code": "rooveterinaryinc.roo-cline",
    "kilo-code": "kilocode.kilo-code",
    "ibm-bob": "ibm.bob-code",
}


def entry(at_ms: object, usage: object = None, *, say: str = "api_req_started", **members: object) -> dict[str, object]:
    """One entry of a task; `usage` becomes the JSON in its text, a text stays as it is."""
    text = usage if isinstance(usage, str) else json.dumps({"request": "what next?"} | (usage or {}))  # type: ignore[operator]
    return {"ts": at_ms, "type": "say", "say": say, "text": text, **members}


def task(seed: int, calls: int, *, source: str = "cline") -> History:
    return task_of(seed, make_calls(seed, calls), source=source)


def task_of(seed: int, made: list[Call], *, source: str = "cline") -> History:
    entries: list[dict[str, object]] = [{"ts": 1, "type": "say", "say": "task", "text": "mend it"}]
    for call in made:
        entries += [entry(call.at_ms, usage_of(call, source)), {"type": "ask", "ask": "tool", "text": "{}"}]
    # the answer to the last request is still awaited
    entries.append(entry(made[-1].at_ms + 1 if made else 2))
    path = f"{STORAGE}/{EXTENSIONS[source]}/tasks/{1_780_000_000_000 + seed}/ui_messages.json"
    return History({path: json.dumps(entries).encode()}, made)


def usage_of(call: Call, source: str) -> dict[str, object]:
    tokens = call.tokens
    usage: dict[str, object] = {"tokensOut": tokens.output, "cacheWrites": tokens.written, "cacheReads": tokens.read}
    if source == "cline":
        return {"tokensIn": tokens.input, **usage, "cost": 0.0125}
    return {"apiProtocol": "anthropic", "tokensIn": tokens.prompt, **usage, "cost": 0.0125}


def session(seed: int, calls: int) -> History:
    made = make_calls(seed, calls)
    session_id = f"session-{seed}"
    messages: list[dict[str, object]] = [{"id": "m-user", "role": "user", "content": "mend it", "ts": 1}]
    for call in made:
        metrics = {
            "inputTokens": call.tokens.prompt,
            "outputTokens": call.tokens.output,
            "cacheReadTokens": call.tokens.read,
            "cacheWriteTokens": call.tokens.written,
            "cost": 0.25,
        }
        message = {"id": f"m-{call.number}", "role": "assistant", "content": [], "ts": call.at_ms, "metrics": metrics}
        messages.append(message | {"modelInfo": {"id": "claude-sonnet-4-6", "provider": "anthropic"}})
    document = {"version": 1, "sessionId": session_id, "messages": messages}
    path = f".cline/data/sessions/{session_id}/{session_id}.messages.json"
    return History({path: json.dumps(document).encode()}, made)
