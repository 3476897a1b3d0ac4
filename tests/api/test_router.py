"""The router in somebody else's app: under its prefix, beside its handlers and its lifespan."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, PlainTextResponse, Response

from tallystick.api import router
from tallystick.keys import digest_of, make_key
from tallystick.ledger import Ledger
from tests.api.serving import PREFIX, SECRET, event, new_user, until
from tests.servers import connect
from tests.sql.waiting import wait_for


def their_app(seen: list[str]) -> FastAPI:
    """An app with opinions of its own about everything that ours has one of."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        seen.append("begins")
        yield
        seen.append("ends")

    app = FastAPI(lifespan=lifespan)

    async def answer(_: Request, error: Exception) -> Response:
        seen.append(type(error).__name__)
        return PlainTextResponse("theirs", 418)

    for kind in (HTTPException, RequestValidationError, ValueError, Exception):
        app.add_exception_handler(kind, answer)

    @app.middleware("http")
    async def note(request: Request, call: Any) -> Response:
        request.state.caller = request.state.rate = "theirs"
        response: Response = await call(request)
        return response

    @app.get("/theirs/{number}")
    def theirs(number: int) -> JSONResponse:
        return JSONResponse({"number": number})

    app.include_router(router, prefix="/metering")
    return app


@pytest.fixture
def their_server(api_database: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, list[str]]]:
    monkeypatch.setenv("TALLYSTICK_DATABASE_URL", api_database)
    monkeypatch.setenv("TALLYSTICK_KEY_SECRET", SECRET)
    seen: list[str] = []
    app = their_app(seen)
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, access_log=False))
    thread = threading.Thread(target=server.run)
    thread.start()
    until(lambda: server.started)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}", seen
    server.should_exit = True
    thread.join(timeout=30)
    assert (seen[0], seen[-1]) == ("begins", "ends")
    with connect(api_database, autocommit=True) as watcher:
        wait_for(
            watcher,
            "select not exists (select from pg_stat_activity "
            "where datname = current_database() and application_name = 'tallystick')",
        )


def test_the_router_works_in_an_app_of_other_people(their_server: tuple[str, list[str]], api_database: str) -> None:
    address, seen = their_server
    user, key = new_user(), make_key()
    with Ledger.connect(api_database) as ledger:
        ledger.create_api_key(
            user_id=user,
            name="a",
            prefix=key.prefix,
            digest=digest_of(key.key, secret=SECRET),
            scopes=["ingest", "read"],
        )
    with httpx.Client(base_url=address, headers={"Authorization": f"Bearer {key.key}"}) as client:
        tracked = client.post(f"/metering{PREFIX}/track", json=event(1))
        assert (tracked.status_code, tracked.json()["new"]) == (200, 1)
        assert tracked.headers["ratelimit-policy"] == '"minute";q=6000;w=60'
        assert client.get(f"/metering{PREFIX}/summary").json()["event_count"] == 1
        for query, status in (("limit=0", 400), ("last=7d&timezone=Mars/X", 400), (f"user_id={new_user()}", 403)):
            refused = client.get(f"/metering{PREFIX}/daily?{query}")
            assert (refused.status_code, refused.headers["content-type"]) == (status, "application/problem+json")
            assert refused.headers["x-content-type-options"] == "nosniff"
        assert client.get(f"/metering{PREFIX}/daily", headers={"Authorization": "Bearer x"}).status_code == 401
        assert seen == ["begins"]
        assert client.get("/theirs/5").json() == {"number": 5}
        assert "x-frame-options" not in client.get("/theirs/5").headers
        assert client.get("/theirs/five").text == "theirs"
        assert client.get("/nothing").text == "theirs"
        assert seen == ["begins", "RequestValidationError", "HTTPException"]
        described = client.get("/openapi.json").json()
    assert f"/metering{PREFIX}/track" in described["paths"]
    assert dangling(described, described) == []


def dangling(part: Any, whole: dict[str, Any]) -> list[str]:
    """The references of a description that lead nowhere."""
    if isinstance(part, list):
        return [name for one in part for name in dangling(one, whole)]
    if not isinstance(part, dict):
        return []
    name = str(part.get("$ref", "")).removeprefix("#/components/schemas/")
    found = [name] if name and name not in whole["components"]["schemas"] else []
    return found + [name for one in part.values() for name in dangling(one, whole)]
