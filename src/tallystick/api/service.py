"""What all requests share: the connections, the keys' secret, the verifier of tokens, the metrics."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any

from tallystick.addresses import is_server_key
from tallystick.api.admission import Admission, Admissions, Counted, Identity
from tallystick.api.metrics import Metrics
from tallystick.api.tokens import Tokens
from tallystick.config import ServerSettings
from tallystick.db import Database
from tallystick.errors import Forbidden, InvalidRequest, Unauthorized
from tallystick.keys import SCOPES, digest_of, is_key
from tallystick.ledger import Ledger
from tallystick.pool import Pool
from tallystick.road import SERVICE, Caller

# well above the time for which the ledger waits for a lock, which is another answer
STATEMENT_TIMEOUT = "30s"
# of the threads, those that no caller alone can take
THREADS_FOR_OTHERS = 3
POOL_NOTED_EVERY_S = 1.0


class Service:
    """One server's resources; safe for use by many threads."""

    def __init__(self, settings: ServerSettings) -> None:
        self.settings = settings
        self.metrics = Metrics(settings.metrics_folder)
        self.pool = Pool(settings.database_url, size=settings.pool_size)
        # as many as there are connections, so that nobody waits for one while holding a thread
        self.threads = ThreadPoolExecutor(settings.pool_size, thread_name_prefix="request")
        self._pool_noted_at = 0.0
        self.admissions = Admissions(
            self._ask,
            digest_of=partial(digest_of, secret=settings.key_secret),
            threads=self.threads,
            requests_at_once=max(1, settings.pool_size - THREADS_FOR_OTHERS),
        )
        self._tokens = (
            Tokens(supabase_url=settings.supabase_url, jwt_secret=settings.jwt_secret)
            if settings.supabase_url
            else None
        )

    def open(self) -> None:
        self.pool.open()

    def note_pool(self) -> None:
        """Tell the metrics how the pool is, once a second at most: whichever process is asked for them tells of all."""
        now = time.monotonic()
        if now - self._pool_noted_at >= POOL_NOTED_EVERY_S:
            self._pool_noted_at = now
            self.metrics.note_pool(self.pool.stats())

    def close(self) -> None:
        self.threads.shutdown()
        self.pool.close()

    @contextmanager
    def ledger(
        self, identity: Identity, *, scope: str, user_id: str | None, is_user_in_body: bool = False
    ) -> Iterator[Ledger]:
        """The books that a request is about, with the rights of who makes it, for as long as it takes to answer it.

        Raises Forbidden without the scope ('' is any), and InvalidRequest where a service key names nobody. Whether a
        user may work with the books named is the database's to say.
        """
        is_service = identity.user_id is None
        if scope and scope not in identity.scopes:
            raise Forbidden(
                f"this key has no scope {scope}",
                hint=f"Make one with `tally keys create --scope {scope}{' --service' if is_service else ''}`.",
                constraint="key_has_the_scope",
            )
        if is_service and user_id is None and scope != "admin" and not is_user_in_body:
            raise InvalidRequest(
                "a service key acts for the user that it names, and it names none",
                hint="Add ?user_id= and the user's uuid to the address.",
                constraint="user_is_given",
            )
        caller = Caller("service_role", statement_timeout=STATEMENT_TIMEOUT)
        if identity.user_id is not None:
            claims = json.dumps({"sub": identity.user_id, "role": "authenticated"})
            caller = Caller("authenticated", claims, STATEMENT_TIMEOUT)
        with self.pool.database(caller) as database:
            yield Ledger(database, user_id=user_id or identity.user_id, attempts=1)

    def _ask(self, token: str, requests: int) -> Admission:
        """Who holds a key or a token, with so many requests counted against the limit; raises Unauthorized.

        A token is verified before a connection is taken, because its signing key may have to be fetched first.
        """
        if is_key(token):
            with self.pool.database(SERVICE) as database:
                return self._admit_key(database, token, requests)
        if not token or is_server_key(token) or self._tokens is None:
            raise _no_key()
        user_id = self._tokens.user_of(token)
        with self.pool.database(SERVICE) as database:
            return self._admit_user(database, user_id, requests)

    def _admit_user(self, database: Database, user_id: str, requests: int) -> Admission:
        (counted,) = database.ask(
            Counted,
            "select admitted, request_limit, remaining, reset_s from tallystick.admit_user(%s, %s, %s)",
            [user_id, self.settings.requests_per_minute, requests],
        )
        return Admission(Identity(f"user:{user_id}", user_id, frozenset(SCOPES)), counted)

    def _admit_key(self, database: Database, key: str, requests: int) -> Admission:
        found = database.ask(
            _known_key,
            "select key_id, user_id, scopes, admitted, request_limit, remaining, reset_s "
            "from tallystick.admit_key(%s, %s, %s)",
            [digest_of(key, secret=self.settings.key_secret), self.settings.requests_per_minute, requests],
        )
        if not found:
            raise _no_key()
        return found[0]


def _known_key(key_id: str, user_id: str | None, scopes: list[str], *counted: Any) -> Admission:
    return Admission(Identity(f"key:{key_id}", user_id, frozenset(scopes)), Counted(*counted))


def _no_key() -> Unauthorized:
    # the words are the same for every reason, so that nobody learns which keys there are
    return Unauthorized(
        "no key or token that holds",
        hint="Send `Authorization: Bearer` with a key of `tally keys create`, or with a Supabase user's token.",
        constraint="caller_is_known",
    )
