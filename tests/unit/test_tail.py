"""Reading files on from their checkpoints: what grows, shrinks, is replaced, torn, glued, endless or gone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tallystick.collector.checkpoint import REST_NS, Checkpoint
from tallystick.collector.tail import MAX_LINE_BYTES, READ_BYTES, LineBuffer, Tail

HOUR_NS = 3600 * 10**9
LONG_AGO = time.time_ns() - HOUR_NS


class Reading(NamedTuple):
    """What one reading of a file gave; a line is (offset, text), a chunk that says something else is (offset, word)."""

    lines: list[tuple[int, bytes]]
    words: list[tuple[int, str]]
    checkpoint: Checkpoint
    pending_bytes: int
    is_anew: bool

    @property
    def texts(self) -> list[bytes]:
        return [text for _, text in self.lines]


def is_json(line: memoryview) -> bool:
    try:
        json.loads(bytes(line))
    except ValueError:
        return False
    return True


def read(path: Path, checkpoint: Checkpoint | None = None, *, buffer: LineBuffer | None = None) -> Reading:
    lines: list[tuple[int, bytes]] = []
    words: list[tuple[int, str]] = []
    with Tail(str(path), checkpoint=checkpoint, buffer=buffer or LineBuffer(), is_whole=is_json) as tail:
        for chunk in tail.chunks():
            offset = chunk.offset
            for line in bytes(chunk.lines).splitlines(keepends=True):
                lines.append((offset, line))
                offset += len(line)
            words += [(chunk.offset, "too long")] * chunk.is_too_long + [(chunk.offset, "unended")] * chunk.is_unended
        return Reading(lines, words, tail.checkpoint(), tail.pending_bytes, tail.is_anew)


def write(path: Path, content: bytes, *, rests: bool = True) -> Path:
    path.write_bytes(content)
    touch(path, rests=rests)
    return path


def append(path: Path, content: bytes, *, rests: bool = True) -> None:
    with path.open("ab") as file:
        file.write(content)
    touch(path, rests=rests)


def touch(path: Path, *, rests: bool) -> None:
    """Let the file look as if it had rested for long, or as if it were fresh for twice as long as a file is."""
    if rests:
        rest(path)
    else:
        # as far ahead as a file may be that has not rested
        fresh_ns = time.time_ns() + REST_NS * 9 // 10
        os.utime(path, ns=(fresh_ns, fresh_ns))


def rest(path: Path) -> None:
    """Let the file look as if nobody had touched it for an hour; each time a little later than the time before."""
    global LONG_AGO
    LONG_AGO += 10**6
    os.utime(path, ns=(LONG_AGO, LONG_AGO))


def test_whole_lines_come_with_their_offsets(tmp_path: Path) -> None:
    reading = read(write(tmp_path / "t", b'{"a":1}\n\n{"b":2}\r\n'))
    assert reading.lines == [(0, b'{"a":1}\n'), (8, b"\n"), (9, b'{"b":2}\r\n')]
    assert (reading.checkpoint.offset, reading.checkpoint.is_settled, reading.pending_bytes) == (18, True, 0)


def test_an_empty_file_gives_nothing_and_is_settled(tmp_path: Path) -> None:
    reading = read(write(tmp_path / "t", b""))
    assert (reading.lines, reading.checkpoint.offset, reading.checkpoint.is_settled) == ([], 0, True)


def test_only_what_was_appended_is_read(tmp_path: Path) -> None:
    path = write(tmp_path / "t", b"1\n2\n")
    first = read(path)
    append(path, b"3\n")
    second = read(path, first.checkpoint)
    assert (second.lines, second.is_anew) == ([(4, b"3\n")], False)
    assert read(path, second.checkpoint).lines == []


def test_a_line_that_no_newline_ends_waits_while_the_file_is_fresh(tmp_path: Path) -> None:
    reading = read(write(tmp_path / "t", b'1\n{"a":2}', rests=False))
    assert (reading.texts, reading.pending_bytes) == ([b"1\n"], 7)
    assert (reading.checkpoint.offset, reading.checkpoint.is_settled) == (2, False)


def test_a_line_that_no_newline_ends_is_taken_once_the_file_has_rested_for_two_seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "t", b'1\n{"a":2}', rests=False)
    waiting = read(path).checkpoint
    rested_at_ns = path.stat().st_mtime_ns + 2_000_000_000
    monkeypatch.setattr(time, "time_ns", lambda: rested_at_ns - 1)
    assert read(path, waiting).texts == []
    monkeypatch.setattr(time, "time_ns", lambda: rested_at_ns)
    taken = read(path, waiting)
    assert (taken.texts, taken.words) == ([b'{"a":2}'], [(2, "unended")])
    assert (taken.checkpoint.offset, taken.checkpoint.is_settled, taken.checkpoint.pending_bytes) == (2, True, 0)


def test_a_file_of_a_time_to_come_has_rested(tmp_path: Path) -> None:
    path = write(tmp_path / "t", b'1\n{"a":2}')
    waiting = read(path).checkpoint
    # it was written before the clock was put back
    to_come = time.time_ns() + 3600 * 10**9
    os.utime(path, ns=(to_come, to_come))
    taken = read(path, waiting._replace(mtime_ns=to_come))
    assert (taken.texts, taken.checkpoint.is_settled) == ([b'{"a":2}'], True)


def test_a_torn_last_line_stays_pending_and_is_not_looked_at_again(tmp_path: Path) -> None:
    reading = read(write(tmp_path / "t", b'1\n{"a":'))
    assert (reading.texts, reading.pending_bytes, reading.checkpoint.is_settled) == ([b"1\n"], 5, True)


def test_a_torn_line_is_read_whole_when_the_rest_arrives(tmp_path: Path) -> None:
    path = write(tmp_path / "t", b'1\n{"a":')
    torn = read(path).checkpoint
    append(path, b"2}\n3\n")
    assert read(path, torn).lines == [(2, b'{"a":2}\n'), (10, b"3\n")]


@pytest.mark.parametrize("ending", [b"\n", b'{"b":3}\n', b' \n{"b":3}\n'])
def test_a_line_taken_without_its_newline_is_read_again_when_more_comes(tmp_path: Path, ending: bytes) -> None:
    path = write(tmp_path / "t", b'1\n{"a":2}')
    taken = read(path)
    assert taken.texts == [b"1\n", b'{"a":2}']
    append(path, ending)
    again = read(path, taken.checkpoint)
    assert b"".join(again.texts) == b'{"a":2}' + ending
    assert again.lines[0][0] == 2


def test_a_file_that_was_cut_is_read_anew(tmp_path: Path) -> None:
    path = write(tmp_path / "t", b"1\n2\n3\n")
    whole = read(path).checkpoint
    write(path, b"1\n2\n")
    again = read(path, whole)
    assert (again.texts, again.is_anew) == ([b"1\n", b"2\n"], True)


def test_a_file_replaced_by_another_is_read_anew(tmp_path: Path) -> None:
    path = write(tmp_path / "t", b"1\n")
    old = read(path).checkpoint
    write(tmp_path / "new", b"1\n2\n").replace(path)
    assert read(path, old).texts == [b"1\n", b"2\n"]


@pytest.mark.parametrize("place", [0, 3000, -600])
def test_a_file_written_anew_and_grown_past_the_checkpoint_is_read_anew(tmp_path: Path, place: int) -> None:
    """At its beginning, and where lines went missing so that the offset falls into the middle of one."""
    lines = [b"%06d\n" % number for number in range(2000)]
    path = write(tmp_path / "t", b"".join(lines))
    old = read(path).checkpoint
    index = place // 7 % 2000
    changed = lines[:index] + lines[index + 1 :] + [b"more\n"] * 10
    write(path, b"".join(changed))
    assert path.stat().st_ino == old.inode
    assert read(path, old).texts == changed


def test_a_file_changed_in_place_is_read_anew_though_its_size_is_the_same(tmp_path: Path) -> None:
    lines = [b"%06d\n" % number for number in range(2000)]
    path = write(tmp_path / "t", b"".join(lines))
    old = read(path).checkpoint
    lines[1000] = b"change\n"
    write(path, b"".join(lines))
    assert read(path, old).texts == lines


def test_a_file_that_is_gone_raises_what_the_system_says(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "t")


def test_a_file_growing_while_it_is_read_ends_where_it_ended_when_it_was_opened(tmp_path: Path) -> None:
    path = write(tmp_path / "t", b"1\n" * READ_BYTES, rests=False)
    with Tail(str(path), checkpoint=None, buffer=LineBuffer(), is_whole=is_json) as tail:
        sizes = []
        for chunk in tail.chunks():
            sizes.append(len(chunk.lines))
            append(path, b"2\n3", rests=False)
        checkpoint = tail.checkpoint()
    assert sum(sizes) == 2 * READ_BYTES
    rest_of_it = read(path, checkpoint)
    assert b"".join(rest_of_it.texts) == b"2\n32\n"
    assert rest_of_it.pending_bytes == 1


def test_a_file_cut_while_it_is_read_is_read_anew_the_next_time(tmp_path: Path) -> None:
    path = write(tmp_path / "t", b"1\n" * 2 * READ_BYTES)
    with Tail(str(path), checkpoint=None, buffer=LineBuffer(), is_whole=is_json) as tail:
        for _ in tail.chunks():
            os.truncate(path, 10)
        checkpoint = tail.checkpoint()
    assert not checkpoint.is_settled
    assert read(path, checkpoint).texts == [b"1\n"] * 5


def test_a_checkpoint_in_the_middle_leads_to_the_rest(tmp_path: Path) -> None:
    lines = [b"%07d\n" % number for number in range(3 * READ_BYTES // 8)]
    path = write(tmp_path / "t", b"".join(lines))
    with Tail(str(path), checkpoint=None, buffer=LineBuffer(), is_whole=is_json) as tail:
        first = bytes(next(tail.chunks()).lines)
        checkpoint = tail.checkpoint()
    assert 0 < len(first) < path.stat().st_size
    assert checkpoint.size == len(first)
    assert first + b"".join(read(path, checkpoint).texts) == b"".join(lines)


def test_a_line_of_20_mb_is_one_line_and_the_buffer_shrinks_behind_it(tmp_path: Path) -> None:
    buffer = LineBuffer()
    big = b"x" * 20_000_000 + b"\n"
    reading = read(write(tmp_path / "t", b"1\n" + big + b"2\n"), buffer=buffer)
    assert reading.lines == [(0, b"1\n"), (2, big), (2 + len(big), b"2\n")]
    assert len(buffer.bytes) == READ_BYTES


def test_a_line_beyond_the_limit_is_passed_over_and_named(tmp_path: Path) -> None:
    big = b"x" * (65 << 20) + b"\n"
    path = write(tmp_path / "t", b"1\n" + big + b"2\n3\n")
    reading = read(path)
    assert reading.lines == [(0, b"1\n"), (2 + len(big), b"2\n"), (4 + len(big), b"3\n")]
    assert reading.words == [(2, "too long")]
    append(path, b"4\n")
    assert read(path, reading.checkpoint).texts == [b"4\n"]


def test_the_limit_is_a_line_of_64_mib(tmp_path: Path) -> None:
    longest = b"x" * (MAX_LINE_BYTES - 1) + b"\n"
    reading = read(write(tmp_path / "t", longest + b"x" + longest + b"1\n"))
    assert [len(text) for text in reading.texts] == [MAX_LINE_BYTES, 2]
    assert reading.words == [(MAX_LINE_BYTES, "too long")]


def test_a_line_beyond_the_limit_that_does_not_end_is_named_when_the_file_has_rested(tmp_path: Path) -> None:
    path = write(tmp_path / "t", b"1\n" + b"x" * (65 << 20), rests=False)
    fresh = read(path)
    assert (fresh.texts, fresh.words, fresh.pending_bytes) == ([b"1\n"], [], 65 << 20)
    rest(path)
    rested = read(path, fresh.checkpoint._replace(mtime_ns=path.stat().st_mtime_ns))
    assert (rested.words, rested.checkpoint.offset) == ([(2, "too long"), (2, "unended")], 2)
    append(path, b"x\n2\n")
    assert read(path, rested.checkpoint).texts == [b"2\n"]


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak of one program is told by /proc alone")
def test_700_mb_are_read_in_little_memory(tmp_path: Path) -> None:
    path = tmp_path / "t"
    line = json.dumps({"type": "user", "text": "x" * 100_000}).encode() + b"\n"
    with path.open("wb") as file:
        for _ in range(100):
            file.write(line * 70)
    program = (
        "import re, sys\n"
        "from tallystick.collector.tail import LineBuffer, Tail\n"
        "with Tail(sys.argv[1], checkpoint=None, buffer=LineBuffer(), is_whole=bool) as tail:\n"
        "    total = sum(len(chunk.lines) for chunk in tail.chunks())\n"
        "print(total, re.search(r'VmHWM:\\s*(\\d+) kB', open('/proc/self/status').read())[1])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)],
        check=True,
        capture_output=True,
        text=True,
        env={"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    total, peak_kib = map(int, done.stdout.split())
    assert total == 7000 * len(line)
    # of which the interpreter alone has 10
    assert peak_kib < 40 << 10


@settings(max_examples=200, deadline=None)
@given(
    pieces=st.lists(st.binary(min_size=1, max_size=30).map(lambda piece: piece.replace(b"\r", b"\n")), max_size=8),
    is_rested=st.lists(st.booleans(), min_size=8, max_size=8),
)
def test_every_line_is_read_exactly_once_however_the_file_grows(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[bytes], is_rested: list[bool]
) -> None:
    path = tmp_path_factory.mktemp("tail") / "t"
    path.touch()
    ended: list[tuple[int, bytes]] = []
    checkpoint: Checkpoint | None = None
    for piece, rests in zip(pieces, is_rested, strict=False):
        append(path, piece, rests=rests)
        reading = read(path, checkpoint)
        checkpoint = reading.checkpoint
        ended += [line for line in reading.lines if line[1].endswith(b"\n")]
    content = b"".join(pieces)
    lines = content.split(b"\n")[:-1]
    starts = [0, *(index + 1 for index, byte in enumerate(content) if byte == 10)]
    assert ended == [(start, line + b"\n") for start, line in zip(starts, lines, strict=False)]


@settings(max_examples=30, deadline=None)
@given(
    sizes=st.lists(
        st.one_of(
            st.integers(1, 50),
            st.integers(READ_BYTES - 2, READ_BYTES + 2),
            st.integers(2 * READ_BYTES - 2, 2 * READ_BYTES + 2),
            st.integers(3 * READ_BYTES, 5 * READ_BYTES),
        ),
        min_size=1,
        max_size=6,
    )
)
def test_lines_around_the_size_of_the_buffer_stay_whole(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int]
) -> None:
    path = tmp_path_factory.mktemp("tail") / "t"
    starts = [0]
    for size in sizes:
        starts.append(starts[-1] + size)
    content = b"".join(bytes([97 + number]) * (size - 1) + b"\n" for number, size in enumerate(sizes))
    assert read(write(path, content)).lines == [(start, content[start:end]) for start, end in pairwise(starts)]


def test_reading_leaves_no_descriptor_open(tmp_path: Path) -> None:
    path = write(tmp_path / "t", b"1\n")
    before = len(os.listdir("/dev/fd"))  # noqa: PTH208 -- counted, not looked at
    for _ in range(5):
        read(path)
    assert len(os.listdir("/dev/fd")) == before  # noqa: PTH208
