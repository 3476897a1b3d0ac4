"""Letting requests through: the database counts them, and a busy caller's for some of them at a time.

As long as a caller has requests left of those that were counted ahead, the database is asked after it once a second at
most. So a key that is revoked is refused within a second, and a limit is never passed, however many servers share it.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from concurrent.futures import Executor
from typing import NamedTuple

from tallystick.errors import RateLimited

KNOWN_FOR_S = 1.0
MAX_REQUESTS_AHEAD = 64
MAX_CALLERS = 10_000


class Rate(NamedTuple):
    """How many requests a caller may make in this minute, how many are left, and in how many seconds it ends."""

    limit: int
    remaining: int
    reset_s: int


class Identity(NamedTuple):
    """Who makes a request, and what with: `user_id` None is a service key, which acts for the user that it names."""

    name: str
    user_id: str | None
    scopes: frozenset[str]


class Counted(NamedTuple):
    """How many requests were let through, the limit per minute, what is left of it, and for how many seconds."""

    admitted: int
    limit: int
    remaining: int
    reset_s: float


class Admission(NamedTuple):
    """What the database knows of a caller."""

    identity: Identity
    counted: Counted


class Admitted(NamedTuple):
    """One request that was counted, or refused because its minute is full.

    It is answered inside `turn`, which keeps a caller from taking all threads while what it asks for is locked.
    """

    identity: Identity
    is_admitted: bool
    rate: Rate
    turn: asyncio.Semaphore

    def check(self) -> None:
        """Raise RateLimited where this minute has had as many requests as it may."""
        if not self.is_admitted:
            raise RateLimited(
                f"more than {self.rate.limit} requests in this minute",
                hint=f"Wait {self.rate.reset_s} s, and send events in batches.",
                constraint="requests_per_minute",
                retry_after_s=self.rate.reset_s,
            )


class _Standing:
    """One caller, as it was when the database was last asked."""

    def __init__(self, requests_at_once: int) -> None:
        self.turn = asyncio.Semaphore(requests_at_once)
        # those who come while the database is asked wait for its one answer, or its one failure
        self.asking: asyncio.Task[None] | None = None
        self.admission: Admission | None = None
        self.requests_ahead = 1
        self._left = 0
        self._known_until = 0.0
        self._minute_ends_at = 0.0

    def can_answer(self, now: float) -> bool:
        """Whether the next request can be answered without the database: it was let through, or is refused still."""
        if self.admission is None or now >= min(self._known_until, self._minute_ends_at):
            return False
        return self._left > 0 or self.admission.counted.admitted == 0

    def learn(self, admission: Admission, *, asked_at: float, now: float) -> None:
        """What the database answered; its minute is reckoned from the question, so as not to be taken for longer."""
        # whoever has used up what it was given within its second is given twice as much
        is_busy = asked_at < self._known_until
        self.requests_ahead = min(2 * self.requests_ahead, MAX_REQUESTS_AHEAD) if is_busy else 1
        self._left = admission.counted.admitted + (self._left if asked_at < self._minute_ends_at else 0)
        self._known_until = now + KNOWN_FOR_S
        self._minute_ends_at = asked_at + admission.counted.reset_s
        self.admission = admission

    def take(self, now: float) -> Admitted:
        """Use one request up."""
        assert self.admission is not None, "take() comes after learn()"
        identity, counted = self.admission
        is_admitted = self._left > 0
        self._left -= is_admitted
        reset_s = max(1, math.ceil(self._minute_ends_at - now))
        rate = Rate(counted.limit, counted.remaining + self._left, reset_s)
        return Admitted(identity, is_admitted, rate, self.turn)

    def is_over(self, now: float) -> bool:
        """Whether nothing of this is of use any more."""
        return self.asking is None and now >= self._minute_ends_at


class Admissions:
    """The callers of one server; used from its event loop alone.

    `ask(token, requests)` asks the database, in a thread of `threads`; it raises Unauthorized for a stranger.
    Callers are told apart by `digest_of(token)`, so that no key is kept.
    """

    def __init__(
        self,
        ask: Callable[[str, int], Admission],
        *,
        digest_of: Callable[[str], str],
        threads: Executor,
        requests_at_once: int,
    ) -> None:
        self._ask = ask
        self._digest_of = digest_of
        self._threads = threads
        self._requests_at_once = requests_at_once
        self._standings: dict[str, _Standing] = {}

    async def admit(self, token: str) -> Admitted:
        """One request of whoever holds a key or a token; raises Unauthorized, and LedgerUnavailable."""
        digest = self._digest_of(token)
        standing = self._standings.get(digest)
        if standing is None:
            self._make_room()
            standing = self._standings[digest] = _Standing(self._requests_at_once)
        while not standing.can_answer(time.monotonic()):
            if standing.asking is None:
                standing.asking = asyncio.create_task(self._learn(token, digest, standing))
            await asyncio.shield(standing.asking)
        return standing.take(time.monotonic())

    async def _learn(self, token: str, digest: str, standing: _Standing) -> None:
        try:
            asked_at = time.monotonic()
            loop = asyncio.get_running_loop()
            admission = await loop.run_in_executor(self._threads, self._ask, token, standing.requests_ahead)
            standing.learn(admission, asked_at=asked_at, now=time.monotonic())
        finally:
            standing.asking = None
            # strangers are not kept, so that they cannot fill the memory
            if standing.admission is None and self._standings.get(digest) is standing:
                del self._standings[digest]

    def _make_room(self) -> None:
        if len(self._standings) >= MAX_CALLERS:
            now = time.monotonic()
            self._standings = {known: one for known, one in self._standings.items() if not one.is_over(now)}
            if len(self._standings) >= MAX_CALLERS:
                self._standings.pop(next(iter(self._standings)))
