"""Codebuff's chats, invented."""

from __future__ import annotations

import json

from tests.corpus.histories import Call, History, make_calls

CHAT = "2026-09-01T08-00-{seed:02}.000Z"


def chat(seed: int, calls: int) -> History:
    return chat_of(seed, make_calls(seed, calls))


def chat_of(seed: int, made: list[Call]) -> History:
    """A chat whose answers have their usage in one of four places."""
    messages: list[dict[str, object]] = []
    for call in made:
        messages.append({"id": f"user-{call.number}", "variant": "user", "content": "?", "timestamp": call.at_text})
        messages.append(
            {"id": f"ai-{call.number}", "variant": "ai", "timestamp": call.at_text, "metadata": metadata_of(call)}
        )
    path = f".config/manicode/projects/shop/chats/{CHAT.format(seed=seed)}/chat-messages.json"
    return History({path: json.dumps(messages).encode()}, made)


def metadata_of(call: Call) -> dict[str, object]:
    tokens = call.tokens
    camel = {
        "inputTokens": tokens.input,
        "outputTokens": tokens.output,
        "cacheReadInputTokens": tokens.read,
        "cacheCreationInputTokens": tokens.written,
    }
    snake = {
        "input_tokens": tokens.input,
        "output_tokens": tokens.output,
        "cache_read_input_tokens": tokens.read,
        "cache_creation_input_tokens": tokens.written,
    }
    last_run = {
        "role": "assistant",
        "providerOptions": {
            "codebuff": {
                "model": "openai/gpt-5.2",
                "usage": {
                    "prompt_tokens": tokens.input + tokens.read,
                    "completion_tokens": tokens.output,
                    "prompt_tokens_details": {"cached_tokens": tokens.read},
                    "cache_creation_tokens": tokens.written,
                },
            }
        },
    }
    history = [{"role": "assistant", "providerOptions": {"usage": camel}}, last_run, {"role": "user"}]
    places: list[dict[str, object]] = [
        {"model": "openai/gpt-5.2", "usage": camel},
        {"model": "openai/gpt-5.2", "codebuff": {"usage": snake}},
        {"runState": {"sessionState": {"mainAgentState": {"messageHistory": history}}}},
    ]
    return places[call.number % len(places)]
