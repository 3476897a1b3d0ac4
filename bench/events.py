"""Invented observations for measurements on the ledger itself, as a collector would send them."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta

import msgspec

from tallystick.observation import Observation

MODELS = (
    "claude-opus-4-6",
    "claude-sonnet-4-5-20250929",
    "claude-haiku-4-5-20251001",
    "claude-opus-4-5-20251101",
    "claude-sonnet-4-20250514",
)
FIRST_CALL_AT = datetime(2026, 8, 22, tzinfo=UTC)
CALLS_PER_SESSION = 75
SECONDS_BETWEEN_CALLS = 40
PROJECT_COUNT = 12


def make_observation(owner: str, number: int, *, first_call_at: datetime = FIRST_CALL_AT) -> Observation:
    """The call of that number; two owners never share a key or a session."""
    session = number // CALLS_PER_SESSION
    occurred_at = first_call_at + timedelta(seconds=number * SECONDS_BETWEEN_CALLS)
    return Observation(
        event_key=f"anthropic:msg_01{digest_of(owner, 'message', number)[:22]}",
        occurred_at=f"{occurred_at:%Y-%m-%dT%H:%M:%S}.{number % 1000:03d}Z",
        source="claude-code",
        provider="anthropic",
        model=MODELS[(session + number % 2) % len(MODELS)],
        session_id=digest_of(owner, "session", session),
        project=f"/home/dev/work/project-{session % PROJECT_COUNT}",
        device="laptop",
        git_branch="feature/usage-report",
        agent_version="2.1.280",
        request_id=f"req_011C{digest_of(owner, 'request', number)[:20]}",
        service_tier="standard",
        speed="standard",
        input_tokens=1 + number % 12,
        cache_creation_1h_tokens=200 + number % 3000,
        cache_read_tokens=20_000 + number % 90_000,
        output_tokens=50 + number % 900,
        thinking_tokens=number % 50,
        is_final=True,
        place_order=f"main:{digest_of(owner, 'line', number)}",
        position=f"-home-dev-work-project/{digest_of(owner, 'session', session)}.jsonl:{number * 4000}",
    )


def make_batches(
    owner: str, *, event_count: int, batch_size: int, first_call_at: datetime = FIRST_CALL_AT
) -> list[str]:
    """Batches of observations as JSON text, encoded beforehand as a benchmark wants them."""
    encode = msgspec.json.Encoder().encode
    batches = []
    for start in range(0, event_count, batch_size):
        numbers = range(start, min(start + batch_size, event_count))
        batch = [make_observation(owner, number, first_call_at=first_call_at) for number in numbers]
        batches.append(encode(batch).decode())
    return batches


def digest_of(owner: str, kind: str, number: int) -> str:
    return hashlib.md5(f"{owner}:{kind}:{number}".encode(), usedforsecurity=False).hexdigest()
