"""Processes of `tally` that tests start: what they are given, and waiting for what they do."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

LIMIT_S = 60.0


def tally_environ(home: Path, **more: str) -> dict[str, str]:
    """What a process at home there is given: the programs and the code of this one, and nothing else but `more`."""
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "HOME": str(home),
        "LANG": "C.UTF-8",
        **more,
    }


def until(is_so: Callable[[], bool], *, what: Callable[[], str] = lambda: "it is not so") -> None:
    """Wait until it is so, and fail with `what` where it never is."""
    deadline = time.monotonic() + LIMIT_S
    while not is_so():
        assert time.monotonic() < deadline, what()
        time.sleep(0.05)
