"""The thread that reads the figures whenever the books may have changed, and knows no screen."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import nullcontext
from datetime import UTC, datetime
from typing import NamedTuple

from tallystick.errors import RateLimited, TallystickError
from tallystick.ledger import Ledger
from tallystick.live.figures import Figures, read_figures

# how long a key or the end of the program waits for the thread at most
LOOK_S = 0.25
# where nobody tells of changes, how often the ledger is asked for them
POLL_S = 2.0
# the day ends, and sessions fall silent, without anything changing
FULL_READ_S = 60.0
# an import changes the books many times in a second
REST_S = 0.5
ANSWER_TIMEOUT_S = 10.0
FIRST_PAUSE_S = 1.0
# somebody looks at it, and what brings the ledger back may be our own import
LONGEST_PAUSE_S = 5.0


class Away(NamedTuple):
    """The ledger does not answer: since when, why, and when it is asked again."""

    since: datetime
    reason: str
    next_try_at: datetime


class State(NamedTuple):
    """What there is to show: the last figures, if any were read yet, and whether the ledger is away.

    `trouble` is what keeps new usage from being taken in, '' where nothing does. With a defect the thread has ended.
    """

    figures: Figures | None = None
    away: Away | None = None
    trouble: str = ""
    defect: Exception | None = None


class Follower:
    """Reads in a thread of its own, the only one that uses the ledger, and calls `tell` with each new state."""

    def __init__(
        self, ledger: Ledger, *, fallback_zone: str, tell: Callable[[State], None], trouble: Callable[[], str] = str
    ) -> None:
        # what goes wrong is shown at once, and so are the waits
        ledger.attempts = 1
        ledger.waiting = nullcontext
        ledger.wait_at_most(ANSWER_TIMEOUT_S)
        self._ledger = ledger
        self._fallback_zone = fallback_zone
        self._tell = tell
        self._trouble = trouble
        self._state = State()
        self._receipt_count = -1
        self._is_due = True
        self._next_poll_at = 0.0
        self._next_read_at = 0.0
        self._failures = 0
        self._is_ended = False
        self._is_paused = False
        self._woken = threading.Event()
        self._thread = threading.Thread(target=self._run, name="live", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End the thread; one that waits for an answer is left to it."""
        self._is_ended = True
        self._woken.set()
        self._thread.join(2 * LOOK_S)

    def refresh(self) -> None:
        """Read now, also while paused, and without waiting for the next try."""
        self._is_due = True
        self._woken.set()

    def pause(self, is_paused: bool) -> None:
        """Read nothing until told otherwise."""
        self._is_paused = is_paused
        self._woken.set()

    def _run(self) -> None:
        while not self._is_ended:
            try:
                self._step()
            except TallystickError as error:
                self._fail(error)
            except Exception as error:  # it shall end the program, and not this thread alone
                self._show(self._state._replace(defect=error))
                return

    def _step(self) -> None:
        if self._is_due:
            self._is_due = False
            self._read()
            self._rest(REST_S)
        elif self._is_paused:
            self._rest(FULL_READ_S)
            self._next_read_at = 0.0
        else:
            self._is_due = self._has_changed() or time.monotonic() >= self._next_read_at
            if self._trouble() != self._state.trouble:
                self._show(self._state._replace(trouble=self._trouble()))

    def _read(self) -> None:
        state = self._ledger.ledger_state()
        figures = read_figures(self._ledger, state, fallback_zone=self._fallback_zone)
        self._receipt_count = state.receipt_count
        self._next_read_at = time.monotonic() + FULL_READ_S
        self._failures = 0
        self._show(self._state._replace(figures=figures, away=None))

    def _has_changed(self) -> bool:
        told = self._ledger.changes(timeout_s=LOOK_S)
        if told is not None:
            return told
        self._rest(LOOK_S)
        if time.monotonic() < self._next_poll_at:
            return False
        self._next_poll_at = time.monotonic() + POLL_S
        return self._ledger.ledger_state().receipt_count != self._receipt_count

    def _fail(self, error: TallystickError) -> None:
        pause_s = min(FIRST_PAUSE_S * 2**self._failures, LONGEST_PAUSE_S)
        if isinstance(error, RateLimited):
            pause_s = max(pause_s, error.retry_after_s)
        self._failures = min(self._failures + 1, 10)
        now = datetime.now(UTC)
        since = self._state.away.since if self._state.away else now
        next_try_at = datetime.fromtimestamp(now.timestamp() + pause_s, UTC)
        self._show(self._state._replace(away=Away(since, error.message, next_try_at)))
        self._rest(pause_s)
        self._is_due = True

    def _show(self, state: State) -> None:
        self._state = state
        self._tell(state)

    def _rest(self, seconds: float) -> None:
        """Wait, but no longer than until somebody calls."""
        self._woken.wait(seconds)
        self._woken.clear()
