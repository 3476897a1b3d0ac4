"""Grok Build's updates of a session, invented."""

from __future__ import annotations

import json

from tests.corpus.histories import Call, History, Tokens, make_calls


def session(seed: int, calls: int) -> History:
    made = make_calls(seed, calls)
    lines = [line for call in made for line in (said(call), completed(call))]
    path = f".grok/sessions/%2Fhome%2Fann%2Fshop/{seed:08x}-0000-4000-8000-000000000000/updates.jsonl"
    return History({path: "".join(json.dumps(each) + "\n" for each in lines).encode()}, made)


def said(call: Call) -> dict[str, object]:
    update = {"sessionUpdate": "agent_message_chunk", "content": {"type": "text", "text": "done"}}
    return {"timestamp": call.at_ms // 1000, "method": "session/update", "params": {"update": update}}


def completed(call: Call, **members: object) -> dict[str, object]:
    usage = usage_of(call.tokens)
    update = {"sessionUpdate": "turn_completed", "prompt_id": f"p-{call.number}", "stop_reason": "end_turn"}
    update |= {"usage": usage | {"modelUsage": {"grok-4.6": usage}}, **members}
    meta = {"eventId": f"e-{call.number}", "agentTimestampMs": call.at_ms}
    return {"timestamp": call.at_ms // 1000, "params": {"update": update, "_meta": meta}}


def usage_of(tokens: Tokens) -> dict[str, object]:
    return {
        "inputTokens": tokens.prompt,
        "outputTokens": tokens.output,
        "cachedReadTokens": tokens.read,
        "cacheCreationTokens": tokens.written,
        "reasoningTokens": tokens.output // 3,
        "costUsdTicks": 250_000_000,
    }
