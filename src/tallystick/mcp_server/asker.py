"""Questions to the ledger from an event loop that never waits for a database itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from typing import TypeVar

from tallystick.errors import Busy, LedgerUnavailable, TooMuch
from tallystick.ledger import Ledger

Answer = TypeVar("Answer")
Opener = Callable[[], AbstractContextManager[Ledger]]

# somebody waits for the answer, and may ask again
ATTEMPTS = 2
ANSWER_TIMEOUT_S = 120.0
# a client that has closed our input sends SIGTERM two seconds later
CLOSE_TIMEOUT_S = 1.5
MAX_WAITING = 32


class Asker:
    """Asks the ledger in one thread of its own, opened at the first question; one that was lost is opened anew."""

    def __init__(self, open_ledger: Opener, give_up: Callable[[], None]) -> None:
        self._open_ledger = open_ledger
        self._give_up = give_up
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ledger")
        self._waiting = 0
        # of the thread alone
        self._ledger: Ledger | None = None
        self._opened = ExitStack()

    async def ask(self, question: Callable[[Ledger], Answer]) -> Answer:
        """The answer; raises what the ledger does, Busy where too many wait, and TooMuch where it takes too long."""
        if self._waiting >= MAX_WAITING:
            raise Busy(f"{MAX_WAITING} questions wait already", hint="Ask again when they are answered.")
        self._waiting += 1
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                return await asyncio.get_running_loop().run_in_executor(self._thread, self._ask, question)
        except TimeoutError:
            raise TooMuch(f"no answer within {ANSWER_TIMEOUT_S:.0f} s", hint="Ask for a shorter range.") from None
        finally:
            self._waiting -= 1

    def close(self) -> None:
        """Close the ledger, and with it the embedded server where nobody else uses it.

        One that does not answer in this time is given up: the process ends, and with it what it held open.
        """
        closing = self._thread.submit(self._close)
        try:
            closing.result(CLOSE_TIMEOUT_S)
        except TimeoutError:
            self._give_up()

    def _ask(self, question: Callable[[Ledger], Answer]) -> Answer:
        was_open = self._ledger is not None
        try:
            return question(self._open())
        except LedgerUnavailable:
            self._close()
            if not was_open:
                raise
        return question(self._open())

    def _open(self) -> Ledger:
        if self._ledger is None:
            self._ledger = self._opened.enter_context(self._open_ledger())
            self._ledger.attempts = ATTEMPTS
        return self._ledger

    def _close(self) -> None:
        self._ledger = None
        self._opened.close()
