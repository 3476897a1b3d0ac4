"""Mux' chats, invented."""

from __future__ import annotations

import json

from tests.corpus.histories import Call, History, make_calls


def chat(seed: int, calls: int) -> History:
    made = make_calls(seed, calls)
    lines = [line for call in made for line in (question(call), answer(call))]
    return History(
        {f".mux/sessions/ws-{seed}/chat.jsonl": "".join(json.dumps(each) + "\n" for each in lines).encode()}, made
    )


def question(call: Call) -> dict[str, object]:
    return {"id": f"user-{call.number}", "role": "user", "parts": [], "metadata": {"timestamp": call.at_ms - 500}}


def answer(call: Call, **metadata: object) -> dict[str, object]:
    tokens = call.tokens
    usage = {
        "inputTokens": tokens.prompt,
        "outputTokens": tokens.output,
        "reasoningTokens": tokens.output // 2,
        "cachedInputTokens": tokens.read,
        "totalTokens": tokens.prompt + tokens.output,
    }
    written = {"anthropic": {"cacheCreationInputTokens": tokens.written}}
    known = {"historySequence": call.number, "timestamp": call.at_ms, "model": "anthropic:claude-sonnet-4-6"}
    known |= {"usage": usage, "providerMetadata": written, **metadata}
    return {"id": f"assistant-{call.number}", "role": "assistant", "parts": [], "metadata": known}
