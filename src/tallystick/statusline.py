"""What the status line leaves to be done behind it: the plan's figures for the ledger, and figures that are new.

The line itself is statusline.awk. This is started where it has something to leave, by a Python that looks for no
packages, so it imports next to nothing; it asks no database and starts none.
"""

from __future__ import annotations

import os
import time

# statusline.awk spells the first two out too
CACHE_NAME = "statusline.json"
LIMITS_NAME = "statusline-limits.json"
LOCK_NAME = "statusline.lock"
PARTS = ("session", "today", "block", "burn", "context")


def main(arguments: list[str]) -> None:
    """`arguments` are the folder of our state, the plan's windows as JSON members, and the program that renews."""
    state_dir, limits, *renewal = arguments
    if limits:
        _leave_limits(limits, f"{state_dir}/{LIMITS_NAME}")
    if renewal:
        _renew(state_dir, renewal)


def _leave_limits(limits: str, path: str) -> None:
    """Leave the plan's own figures for the next program that asks the ledger to hand on."""
    beside = f"{path}.{os.getpid()}"
    try:
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        try:
            os.write(descriptor, f'{{"limits":{{{limits}}},"observed_at":{time.time()}}}'.encode())
        finally:
            os.close(descriptor)
        os.replace(beside, path)  # noqa: PTH105 (pathlib takes longer to import than all else here)
    except OSError:
        return  # the next line tries again


def _renew(state_dir: str, program: list[str]) -> None:
    """Start the program that renews the file, unless one runs: it has the lock until it ends, however it ends."""
    import fcntl  # where only limits are left, it is not needed

    try:
        lock = os.open(f"{state_dir}/{LOCK_NAME}", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    except OSError:
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.set_inheritable(lock, True)
        os.posix_spawn(program[0], program, os.environ, setsid=True)
    except OSError:
        pass
    finally:
        os.close(lock)
