"""The app that `tally serve` runs: the router, health, metrics, and problems for what no route answers."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.openapi.utils import get_openapi
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware

from tallystick.api.problems import MEDIA_TYPE, problem
from tallystick.api.route import SECURITY_HEADERS
from tallystick.api.routes import router
from tallystick.api.schemas import Event
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
        docs_url=None,
        redoc_url=None,
    )
    service = app.state.tallystick = Service(settings)
    app.include_router(router)
    _add_health(app, service)
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
    """The OpenAPI description, with the bodies that are handed on unread and the media type of problems."""
    if app.openapi_schema is None:
        schema = get_openapi(title=app.title, version=app.version, summary=app.summary, routes=app.routes)
        schemas = schema["components"]["schemas"]
        schemas["Event"] = Event.model_json_schema(ref_template="#/components/schemas/{model}")
        schema["components"]["securitySchemes"] = {"bearer": BEARER}
        for operations in schema["paths"].values():
            for operation in operations.values():
                operation["security"] = [{"bearer": []}]
                content = operation["responses"].get("default", {}).get("content", {})
                if "application/json" in content:
                    content[MEDIA_TYPE] = content.pop("application/json")
        app.openapi_schema = schema
    return app.openapi_schema


async def _unanswered(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    hint = "/openapi.json lists every address." if error.status_code == 404 else ""
    response = problem(error.status_code, str(error.detail), hint=hint, headers=dict(error.headers or {}))
    response.raw_headers.extend(SECURITY_HEADERS)
    return response


def _add_health(app: FastAPI, service: Service) -> None:
    @app.get("/healthz", tags=["health"], include_in_schema=False)
    def healthz() -> dict[str, str]:
        """The process answers."""
        return {"status": "ok"}

    @app.get("/readyz", tags=["health"], include_in_schema=False)
    def readyz() -> Response:
        """The database answers, and its schema is this program's."""
        try:
            with service.pool.database(None) as database, database.transaction():
                check_installed(installed_migrations(database))
        except LedgerError as error:
            return problem(503, error.message, hint=error.hint)
        return Response('{"status":"ok"}', media_type="application/json")

    @app.get("/metrics", tags=["health"], include_in_schema=False)
    def metrics() -> Response:
        """The figures, for Prometheus."""
        try:
            with service.pool.database(None) as database:
                text = service.metrics.text(pool=service.pool.stats(), database=database)
        except LedgerError:
            text = service.metrics.text(pool=service.pool.stats(), database=None)
        return Response(text, media_type=METRICS_MEDIA_TYPE)
