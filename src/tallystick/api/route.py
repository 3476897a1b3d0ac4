"""What happens around every request: its id, its answer to an error, its headers, its line in the log, its metrics.

It is a class of routes and not middleware, so that it is the same where the router is mounted in somebody else's app.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Coroutine
from functools import partial
from inspect import signature
from random import getrandbits
from traceback import format_exc
from typing import Any

import msgspec
import structlog
from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from tallystick.api.admission import Admitted, Rate
from tallystick.api.arguments import Arguments
from tallystick.api.problems import problem, problem_of
from tallystick.api.service import Service
from tallystick.errors import Busy, TallystickError
from tallystick.questions import told_faults
from tallystick.redaction import without_passwords

REQUEST_TIMEOUT_S = 60.0
SECURITY_HEADERS = [
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
]
# what a caller makes up must not become a label of the metrics
KNOWN_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
# an id from outside is told in logs and answers, so it may hold nothing but this
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")

Handler = Callable[[Request], Coroutine[Any, Any, Response]]

log = structlog.get_logger("tallystick.api")


class ApiRoute(APIRoute):
    """A route whose every answer is one of ours, errors included.

    An endpoint that asks who its caller is waits for the database, and runs in a thread of the server's own.
    """

    def get_route_handler(self) -> Handler:
        """The handler with everything around it."""
        has_caller = "caller" in signature(self.endpoint).parameters
        answer = _in_a_thread(self.endpoint) if has_caller else super().get_route_handler()

        async def handle(request: Request) -> Response:
            started_at = time.perf_counter()
            request_id = request_id_of(request)
            response = await _answered(answer, request, request_id)
            return finished(response, request, route=self.path_format, request_id=request_id, started_at=started_at)

        return handle


def _in_a_thread(endpoint: Callable[..., Response]) -> Handler:
    wanted = Arguments(endpoint)

    async def answer(request: Request) -> Response:
        arguments = await wanted.read(request)
        service: Service = request.app.state.tallystick
        async with arguments["caller"].turn:
            return await asyncio.get_running_loop().run_in_executor(service.threads, partial(endpoint, **arguments))

    return answer


def request_id_of(request: Request) -> str:
    """The id that the caller gave, where it can be told, else a new one."""
    given = request.headers.get("x-request-id", "")
    return given if _REQUEST_ID.fullmatch(given) else f"{getrandbits(128):032x}"


def finished(response: Response, request: Request, *, route: str, request_id: str, started_at: float) -> Response:
    """An answer with the headers that all have, told to the log and the metrics."""
    admitted: Admitted | None = getattr(request.state, "tallystick_admitted", None)
    response.raw_headers.append((b"x-request-id", request_id.encode()))
    response.raw_headers.extend(SECURITY_HEADERS)
    if admitted is not None:
        response.raw_headers.extend(_rate_headers(admitted.rate))
    seconds = time.perf_counter() - started_at
    method = request.method if request.method in KNOWN_METHODS else "other"
    service: Service | None = getattr(request.app.state, "tallystick", None)
    if service is not None:
        service.metrics.count_request(method=method, route=route, status=response.status_code, seconds=seconds)
        service.note_pool()
    log.info(
        "request",
        method=method,
        route=route,
        status=response.status_code,
        duration_ms=round(seconds * 1000, 2),
        caller=admitted.identity.name if admitted else None,
        request_id=request_id,
    )
    return response


def _rate_headers(rate: Rate) -> list[tuple[bytes, bytes]]:
    return [
        (b"ratelimit-policy", b'"minute";q=%d;w=60' % rate.limit),
        (b"ratelimit", b'"minute";r=%d;t=%d' % (rate.remaining, rate.reset_s)),
    ]


def json_answer(document: object, status: int = 200) -> Response:
    """An answer that is JSON."""
    return Response(msgspec.json.encode(document), status, media_type="application/json")


async def _answered(answer: Handler, request: Request, request_id: str) -> Response:
    try:
        async with asyncio.timeout(REQUEST_TIMEOUT_S):
            return await answer(request)
    except (TallystickError, asyncio.CancelledError) as error:
        # cancelled is what was still on its way when the server has waited long enough to end
        told = error if isinstance(error, TallystickError) else _server_ends()
        return problem_of(told, request_id=request_id)
    except RequestValidationError as error:
        return problem(
            400,
            told_faults((one["loc"][1:] or one["loc"], one["msg"]) for one in error.errors()),
            hint="docs/api.md has every parameter.",
            constraint="request_is_valid",
            request_id=request_id,
        )
    except HTTPException as error:
        return problem(error.status_code, str(error.detail), request_id=request_id)
    except TimeoutError:
        return problem(504, f"no answer within {REQUEST_TIMEOUT_S:.0f} s", hint="Ask for less.", request_id=request_id)
    except Exception:
        # the trace is for the log alone, and as plain text: an application's own way to log it may show what variables
        # hold, and one of them is the key
        log.error("failed", request_id=request_id, trace=without_passwords(format_exc()))
        return problem(500, "a defect of the server", hint="Its log has more.", request_id=request_id)


def _server_ends() -> Busy:
    return Busy("the server is ending", hint="Send it again in a moment.", constraint="server_is_up")
