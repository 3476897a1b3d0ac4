"""The signals that end a command: by way of everything that must be left in peace, the embedded Postgres above all."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
# as a shell tells of a program that a signal has ended
EXIT_BY_SIGNAL = 128


def ending_signals() -> list[signal.Signals]:
    """Those of them that do end us: a closed terminal does not where nohup started us."""
    return [number for number in ENDING if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN]


def unwind_at_signals() -> None:
    """Have SIGTERM and SIGHUP raise SystemExit, as SIGINT raises KeyboardInterrupt: for what ends by itself."""
    _handle(lambda number: EXIT_BY_SIGNAL + number, but=signal.SIGINT)


def leave_at_signals() -> None:
    """Have each of them raise SystemExit(0): for what runs until it is told to end, and then has done it."""
    _handle(lambda _: 0)


@contextmanager
def signals_held() -> Iterator[None]:
    """Keep the signals until this is done: what is imported takes an exception from outside for a fault of its own."""
    held = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, held)


def _handle(exit_code: Callable[[int], int], *, but: signal.Signals | None = None) -> None:
    def leave(number: int, _: FrameType | None) -> None:
        # a terminal tells of its end more than once, and who ends a login tells so behind a SIGTERM
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        raise SystemExit(exit_code(number))

    for number in ending_signals():
        if number != but:
            signal.signal(number, leave)
