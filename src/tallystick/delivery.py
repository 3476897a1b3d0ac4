"""Observations on their way from an application to the ledger: a bounded queue, and one thread that empties it.

Whoever puts something in never waits for the ledger: the queue is SimpleQueue, whose put() may even be called by the
garbage collector in the middle of another put(). Retries are written out here, because stamina's waits cannot be cut
short when the process ends, and it tells of each through hooks that belong to the application.
"""

from __future__ import annotations

import atexit
import logging
import os
import random
import sys
import threading
import time
import weakref
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from queue import Empty, SimpleQueue
from typing import Final, Literal, NamedTuple, Protocol

from tallystick.errors import Busy, LedgerUnavailable
from tallystick.model import Receipt

logger = logging.getLogger("tallystick")

EXIT_TIMEOUT_S: Final = 5.0
MAX_OPEN_LEDGERS: Final = 8
_FIRST_WAIT_S: Final = 0.1
_LONGEST_WAIT_S: Final = 2.0

CountName = Literal["delivered", "duplicates", "rejected", "undelivered", "dropped", "unreadable", "without_usage"]


class LedgerLike(Protocol):
    """What delivering needs of a ledger, whichever road leads to it."""

    def ingest_token_usage(self, events: bytes) -> Receipt: ...
    def close(self) -> None: ...


class DeliveryCounts(NamedTuple):
    """What became of all answers so far, and how many of them still wait.

    An answer that also reports another model's call counts once for each.
    """

    delivered: int = 0
    duplicates: int = 0
    rejected: int = 0
    undelivered: int = 0
    dropped: int = 0
    unreadable: int = 0
    without_usage: int = 0
    waiting: int = 0


class _Mark:
    """Stands in the queue behind what shall be settled before somebody goes on."""

    def __init__(self, *, is_last: bool) -> None:
        self.is_reached = threading.Event()
        self.is_last = is_last


class Delivery:
    """Takes records of many users and sends each user's in batches, from one daemon thread that starts when needed.

    A process that is forked starts with an empty queue and a thread of its own; what waited is the parent's to send.
    """

    def __init__(
        self,
        ledger_factory: Callable[[str], LedgerLike],
        *,
        max_waiting: int,
        batch_size: int,
        batch_interval_s: float,
        retry_timeout_s: float,
        at_exit: Callable[[], object],
    ) -> None:
        self._ledger_factory = ledger_factory
        self._max_waiting = max_waiting
        self._batch_size = batch_size
        self._batch_interval_s = batch_interval_s
        self._retry_timeout_s = retry_timeout_s
        self._at_exit = at_exit
        self._ledgers: dict[str, LedgerLike] = {}
        self._parents_ledgers: list[dict[str, LedgerLike]] = []
        self._start_anew()
        os.register_at_fork(after_in_child=partial(_start_anew_in_child, weakref.ref(self)))

    def _start_anew(self) -> None:
        # kept, because a connection that is closed or lost here is closed for the parent too
        self._parents_ledgers.append(self._ledgers)
        self._ledgers = {}
        self._queue: SimpleQueue[tuple[str, bytes] | _Mark] = SimpleQueue()
        # held for moments only, and reentrant: the garbage collector may end a stream while its own thread counts
        self._lock = threading.RLock()
        self._starting = threading.Lock()
        self._counts: dict[CountName, int] = defaultdict(int)
        self._waiting = 0
        self._is_closed = False
        self._is_abandoned = threading.Event()
        self._thread: threading.Thread | None = None
        self._warned: set[str] = set()

    @property
    def counts(self) -> DeliveryCounts:
        with self._lock:
            return DeliveryCounts(**self._counts, waiting=self._waiting)

    def count(self, name: CountName) -> None:
        with self._lock:
            self._counts[name] += 1

    def warn(self, kind: str, message: str, *arguments: object) -> None:
        """Tell the log of a kind of trouble, once."""
        if kind not in self._warned:
            self._warned.add(kind)
            with suppress(Exception):  # a handler is the application's own, and may raise
                logger.warning(message, *arguments)

    def put(self, user_id: str, record: bytes) -> None:
        """Queue one observation as JSON; dropped and counted where no more may wait, or after close()."""
        with self._lock:
            has_room = self._waiting < self._max_waiting and not self._is_closed
            if has_room:
                self._waiting += 1
                self._queue.put((user_id, record))
        if not has_room:
            self.count("dropped")
            self.warn("dropped", "tallystick: an answer is not recorded: too many wait, or tracking is closed")
        elif self._thread is None:
            self._start()

    def flush(self, timeout_s: float) -> bool:
        """Wait until all that was put in before is settled, one way or the other; False where the time is too short."""
        if self._waiting == 0:
            return True
        mark = _Mark(is_last=False)
        self._queue.put(mark)
        return mark.is_reached.wait(timeout_s)

    def close(self, timeout_s: float) -> bool:
        """Take nothing in any more, send what waits, and end; what the time does not suffice for is undelivered."""
        mark = _Mark(is_last=True)
        with self._lock:
            is_done = self._is_closed or (self._thread is None and self._waiting == 0)
            self._is_closed = True
            if is_done:
                return True
            self._queue.put(mark)
        if mark.is_reached.wait(timeout_s):
            return True
        undelivered = self._abandon()
        self.warn("abandoned", "tallystick: the process ends before %d answers are recorded", undelivered)
        return False

    def _start(self) -> None:
        if not self._starting.acquire(blocking=False):
            return  # another thread is at it
        try:
            if self._thread is None:
                thread = threading.Thread(target=self._work, name="tallystick-delivery", daemon=True)
                thread.start()
                self._thread = thread
                self._close_at_exit()
        except RuntimeError:  # the interpreter is on its way out
            self._is_closed = True
            self._abandon()
        finally:
            self._starting.release()

    def _close_at_exit(self) -> None:
        atexit.register(self._at_exit)
        multiprocessing = sys.modules.get("multiprocessing.util")
        if multiprocessing is not None:
            # its processes leave without atexit
            multiprocessing.Finalize(self, self._at_exit, exitpriority=0)

    def _abandon(self) -> int:
        """Count whatever is not settled by now as undelivered."""
        with self._lock:
            self._is_abandoned.set()
            undelivered, self._waiting = self._waiting, 0
            self._counts["undelivered"] += undelivered
        return undelivered

    # -- the thread's own

    def _work(self) -> None:
        while not self._is_abandoned.is_set():
            records, mark = self._collect()
            for user_id, events in records.items():
                self._send(user_id, events)
            if mark is not None:
                mark.is_reached.set()
                if mark.is_last:
                    break
        for ledger in self._ledgers.values():
            with suppress(Exception):
                ledger.close()

    def _collect(self) -> tuple[dict[str, list[bytes]], _Mark | None]:
        """The next records by user: as many as a batch may hold, or what comes before the first has waited enough."""
        records: dict[str, list[bytes]] = defaultdict(list)
        deadline = 0.0
        for number in range(self._batch_size):
            try:
                item = self._queue.get(timeout=max(0.0, deadline - time.monotonic()) if number else None)
            except Empty:
                break
            if isinstance(item, _Mark):
                return records, item
            deadline = deadline or time.monotonic() + self._batch_interval_s
            records[item[0]].append(item[1])
        return records, None

    def _send(self, user_id: str, events: list[bytes]) -> None:
        try:
            receipt = self._deliver(user_id, b"[" + b",".join(events) + b"]")
        except Exception as error:  # whatever it is, the next batch deserves its own try
            self._settle({"undelivered": len(events)})
            self.warn(type(error).__name__, "tallystick: answers cannot be recorded: %s", error)
        else:
            self._settle(
                {
                    "delivered": receipt.new + receipt.revised,
                    "duplicates": receipt.duplicate,
                    "rejected": receipt.rejected,
                }
            )
            if receipt.rejected:
                self.warn("rejected", "tallystick: the ledger rejected %d answers; it keeps why", receipt.rejected)

    def _settle(self, counts: dict[CountName, int]) -> None:
        with self._lock:
            if self._is_abandoned.is_set():
                return  # all of them are counted
            for name, number in counts.items():
                self._waiting -= number
                self._counts[name] += number

    def _deliver(self, user_id: str, events: bytes) -> Receipt:
        give_up_at = time.monotonic() + self._retry_timeout_s
        wait_s = _FIRST_WAIT_S
        while True:
            try:
                return self._ledger_of(user_id).ingest_token_usage(events)
            except (LedgerUnavailable, Busy) as error:
                if self._is_abandoned.is_set() or time.monotonic() + wait_s > give_up_at:
                    raise
                self.warn("waiting", "tallystick: the ledger does not answer, trying again: %s", error)
            self._is_abandoned.wait(wait_s * random.uniform(0.5, 1.5))
            wait_s = min(2 * wait_s, _LONGEST_WAIT_S)

    def _ledger_of(self, user_id: str) -> LedgerLike:
        """The user's open ledger; the one that was used longest ago is closed where too many are open."""
        ledger = self._ledgers.pop(user_id, None) or self._ledger_factory(user_id)
        self._ledgers[user_id] = ledger
        if len(self._ledgers) > MAX_OPEN_LEDGERS:
            oldest = self._ledgers.pop(next(iter(self._ledgers)))
            with suppress(Exception):
                oldest.close()
        return ledger


def _start_anew_in_child(delivery: weakref.ref[Delivery]) -> None:
    found = delivery()
    if found is not None:
        found._start_anew()
