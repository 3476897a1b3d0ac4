"""Amp's threads, invented."""

from __future__ import annotations

import json

from tests.corpus.histories import Call, History, make_calls


def thread(seed: int, calls: int) -> History:
    return thread_of(seed, make_calls(seed, calls))


def thread_of(seed: int, made: list[Call]) -> History:
    """A thread whose ledger leaves the cache to the messages, and leaves every fourth call out."""
    document = {
        "v": 3,
        "id": f"T-{seed}",
        "created": made[0].at_ms if made else 0,
        "env": {"initial": {"trees": [{"displayName": "shop", "uri": "file:///home/ann/my%20shop"}]}},
        "messages": [message for call in made for message in (question(call), answer(call))],
        "usageLedger": {"events": [event(call) for call in made if call.number % 4]},
    }
    return History({f".local/share/amp/threads/T-{seed}.json": json.dumps(document).encode()}, made)


def question(call: Call) -> dict[str, object]:
    return {"role": "user", "messageId": 2 * call.number, "content": [], "meta": {"sentAt": call.at_ms - 500}}


def answer(call: Call) -> dict[str, object]:
    usage = {
        "model": "claude-sonnet-4-5",
        "inputTokens": call.tokens.input,
        "outputTokens": call.tokens.output,
        "cacheCreationInputTokens": call.tokens.written,
        "cacheReadInputTokens": call.tokens.read,
        "totalInputTokens": call.tokens.prompt,
        "timestamp": call.at_text,
    }
    return {"role": "assistant", "messageId": 2 * call.number + 1, "content": [], "usage": usage}


def event(call: Call) -> dict[str, object]:
    return {
        "id": f"0190b5c4-0000-7000-8000-{call.number:012x}",
        "timestamp": call.at_text,
        "model": "claude-sonnet-4-5",
        "credits": 1.5,
        "tokens": {"input": call.tokens.input, "output": call.tokens.output},
        "operationType": "inference",
        "toMessageId": 2 * call.number + 1,
    }
