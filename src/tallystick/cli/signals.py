"""The signals that end what runs until it is stopped: by way of everything that must be left in peace."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def leave_at_signals() -> None:
    """Have each of them raise SystemExit(0) from now on; a closed terminal does not where nohup started us."""
    for number in ENDING:
        if number != signal.SIGHUP or signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _leave)


@contextmanager
def signals_held() -> Iterator[None]:
    """Keep the signals until this is done: what is imported takes an exception from outside for a fault of its own."""
    held = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, held)


def _leave(number: int, _: object) -> None:
    if number == signal.SIGHUP:
        signal.signal(number, signal.SIG_IGN)  # a terminal may tell of its end more than once
    raise SystemExit(0)
