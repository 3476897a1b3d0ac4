"""requireAuth: who makes a request. These checks are the second lock; the first are the database's own policies."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Annotated

from fastapi import Depends, Request

from tallystick.api.admission import Admitted
from tallystick.api.service import Service
from tallystick.errors import LedgerUnavailable
from tallystick.ledger import Ledger

SCHEME = "bearer "


class Caller:
    """Who makes one request, known and counted before anything else of it is read."""

    def __init__(self, service: Service, admitted: Admitted) -> None:
        self.service = service
        self.turn = admitted.turn
        self._identity = admitted.identity

    def ledger(
        self, scope: str, *, user_id: str | None, is_user_in_body: bool = False
    ) -> AbstractContextManager[Ledger]:
        """The books that the request is about, for as long as it takes to answer it."""
        return self.service.ledger(self._identity, scope=scope, user_id=user_id, is_user_in_body=is_user_in_body)


async def admit(request: Request) -> Caller:
    """Who makes a request, counted against its limit; raises Unauthorized, and RateLimited."""
    given = request.headers.get("authorization", "")
    token = given[len(SCHEME) :].strip() if given[: len(SCHEME)].lower() == SCHEME else ""
    service: Service | None = getattr(request.app.state, "tallystick", None)
    if service is None:
        raise LedgerUnavailable(
            "this application has not started the ledger's resources",
            hint="Include the router in the app that is served: a mounted app's lifespan is not run.",
        )
    admitted = request.state.tallystick_admitted = await service.admissions.admit(token)
    admitted.check()
    return Caller(service, admitted)


# Depends keeps FastAPI from describing it as a part of the request
Asking = Annotated[Caller, Depends(admit)]
