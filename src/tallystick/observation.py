"""What a source saw: one record that reports a model call, on its way to the ledger.

It stands apart from model.py because msgspec takes 25 ms to import, and a report that finds nothing new needs none.
"""

from __future__ import annotations

from decimal import Decimal

import msgspec

ORIGIN_MAIN_LINE = 2
ORIGIN_SIDECHAIN_LINE = 1
ORIGIN_PROGRESS_MIRROR = 0


class Observation(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, gc=False):
    """One record that reports a model call; the members are those of the SQL type tallystick.observation.

    Counts are disjoint buckets of tokens (docs/glossary.md); thinking_tokens is a part of output_tokens. A count keeps
    whatever integer the record gave, negative ones too: the ledger alone judges them. '' means unknown. A record that
    the source itself cannot use carries `reject_reason`, `source` and `position` and nothing else.
    """

    event_key: str = ""
    occurred_at: str = ""
    source: str
    provider: str = ""
    model: str = ""
    session_id: str = ""
    project: str = ""
    device: str = ""
    git_branch: str = ""
    agent_version: str = ""
    is_sidechain: bool = False
    request_id: str = ""
    service_tier: str = ""
    speed: str = ""
    inference_geo: str = ""
    grain: str = "call"
    message_count: int = 1
    input_tokens: int = 0
    cache_creation_5m_tokens: int = 0
    cache_creation_1h_tokens: int = 0
    cache_read_tokens: int = 0
    output_tokens: int = 0
    thinking_tokens: int = 0
    web_search_requests: int = 0
    reported_cost_usd: Decimal | None = None
    is_final: bool = False
    origin_rank: int = ORIGIN_MAIN_LINE
    place_order: str = ""
    flags: tuple[str, ...] = ()
    position: str = ""
    reject_reason: str = ""


class Snapshot(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, gc=False):
    """The running totals of a session whose single calls nobody knows: session_data of upsert_token_usage.

    The ledger books what they grew by since the last ones of the same session, on the day of `last_activity_at`, or
    today.
    """

    session_id: str
    source: str
    model_used: str = ""
    session_started_at: str = ""
    last_activity_at: str = ""
    project: str = ""
    device: str = ""
    agent_version: str = ""
    input_tokens: int = 0
    output_tokens: int = 0
    cache_creation_tokens: int = 0
    cache_read_tokens: int = 0
    thinking_tokens: int = 0
    message_count: int = 0
    estimated_cost_usd: Decimal | None = None


class LimitObservation(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, gc=False):
    """What a provider said of one limit of its plan, one of observe_usage_limits; 0 and '' mean unknown."""

    source: str
    limit_name: str
    used_percent: float
    window_minutes: int = 0
    resets_at: str = ""
    observed_at: str
    device: str = ""
