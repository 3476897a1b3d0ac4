"""Upkeep over HTTP: the account, its time zone, proofs, pricing again, forgetting, and the keys themselves."""

from __future__ import annotations

from datetime import date
from typing import Annotated

import msgspec
from fastapi import Query, Response

from tallystick.answers import answer_verification
from tallystick.api.body import Body
from tallystick.api.caller import Asking
from tallystick.api.queries import Query as UserQuery
from tallystick.api.route import json_answer
from tallystick.api.router import router
from tallystick.api.schemas import (
    DigestObject,
    DoubleSessionObject,
    EventCostObject,
    ForgetReceiptObject,
    LedgerStateObject,
    NothingObject,
    RejectObject,
    RerateReceiptObject,
)
from tallystick.api.writes import body_of, read_members
from tallystick.objects import LedgerCheckObject, list_of
from tallystick.reports import plain_row

Whose = Annotated[UserQuery, Query()]


# which of them the ledger takes it says itself, in the same words on every road
Count = Annotated[int, msgspec.Meta(ge=-(2**31), le=2**31 - 1)]


class _Zone(msgspec.Struct, forbid_unknown_fields=True):
    time_zone: str


class _Keys(msgspec.Struct, forbid_unknown_fields=True):
    event_keys: Annotated[list[str], msgspec.Meta(max_length=10_000)]


class _Slice(msgspec.Struct, forbid_unknown_fields=True, rename={"since": "from", "until": "to"}):
    since: date | None = None
    until: date | None = None
    after: str = ""
    limit: Count = 20_000


class _Forgotten(msgspec.Struct, forbid_unknown_fields=True):
    project: str | None = None
    limit: Count = 20_000


ZONE = body_of(
    "An IANA zone.",
    example={"time_zone": "Europe/Berlin"},
    required=["time_zone"],
    members={"time_zone": {"type": "string", "description": "Its exact name."}},
)
DAY = {"type": ["string", "null"], "format": "date"}
SLICE_LIMIT = {
    "type": "integer",
    "minimum": 1,
    "maximum": 100_000,
    "default": 20_000,
    "description": "How many events one slice may have.",
}


@router.get("/state", tags=["upkeep"], response_model=LedgerStateObject)
def read_state(caller: Asking, whose: Whose) -> Response:
    """Which ledger this is, whose books they are and how far they have come; for a key of any scope."""
    with caller.ledger("", user_id=whose.user) as ledger:
        return json_answer(plain_row(ledger.ledger_state()))


@router.post("/account", tags=["upkeep"], response_model=NothingObject, openapi_extra=ZONE)
def make_account(caller: Asking, whose: Whose, body: Body) -> Response:
    """Make the account, in a time zone; does nothing where it stands."""
    zone = read_members(body, _Zone)
    with caller.ledger("ingest", user_id=whose.user) as ledger:
        ledger.make_account(time_zone=zone.time_zone)
    return json_answer({})


@router.put("/time-zone", tags=["upkeep"], response_model=NothingObject, openapi_extra=ZONE)
def set_time_zone(caller: Asking, whose: Whose, body: Body) -> Response:
    """Keep the books in the days of another zone."""
    zone = read_members(body, _Zone)
    with caller.ledger("admin", user_id=whose.user) as ledger:
        ledger.set_time_zone(zone.time_zone)
    return json_answer({})


@router.get("/verify", tags=["upkeep"], response_model=list_of("Verification", "checks", LedgerCheckObject))
def verify(caller: Asking, whose: Whose) -> Response:
    """Every rule of the books with the number of rows that break it: 0 where all is well."""
    with caller.ledger("read", user_id=whose.user) as ledger:
        return json_answer(answer_verification(ledger))


@router.get("/digest", tags=["upkeep"], response_model=DigestObject)
def read_digest(caller: Asking, whose: Whose) -> Response:
    """One sha256 over the books: equal digests are equal books."""
    with caller.ledger("read", user_id=whose.user) as ledger:
        return json_answer({"digest": ledger.ledger_digest()})


@router.get("/rejects", tags=["upkeep"], response_model=list_of("Rejects", "rejects", RejectObject))
def read_rejects(caller: Asking, whose: Whose) -> Response:
    """How many records could not be counted, by source and reason."""
    with caller.ledger("read", user_id=whose.user) as ledger:
        return json_answer({"rejects": [plain_row(row) for row in ledger.rejects()]})


@router.get(
    "/double-sessions", tags=["upkeep"], response_model=list_of("DoubleSessions", "sessions", DoubleSessionObject)
)
def read_double_sessions(caller: Asking, whose: Whose) -> Response:
    """Sessions known by snapshots and from another source too, whose usage therefore counts twice."""
    with caller.ledger("read", user_id=whose.user) as ledger:
        return json_answer({"sessions": [plain_row(row) for row in ledger.double_sessions()]})


@router.post(
    "/events",
    tags=["upkeep"],
    response_model=list_of("EventCosts", "events", EventCostObject),
    openapi_extra=body_of(
        "Up to 10,000 event keys.",
        example={"event_keys": ["anthropic:msg_01AbCdEf"]},
        required=["event_keys"],
        members={
            "event_keys": {
                "type": "array",
                "maxItems": 10_000,
                "items": {"type": "string"},
                "description": "Those that the ledger does not know are left out of the answer.",
            }
        },
    ),
)
def read_events(caller: Asking, whose: Whose, body: Body) -> Response:
    """What the ledger holds for these event keys."""
    keys = read_members(body, _Keys)
    with caller.ledger("read", user_id=whose.user) as ledger:
        return json_answer({"events": [plain_row(row) for row in ledger.usage_events(keys.event_keys)]})


@router.post(
    "/rerate",
    tags=["upkeep"],
    response_model=RerateReceiptObject,
    openapi_extra=body_of(
        "Which slice of which days.",
        example={"from": "2026-11-01", "to": "2026-11-30"},
        members={
            "from": {**DAY, "description": "The first day, inclusive."},
            "to": {**DAY, "description": "The last day, inclusive."},
            "after": {"type": "string", "default": "", "description": "`next_key` of the slice before."},
            "limit": SLICE_LIMIT,
        },
    ),
)
def rerate(caller: Asking, whose: Whose, body: Body) -> Response:
    """Price one slice of events again; needs a service key. Call again with `after` until next_key is null."""
    part = read_members(body, _Slice)
    with caller.ledger("admin", user_id=whose.user) as ledger:
        receipt = ledger.rerate_slice(since=part.since, until=part.until, after=part.after, limit=part.limit)
    return json_answer(plain_row(receipt))


@router.post(
    "/forget",
    tags=["upkeep"],
    response_model=ForgetReceiptObject,
    openapi_extra=body_of(
        "One project, or everything.",
        example={"project": "support-bot"},
        members={
            "project": {"type": ["string", "null"], "description": "Its whole name; left out, everything goes."},
            "limit": SLICE_LIMIT,
        },
    ),
)
def forget(caller: Asking, whose: Whose, body: Body) -> Response:
    """Erase one slice of the books; call again while `more` is true."""
    part = read_members(body, _Forgotten)
    with caller.ledger("admin", user_id=whose.user) as ledger:
        return json_answer(plain_row(ledger.forget_slice(project=part.project, limit=part.limit)))
