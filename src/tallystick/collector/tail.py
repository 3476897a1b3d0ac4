"""New lines of one file since its checkpoint: whole ones only, through one reused buffer, in bounded memory.

A file is read on from its checkpoint only where it is the same file and still holds there what it held before; one that
was replaced, cut or written anew is read from its start, which costs time and changes no number.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from hashlib import blake2b
from io import FileIO
from types import TracebackType
from typing import NamedTuple

from tallystick.collector.checkpoint import Checkpoint, has_rested

READ_BYTES = 1 << 20
MAX_LINE_BYTES = 64 << 20
HEAD_BYTES = 4096
FOOT_BYTES = 512
DIGEST_BYTES = 16


class Chunk(NamedTuple):
    """Whole lines, valid until the next chunk is asked for, and where in the file they stand.

    A chunk that is `is_too_long` stands for one line beyond the limit and holds none of it. One that is `is_unended` is
    the last line of the file, without its newline: complete by itself, but more may be appended to it.
    """

    lines: memoryview
    offset: int
    is_too_long: bool = False
    is_unended: bool = False


class LineBuffer:
    """The memory that lines are read into; it grows for a longer line, and shrinks again behind it."""

    def __init__(self) -> None:
        self.bytes = bytearray(READ_BYTES)
        self.view = memoryview(self.bytes)

    def resize(self, size: int, *, kept: int) -> None:
        """Another size, with the first `kept` bytes as they are."""
        other = bytearray(size)
        other[:kept] = self.view[:kept]
        self.bytes, self.view = other, memoryview(other)


class _Place(NamedTuple):
    """How far a file was passed over: the offset, and the first and last bytes before it."""

    offset: int
    head: bytes
    foot: bytes

    def behind(self, passed: memoryview) -> _Place:
        head, foot = self.head, bytes(passed[-FOOT_BYTES:])
        if len(head) < HEAD_BYTES:
            head += bytes(passed[: HEAD_BYTES - len(head)])
        if len(foot) < FOOT_BYTES:
            foot = (self.foot + foot)[-FOOT_BYTES:]
        return _Place(self.offset + len(passed), head, foot)

    def fingerprint(self) -> bytes:
        """Tells whether another file, or this one later, holds the same before the offset."""
        return blake2b(self.head + self.foot, digest_size=DIGEST_BYTES).digest()


_START = _Place(0, b"", b"")


class Tail:
    """One file, opened to be read on from its checkpoint. Nothing is locked and nothing is written.

    `is_whole` says whether a line without its newline is complete by itself. Raises OSError where the file cannot be
    opened or read.
    """

    def __init__(
        self,
        path: str,
        *,
        checkpoint: Checkpoint | None,
        buffer: LineBuffer,
        is_whole: Callable[[memoryview], bool],
    ) -> None:
        self.pending_bytes = 0
        self._buffer = buffer
        self._is_whole = is_whole
        self._is_settled = False
        self._file = FileIO(path)
        try:
            self._status = os.fstat(self._file.fileno())
            self._place = self._find_place(checkpoint)
            self._file.seek(self._place.offset)
        except BaseException:
            self._file.close()
            raise
        self.is_anew = self._place.offset == 0
        self._read_to = self._place.offset

    def __enter__(self) -> Tail:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def chunks(self) -> Iterator[Chunk]:
        """The lines from the checkpoint to where the file ended when it was opened."""
        kept = 0
        too_long: _Place | None = None
        while (end := kept + self._fill(kept)) > kept:
            start = 0
            if too_long is not None:
                start = self._buffer.bytes.find(b"\n", 0, end) + 1
                self._place = self._place.behind(self._buffer.view[: start or end])
                if start == 0:
                    continue
                yield Chunk(self._buffer.view[:0], too_long.offset, is_too_long=True)
                too_long = None
            whole = self._buffer.bytes.rfind(b"\n", start, end) + 1
            if whole > 0:
                chunk = Chunk(self._buffer.view[start:whole], self._place.offset)
                self._place = self._place.behind(chunk.lines)
                yield chunk
            kept = self._keep(max(start, whole), end)
            if kept == MAX_LINE_BYTES:
                too_long, self._place = self._place, self._place.behind(self._buffer.view)
                self._buffer.resize(READ_BYTES, kept=0)
                kept = 0
        if too_long is not None:
            self._place = too_long
        yield from self._last_line(kept, is_too_long=too_long is not None)

    def checkpoint(self) -> Checkpoint:
        """The checkpoint behind the chunks that were asked for so far.

        In the middle of a file its size is what was read, so that the rest will count as appended.
        """
        offset, status = self._place.offset, self._status
        return Checkpoint(
            device=status.st_dev,
            inode=status.st_ino,
            size=status.st_size if self._read_to == status.st_size else offset,
            mtime_ns=status.st_mtime_ns,
            offset=offset,
            fingerprint=self._place.fingerprint(),
            is_settled=self._is_settled,
            pending_bytes=self.pending_bytes,
        )

    # -- how

    def _find_place(self, checkpoint: Checkpoint | None) -> _Place:
        """The place of the checkpoint, or the start where the file is not the one that it was made of.

        A file of the same size that was written to nonetheless had something else done to it than lines appended.
        """
        if checkpoint is None or self._status.st_size < checkpoint.offset:
            return _START
        is_rewritten = self._status.st_size == checkpoint.size and self._status.st_mtime_ns != checkpoint.mtime_ns
        if is_rewritten or (self._status.st_dev, self._status.st_ino) != (checkpoint.device, checkpoint.inode):
            return _START
        head = self._file.read(min(HEAD_BYTES, checkpoint.offset))
        foot_bytes = min(FOOT_BYTES, checkpoint.offset)
        self._file.seek(checkpoint.offset - foot_bytes)
        place = _Place(checkpoint.offset, head, self._file.read(foot_bytes))
        return place if place.fingerprint() == checkpoint.fingerprint else _START

    def _fill(self, kept: int) -> int:
        """Read behind the first `kept` bytes of the buffer; at most a mebibyte, so that no chunk is much larger."""
        room = self._buffer.view[kept : kept + min(READ_BYTES, self._status.st_size - self._read_to)]
        read = self._file.readinto(room) or 0
        self._read_to += read
        return read

    def _keep(self, start: int, end: int) -> int:
        """Move the begun line to the front of the buffer, with room behind it; answers its length so far."""
        kept, size = end - start, len(self._buffer.bytes)
        if start > 0:
            self._buffer.view[:kept] = self._buffer.view[start:end]
        if kept == size < MAX_LINE_BYTES:
            self._buffer.resize(min(2 * size, MAX_LINE_BYTES), kept=kept)
        elif size > READ_BYTES > kept:
            self._buffer.resize(READ_BYTES, kept=kept)
        return kept

    def _last_line(self, kept: int, *, is_too_long: bool) -> Iterator[Chunk]:
        """The line that no newline ends, once the file has rested; the place stays before it.

        What is appended to it later may end it or go on in it: either way it will be read again, as a whole, and the
        keys of its records make that harmless.
        """
        self.pending_bytes = self._read_to - self._place.offset
        if self.pending_bytes == 0:
            self._is_settled = self._read_to == self._status.st_size
        elif self._has_rested():
            self._is_settled = True
            line = self._buffer.view[:kept]
            if is_too_long or self._is_whole(line):
                self.pending_bytes = 0
                yield Chunk(line, self._place.offset, is_too_long=is_too_long, is_unended=True)

    def _has_rested(self) -> bool:
        now = os.fstat(self._file.fileno())
        is_as_opened = (now.st_size, now.st_mtime_ns) == (self._status.st_size, self._status.st_mtime_ns)
        return is_as_opened and self._read_to == now.st_size and has_rested(now.st_mtime_ns)
