"""Files and folders of our own that only their owner may read, and locks on them.

A lock is flock's: the kernel gives it back however its holder ends. What root makes in somebody else's folder belongs
to that somebody, lest a command run once as root locks its user out.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tallystick.errors import ConfigError

OUR_FOLDER_HINT = "Make that possible, or set TALLYSTICK_HOME to a folder in which it is."


@contextmanager
def writing(place: Path, *, hint: str = OUR_FOLDER_HINT) -> Iterator[None]:
    """Have a ConfigError say what cannot be written, whatever the reason, and what to do about it."""
    try:
        yield
    except OSError as error:
        what = error.filename or place
        raise ConfigError(f"cannot write {what}: {error.strerror or error}", hint=hint) from error


def make_folder(folder: Path, *, mode: int = 0o700) -> None:
    """Make a folder and what is missing above it, for whoever owns the folder that it goes into."""
    if folder.is_dir():
        return
    # The server is a stranger to what root makes on the way, and must get through.
    make_folder(folder.parent, mode=0o711 if os.geteuid() == 0 else 0o700)
    try:
        folder.mkdir(mode=mode)
    except FileExistsError:
        return  # another first client was quicker
    if os.geteuid() == 0:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            os.fchmod(descriptor, mode)
            _give_to_owner_of(folder.parent, descriptor)
        finally:
            os.close(descriptor)


def read_text(path: Path) -> str:
    """What a small file holds, "" where there is none."""
    try:
        return path.read_bytes().decode(errors="surrogateescape")
    except FileNotFoundError:
        return ""


def write_private(path: Path, text: str, *, is_synced: bool = False) -> None:
    """Replace a file whole; synced, so that a power cut leaves the old or the new one."""
    beside = path.with_name(f".{path.name}.new")
    beside.unlink(missing_ok=True)  # left by a killed process: whoever writes here holds a lock
    descriptor = open_private(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    with os.fdopen(descriptor, "wb") as file:
        file.write(text.encode(errors="surrogateescape"))
        if is_synced:
            file.flush()
            os.fsync(descriptor)
    beside.replace(path)


def open_private(path: Path, flags: int) -> int:
    """Open a file that only its owner may read: the owner of its folder, lest root's files lock a user out."""
    descriptor = os.open(path, flags | os.O_NOFOLLOW, 0o600)
    # A second name would be a link that the folder's owner made, to a file that is not theirs.
    if os.geteuid() == 0 and os.fstat(descriptor).st_nlink == 1:
        _give_to_owner_of(path.parent, descriptor)
    return descriptor


@contextmanager
def locked(path: Path, *, limit_seconds: float) -> Iterator[None]:
    """Hold the lock of this file, made if need be; TimeoutError where somebody else holds it for too long."""
    for _ in tries(limit_seconds):
        descriptor = try_lock(path)
        if descriptor is None:
            continue
        try:
            if not os.path.samestat(os.fstat(descriptor), path.stat()):
                continue  # its folder was erased and made anew while we waited
            yield
            return
        finally:
            os.close(descriptor)
    raise TimeoutError(errno.ETIMEDOUT, "another process holds the lock", str(path))


def try_lock(path: Path) -> int | None:
    """A descriptor that holds the lock of this file, or None where somebody else does."""
    descriptor = open_private(path, os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except BaseException:
        os.close(descriptor)  # or this process would go on to hold what it never got
        raise
    return descriptor


def is_locked(path: Path) -> bool:
    """Whether anybody holds the lock of this file."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def tries(limit_seconds: float) -> Iterator[None]:
    """Come round again after pauses of 2 to 100 ms until the time is up."""
    deadline = time.monotonic() + limit_seconds
    pause_seconds = 0.002
    while True:
        yield
        if time.monotonic() > deadline:
            return
        time.sleep(pause_seconds)
        pause_seconds = min(pause_seconds * 1.2, 0.1)


def _give_to_owner_of(folder: Path, descriptor: int) -> None:
    owner = folder.stat()
    os.fchown(descriptor, owner.st_uid, owner.st_gid)
