"""Answers that are handed over, and what the ledger then holds of them."""

from __future__ import annotations

from typing import Any

import psycopg

LIMIT_S = 60.0


def answer(number: int, **members: Any) -> dict[str, Any]:
    return {
        "id": f"msg_01tracked{number:016d}",
        "type": "message",
        "model": "claude-opus-4-8",
        "stop_reason": "end_turn",
        "usage": {"input_tokens": 1000, "output_tokens": 10 + number},
        **members,
    }


def key_of(number: int) -> str:
    return f"anthropic:msg_01tracked{number:016d}"


def events_of(number: int, *, output_tokens: int) -> list[dict[str, Any]]:
    start = {**answer(number, stop_reason=None), "usage": {"input_tokens": 1000, "output_tokens": 1}}
    text = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "hello"}}
    last = {"stop_reason": "end_turn"}
    return [
        {"type": "message_start", "message": start},
        text,
        {"type": "message_delta", "delta": last, "usage": {"output_tokens": output_tokens}},
        {"type": "message_stop"},
    ]


def output_tokens_of(ledger_url: str, user_id: str) -> dict[str, int]:
    """What the ledger holds of a user, by event key."""
    with psycopg.connect(ledger_url) as connection:
        query = "select event_key, output_tokens from public.token_usage_events where user_id = %s"
        return dict(connection.execute(query, [user_id]).fetchall())


def event_of(ledger_url: str, key: str) -> dict[str, Any]:
    with psycopg.connect(ledger_url, row_factory=psycopg.rows.dict_row) as connection:
        query = "select * from public.token_usage_events where event_key = %s"
        (event,) = connection.execute(query, [key]).fetchall()
        return event
