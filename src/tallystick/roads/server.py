"""The road to a Tallystick server: every function of `public` has its own address below /api/token-usage.

The names are the functions' own without their prefix; what a function calls p_since is `since` in a query or a body.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date
from typing import Any, NamedTuple, TypeVar
from urllib.parse import quote

import httpx

from tallystick.errors import LedgerError, UnreadableBatch
from tallystick.road import Arguments
from tallystick.roads.http import (
    LATER_HINT,
    HttpRoad,
    error_of_status,
    json_body,
    json_of,
    members_of,
    not_of_the_ledger,
    reason_of,
    rows_of,
)

Row = TypeVar("Row")

API_PREFIX = "/api/token-usage"


class Address(NamedTuple):
    """Where a function is: the member of the answer that holds its rows, and the argument that is the body itself."""

    method: str
    path: str
    member: str = ""
    body: str = ""


ADDRESSES: dict[str, Address] = {
    "ledger_state": Address("GET", "/state"),
    "make_account": Address("POST", "/account"),
    "set_time_zone": Address("PUT", "/time-zone"),
    "ingest_token_usage": Address("POST", "/track", body="p_events"),
    "upsert_token_usage": Address("POST", "/upsert"),
    "observe_usage_limits": Address("POST", "/limits", body="p_limits"),
    "add_token_prices": Address("POST", "/prices", body="p_prices"),
    "correct_token_usage": Address("POST", "/corrections", body="p_corrections"),
    "usage_daily": Address("GET", "/daily", "days"),
    "usage_weekly": Address("GET", "/weekly", "weeks"),
    "usage_monthly": Address("GET", "/monthly", "months"),
    "usage_models": Address("GET", "/models", "models"),
    "usage_projects": Address("GET", "/projects", "projects"),
    "usage_sessions": Address("GET", "/sessions", "sessions"),
    "usage_session": Address("GET", "/session/{p_session_id}", "events"),
    "usage_blocks": Address("GET", "/blocks", "blocks"),
    "usage_limits": Address("GET", "/limits", "limits"),
    "usage_summary": Address("GET", "/summary"),
    "usage_recent": Address("GET", "/recent", "events"),
    "usage_events": Address("POST", "/events", "events"),
    "usage_rejects": Address("GET", "/rejects", "rejects"),
    "usage_double_sessions": Address("GET", "/double-sessions", "sessions"),
    "verify_token_usage": Address("GET", "/verify", "checks"),
    "ledger_digest": Address("GET", "/digest", "digest"),
    "rerate_token_usage": Address("POST", "/rerate"),
    "forget_token_usage": Address("POST", "/forget"),
}
# a list is asked for by the name of one
LIST_NAMES = {"sources": "source", "projects": "project", "models": "model", "sessions": "session", "devices": "device"}
QUERY_NAMES = {"time_zone": "timezone"}


class ServerRoad(HttpRoad):
    """The ledger behind a Tallystick server (`tally serve`)."""

    def __init__(self, url: str, *, key: str) -> None:
        super().__init__(
            url.rstrip("/").removesuffix(API_PREFIX) + API_PREFIX, headers={"Authorization": f"Bearer {key}"}
        )

    def call(self, function: str, arguments: Arguments) -> Any:
        """The value that a function answers."""
        address = ADDRESSES.get(function)
        if address is None:
            raise LedgerError(f"{function} is not done over HTTP", hint="Connect to the database itself.")
        given = {name: value for name, value in arguments.items() if value is not None}
        path = address.path.format_map({name: _in_path(str(value)) for name, value in given.items()})
        given = {name: value for name, value in given.items() if f"{{{name}}}" not in address.path}
        body = given.pop(address.body, None) if address.body else None
        if body is not None or address.method in ("GET", "DELETE"):
            query = [pair for name, value in given.items() for pair in _query(name, value)]
            answer = self._place.ask(
                address.method, path, query=query, body=str(body).encode() if body is not None else None
            )
        else:
            members = {name.removeprefix("p_"): value for name, value in given.items()}
            user = members.pop("user_id", None)
            answer = self._place.ask(
                address.method, path, query=[("user_id", str(user))] if user else [], body=json_body(members)
            )
        told = _told(answer)
        if address.member and address.member not in told:
            raise not_of_the_ledger("its members are others")
        return told[address.member] if address.member else told

    def call_rows(self, row_class: Callable[..., Row], function: str, arguments: Arguments) -> list[Row]:
        """The rows that a function answers."""
        found = self.call(function, arguments)
        return rows_of(row_class, found if isinstance(found, list) else [found])


def _in_path(text: str) -> str:
    # a part of an address that is .. would take the part before it away
    return quote(text, safe="").replace(".", "%2E")


def _query(name: str, value: object) -> list[tuple[str, str]]:
    name = name.removeprefix("p_")
    name = QUERY_NAMES.get(name, name)
    if isinstance(value, list):
        return [(LIST_NAMES[name], str(one)) for one in value]
    if isinstance(value, date):
        return [(name, value.isoformat())]
    return [(name, str(value))]


def _told(answer: httpx.Response) -> Mapping[str, Any]:
    if answer.is_success:
        told = json_of(answer)
        if not isinstance(told, Mapping):
            raise not_of_the_ledger(reason_of(answer))
        return told
    members = members_of(answer)
    if "detail" not in members:
        hint = LATER_HINT if answer.is_server_error else "Check the URL of the server, and its key."
        raise error_of_status(answer, reason_of(answer), hint=hint)
    constraint = str(members.get("constraint") or "")
    message, hint = str(members["detail"]), str(members.get("hint") or "")
    if constraint == "batch_is_readable":
        raise UnreadableBatch(message, hint=hint)
    raise error_of_status(answer, message, hint=hint, constraint=constraint)
