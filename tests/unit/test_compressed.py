"""Lines of compressed files: whole ones, in bounded memory, and what a torn file says of itself."""

from __future__ import annotations

import os
import time
import tracemalloc
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from tallystick.collector import compressed
from tallystick.collector.checkpoint import Checkpoint
from tallystick.collector.compressed import CompressedLines
from tallystick.collector.tail import MAX_LINE_BYTES, READ_BYTES
from tallystick.sources.formats import NotWhole

LONG_AGO_S = 1_780_000_000


def frame(content: bytes) -> bytes:
    return zstandard.ZstdCompressor().compress(content)


def write(folder: Path, content: bytes, *, rests: bool = True) -> str:
    path = folder / "a.jsonl.zst"
    path.write_bytes(content)
    # what is fresh is so for as long as the test takes
    changed_at_s = LONG_AGO_S if rests else time.time() + 1.8
    os.utime(path, (changed_at_s, changed_at_s))
    return str(path)


class Read:
    """What a file gave: its chunks, the problem it told, the checkpoint at its end."""

    def __init__(self, path: str) -> None:
        self.chunks: list[tuple[bytes, int]] = []
        self.too_long: list[int] = []
        self.fault = ""
        with CompressedLines(path, is_whole=lambda line: bytes(line).endswith(b"}")) as lines:
            try:
                for chunk in lines.chunks():
                    if chunk.is_too_long:
                        self.too_long.append(chunk.offset)
                    else:
                        self.chunks.append((bytes(chunk.lines), chunk.offset))
            except NotWhole as error:
                self.fault = str(error)
            self.checkpoint = lines.checkpoint()

    @property
    def content(self) -> bytes:
        return b"".join(part for part, _ in self.chunks)


def numbered(count: int, *, size: int = 100) -> bytes:
    return b"".join(b"{%0*d}\n" % (size - 3, number) for number in range(count))


def test_lines_come_whole_about_a_mebibyte_at_a_time(tmp_path: Path) -> None:
    content = numbered(50_000)
    read = Read(write(tmp_path, frame(content)))
    assert (read.content, read.fault) == (content, "")
    assert len(read.chunks) == 5
    offset = 0
    for part, at in read.chunks:
        assert (at, part[-1:], len(part) <= 2 * READ_BYTES) == (offset, b"\n", True)
        offset += len(part)


def test_a_file_that_was_read_whole_is_settled_until_it_changes(tmp_path: Path) -> None:
    path = write(tmp_path, frame(numbered(3)))
    status = Path(path).stat()
    assert Read(path).checkpoint == Checkpoint(
        status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_size, b"", True, 0
    )


def test_in_the_middle_of_a_file_its_checkpoint_is_of_one_that_is_to_be_read_anew(tmp_path: Path) -> None:
    with CompressedLines(write(tmp_path, frame(numbered(50_000))), is_whole=lambda _: True) as lines:
        next(lines.chunks())
        checkpoint = lines.checkpoint()
    assert (checkpoint.size, checkpoint.offset, checkpoint.is_settled) == (0, 0, False)


def test_several_frames_are_one_text_and_lines_may_go_over_their_ends(tmp_path: Path) -> None:
    content = numbered(3000)
    skipped = b"\x50\x2a\x4d\x18\x03\x00\x00\x00abc"
    frames = [frame(content[:777]), skipped, frame(b""), frame(content[777:150_001]), frame(content[150_001:])]
    read = Read(write(tmp_path, b"".join(frames)))
    assert (read.content, read.fault) == (content, "")


@pytest.mark.parametrize(("last", "is_taken"), [(b"{1}", True), (b"{1", False)])
def test_a_last_line_without_its_newline_counts_if_it_is_complete(
    tmp_path: Path, last: bytes, *, is_taken: bool
) -> None:
    read = Read(write(tmp_path, frame(numbered(2) + last)))
    assert read.content == numbered(2) + (last if is_taken else b"")
    assert (read.fault, read.checkpoint.is_settled) == ("", True)
    assert read.checkpoint.pending_bytes == (0 if is_taken else 2)


def torn(content: bytes) -> Iterable[bytes]:
    whole = frame(content)
    return (whole[:-1], whole[: len(whole) // 2], frame(content) + whole[:9], b"")


def test_a_file_that_ends_too_early_gives_what_it_has_and_says_so(tmp_path: Path) -> None:
    content = os.urandom(3 << 20).replace(b"\n", b"").hex("\n", 99).encode() + b"\n"
    for part in torn(content):
        read = Read(write(tmp_path, part))
        assert read.fault == "ends in the middle"
        assert content.startswith(read.content[: len(content)])
        assert read.content[-1:] in (b"\n", b"")
        assert (read.checkpoint.size, read.checkpoint.offset) == (len(part), 0)
        assert (read.checkpoint.is_settled, read.checkpoint.pending_bytes) == (True, len(part))


def test_a_file_that_is_being_written_is_looked_at_again_until_it_is_whole(tmp_path: Path) -> None:
    path = write(tmp_path, frame(numbered(3))[:-1], rests=False)
    assert not Read(path).checkpoint.is_settled
    path = write(tmp_path, frame(numbered(3)), rests=False)
    assert Read(path).checkpoint.is_settled


def test_what_is_not_zstandard_says_so(tmp_path: Path) -> None:
    for content in (numbered(3), frame(numbered(3)) + b"more"):
        read = Read(write(tmp_path, content))
        assert read.fault.startswith("Zstandard: ")
        assert read.checkpoint.is_settled
    assert read.content == numbered(3)


def test_a_line_beyond_the_limit_is_named_and_the_rest_is_read(tmp_path: Path) -> None:
    long = b"x" * (MAX_LINE_BYTES + READ_BYTES) + b"\n"
    read = Read(write(tmp_path, frame(numbered(2) + long + numbered(2) + long)))
    assert (read.content, read.too_long) == (numbered(2) * 2, [200, 400 + len(long)])
    unended = Read(write(tmp_path, frame(numbered(2) + long[:-1])))
    assert (unended.content, unended.too_long) == (numbered(2), [200])


def test_a_file_that_becomes_a_thousand_times_as_large_takes_little_memory(tmp_path: Path) -> None:
    path = write(tmp_path, frame(bytes(400 << 20)))
    tracemalloc.start()
    try:
        assert Read(path).too_long == [0]
        assert tracemalloc.get_traced_memory()[1] < 200 << 20
    finally:
        tracemalloc.stop()


def test_a_file_that_is_not_there_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        CompressedLines(str(tmp_path / "nowhere.zst"), is_whole=lambda _: True)


@given(
    lines=st.lists(st.binary(max_size=30).map(lambda line: line.replace(b"\n", b"")), max_size=30),
    ends=st.lists(st.integers(0, 900), max_size=4),
    piece=st.integers(1, 40),
)
def test_however_it_is_compressed_and_read_the_lines_are_the_same(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], ends: list[int], piece: int
) -> None:
    content = b"".join(line + b"\n" for line in lines)
    places = sorted({0, len(content), *(min(end, len(content)) for end in ends)})
    frames = [frame(content[start:end]) for start, end in pairwise(places)] or [frame(b"")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compressed, "PIECE_BYTES", piece)
        patch.setattr(compressed, "READ_BYTES", 16)
        read = Read(write(tmp_path_factory.mktemp("zst"), b"".join(frames)))
    assert (read.content, read.fault) == (content, "")
    assert all(part.endswith(b"\n") for part, _ in read.chunks)
