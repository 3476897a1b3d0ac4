"""Droid's settings of a session, invented."""

from __future__ import annotations

import json

from tests.corpus.histories import History, make_calls


def session(seed: int, calls: int) -> History:
    """The totals of a session; its children are in another figure beside them."""
    history = History({}, make_calls(seed, calls))
    tokens = history.tokens
    usage = {
        "inputTokens": tokens.input,
        "outputTokens": tokens.output,
        "cacheCreationTokens": tokens.written,
        "cacheReadTokens": tokens.read,
        "thinkingTokens": tokens.output * 2,
    }
    settings = {
        "model": "custom:GLM-4.6-[Z.AI]-0",
        "providerLock": "generic-chat-completion-api",
        "providerLockTimestamp": make_calls(seed, 1)[0].at_text,
        "tokenUsage": usage,
        "inclusiveTokenUsage": {name: count * 3 for name, count in usage.items()},
    }
    path = f".factory/sessions/-home-ann-shop/{seed:08x}-0000-4000-8000-000000000000.settings.json"
    return history._replace(files={path: json.dumps(settings).encode()})
