"""What goes in over HTTP: events, snapshots of sessions, prices; each body is JSON as the ledger's function takes it.

A body of events is handed on as it came: the ledger alone reads it, and one bad record never fails the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, TypeVar

import msgspec
from fastapi import Query, Response

from tallystick.api.body import Body
from tallystick.api.caller import Asking
from tallystick.api.queries import Query as UserQuery
from tallystick.api.route import json_answer
from tallystick.api.router import router
from tallystick.api.schemas import (
    Event,
    Limit,
    LimitReceiptObject,
    PriceReceiptObject,
    ReceiptObject,
    SnapshotReceiptObject,
)
from tallystick.batches import split_records
from tallystick.errors import InvalidRequest, TooMuch, UnreadableBatch
from tallystick.model import LimitReceipt, Receipt, SnapshotReceipt
from tallystick.observation import Observation

Members = TypeVar("Members", bound=msgspec.Struct)

MAX_EVENTS = 10_000
# commas, quotes and brackets of a batch that is told apart by them alone, at a microsecond each
MAX_SIGNS = 2_000_000

Whose = Annotated[UserQuery, Query()]


class Snapshots(msgspec.Struct, forbid_unknown_fields=True):
    """The two arguments of upsert_token_usage."""

    session_data: msgspec.Raw
    daily_data: msgspec.Raw = msgspec.Raw(b"null")


# not a reference: a description of which this API is only a part has no place for it
EVENT = Event.model_json_schema()
LIMIT = Limit.model_json_schema()
SESSION_MEMBERS = (
    ("user_id", "Whose session it is; only a service key may name others."),
    ("session_id", "The session."),
    ("session_started_at", "When it began, with its offset."),
    ("model_used", "The model that the growth since the last snapshot is booked to."),
    ("input_tokens", "So far."),
    ("output_tokens", "So far."),
    ("cache_creation_tokens", "So far."),
    ("cache_read_tokens", "So far."),
    ("thinking_tokens", "So far; part of the output."),
    ("message_count", "So far."),
    ("estimated_cost_usd", "So far; counts where the model has no price of ours."),
    ("last_activity_at", "Its latest moment, with its offset; the growth is of that day where no usage_date fits."),
    ("source", "Who counted; left out, `snapshot`."),
    ("project", "Whose work it is part of."),
    ("device", "Where it ran."),
    ("agent_version", "The version of what counted."),
)


def json_body(schema: dict[str, Any], *, description: str, example: Any) -> dict[str, Any]:
    """The description of a body that no model of FastAPI's reads."""
    content = {"application/json": {"schema": schema, "example": example}}
    return {"requestBody": {"required": True, "description": description, "content": content}}


def body_of(description: str, *, example: Any, members: dict[str, Any], required: Sequence[str] = ()) -> dict[str, Any]:
    """The description of a body that is an object with these members and no others."""
    schema = {
        "type": "object",
        "properties": members,
        "additionalProperties": False,
        **({"required": list(required)} if required else {}),
    }
    return json_body(schema, description=description, example=example)


@router.post(
    "/track",
    tags=["writes"],
    response_model=ReceiptObject,
    openapi_extra=json_body(
        {
            "oneOf": [EVENT, {"type": "array", "maxItems": MAX_EVENTS, "items": EVENT}],
        },
        description="One event, or a list of up to 10,000. The same again changes nothing. May be gzip.",
        example=EVENT["examples"][0],
    ),
)
def track(caller: Asking, whose: Whose, body: Body) -> Response:
    """Take events in, each exactly once however often it is sent; answers a receipt."""
    events, first = _as_list(body)
    with caller.ledger("ingest", user_id=whose.user) as ledger:
        receipt = ledger.ingest_token_usage(events).plus(Receipt(unknown_members=_unknown_members(first)))
    caller.service.metrics.count_receipt(receipt)
    return _receipt_answer(receipt)


def _receipt_answer(receipt: Receipt | SnapshotReceipt | LimitReceipt) -> Response:
    return json_answer({**receipt._asdict(), "rejects": [reject._asdict() for reject in receipt.rejects]})


def _unknown_members(first: bytes) -> tuple[str, ...]:
    """The names in the first event that no event has: a program that writes one wrongly does so in each."""
    try:
        names = msgspec.json.decode(first, type=dict[str, msgspec.Raw]).keys()
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ()  # the ledger has said so
    return tuple(sorted(name[:100] for name in names - Observation.__struct_fields__))


def _as_list(body: bytes) -> tuple[bytes, bytes]:
    """A body as a list, and the first event in it; b"" where none can be told from the others."""
    text = body.strip(b" \t\r\n")
    if text[:1] == b"{":
        return b"[" + text + b"]", text
    if text[:1] != b"[":
        raise InvalidRequest(
            "the body is neither a JSON object nor a list of them",
            hint="Send one event, or a list.",
            constraint="events_are_a_list",
        )
    try:
        records = msgspec.json.decode(text, type=list[msgspec.Raw])
        count, first = len(records), bytes(records[0]) if records else b""
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        count, first = _count_unreadable(text), b""  # the ledger finds the record at fault and rejects that one
    if count > MAX_EVENTS:
        raise TooMuch(
            f"{count:,} events in one request", hint="Send at most 10,000.", constraint="batch_is_at_most_10000"
        )
    return text, first


def _count_unreadable(text: bytes) -> int:
    """How many records there are in a list of which some are no JSON; each is at worst two questions to the ledger."""
    if sum(text.count(sign) for sign in b',"[{') > MAX_SIGNS:
        raise UnreadableBatch(
            "the body is not JSON, and too long to look for the record at fault",
            hint="Send valid JSON, or smaller batches.",
            constraint="batch_is_readable",
        )
    return len(split_records(text))


@router.post(
    "/upsert",
    tags=["writes"],
    response_model=SnapshotReceiptObject,
    openapi_extra=body_of(
        "What the SQL function upsert_token_usage takes.",
        example={
            "session_data": {
                "session_id": "conversation-17",
                "model_used": "claude-sonnet-4-5",
                "input_tokens": 1200,
                "output_tokens": 340,
                "message_count": 1,
            },
            "daily_data": {"usage_date": "2026-11-22"},
        },
        required=["session_data"],
        members={
            "session_data": {
                "description": "A session's running totals, or a list of up to 1,000.",
                "properties": {name: {"description": text} for name, text in SESSION_MEMBERS},
            },
            "daily_data": {"description": "Its `usage_date` says the day; its other numbers are ignored."},
        },
    ),
)
def upsert(caller: Asking, whose: Whose, body: Body) -> Response:
    """Take in running totals of sessions, for callers that know no single call; sent twice they change nothing."""
    given = read_members(body, Snapshots)
    with caller.ledger("ingest", user_id=whose.user, is_user_in_body=True) as ledger:
        receipt = ledger.upsert_token_usage(bytes(given.session_data).decode(), bytes(given.daily_data).decode())
    caller.service.metrics.count_receipt(receipt)
    return _receipt_answer(receipt)


@router.post(
    "/limits",
    tags=["writes"],
    response_model=LimitReceiptObject,
    openapi_extra=json_body(
        {"type": "array", "maxItems": 1000, "items": LIMIT},
        description="A list of up to 1,000. The same again changes nothing.",
        example=LIMIT["examples"],
    ),
)
def observe_limits(caller: Asking, whose: Whose, body: Body) -> Response:
    """Take in what providers said of the limits of their plans."""
    with caller.ledger("ingest", user_id=whose.user) as ledger:
        return _receipt_answer(ledger.observe_usage_limits(text_of(body)))


@router.post(
    "/prices",
    tags=["writes"],
    response_model=PriceReceiptObject,
    openapi_extra=json_body(
        {"type": "array", "maxItems": 10_000, "items": {"type": "object"}},
        description="Dated rates, as docs/prices.md has them.",
        example=[
            {
                "provider": "anthropic",
                "model": "claude-sonnet-4-5",
                "valid_from": "2026-12-01T00:00:00Z",
                "input_usd_per_mtok": "2.5",
                "output_usd_per_mtok": "12.5",
                "origin": "our contract",
            }
        ],
    ),
)
def add_prices(caller: Asking, whose: Whose, body: Body) -> Response:
    """Append dated prices: a user's own, or with a service key that names nobody, everybody's."""
    with caller.ledger("admin", user_id=whose.user) as ledger:
        receipt = ledger.add_token_prices(text_of(body), for_everybody=ledger.user_id is None)
    return json_answer(receipt._asdict())


@router.post(
    "/corrections",
    tags=["writes"],
    response_model=ReceiptObject,
    openapi_extra=json_body(
        {"type": "array", "maxItems": 1000, "items": {"type": "object", "required": ["event_key"]}},
        description="Members of events as they should be.",
        example=[{"event_key": "anthropic:msg_01AbCdEf", "project": "support-bot"}],
    ),
)
def correct(caller: Asking, whose: Whose, body: Body) -> Response:
    """Set members of events by hand; needs a service key."""
    with caller.ledger("admin", user_id=whose.user) as ledger:
        return _receipt_answer(ledger.correct_token_usage(text_of(body)))


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
