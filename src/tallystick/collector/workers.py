"""Work shared out to forked processes that answer through pipes: no thread, no shared state, nobody left behind.

A worker owns nothing but its pipe and the queue of shares: it closes whatever else it inherited (the ledger's
connection, the locks), so that these end with the parent, and it ends at its next message when the parent is gone.
Ctrl-C is the parent's affair.
"""

from __future__ import annotations

import fcntl
import gc
import os
import resource
import selectors
import signal
import struct
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from traceback import format_exception
from types import TracebackType
from typing import Generic, NamedTuple, TypeVar

from tallystick.errors import TallystickError

Share = TypeVar("Share")
Item = TypeVar("Item")

MAX_WORKERS = 4
# so many that whoever is done early can take over what others have not begun
SHARES_PER_WORKER = 32
# a batch fits, so that a worker can go on while the parent waits for the ledger
PIPE_BYTES = 1 << 20
MAX_OPEN_FILES = 1 << 16

_MESSAGE, _FAILURE, _DONE = 0, 1, 2
_HEADER = struct.Struct("!BQ")
# the number of a share in the queue; the smallest pipe there is holds a thousand of them
_NUMBER = struct.Struct("!I")
_STOPPING_SIGNALS = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}


class _Worker(NamedTuple):
    process_id: int
    pipe: int


class WorkerFailed(Exception):
    """What a worker raised, as text."""


def worker_count() -> int:
    """How many processes are worth it here."""
    return min(os.cpu_count() or 1, MAX_WORKERS)


def share_out(items: Sequence[Item], sizes: Sequence[int], count: int) -> list[list[Item]]:
    """At most `count` shares, and at least one: the largest items first, each to the share that has least so far."""
    shares: list[list[Item]] = [[] for _ in range(max(1, min(count, len(items))))]
    loads = [0] * len(shares)
    for index in sorted(range(len(items)), key=sizes.__getitem__, reverse=True):
        lightest = loads.index(min(loads))
        shares[lightest].append(items[index])
        loads[lightest] += sizes[index]
    return shares


class Workers(Generic[Share]):
    """At most `count` processes, forked on entry and gone on exit, whatever happens in between.

    Each runs `work` once, over the shares that it takes from the front of a common queue, one when it needs one.
    """

    def __init__(
        self, shares: Sequence[Share], work: Callable[[Iterator[Share]], Iterable[bytes]], *, count: int
    ) -> None:
        self._shares = shares
        self._work = work
        self._count = min(count, len(shares))
        self._running: dict[int, _Worker] = {}

    def __enter__(self) -> Workers[Share]:
        queue = _make_queue(len(self._shares))
        try:
            for _ in range(self._count):
                self._start(queue)
        except BaseException:
            self._end_all()
            raise
        finally:
            os.close(queue)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end_all()

    def messages(self) -> Iterator[bytes]:
        """What the workers send, in the order of arrival; raises TallystickError where one of them fails or dies."""
        with selectors.DefaultSelector() as selector:
            for pipe in self._running:
                selector.register(pipe, selectors.EVENT_READ)
            while self._running:
                for key, _ in selector.select():
                    kind, message = _receive(key.fd)
                    if kind == _MESSAGE:
                        yield message
                        continue
                    selector.unregister(key.fd)
                    worker = self._running.pop(key.fd)
                    os.close(worker.pipe)
                    status = _wait(worker.process_id)
                    if kind != _DONE:
                        raise _failure(kind, message, status)

    def _start(self, queue: int) -> None:
        reading, writing = os.pipe()
        if hasattr(fcntl, "F_SETPIPE_SZ"):
            with suppress(OSError):  # above what this user may have: a smaller one works too
                fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        # neither process may be interrupted before it knows who it is
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, _STOPPING_SIGNALS)
        try:
            process_id = _fork()
            if process_id == 0:
                _be_worker(writing, queue, lambda: self._work(_taken(queue, self._shares)), mask)
            os.close(writing)
            self._running[reading] = _Worker(process_id, reading)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    def _end_all(self) -> None:
        for worker in self._running.values():
            with suppress(ProcessLookupError):
                os.kill(worker.process_id, signal.SIGKILL)
            os.close(worker.pipe)
            _wait(worker.process_id)
        self._running.clear()


def _fork() -> int:
    with warnings.catch_warnings():
        # a progress bar may run in a thread; a worker touches nothing of it, nor of any other lock
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


def _make_queue(size: int) -> int:
    """A pipe that holds the numbers of all shares and ends behind them; whoever reads takes the first."""
    reading, writing = os.pipe()
    os.write(writing, b"".join(map(_NUMBER.pack, range(size))))
    os.close(writing)
    return reading


def _taken(queue: int, shares: Sequence[Share]) -> Iterator[Share]:
    while number := os.read(queue, _NUMBER.size):
        yield shares[_NUMBER.unpack(number)[0]]


def _be_worker(
    pipe: int, queue: int, work: Callable[[], Iterable[bytes]], mask: Iterable[signal.Signals | int]
) -> None:
    """Do the work and end this process; nothing of the parent's may run here, not even its clean-up."""
    exit_code = 1
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        highest = min(resource.getrlimit(resource.RLIMIT_NOFILE)[0], MAX_OPEN_FILES)
        first, second = sorted((pipe, queue))
        os.closerange(3, first)
        os.closerange(first + 1, second)
        os.closerange(second + 1, highest)
        # nothing made here forms a cycle
        gc.disable()
        try:
            for message in work():
                _send(pipe, _MESSAGE, message)
            _send(pipe, _DONE, b"")
            exit_code = 0
        except BrokenPipeError:
            pass
        except BaseException as error:
            _send(pipe, _FAILURE, "".join(format_exception(error)).encode("utf-8", "replace"))
    finally:
        os._exit(exit_code)


def _send(pipe: int, kind: int, message: bytes) -> None:
    rest = memoryview(_HEADER.pack(kind, len(message)) + message)
    while rest:
        rest = rest[os.write(pipe, rest) :]


def _receive(pipe: int) -> tuple[int, bytes]:
    """One message whole; a failure without text where the pipe ended before it did."""
    header = _read(pipe, _HEADER.size)
    if header is None:
        return _FAILURE, b""
    kind, size = _HEADER.unpack(header)
    message = _read(pipe, size)
    return (_FAILURE, b"") if message is None else (kind, message)


def _read(pipe: int, size: int) -> bytes | None:
    message = bytearray(size)
    rest = memoryview(message)
    while rest:
        count = os.readv(pipe, [rest])
        if count == 0:
            return None
        rest = rest[count:]
    return bytes(message)


def _wait(process_id: int) -> int:
    try:
        return os.waitstatus_to_exitcode(os.waitpid(process_id, 0)[1])
    except ChildProcessError:  # somebody who ignores the ends of children has us do so too
        return 0


def _failure(kind: int, message: bytes, status: int) -> TallystickError:
    text = message.decode("utf-8", "replace").strip()
    hint = "Nothing is lost; run the command again."
    if kind == _FAILURE and text:
        failure = TallystickError(f"reading transcripts failed: {text.splitlines()[-1]}", hint=hint)
        failure.__cause__ = WorkerFailed(text)
        return failure
    how = f"was killed by signal {-status}" if status < 0 else f"ended with exit code {status}"
    return TallystickError(f"a process that read transcripts {how}", hint=hint)
