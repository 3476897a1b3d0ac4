"""The app that `tally serve` runs: the router, health, metrics, and problems for what no route answers."""

from __future__ import annotations

import time
from importlib.metadata import version
from typing import Any

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.openapi.utils import get_openapi
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware

from tallystick.api.examples import example_of
from tallystick.api.problems import MEDIA_TYPE, problem
from tallystick.api.route import ApiRoute, finished, json_answer, request_id_of
from tallystick.api.routes import router
from tallystick.api.service import Service
from tallystick.config import ServerSettings
from tallystick.errors import LedgerError
from tallystick.schema import check_installed, installed_migrations

BEARER = {
    "type": "http",
    "scheme": "bearer",
    "description": "A key of `tally keys create` (tly_...), or the access token of a Supabase user.",
}
METRICS_MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def create_app(settings: ServerSettings) -> FastAPI:
    """The whole app for one ledger."""
    app = FastAPI(
        title="Tallystick",
        version=version("tallystick"),
        summary="The books on AI tokens: exact, permanent, private.",
        openapi_url=None,  # it has a route like every other's
        docs_url=None,
        redoc_url=None,
    )
    service = app.state.tallystick = Service(settings)
    app.include_router(router)
    app.include_router(_health(app, service))
    app.add_exception_handler(HTTPException, _unanswered)
    app.openapi = lambda: describe(app)  # type: ignore[method-assign]  # FastAPI's own way
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(settings.cors_origins),
            allow_methods=["GET", "POST", "PUT", "DELETE"],
            allow_headers=["Authorization", "Content-Type", "Content-Encoding", "X-Request-ID"],
            expose_headers=["RateLimit", "RateLimit-Policy", "Retry-After", "X-Request-ID"],
        )
    return app


def describe(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI description, with an example of every answer and the media type of problems."""
    if app.openapi_schema is None:
        schema = get_openapi(title=app.title, version=app.version, summary=app.summary, routes=app.routes)
        schema["components"]["securitySchemes"] = {"bearer": BEARER}
        for operations in schema["paths"].values():
            for operation in operations.values():
                operation["security"] = [{"bearer": []}]
                answer = operation["responses"]["200"]["content"]["application/json"]
                answer["example"] = example_of(answer["schema"], schema["components"]["schemas"])
                problems = operation["responses"]["default"]["content"]
                problems[MEDIA_TYPE] = problems.pop("application/json")
        app.openapi_schema = schema
    return app.openapi_schema


async def _unanswered(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    started_at = time.perf_counter()
    request_id = request_id_of(request)
    detail, hint = str(error.detail), ""
    if error.status_code == 404:
        detail, hint = "no such address", "/openapi.json lists every one."
    elif error.status_code == 405:
        detail, hint = f"this address does not take {request.method[:20]}", "/openapi.json says what it takes."
    response = problem(error.status_code, detail, hint=hint, request_id=request_id, headers=dict(error.headers or {}))
    return finished(response, request, route="none", request_id=request_id, started_at=started_at)


def _health(app: FastAPI, service: Service) -> APIRouter:
    health = APIRouter(route_class=ApiRoute, include_in_schema=False)

    # not in a thread: it says that the process lives, however busy its threads are
    @health.get("/healthz")
    async def healthz() -> Response:
        """The process answers."""
        return json_answer({"status": "ok"})

    @health.get("/readyz")
    def readyz() -> Response:
        """The database answers, and its schema is this program's."""
        with service.pool.database(None) as database, database.transaction():
            check_installed(installed_migrations(database))
        return json_answer({"status": "ok"})

    @health.get("/metrics")
    def metrics() -> Response:
        """The figures, for Prometheus."""
        try:
            with service.pool.database(None) as database:
                service.metrics.note_pool(service.pool.stats())
                text = service.metrics.text(database)
        except LedgerError:
            service.metrics.note_pool(service.pool.stats())
            text = service.metrics.text(None)
        return Response(text, media_type=METRICS_MEDIA_TYPE)

    @health.get("/openapi.json")
    async def openapi() -> Response:
        """What this API takes and answers."""
        return json_answer(app.openapi())

    return health
