"""How the answers look, as JSON Schema describes it: the row classes of tallystick.model as objects.

Nothing is validated with these on the way out: an answer is made from the rows themselves, and its members are theirs.
"""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from types import UnionType
from typing import Annotated, Any, NamedTuple, get_args, get_type_hints

from pydantic import BaseModel, Field, create_model

from tallystick.members import MEMBERS, Member, member_of
from tallystick.model import (
    BlockRow,
    LedgerCheck,
    RejectedRecord,
    SessionEventRow,
    SessionRow,
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
    if kind == tuple[str, ...]:
        return list[str]
    if isinstance(kind, UnionType):
        return Exact | None if Decimal in get_args(kind) else kind
    return Exact if kind is Decimal else kind


UsageRowObject = object_of(UsageRow, "UsageRow")
SessionRowObject = object_of(SessionRow, "SessionRow")
SessionEventObject = object_of(SessionEventRow, "SessionEvent")
BlockRowObject = object_of(BlockRow, "BlockRow")
TotalsObject = object_of(Totals, "Totals")
UnpricedObject = object_of(Unpriced, "UnpricedModel")
LedgerCheckObject = object_of(LedgerCheck, "LedgerCheck")
UsageLimitObject = object_of(UsageLimitRow, "UsageLimit")


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
    return model_of(name, kinds)


def list_of(name: str, list_name: str, row: type[BaseModel]) -> type[BaseModel]:
    """An answer that is a list under a name."""
    return model_of(name, {list_name: _list_of(row)})


def model_of(name: str, kinds: dict[str, Any]) -> type[BaseModel]:
    """An object with these members, described as everywhere."""
    members: dict[str, Any] = {member: (kind, _described(member_of(name, member))) for member, kind in kinds.items()}
    return create_model(name, **members)
