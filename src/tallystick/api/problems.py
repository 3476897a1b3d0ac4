"""Errors over HTTP: RFC 9457 problems, whose members are those of our errors."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import msgspec
from starlette.responses import Response

from tallystick.errors import (
    Busy,
    Conflict,
    Forbidden,
    InvalidRequest,
    LedgerNotInstalled,
    LedgerTooNew,
    LedgerUnavailable,
    NotFound,
    RateLimited,
    TallystickError,
    TooMuch,
    Unauthorized,
    UnreadableBatch,
)

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = 1

STATUS_BY_ERROR: dict[type[TallystickError], int] = {
    InvalidRequest: 400,
    UnreadableBatch: 400,
    Unauthorized: 401,
    Forbidden: 403,
    NotFound: 404,
    Conflict: 409,
    TooMuch: 413,
    RateLimited: 429,
    Busy: 503,
    LedgerUnavailable: 503,
    LedgerNotInstalled: 503,
    LedgerTooNew: 503,
}


def problem_of(error: TallystickError, *, request_id: str) -> Response:
    """The answer that tells of an error of ours."""
    status = STATUS_BY_ERROR.get(type(error), 500)
    headers = {}
    unreadable = isinstance(error, UnreadableBatch)
    if isinstance(error, RateLimited):
        headers["Retry-After"] = str(error.retry_after_s)
    elif status == 503:
        headers["Retry-After"] = str(RETRY_AFTER_S)
    elif status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="tallystick"'
    return problem(
        status,
        error.message,
        hint=error.hint,
        constraint=getattr(error, "constraint", "") or ("batch_is_readable" if unreadable else ""),
        request_id=request_id,
        headers=headers,
    )


def problem(
    status: int,
    detail: str,
    *,
    hint: str = "",
    constraint: str = "",
    request_id: str = "",
    headers: dict[str, str] | None = None,
) -> Response:
    """One problem: `type` names the rule that was broken, where one has a name."""
    members: dict[str, Any] = {
        "type": f"urn:tallystick:{constraint}" if constraint else "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
    }
    members |= {name: value for name, value in (("hint", hint), ("constraint", constraint)) if value}
    if request_id:
        members["request_id"] = request_id
    return Response(msgspec.json.encode(members), status, headers, MEDIA_TYPE)
