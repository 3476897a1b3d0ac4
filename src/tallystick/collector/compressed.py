"""Lines of a file that its agent has compressed with Zstandard: read from the start whenever it has changed.

There is no reading on from where one left off; the keys of its records make it harmless to read them again.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from io import FileIO
from types import TracebackType

from tallystick.collector.checkpoint import Checkpoint, has_rested
from tallystick.collector.tail import MAX_LINE_BYTES, READ_BYTES, Chunk
from tallystick.sources.formats import NotWhole

SUFFIX = ".zst"
# no more than 32 MiB come out of so much, for a block of 128 KiB takes 4 bytes
PIECE_BYTES = 1 << 10


class CompressedLines:
    """One file, opened to be read where a Tail would read a plain one.

    `is_whole` says whether a last line without its newline is complete by itself. Raises OSError where the file cannot
    be opened or read.
    """

    is_anew = True

    def __init__(self, path: str, *, is_whole: Callable[[memoryview], bool]) -> None:
        self._is_whole = is_whole
        self._begun = bytearray()
        self._offset = 0
        self._searched = 0
        self._too_long_from = -1
        self._is_at_end = False
        self._fault = ""
        self._file = FileIO(path)
        try:
            self._status = os.fstat(self._file.fileno())
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> CompressedLines:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def chunks(self) -> Iterator[Chunk]:
        """The lines, about a mebibyte at a time; raises NotWhole behind the last that can be had of a torn file."""
        for piece in self._pieces():
            for start in range(0, len(piece), READ_BYTES):
                self._begun += piece[start : start + READ_BYTES]
                if len(self._begun) >= READ_BYTES:
                    yield from self._take_lines()
        yield from self._take_lines()
        self._is_at_end = True
        if self._fault:
            raise NotWhole(self._fault)
        yield from self._take_last_line()

    def checkpoint(self) -> Checkpoint:
        """The checkpoint behind the chunks that were asked for so far: behind all of it, or that of an unread file."""
        status = self._status
        identity = (status.st_dev, status.st_ino)
        if not self._is_at_end:
            return Checkpoint(*identity, 0, status.st_mtime_ns, 0, b"", is_settled=False, pending_bytes=0)
        is_whole, is_settled = not self._fault, not self._fault or has_rested(status.st_mtime_ns)
        return Checkpoint(
            *identity,
            status.st_size,
            status.st_mtime_ns,
            offset=status.st_size if is_whole else 0,
            fingerprint=b"",
            is_settled=is_settled,
            pending_bytes=len(self._begun) if is_whole else status.st_size,
            fault=self._fault if is_settled else "",
        )

    # -- how

    def _pieces(self) -> Iterator[bytes]:
        """What comes out of the file, frame by frame; `_fault` says why it ends too early."""
        # takes 10 ms, and few files are compressed
        import zstandard

        rest, is_whole = b"", False
        try:
            while piece := rest or self._file.read(PIECE_BYTES):
                frame = zstandard.ZstdDecompressor().decompressobj()
                while piece and not frame.eof:
                    yield frame.decompress(piece)
                    piece = b"" if frame.eof else self._file.read(PIECE_BYTES)
                rest, is_whole = frame.unused_data, frame.eof
        except zstandard.ZstdError as error:
            self._fault = f"Zstandard: {error}"
        else:
            self._fault = "" if is_whole else "ends in the middle"

    def _take_lines(self) -> Iterator[Chunk]:
        if self._too_long_from >= 0:
            end = self._begun.find(b"\n") + 1
            self._drop(end or len(self._begun))
            if end == 0:
                return
            yield Chunk(memoryview(b""), self._too_long_from, is_too_long=True)
            self._too_long_from = -1
        end = self._begun.rfind(b"\n", self._searched) + 1
        if end:
            chunk = Chunk(memoryview(bytes(self._begun[:end])), self._offset)
            self._drop(end)
            yield chunk
        if len(self._begun) >= MAX_LINE_BYTES:
            self._too_long_from = self._offset
            self._drop(len(self._begun))
        self._searched = len(self._begun)

    def _take_last_line(self) -> Iterator[Chunk]:
        """The line that no newline ends: nothing will be appended to it here."""
        if self._too_long_from >= 0:
            yield Chunk(memoryview(b""), self._too_long_from, is_too_long=True)
        elif self._begun and self._is_whole(memoryview(bytes(self._begun))):
            line = bytes(self._begun)
            self._begun.clear()
            yield Chunk(memoryview(line), self._offset)

    def _drop(self, size: int) -> None:
        del self._begun[:size]
        self._offset += size
        self._searched = 0
