"""Following all transcripts of a machine: what the system says of changes is a hint, a look at everything is the truth.

A pass takes in what is new, by the road of every import: the checkpoints move behind the ledger's receipts, so that
whatever goes wrong here costs a re-read. Where the ledger cannot be reached, the place is kept, and the pauses between
two tries grow and differ.
"""

from __future__ import annotations

import os
import random
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

import structlog
import watchfiles

from tallystick.catalog import Root
from tallystick.collector.discover import Discovery, discover, discover_changed, real_roots
from tallystick.collector.run import import_found, lag_of
from tallystick.collector.summary import ImportProgress, ImportSummary
from tallystick.collector.watch_status import Seats, WatchStatus, place_of
from tallystick.config import Settings
from tallystick.errors import (
    Busy,
    CheckpointError,
    EmbeddedServerError,
    LedgerUnavailable,
    RateLimited,
    TallystickError,
)
from tallystick.ledger import Ledger
from tallystick.statusline import LIMITS_NAME
from tallystick.waiting import told_when_slow

# between two looks at everything
WALK_EVERY_S = 300.0
# where the system tells of no changes
WALK_UNTOLD_EVERY_S = 5.0
# a line that no newline ends counts after two seconds of rest, a document that was torn may be whole by then
LOOK_AGAIN_S = 2.2
GATHER_MS = 300
HINT_WAIT_MS = 500
FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 120.0
# elsewhere a folder is told of with all that is below it, and each costs more than on Linux
IS_WATCHED_SINGLY = sys.platform == "linux"
UNTOLD_HINT = "Where a limit is reached, raise it: on Linux fs.inotify.max_user_watches or max_user_instances."

# a full disk is among the reasons of the last two
PASSING = (LedgerUnavailable, Busy, RateLimited, CheckpointError, EmbeddedServerError)

log = structlog.get_logger("tallystick.watch")


class _Stopped(Exception):
    """Somebody wants it to end in the middle of an import."""


class Watcher:
    """Follows the transcripts into one ledger until `stop` is set; one for each ledger and machine.

    `open_ledger` opens the ledger and answers it with the settings of its user: anew after each failure.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        open_ledger: Callable[[], AbstractContextManager[tuple[Ledger, Settings]]],
        stop: threading.Event,
        pid: int,
        command: str = "tally watch",
    ) -> None:
        self._settings = settings
        self._open_ledger = open_ledger
        self._stop = stop
        self._seats = Seats(settings)
        before = place_of(settings).read()
        # so that it can say how far it lags before the ledger has answered
        self._status = WatchStatus(
            pid=pid,
            command=command,
            started_at=time.time(),
            ledger_id=before.ledger_id if before else "",
            user_id=before.user_id if before else "",
        )
        self._told_problems: set[tuple[str, str]] = set()
        self._untold_reason = ""
        self._limits_mtime_ns = 0

    def run(self) -> None:
        """Follow until the end; raises AlreadyRunning, and what is wrong with the settings or the ledger's schema."""
        try:
            self._seats.take()
            self._tell()
            pause_s = FIRST_PAUSE_S
            while not self._stop.is_set():
                walked_at = self._status.walked_at
                try:
                    with ExitStack() as stack:
                        with self._waiting():
                            ledger, settings = stack.enter_context(self._open_ledger())
                        ledger.waiting = self._waiting
                        self._follow(ledger, settings)
                except _Stopped:
                    return
                except PASSING as error:
                    # one that took in everything and then broke is tried again at once
                    if self._status.walked_at != walked_at:
                        pause_s = FIRST_PAUSE_S
                    self._wait_after(error, pause_s * random.uniform(0.5, 1.5))
                    pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
        finally:
            self._seats.leave()

    # -- following

    def _follow(self, ledger: Ledger, settings: Settings) -> None:
        state = ledger.ledger_state()
        self._status.ledger_id, self._status.user_id = state.ledger_id, state.user_id
        self._status.error, self._status.next_try_at = "", 0.0
        # told before the lock is asked for: where another name's watcher has it, `tally status` finds that by the id
        self._tell()
        self._seats.take(state.ledger_id)
        self._tell()
        for found, is_all in self._looks(settings):
            summary = import_found(found, ledger, settings, is_all=is_all, on_progress=self._leave_if_stopped)
            self._note(summary, is_all=is_all)

    def _leave_if_stopped(self, _: ImportProgress) -> None:
        if self._stop.is_set():
            raise _Stopped

    def _looks(self, settings: Settings) -> Iterator[tuple[Discovery, bool]]:
        """What to take in next: everything at first and every few minutes, in between what has changed."""
        while not self._stop.is_set():
            self._are_limits_new(settings)
            found = discover(settings.roots)
            yield found, True
            try:
                yield from self._told_looks(settings, found)
            except FileNotFoundError:
                self._stop.wait(HINT_WAIT_MS / 1000)  # a folder went before it was watched
            except (OSError, RuntimeError) as error:
                yield from self._untold_looks(settings, str(error))

    def _told_looks(self, settings: Settings, whole: Discovery) -> Iterator[tuple[Discovery, bool]]:
        """What changes in the folders of a look at everything; ends when there is another one, or time for the next."""
        roots = real_roots((*settings.roots, *whole.linked))
        walk_at = time.monotonic() + WALK_EVERY_S
        missing = [root.path for root in settings.roots if not _is_there(root.path)]
        # nobody tells of what was written since the look and before the system was asked to tell, and the second time
        # it has come to rest
        next_walk_at, walks_left = 0.0, 2
        again_at: dict[str, float] = {}
        for hints in self._hints(whole.folders, roots):
            now = time.monotonic()
            if self._stop.is_set() or now >= walk_at or any(map(_is_there, missing)):
                return
            rested = {path for path, at in again_at.items() if now >= at}
            again_at = {path: at for path, at in again_at.items() if now < at}
            again_at |= dict.fromkeys(hints, now + LOOK_AGAIN_S)
            if walks_left and now >= next_walk_at:
                walks_left, next_walk_at = walks_left - 1, now + LOOK_AGAIN_S
                found = discover(settings.roots)
                yield found, True
                if not set(found.folders) <= set(whole.folders):
                    return
            elif hints or rested or self._are_limits_new(settings):
                found = discover_changed(hints | rested, roots)
                yield found, False
                # one that is new, or that was deleted and made anew
                if found.folders:
                    return

    def _are_limits_new(self, settings: Settings) -> bool:
        """Whether the status line has left other limits since this was asked last; each look hands them on."""
        before = self._limits_mtime_ns
        try:
            self._limits_mtime_ns = (settings.state_dir / LIMITS_NAME).stat().st_mtime_ns
        except OSError:
            return False
        return self._limits_mtime_ns != before

    def _untold_looks(self, settings: Settings, reason: str) -> Iterator[tuple[Discovery, bool]]:
        """Looks at everything in short turns for a while, as where the system has no more watches to give."""
        if reason != self._untold_reason:
            self._untold_reason = reason
            log.warning(
                "not told of changes",
                reason=reason,
                hint=UNTOLD_HINT,
                looking_at_everything_every_s=WALK_UNTOLD_EVERY_S,
            )
        told_at = time.monotonic() + WALK_EVERY_S
        while time.monotonic() < told_at and not self._stop.wait(WALK_UNTOLD_EVERY_S):
            yield discover(settings.roots), True

    def _hints(self, folders: Sequence[str], roots: Sequence[Root]) -> Iterator[set[str]]:
        """Paths that changed in these folders, and an empty set at least twice a second.

        Each folder is watched by itself where that costs little: the library would leave out, and not say so, whatever
        comes behind one that is closed to it, or behind a limit.
        """
        if not folders:
            while not self._stop.wait(HINT_WAIT_MS / 1000):
                yield set()
            return
        for changes in watchfiles.watch(
            *([folder for folder in folders if _is_text(folder)] if IS_WATCHED_SINGLY else _folders(roots)),
            watch_filter=None,
            debounce=GATHER_MS,
            rust_timeout=HINT_WAIT_MS,
            yield_on_timeout=True,
            stop_event=self._stop,
            recursive=not IS_WATCHED_SINGLY,
            ignore_permission_denied=not IS_WATCHED_SINGLY,
        ):
            yield {path for _, path in changes}

    def _note(self, summary: ImportSummary, *, is_all: bool) -> None:
        now = time.time()
        receipt = summary.receipt
        if is_all:
            self._status.walked_at = now
        if receipt.received:
            self._status.taken_in_at = now
            self._status.new += receipt.new
            log.info(
                "taken in",
                new=receipt.new,
                revised=receipt.revised,
                duplicate=receipt.duplicate,
                rejected=receipt.rejected,
                files=summary.files_read,
                duration_ms=round(summary.duration_s * 1000),
            )
        for problem in summary.problems:
            if problem not in self._told_problems:
                self._told_problems.add(problem)
                log.warning("cannot read", path=problem.path, reason=problem.reason)
        for notice in summary.notices:
            log.warning("notice", text=notice)
        if is_all or receipt.received:
            self._tell()

    # -- waiting

    @contextmanager
    def _waiting(self) -> Iterator[None]:
        """Ask the ledger; whoever looks at the status is told when it takes long."""
        began = time.time()
        with told_when_slow(lambda: self._tell_of_wait(began)):
            yield
        self._tell_of_wait(0.0)

    def _tell_of_wait(self, since: float) -> None:
        if self._status.waiting_since != since:
            self._status.waiting_since = since
            self._tell()

    def _wait_after(self, error: TallystickError, pause_s: float) -> None:
        self._status.error, self._status.next_try_at = error.message, time.time() + pause_s
        self._status.waiting_since = 0.0
        self._tell()
        log.warning("waiting", reason=error.message, next_try_s=round(pause_s, 1), **self._lag())
        self._stop.wait(pause_s)

    def _lag(self) -> dict[str, int]:
        if not self._status.ledger_id:
            return {}
        try:
            lag = lag_of(self._settings, ledger_id=self._status.ledger_id, user_id=self._status.user_id)
        except CheckpointError:
            return {}
        return {"files_waiting": lag.files, "bytes_waiting": lag.size}

    def _tell(self) -> None:
        self._seats.tell(self._status)


def _folders(roots: Iterable[Root]) -> list[str]:
    """The roots that are there, folders or single files, without those that lie in another."""
    found = sorted({str(root.path) for root in roots if _is_there(root.path)})
    return [folder for folder in found if not any(folder.startswith(f"{other}/") for other in found)]


def _is_there(path: Path) -> bool:
    """Whether a path is to be seen; pathlib raises where a folder above it is closed, or its name too long."""
    return os.path.exists(path)  # noqa: PTH110 (as said)


def _is_text(path: str) -> bool:
    """Whether a path can be named to the library that watches; what is in another is found by the looks."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True
