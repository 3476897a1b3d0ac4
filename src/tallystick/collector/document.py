"""Files that an agent writes anew whenever something changes: read whole, and again when they have."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from tallystick.collector.checkpoint import Checkpoint, has_rested
from tallystick.collector.discover import TranscriptFile

MAX_DOCUMENT_BYTES = 256 << 20


class Document(NamedTuple):
    """A file's content, and what the file was when it was opened."""

    content: bytes
    device: int
    inode: int
    size: int
    mtime_ns: int

    @property
    def has_rested(self) -> bool:
        """Whether nobody seems to be writing it now."""
        return has_rested(self.mtime_ns)

    def checkpoint(self) -> Checkpoint:
        """The checkpoint behind all of it."""
        return Checkpoint(*self[1:], self.size, b"", is_settled=True, pending_bytes=0)

    def unread_checkpoint(self, fault: str) -> Checkpoint:
        """The checkpoint of one that was not whole: settled once it has rested, for then only a change can help."""
        is_final = self.has_rested
        return Checkpoint(
            *self[1:], 0, b"", is_settled=is_final, pending_bytes=self.size, fault=fault if is_final else ""
        )


def read_document(file: TranscriptFile) -> Document:
    """The whole of a file; raises OSError where it cannot be read, or is larger than a document of an agent can be."""
    with Path(file.path).open("rb") as opened:
        status = os.fstat(opened.fileno())
        if status.st_size > MAX_DOCUMENT_BYTES:
            raise OSError(f"larger than {MAX_DOCUMENT_BYTES >> 20} MiB")
        # whatever is written from now on changes the file's time, and is read with all the rest another time
        content = opened.read(status.st_size)
    return Document(content, status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
