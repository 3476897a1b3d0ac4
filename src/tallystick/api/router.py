"""The one router of the HTTP API, to which the modules beside this one add their addresses.

It is flat, because a router within a router costs every request a search of its own.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import APIRouter, FastAPI

from tallystick.api.route import ApiRoute
from tallystick.api.schemas import Problem
from tallystick.api.service import Service
from tallystick.config import load_server_settings

API_PREFIX = "/api/token-usage"
PROBLEMS: dict[int | str, dict[str, Any]] = {
    "default": {"description": "What went wrong, as RFC 9457 has it.", "model": Problem}
}


@asynccontextmanager
async def _serving(app: FastAPI) -> AsyncIterator[None]:
    """The resources of the server for as long as the app runs; an app that has brought its own keeps them."""
    service: Service | None = getattr(app.state, "tallystick", None)
    if service is None:
        service = app.state.tallystick = Service(load_server_settings())
    service.open()
    try:
        yield
    finally:
        service.close()


router = APIRouter(prefix=API_PREFIX, route_class=ApiRoute, responses=PROBLEMS, lifespan=_serving)
