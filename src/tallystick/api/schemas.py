"""How the answers and bodies look, for the OpenAPI description: the row classes of tallystick.model as objects.

Nothing is validated with these on the way out: an answer is made from the rows themselves, and its members are theirs.
"""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from types import UnionType
from typing import Annotated, Any, NamedTuple, get_args, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, create_model

from tallystick.api.members import MEMBERS, Member, member_of
from tallystick.model import (
    BlockRow,
    DoubleSessionRow,
    EventCostRow,
    ForgetReceipt,
    LedgerCheck,
    LedgerState,
    LimitReceipt,
    PriceReceipt,
    Receipt,
    RejectedRecord,
    RejectRow,
    RerateReceipt,
    SessionEventRow,
    SessionRow,
    SnapshotReceipt,
    SnapshotReject,
    UsageLimitRow,
    UsageRow,
)
from tallystick.reports import Unpriced
from tallystick.totals import Totals

Exact = Annotated[str, Field(pattern=r"^-?\d+(\.\d+)?$", description="Every digit.", examples=["0.0123456"])]


def _list_of(row: Any) -> Any:
    return list[row]


def object_of(row_class: type[NamedTuple], name: str) -> type[BaseModel]:
    """A row class as an object with the same members."""
    kinds = get_type_hints(row_class)
    members: dict[str, Any] = {
        field: (_in_json(kind), _described(member_of(row_class.__name__, field))) for field, kind in kinds.items()
    }
    summary = (row_class.__doc__ or "").partition("\n")[0]
    return create_model(name, __doc__=summary, **members)


def _described(member: Member) -> Any:
    return Field(..., description=member.description, examples=None if member.example is None else [member.example])


def _in_json(kind: Any) -> Any:
    if kind == list[SnapshotReject]:
        return _list_of(object_of(SnapshotReject, "SnapshotReject"))
    if kind == tuple[RejectedRecord, ...]:
        return _list_of(object_of(RejectedRecord, "RejectedRecord"))
    if isinstance(kind, UnionType):
        return Exact | None if Decimal in get_args(kind) else kind
    return Exact if kind is Decimal else kind


UsageRowObject = object_of(UsageRow, "UsageRow")
SessionRowObject = object_of(SessionRow, "SessionRow")
SessionEventObject = object_of(SessionEventRow, "SessionEvent")
BlockRowObject = object_of(BlockRow, "BlockRow")
TotalsObject = object_of(Totals, "Totals")
DoubleSessionObject = object_of(DoubleSessionRow, "DoubleSession")
UnpricedObject = object_of(Unpriced, "UnpricedModel")
ReceiptObject = object_of(Receipt, "Receipt")
SnapshotReceiptObject = object_of(SnapshotReceipt, "SnapshotReceipt")
PriceReceiptObject = object_of(PriceReceipt, "PriceReceipt")
RerateReceiptObject = object_of(RerateReceipt, "RerateReceipt")
ForgetReceiptObject = object_of(ForgetReceipt, "ForgetReceipt")
LedgerStateObject = object_of(LedgerState, "LedgerState")
LedgerCheckObject = object_of(LedgerCheck, "LedgerCheck")
RejectObject = object_of(RejectRow, "Reject")
EventCostObject = object_of(EventCostRow, "EventCost")
UsageLimitObject = object_of(UsageLimitRow, "UsageLimit")
LimitReceiptObject = object_of(LimitReceipt, "LimitReceipt")


class DateRange(BaseModel):
    """The days that were asked for, inclusive; null is no bound."""

    since: date | None = _described(MEMBERS["since"])
    until: date | None = _described(MEMBERS["until"])


def report_of(name: str, list_name: str, row: type[BaseModel]) -> type[BaseModel]:
    """The answer of a report: its rows under its own name, and beside them what they add up to."""
    kinds = {
        list_name: _list_of(row),
        "totals": TotalsObject,
        "unpriced_models": _list_of(UnpricedObject),
        "range": DateRange,
        "time_zone": str | None,
        "by": str | None,
        "next": dict[str, str] | None,
    }
    return _model_of(name, kinds)


def list_of(name: str, list_name: str, row: type[BaseModel]) -> type[BaseModel]:
    """An answer that is a list under a name."""
    return _model_of(name, {list_name: _list_of(row)})


def _model_of(name: str, kinds: dict[str, Any]) -> type[BaseModel]:
    members: dict[str, Any] = {member: (kind, _described(member_of(name, member))) for member, kind in kinds.items()}
    return create_model(name, **members)


DigestObject = _model_of("Digest", {"digest": str})
NothingObject = _model_of("Nothing", {})


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
