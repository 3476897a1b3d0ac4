"""Observations as a source hands them on, in batches as they are sent."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from tallystick.observation import Observation

NOON = datetime(2026, 3, 12, 12, tzinfo=UTC)


def observation(number: int, **members: Any) -> Observation:
    members = {
        "event_key": f"anthropic:msg_{number}",
        "occurred_at": (NOON + timedelta(minutes=number)).isoformat(),
        "source": "claude-code",
        "provider": "anthropic",
        "model": "claude-opus-4-8",
        "session_id": f"session-{number}",
        "project": "/work/p",
        "input_tokens": 1000,
        "output_tokens": 100,
        "is_final": True,
        **members,
    }
    return Observation(**members)


def batch_of(*records: Observation | bytes) -> bytes:
    """A JSON list of observations, and of anything else as it is."""
    texts = (record if isinstance(record, bytes) else msgspec.json.encode(record) for record in records)
    return b"[" + b",".join(texts) + b"]"


def key_of(number: int) -> str:
    return f"anthropic:msg_{number}"
