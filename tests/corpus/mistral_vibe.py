"""Mistral Vibe's records of sessions, invented."""

from __future__ import annotations

import json

from tests.corpus.histories import Call, History, Tokens, make_calls


def session(seed: int, calls: int) -> History:
    return session_of(seed, make_calls(seed, calls))


def session_of(seed: int, calls: list[Call]) -> History:
    """The totals of a session, whose prompts contain what was cached; it writes nothing to a cache."""
    made = [call._replace(tokens=Tokens(call.tokens.input, 0, call.tokens.read, call.tokens.output)) for call in calls]
    history = History({}, made)
    meta = {
        "session_id": f"019e1e27-6f8e-73cb-b0eb-{seed:012x}",
        "start_time": made[0].at.isoformat() if made else None,
        "end_time": made[-1].at.isoformat() if made else None,
        "environment": {"working_directory": "/home/ann/shop"},
        "config": {"active_model": "devstral-2"},
        "stats": {
            "steps": len(made),
            "session_prompt_tokens": history.tokens.prompt,
            "session_completion_tokens": history.tokens.output,
            "session_cached_tokens": history.tokens.read,
            "session_cost": 0.5 * len(made),
        },
    }
    path = f".vibe/logs/session/session_20260901_080000_{seed:08x}/meta.json"
    return history._replace(files={path: json.dumps(meta).encode()})
