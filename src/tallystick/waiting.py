"""Saying that something is waited for, once it has taken longer than anybody sits in silence for."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

# what a question is asked in: a new context manager for each
Waiting = Callable[[], AbstractContextManager[None]]

SILENCE_S = 2.0


@contextmanager
def told_when_slow(tell: Callable[[], object]) -> Iterator[None]:
    """Call `tell`, in a thread of its own, where what runs inside takes longer than two seconds; never after it."""
    timer = threading.Timer(SILENCE_S, tell)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
