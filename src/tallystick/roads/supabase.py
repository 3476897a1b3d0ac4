"""The road over Supabase's REST (PostgREST): every function of `public` is POST /rest/v1/rpc/FUNCTION.

A key of the new kind (sb_...) goes into the header `apikey` alone: Supabase refuses it as a bearer token. The bearer
token is the signed-in user's, who then outranks the key. A key of the old kind is a token itself and goes into both.
Retrying is the Ledger's; which answers may be retried, PostgREST's codes and SQLSTATEs say.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import httpx

from tallystick.errors import (
    Forbidden,
    LedgerError,
    LedgerNotInstalled,
    LedgerUnavailable,
    Unauthorized,
)
from tallystick.road import Arguments
from tallystick.roads.http import (
    LATER_HINT,
    HttpRoad,
    content_type,
    error_of_status,
    json_body,
    json_of,
    members_of,
    reason_of,
    rows_of,
)
from tallystick.sqlstates import NO_JSON, error_of

Row = TypeVar("Row")

# what PostgREST says of itself: https://docs.postgrest.org/en/stable/references/errors.html
ERROR_BY_CODE: dict[str, type[LedgerError]] = {
    "PGRST000": LedgerUnavailable,  # cannot connect to the database
    "PGRST001": LedgerUnavailable,
    "PGRST002": LedgerUnavailable,  # still reading the schema
    "PGRST003": LedgerUnavailable,  # no connection became free in time
    "PGRST106": LedgerNotInstalled,  # the schema is not exposed
    "PGRST202": LedgerNotInstalled,  # no such function
    "PGRST301": Unauthorized,
    "PGRST302": Unauthorized,
    "PGRST303": Unauthorized,  # the token has expired
}
HINT_BY_CODE = {
    "PGRST106": "Expose the schema public in the project's API settings.",
    "PGRST202": "Push the migrations that `tally db export` writes; docs/supabase.md shows how.",
    "PGRST301": "Check the key and the token.",
    "PGRST303": "Sign in again.",
}
# an answer has no more rows than this, whatever was asked for, and does not say that there are more
MAX_ROWS = 1000
KEY_HINT = "Check the key: sb_secret_... for the service, or sb_publishable_... with a user's token."


class SupabaseRoad(HttpRoad):
    """The ledger of a Supabase project."""

    def __init__(self, url: str, *, key: str, token: str = "") -> None:
        headers = {"apikey": key}
        bearer = token or ("" if key.startswith("sb_") else key)
        if bearer:
            headers["Authorization"] = f"Bearer {bearer}"
        super().__init__(url.rstrip("/").removesuffix("/rest/v1") + "/rest/v1", headers=headers)

    def call(self, function: str, arguments: Arguments) -> Any:
        """The value that a function answers, None where it answers nothing."""
        return self._answer(function, arguments)

    def _answer(self, function: str, arguments: Arguments, *, offset: int = 0) -> Any:
        query = [("offset", str(offset))] if offset else []
        answer = self._place.ask("POST", f"/rpc/{function}", query=query, body=json_body(arguments))
        if not answer.is_success:
            raise _refusal(answer)
        return json_of(answer)

    def call_rows(self, row_class: Callable[..., Row], function: str, arguments: Arguments) -> list[Row]:
        """The rows that a function answers, brought in as many answers as they take."""
        found = self._answer(function, arguments)
        if not isinstance(found, list):
            return rows_of(row_class, [found])
        rows, part = list(found), found
        while len(part) == MAX_ROWS and not _is_page(arguments, len(rows)):
            part = self._answer(function, arguments, offset=len(rows))
            rows += part
        return rows_of(row_class, rows)


def _is_page(arguments: Arguments, row_count: int) -> bool:
    """Whether that is as many rows as the function was asked for."""
    limit = arguments.get("p_limit")
    return isinstance(limit, int) and row_count >= limit


def _refusal(answer: httpx.Response) -> LedgerError:
    told = members_of(answer) if content_type(answer) == "application/json" else {}
    code, message = str(told.get("code") or ""), str(told.get("message") or "")
    if not message:
        hint = KEY_HINT if answer.status_code in (401, 403) else "Check the URL of the project."
        hint = LATER_HINT if answer.is_server_error else hint
        return error_of_status(answer, reason_of(answer), hint=hint)
    if code == "PGRST102":  # the body is no JSON
        return error_of("22P02", NO_JSON)
    if code in ERROR_BY_CODE:
        return ERROR_BY_CODE[code](message, hint=HINT_BY_CODE.get(code, LATER_HINT))
    if code == "42501":
        return Forbidden(message, hint=KEY_HINT)
    if len(code) == 5 and not code.startswith("PGRST"):
        return error_of(code, message, hint=str(told.get("hint") or ""))
    hint = KEY_HINT if answer.status_code in (401, 403) else ""
    return error_of_status(answer, message, hint=str(told.get("hint") or hint))
