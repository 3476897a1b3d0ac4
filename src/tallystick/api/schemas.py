"""How the bodies and receipts of the HTTP API look, for its OpenAPI description."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field

from tallystick.model import (
    DoubleSessionRow,
    EventCostRow,
    ForgetReceipt,
    LedgerState,
    LimitReceipt,
    PriceReceipt,
    Receipt,
    RejectRow,
    RerateReceipt,
    SnapshotReceipt,
)
from tallystick.objects import Exact, model_of, object_of

DoubleSessionObject = object_of(DoubleSessionRow, "DoubleSession")
ReceiptObject = object_of(Receipt, "Receipt")
SnapshotReceiptObject = object_of(SnapshotReceipt, "SnapshotReceipt")
PriceReceiptObject = object_of(PriceReceipt, "PriceReceipt")
RerateReceiptObject = object_of(RerateReceipt, "RerateReceipt")
ForgetReceiptObject = object_of(ForgetReceipt, "ForgetReceipt")
LedgerStateObject = object_of(LedgerState, "LedgerState")
RejectObject = object_of(RejectRow, "Reject")
EventCostObject = object_of(EventCostRow, "EventCost")
LimitReceiptObject = object_of(LimitReceipt, "LimitReceipt")
DigestObject = model_of("Digest", {"digest": str})
NothingObject = model_of("Nothing", {})


class Problem(BaseModel):
    """What went wrong, as RFC 9457 has it."""

    type: str = Field(description="`urn:tallystick:` and the name of the rule, where one was broken.")
    title: str = Field(description="The status in words.")
    status: int = Field(description="The status of the answer.")
    detail: str = Field(description="What is wrong, in one line.")
    hint: str | None = Field(None, description="What to do about it.")
    constraint: str | None = Field(None, description="The name of the rule.")
    request_id: str | None = Field(None, description="Stands in the server's log too.")


class Event(BaseModel):
    """One model call as an application reports it: counts are disjoint, '' and 0 may be left out."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "event_key": "anthropic:msg_01AbCdEf",
                    "occurred_at": "2026-11-22T10:15:00Z",
                    "source": "api",
                    "provider": "anthropic",
                    "model": "claude-sonnet-4-5",
                    "session_id": "conversation-17",
                    "project": "support-bot",
                    "input_tokens": 1200,
                    "cache_read_tokens": 8000,
                    "output_tokens": 340,
                    "is_final": True,
                }
            ]
        }
    )

    event_key: str = Field(max_length=300, description="The provider's id of the answer with the provider before it.")
    occurred_at: datetime = Field(description="When the call was made, with its offset.")
    source: str = Field(max_length=200, description="Who reports it: api, claude-code, ...")
    provider: str = Field(
        "",
        max_length=200,
        description="Who runs the model: anthropic, openai, google, ...",
    )
    model: str = Field("", max_length=200, description="The model as the provider names it.")
    session_id: str = Field("", max_length=200, description="The conversation, or the run.")
    project: str = Field("", max_length=500, description="What it was for.")
    device: str = Field("", max_length=200, description="The machine.")
    git_branch: str = Field("", max_length=200, description="The branch that was worked on.")
    agent_version: str = Field("", max_length=200, description="The version of the program that made the call.")
    is_sidechain: bool = Field(False, description="A sub-agent made the call.")
    request_id: str = Field("", max_length=200, description="The provider's id of the request.")
    service_tier: str = Field("", max_length=200, description="batch, priority, ...: some have their own prices.")
    speed: str = Field("", max_length=200, description="fast, where the provider bills it.")
    inference_geo: str = Field("", max_length=200, description="us, ...: where some providers bill for the place.")
    input_tokens: int = Field(0, ge=0, le=10**12, description="Neither read from nor written to a cache.")
    cache_creation_5m_tokens: int = Field(0, ge=0, le=10**12, description="Written to a cache for five minutes.")
    cache_creation_1h_tokens: int = Field(0, ge=0, le=10**12, description="Written to a cache for an hour.")
    cache_read_tokens: int = Field(0, ge=0, le=10**12, description="Read from a cache.")
    output_tokens: int = Field(0, ge=0, le=10**12, description="All that is billed as output, thinking included.")
    thinking_tokens: int = Field(0, ge=0, le=10**12, description="How many of the output tokens are thinking.")
    web_search_requests: int = Field(0, ge=0, le=10**12, description="Searches that are billed one by one.")
    message_count: int = Field(1, ge=0, le=10**12, description="Messages; 1 for a call.")
    reported_cost_usd: Exact | None = Field(
        None, description="US dollars as the caller knows them; counts where the model has no price of ours."
    )
    position: str = Field(
        "", max_length=500, description="Where the record stands at its source; a rejected one is told by it."
    )
    is_final: bool = Field(False, description="The answer was complete; of several reports of one call it wins.")


class Limit(BaseModel):
    """What a provider said of one limit of its plan."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "source": "claude-code",
                    "limit_name": "five_hour",
                    "used_percent": 23.5,
                    "window_minutes": 300,
                    "resets_at": "2026-11-22T15:00:00Z",
                    "observed_at": "2026-11-22T10:15:00Z",
                    "device": "laptop",
                }
            ]
        }
    )

    source: str = Field(max_length=200, description="Which agent was told: claude-code, codex, ...")
    limit_name: str = Field(max_length=200, description="five_hour, seven_day, ...")
    used_percent: float = Field(ge=0, le=1000, description="How much of the window is used.")
    window_minutes: int | None = Field(None, ge=0, le=1_000_000, description="How long the window is.")
    resets_at: datetime | None = Field(None, description="When it ends, with its offset.")
    observed_at: datetime = Field(description="When the provider said so, with its offset.")
    device: str = Field("", max_length=200, description="The machine.")
