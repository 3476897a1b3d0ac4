"""requireAuth: who makes a request. These checks are the second lock; the first are the database's own policies."""

from __future__ import annotations

import asyncio
from contextlib import AbstractContextManager
from typing import Annotated

from fastapi import Depends, Request

from tallystick.api.service import Service
from tallystick.ledger import Ledger

SCHEME = "bearer "


class Caller:
    """Who makes one request, known and counted before anything else of it is read.

    Raises Unauthorized, and RateLimited. It asks the database, so it is made in a thread that may wait.
    """

    def __init__(self, request: Request) -> None:
        given = request.headers.get("authorization", "")
        token = given[len(SCHEME) :].strip() if given[: len(SCHEME)].lower() == SCHEME else ""
        self.service: Service = request.app.state.tallystick
        self._identity = request.state.tallystick_identity = self.service.identify(token)
        self._identity.check_admitted()

    def ledger(
        self, scope: str, *, user_id: str | None, is_user_in_body: bool = False
    ) -> AbstractContextManager[Ledger]:
        """The books that the request is about, for as long as it takes to answer it."""
        return self.service.ledger(self._identity, scope=scope, user_id=user_id, is_user_in_body=is_user_in_body)


async def _caller(request: Request) -> Caller:
    service: Service = request.app.state.tallystick
    return await asyncio.get_running_loop().run_in_executor(service.threads, Caller, request)


Asking = Annotated[Caller, Depends(_caller)]
