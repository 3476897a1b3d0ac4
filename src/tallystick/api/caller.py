"""requireAuth: who makes a request. These checks are the second lock; the first are the database's own policies."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Annotated

from fastapi import Depends, Request

from tallystick.api.service import Identity, Service
from tallystick.ledger import Ledger

SCHEME = "bearer "


class Caller:
    """Who makes one request, known and counted before anything but its head and a small body is read."""

    def __init__(self, request: Request) -> None:
        given = request.headers.get("authorization", "")
        self._token = given[len(SCHEME) :].strip() if given[: len(SCHEME)].lower() == SCHEME else ""
        self._request = request
        self._identity: Identity | None = None
        self.service: Service = request.app.state.tallystick

    def admit(self) -> Identity:
        """Find out who it is, once, in a thread that may wait; raises Unauthorized, and RateLimited."""
        if self._identity is None:
            self._identity = self._request.state.tallystick_identity = self.service.identify(self._token)
            self._identity.check_admitted()
        return self._identity

    def ledger(
        self, scope: str, *, user_id: str | None, is_user_in_body: bool = False
    ) -> AbstractContextManager[Ledger]:
        """The books that the request is about, for as long as it takes to answer it."""
        return self.service.ledger(self.admit(), scope=scope, user_id=user_id, is_user_in_body=is_user_in_body)


async def _caller(request: Request) -> Caller:
    # a coroutine for the one reason that FastAPI would run anything else in a thread
    return Caller(request)


Asking = Annotated[Caller, Depends(_caller)]
