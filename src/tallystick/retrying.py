"""Asking again where the reason passes, after pauses that grow and differ, a few times, within half a minute."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

from tallystick.errors import Busy, LedgerError, LedgerUnavailable, RateLimited

Answer = TypeVar("Answer")

# doubled each time up to five seconds, and up to one at random on top: eight tries take more than nineteen, and so get
# over a server that is started anew, and over a pooler that refuses everybody for fifteen when its server was away
FIRST_PAUSE_S = 0.3
TIMEOUT_S = 30.0
MAX_RETRY_AFTER_S = 60


def passes(error: Exception) -> bool | float:
    """Whether the same question may be answered later; a number says in how many seconds."""
    if isinstance(error, RateLimited):
        return float(error.retry_after_s) if error.retry_after_s <= MAX_RETRY_AFTER_S else False
    return isinstance(error, (LedgerUnavailable, Busy))


def ask_again(ask: Callable[[], Answer], error: LedgerError, *, attempts: int) -> Answer:
    """Ask after the first of `attempts` came to `error`; raises what the last one comes to."""
    # stamina takes 50 ms to import, and hardly a command needs it
    import stamina

    _keep_attempts_off_the_output()
    for attempt in stamina.retry_context(on=passes, attempts=attempts, timeout=TIMEOUT_S, wait_initial=FIRST_PAUSE_S):
        with attempt:
            if attempt.num == 1:
                raise error  # it says how long to wait before the second
            return ask()
    raise AssertionError("unreachable: the last attempt answers or raises")


def _keep_attempts_off_the_output() -> None:
    """Have stamina tell `logging` of its attempts where structlog, which nobody has set up, would print them.

    Hooks that a program has chosen for itself stay.
    """
    import structlog  # as above
    from stamina.instrumentation import LoggingOnRetryHook, get_on_retry_hooks, set_on_retry_hooks

    logging.getLogger("stamina").addHandler(logging.NullHandler())
    hooks = get_on_retry_hooks()
    others = [hook for hook in hooks if hook.__module__ != "stamina.instrumentation._structlog"]
    if not structlog.is_configured() and len(others) < len(hooks):
        set_on_retry_hooks([*others, LoggingOnRetryHook])
