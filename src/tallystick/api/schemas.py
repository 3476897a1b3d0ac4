"""How the answers and bodies look, for the OpenAPI description: the row classes of tallystick.model as objects.

Nothing is validated with these on the way out: an answer is made from the rows themselves, and its members are theirs.
"""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from types import UnionType
from typing import Annotated, Any, NamedTuple, get_args, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, create_model

from tallystick.model import (
    BlockRow,
    DoubleSessionRow,
    EventCostRow,
    ForgetReceipt,
    LedgerCheck,
    LedgerState,
    PriceReceipt,
    Receipt,
    RejectRow,
    RerateReceipt,
    SessionEventRow,
    SessionRow,
    SnapshotReceipt,
    SnapshotReject,
    UsageRow,
)
from tallystick.reports import Unpriced
from tallystick.totals import Totals

Usd = Annotated[str, Field(pattern=r"^-?\d+(\.\d+)?$", description="US dollars, every digit.", examples=["0.0123456"])]
PageKey = Annotated[
    dict[str, str] | None,
    Field(description="Where the next page starts: give it, as JSON, as `after`. null where this is the last page."),
]


def object_of(row_class: type[NamedTuple], name: str) -> type[BaseModel]:
    """A row class as an object with the same members."""
    members: dict[str, Any] = {field: (_in_json(kind), ...) for field, kind in get_type_hints(row_class).items()}
    summary = (row_class.__doc__ or "").partition("\n")[0]
    return create_model(name, __doc__=summary, **members)


def _list_of(row: Any) -> Any:
    return list[row]


def _in_json(kind: Any) -> Any:
    if kind == list[SnapshotReject]:
        return _list_of(object_of(SnapshotReject, "SnapshotReject"))
    if isinstance(kind, UnionType):
        return Usd | None if Decimal in get_args(kind) else kind
    return Usd if kind is Decimal else kind


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


class DateRange(BaseModel):
    """The days that were asked for, inclusive; null is no bound."""

    since: date | None
    until: date | None


def report_of(name: str, list_name: str, row: type[BaseModel]) -> type[BaseModel]:
    """The answer of a report: its rows under its own name, and beside them what they add up to."""
    members: dict[str, Any] = {
        list_name: (_list_of(row), ...),
        "totals": (TotalsObject, ...),
        "unpriced_models": (_list_of(UnpricedObject), ...),
        "range": (DateRange, ...),
        "time_zone": (str | None, ...),
        "by": (str | None, ...),
        "next": (PageKey, ...),
    }
    return create_model(name, **members)


def list_of(name: str, list_name: str, row: type[BaseModel]) -> type[BaseModel]:
    """An answer that is a list under a name."""
    members: dict[str, Any] = {list_name: (_list_of(row), ...)}
    return create_model(name, **members)


class Problem(BaseModel):
    """What went wrong, as RFC 9457 has it."""

    type: str = Field(description="`urn:tallystick:` and the name of the rule, where one was broken.")
    title: str
    status: int
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
    provider: str = Field("", max_length=200)
    model: str = Field("", max_length=200)
    session_id: str = Field("", max_length=200)
    project: str = Field("", max_length=500)
    device: str = Field("", max_length=200)
    git_branch: str = Field("", max_length=200)
    agent_version: str = Field("", max_length=200)
    is_sidechain: bool = False
    request_id: str = Field("", max_length=200)
    service_tier: str = Field("", max_length=200)
    speed: str = Field("", max_length=200)
    inference_geo: str = Field("", max_length=200)
    input_tokens: int = Field(0, ge=0, le=10**12, description="Neither read from nor written to a cache.")
    cache_creation_5m_tokens: int = Field(0, ge=0, le=10**12)
    cache_creation_1h_tokens: int = Field(0, ge=0, le=10**12)
    cache_read_tokens: int = Field(0, ge=0, le=10**12)
    output_tokens: int = Field(0, ge=0, le=10**12, description="All that is billed as output, thinking included.")
    thinking_tokens: int = Field(0, ge=0, le=10**12, description="How many of the output tokens are thinking.")
    web_search_requests: int = Field(0, ge=0, le=10**12)
    message_count: int = Field(1, ge=0, le=10**12)
    reported_cost_usd: Usd | None = None
    is_final: bool = Field(False, description="The answer was complete; of several reports of one call it wins.")
