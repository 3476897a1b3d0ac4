"""What goes in over HTTP: events, snapshots of sessions, prices; each body is JSON as the ledger's function takes it.

A body of events is handed on as it came: the ledger alone reads it, and one bad record never fails the rest.
"""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

import msgspec
from fastapi import Depends, Query, Response

from tallystick.api.body import read_body
from tallystick.api.caller import Asking
from tallystick.api.queries import Query as UserQuery
from tallystick.api.route import json_answer
from tallystick.api.router import router
from tallystick.api.schemas import PriceReceiptObject, ReceiptObject, SnapshotReceiptObject
from tallystick.errors import InvalidRequest, TooMuch

Members = TypeVar("Members", bound=msgspec.Struct)

MAX_EVENTS = 10_000

Body = Annotated[bytes, Depends(read_body)]
Whose = Annotated[UserQuery, Query()]


class Snapshots(msgspec.Struct, forbid_unknown_fields=True):
    """The two arguments of upsert_token_usage."""

    session_data: msgspec.Raw
    daily_data: msgspec.Raw = msgspec.Raw(b"null")


def json_body(schema: dict[str, Any], *, description: str) -> dict[str, Any]:
    """The description of a body that no model of FastAPI's reads."""
    return {
        "requestBody": {
            "required": True,
            "description": description,
            "content": {"application/json": {"schema": schema}},
        }
    }


@router.post(
    "/track",
    response_model=ReceiptObject,
    openapi_extra=json_body(
        {
            "oneOf": [
                {"$ref": "#/components/schemas/Event"},
                {"type": "array", "maxItems": MAX_EVENTS, "items": {"$ref": "#/components/schemas/Event"}},
            ]
        },
        description="One event, or a list of up to 10,000. The same again changes nothing. May be gzip.",
    ),
)
def track(caller: Asking, whose: Whose, body: Body) -> Response:
    """Take events in, each exactly once however often it is sent; answers a receipt."""
    events = _as_list(body)
    with caller.ledger("ingest", user_id=whose.user) as ledger:
        receipt = ledger.ingest_token_usage(events)
    caller.service.metrics.count_receipt(receipt)
    return json_answer(receipt._asdict())


def _as_list(body: bytes) -> bytes:
    text = body.strip(b" \t\r\n")
    if text[:1] == b"{":
        return b"[" + text + b"]"
    if text[:1] != b"[":
        raise InvalidRequest(
            "the body is neither a JSON object nor a list of them",
            hint="Send one event, or a list.",
            constraint="events_are_a_list",
        )
    try:
        count = len(msgspec.json.decode(text, type=list[msgspec.Raw]))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return text  # the ledger finds the record at fault and rejects that one
    if count > MAX_EVENTS:
        raise TooMuch(
            f"{count:,} events in one request", hint="Send at most 10,000.", constraint="batch_is_at_most_10000"
        )
    return text


@router.post(
    "/upsert",
    response_model=SnapshotReceiptObject,
    openapi_extra=json_body(
        {
            "type": "object",
            "required": ["session_data"],
            "properties": {
                "session_data": {"description": "A session's running totals, or a list of several."},
                "daily_data": {"description": "Its `usage_date` says the day; its other numbers are ignored."},
            },
        },
        description="What the SQL function upsert_token_usage takes.",
    ),
)
def upsert(caller: Asking, whose: Whose, body: Body) -> Response:
    """Take in running totals of sessions, for callers that know no single call; sent twice they change nothing."""
    given = read_members(body, Snapshots)
    with caller.ledger("ingest", user_id=whose.user, is_user_in_body=True) as ledger:
        receipt = ledger.upsert_token_usage(bytes(given.session_data).decode(), bytes(given.daily_data).decode())
    rejects = [reject._asdict() for reject in receipt.rejects]
    return json_answer({**receipt._asdict(), "rejects": rejects})


@router.post(
    "/prices",
    response_model=PriceReceiptObject,
    openapi_extra=json_body({"type": "array", "items": {"type": "object"}}, description="Dated rates; docs/prices.md."),
)
def add_prices(caller: Asking, whose: Whose, body: Body) -> Response:
    """Append dated prices: a user's own, or with a service key that names nobody, everybody's."""
    with caller.ledger("admin", user_id=whose.user) as ledger:
        receipt = ledger.add_token_prices(text_of(body), for_everybody=ledger.user_id is None)
    return json_answer(receipt._asdict())


@router.post(
    "/corrections",
    response_model=ReceiptObject,
    openapi_extra=json_body(
        {"type": "array", "maxItems": 1000, "items": {"type": "object", "required": ["event_key"]}},
        description="Members of events as they should be.",
    ),
)
def correct(caller: Asking, whose: Whose, body: Body) -> Response:
    """Set members of events by hand; needs a service key."""
    with caller.ledger("admin", user_id=whose.user) as ledger:
        return json_answer(ledger.correct_token_usage(text_of(body))._asdict())


def text_of(body: bytes) -> str:
    """A body as text; raises InvalidRequest for what is no UTF-8."""
    try:
        return body.decode()
    except UnicodeDecodeError:
        raise InvalidRequest("the body is not UTF-8", hint="Send JSON in UTF-8.", constraint="body_is_json") from None


def read_members(body: bytes, kind: type[Members]) -> Members:
    """The members of a body that is a JSON object; raises InvalidRequest, which names the member at fault."""
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequest(
            f"the body is not what it should be: {str(error)[:200]}",
            hint="docs/api.md shows it.",
            constraint="body_is_valid",
        ) from None
