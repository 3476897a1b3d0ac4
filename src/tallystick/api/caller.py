"""requireAuth: who makes a request. These checks are the second lock; the first are the database's own policies."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

from fastapi import Depends, Request

from tallystick.api.service import Service
from tallystick.ledger import Ledger

SCHEME = "bearer "


class Caller:
    """The token of one request, and the server's resources that answer it."""

    def __init__(self, request: Request) -> None:
        given = request.headers.get("authorization", "")
        self._token = given[len(SCHEME) :].strip() if given[: len(SCHEME)].lower() == SCHEME else ""
        self._request = request
        self.service: Service = request.app.state.tallystick

    @contextmanager
    def ledger(self, scope: str, *, user_id: str | None, is_user_in_body: bool = False) -> Iterator[Ledger]:
        """The books that the request is about, for as long as it takes to answer it."""
        with self.service.admitted(self._token) as (identity, database):
            self._request.state.caller = identity.name
            self._request.state.rate = identity.rate
            yield self.service.ledger(identity, database, scope=scope, user_id=user_id, is_user_in_body=is_user_in_body)


async def _caller(request: Request) -> Caller:
    # a coroutine for the one reason that FastAPI would run anything else in a thread
    return Caller(request)


Asking = Annotated[Caller, Depends(_caller)]
