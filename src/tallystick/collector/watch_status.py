"""Who follows into a ledger from this machine, and how far that is: a lock and a file beside it.

What follows has the lock of the place that its settings name, and, once the ledger has answered, that of the ledger's
own id, under which any other name of the same ledger finds it.
"""

from __future__ import annotations

import os
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import msgspec

from tallystick.addresses import is_http
from tallystick.config import Settings
from tallystick.db import identify_database
from tallystick.errors import AlreadyRunning
from tallystick.private_files import is_locked, make_folder, try_lock, write_private, writing

_DEFAULT_PORTS = {"http": 80, "https": 443}


class WatchStatus(msgspec.Struct, kw_only=True):
    """What a watcher says of itself; times are seconds since 1970, `command` is the one it runs in."""

    pid: int
    command: str = "tally watch"
    ledger_id: str = ""
    user_id: str = ""
    started_at: float = 0.0
    walked_at: float = 0.0
    taken_in_at: float = 0.0
    new: int = 0
    error: str = ""
    waiting_since: float = 0.0
    next_try_at: float = 0.0


class Place(NamedTuple):
    """Where what follows into one ledger has its lock and its status."""

    lock: Path
    status: Path

    def read(self) -> WatchStatus | None:
        """What was said here last; None where nothing was."""
        try:
            return msgspec.json.decode(self.status.read_bytes(), type=WatchStatus)
        except (OSError, msgspec.MsgspecError):
            return None


def place_of(settings: Settings) -> Place:
    """The place of the ledger that the settings name, the same however its URL is spelled."""
    url = settings.database_url
    if url is None:
        text = os.path.realpath(settings.embedded_dir)
    else:
        text = _http_address(url) if is_http(url) else identify_database(url)
    return _place(settings, text)


def read_follower(settings: Settings) -> WatchStatus | None:
    """What follows into this ledger now says of itself; None where nothing does."""
    place = place_of(settings)
    told = place.read()
    if is_locked(place.lock):
        return told
    if told is None or not told.ledger_id:
        return None
    # it may follow by another name of the same ledger
    place = _place(settings, told.ledger_id)
    return place.read() if is_locked(place.lock) else None


class Seats:
    """The locks that one watcher holds until it ends, and the status that it tells beside each."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._held: dict[Place, int] = {}

    def take(self, ledger_id: str = "") -> None:
        """Take the lock of the settings' place, or of a ledger's id; raises AlreadyRunning where another has it.

        ConfigError says where no lock can be made.
        """
        own = place_of(self._settings)
        place = _place(self._settings, ledger_id) if ledger_id else own
        # a ledger that was restored has another id than before
        for former in self._held.keys() - {own, place}:
            os.close(self._held.pop(former))
        if place in self._held:
            return
        with writing(place.lock):
            make_folder(place.lock.parent)
            held = try_lock(place.lock)
        if held is None:
            other = place.read()
            who = f"`{other.command}` (process {other.pid})" if other else "another process"
            raise AlreadyRunning(
                f"{who} follows into this ledger already", hint="One is enough; `tally status` says how far it is."
            )
        self._held[place] = held

    def tell(self, status: WatchStatus) -> None:
        """Write the status; a full disk must not end what waits for there to be room again."""
        for place in self._held:
            with suppress(OSError):
                write_private(place.status, msgspec.json.encode(status).decode())

    def leave(self) -> None:
        """Give the locks back, which go at the latest with this process."""
        for held in self._held.values():
            os.close(held)
        self._held.clear()


def _place(settings: Settings, text: str) -> Place:
    """The place under a name that is no path, whatever a server says of its ledger's id."""
    name = blake2b(text.encode("utf-8", "backslashreplace"), digest_size=8).hexdigest()
    return Place(settings.state_dir / f"watch-{name}.lock", settings.state_dir / f"watch-{name}.json")


def _http_address(url: str) -> str:
    try:
        parts = urlsplit(url)
        port = parts.port or _DEFAULT_PORTS[parts.scheme]
    except ValueError:
        return url
    return f"{parts.scheme}://{parts.hostname}:{port}{parts.path.rstrip('/')}"
