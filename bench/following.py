"""What following costs: many files at rest, and how soon a new line is in the ledger."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import statistics
import subprocess
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import psycopg

from bench.bare_ledger import owner_connection
from bench.results import Result, at_most, memory_at_most
from bench.setting import Setting, TallyHome, tally_program
from bench.timing import MIB, BenchError, percentile
from tallystick.cli.books import Books, open_books_of
from tallystick.collector.discover import discover, discover_changed, real_roots
from tallystick.collector.run import import_found
from tallystick.config import load_settings

FILE_COUNT = 5_000
FILES_BYTES = 4 << 30
ROOM_BYTES = 6 << 30
# files of as many contents: what is between the calls is text of a tool, as in a real transcript
CONTENT_COUNT = 8
CALLS_PER_FILE = 4
GROWING_COUNT = 3
PASS_COUNT = 200
# what is allocated once is there by then
WARM_COUNT = 10
PASS_LIMIT_MS = 150
GROWTH_LIMIT_MIB = 8
IDLE_S = 60
IDLE_LIMIT_PERCENT = 1.0
IDLE_LIMIT_MIB = 120
LINE_COUNT = 50
LINE_LIMIT_S = 2.0
START_LIMIT_S = 1_800
WAIT_S = 0.01
BEGIN = datetime(2026, 11, 20, 8, tzinfo=UTC)
COUNT_EVENTS = "select count(*) from public.token_usage_events"


class Watched(NamedTuple):
    """The home of the product, and the transcripts that it follows."""

    home: TallyHome
    files: list[Path]

    @property
    def environment(self) -> dict[str, str]:
        return {**self.home.environment(), "CLAUDE_CONFIG_DIR": str(self.home.path / "claude")}


def measure_following(setting: Setting) -> Iterator[Result]:
    """5,000 files of 4 GiB, read once; then passes over three that grow, an idle watcher, and lines as they come."""
    if shutil.disk_usage(setting.work_folder).free < ROOM_BYTES:
        raise BenchError(f"following needs {ROOM_BYTES >> 30} GiB of room in {setting.work_folder}")
    home = setting.new_home("following")
    try:
        watched = Watched(home, make_files(home.path / "claude" / "projects"))
        home.start()
        yield from measure_passes(watched)
        yield from measure_watcher(watched)
    finally:
        home.stop()
        shutil.rmtree(home.path)


def measure_passes(watched: Watched) -> Iterator[Result]:
    """The road of each look of the watcher at everything, in this process: 200 times, after one that reads it all."""
    settings = load_settings(watched.environment)
    with open_books_of(settings) as books:
        started_at = time.perf_counter()
        first = import_found(discover(books.settings.roots), books.ledger, books.settings, is_all=True)
        if first.receipt.new != FILE_COUNT * CALLS_PER_FILE:
            raise BenchError(f"not {FILE_COUNT * CALLS_PER_FILE} calls were new: {first.receipt}, {first.problems[:3]}")
        note = f" ({first.bytes_read / MIB:,.0f} MiB in {first.files_read:,} files)"
        yield Result("following, everything read once", f"{time.perf_counter() - started_at:.1f} s{note}")
        grow_and_pass(watched, books, count=WARM_COUNT, is_all=True)
        before = resident_bytes(os.getpid())
        looks = grow_and_pass(watched, books, count=PASS_COUNT, is_all=True)
        grown_bytes = resident_bytes(os.getpid()) - before
        told = grow_and_pass(watched, books, count=PASS_COUNT, is_all=False)
    yield at_most("a look at 5,000 files of which 3 grew, median", looks.ms, PASS_LIMIT_MS, unit="ms", note=looks.note)
    yield at_most("told of the 3 that grew, median", told.ms, PASS_LIMIT_MS, unit="ms", note=told.note)
    yield at_most(f"growth of memory in {PASS_COUNT} looks", grown_bytes / MIB, GROWTH_LIMIT_MIB, unit="MiB")


class Passes(NamedTuple):
    """The median pass, and what is said beside it."""

    ms: float
    note: str


def grow_and_pass(watched: Watched, books: Books, *, count: int, is_all: bool) -> Passes:
    """Let three files grow and take that in, again and again: by a look at everything, or told which they were."""
    growing, settings = watched.files[:GROWING_COUNT], books.settings
    roots = real_roots(settings.roots)
    times_ms, cpu_ms = [], []
    for number in range(count):
        for path in growing:
            append(path, call_line(f"pass-{path.stem}-{time.monotonic_ns()}"))
        started_at, cpu_started_at = time.perf_counter(), time.process_time()
        found = discover(settings.roots) if is_all else discover_changed(map(str, growing), roots)
        receipt = import_found(found, books.ledger, settings, is_all=is_all).receipt
        times_ms.append((time.perf_counter() - started_at) * 1000)
        cpu_ms.append((time.process_time() - cpu_started_at) * 1000)
        if receipt.new != GROWING_COUNT:
            raise BenchError(f"pass {number} took in {receipt.new} calls, not {GROWING_COUNT}")
    cpu_median = statistics.median(cpu_ms)
    note = f" (p99 {percentile(times_ms, 0.99):.0f} ms; {cpu_median:.0f} ms of the processor)"
    return Passes(statistics.median(times_ms), note)


def measure_watcher(watched: Watched) -> Iterator[Result]:
    """`tally watch` as a process: at rest for a minute, then a line every now and then."""
    with running_watcher(watched) as process, owner_connection(watched.home.url()) as connection:
        wait_for_event(watched.files[0], connection)
        # by then it has taken its looks at what was written while it started
        time.sleep(5)
        before_s = cpu_seconds(process.pid)
        time.sleep(IDLE_S)
        percent = (cpu_seconds(process.pid) - before_s) / IDLE_S * 100
        yield at_most("tally watch at rest, of one core", percent, IDLE_LIMIT_PERCENT, unit="%")
        yield memory_at_most("tally watch at rest", resident_bytes(process.pid), IDLE_LIMIT_MIB)
        times_s = [wait_for_event(path, connection) for path in itertools.islice(watched.files, 10, 10 + LINE_COUNT)]
        yield memory_at_most("tally watch, behind its lines", resident_bytes(process.pid), IDLE_LIMIT_MIB)
    note = f" (p50 {statistics.median(times_s):.2f} s)"
    yield at_most("from a line to the ledger, slowest of 50", max(times_s), LINE_LIMIT_S, unit="s", note=note)


@contextlib.contextmanager
def running_watcher(watched: Watched) -> Iterator[subprocess.Popen[bytes]]:
    with (watched.home.path / "watch.log").open("wb") as log:
        process = subprocess.Popen([tally_program(), "watch"], env=watched.environment, stderr=log)
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


def wait_for_event(path: Path, connection: psycopg.Connection[tuple[object, ...]]) -> float:
    """Append a line and wait until its event is committed; answers the seconds between."""
    count = count_events(connection)
    append(path, call_line(f"line-{count}"))
    appended_at = time.perf_counter()
    while count_events(connection) == count:
        if time.perf_counter() - appended_at > START_LIMIT_S:
            raise BenchError("the watcher took nothing in")
        time.sleep(WAIT_S)
    return time.perf_counter() - appended_at


def count_events(connection: psycopg.Connection[tuple[object, ...]]) -> int:
    row = connection.execute(COUNT_EVENTS).fetchone()
    connection.commit()
    assert row is not None, "a count answers one row"
    return int(str(row[0]))


# -- files


def make_files(folder: Path) -> list[Path]:
    """Transcripts of few contents, each with calls of its own; no file shares a block with another."""
    contents = [make_text(number) for number in range(CONTENT_COUNT)]
    files = []
    for number in range(FILE_COUNT):
        path = folder / f"-project-{number % 50}" / f"{number:08x}-0000-4000-8000-000000000000.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            for call in range(CALLS_PER_FILE):
                file.write(contents[(number + call) % CONTENT_COUNT])
                file.write(call_line(f"{number}-{call}"))
        files.append(path)
    size = sum(path.stat().st_blocks * 512 for path in files)
    if size < FILES_BYTES:
        raise BenchError(f"the files take {size / MIB:,.0f} MiB of the disk, not {FILES_BYTES >> 20}")
    return files


def make_text(number: int) -> bytes:
    """A tool's result: a line without usage, as long as one file's share of it all."""
    words = " ".join(f"{number}{at * 2_654_435_761 % 2**32:08x}" for at in range(20_000))
    size = FILES_BYTES // FILE_COUNT // CALLS_PER_FILE
    text = (words * (size // len(words) + 1))[:size]
    return json.dumps({"type": "user", "message": {"role": "user", "content": text}}).encode() + b"\n"


def call_line(name: str) -> bytes:
    """One call, by a name that no other has."""
    usage = {"input_tokens": 3, "cache_read_input_tokens": 40_000, "output_tokens": 250}
    message = {"id": f"msg_following-{name}".replace("-", "_"), "model": "claude-opus-4-6", "role": "assistant"}
    line = {
        "type": "assistant",
        "sessionId": "5e55107a-0000-4000-8000-000000000001",
        "cwd": "/nowhere/project",
        "timestamp": (BEGIN + timedelta(seconds=len(name))).isoformat().replace("+00:00", ".000Z"),
        "message": {**message, "type": "message", "stop_reason": "end_turn", "usage": usage},
    }
    return json.dumps(line, separators=(",", ":")).encode() + b"\n"


def append(path: Path, content: bytes) -> None:
    with path.open("ab") as file:
        file.write(content)


# -- what the system says of a process


def resident_bytes(pid: int) -> int:
    return int(status_of(pid)["VmRSS"].split()[0]) * 1024


def status_of(pid: int) -> Mapping[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def cpu_seconds(pid: int) -> float:
    """Of the process and of what it has waited for."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
