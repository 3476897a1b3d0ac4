"""Reads every transcript below a folder and prints the token totals: the parser at work without a ledger.

    python -m bench.parse_only PROJECTS_FOLDER

Two processes, the largest files first; of several lines about one call the best one counts.
"""

from __future__ import annotations

import gc
import json
import os
import sys
from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from tallystick.observation import Observation
from tallystick.sources import claude_code

WORKERS = 2
BUFFER_BYTES = 1 << 20
DEVICE = "bench"

# What decides between two observations of one call, and what is summed: final, output, origin, input, 5m, 1h, read.
Counts = tuple[bool, int, int, int, int, int, int]


class TranscriptFile(NamedTuple):
    """A transcript and its size, largest first when sorted."""

    size: int
    path: str


class Worker(NamedTuple):
    """A process at work, and the pipe that it writes what it found into."""

    process_id: int
    pipe: int


def main() -> None:
    """Share the files out, join what the workers found, and print the sums as JSON."""
    root = sys.argv[1]
    files = sorted(find_transcripts(root), reverse=True)
    workers = [start_worker(root, share) for share in share_out(files)]
    best: dict[str, Counts] = {}
    for worker in workers:
        with os.fdopen(worker.pipe, "rb") as reader:
            keep_best(best, msgspec.msgpack.decode(reader.read(), type=dict[str, Counts]))
        # Waited for, so that its memory and time count as this program's.
        os.waitpid(worker.process_id, 0)
    print(json.dumps(totals_of(best)))


def find_transcripts(folder: str) -> Iterator[TranscriptFile]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from find_transcripts(entry.path)
            elif entry.name.endswith(".jsonl"):
                yield TranscriptFile(entry.stat().st_size, entry.path)


def share_out(files: list[TranscriptFile]) -> list[list[str]]:
    """Each file to the worker that has the least to read so far."""
    shares: list[list[str]] = [[] for _ in range(WORKERS)]
    loads = [0] * WORKERS
    for file in files:
        lightest = loads.index(min(loads))
        shares[lightest].append(file.path)
        loads[lightest] += file.size
    return [share for share in shares if share]


def start_worker(root: str, paths: list[str]) -> Worker:
    """Fork a process that reads these files."""
    reader, writer = os.pipe()
    process_id = os.fork()
    if process_id:
        os.close(writer)
        return Worker(process_id, reader)
    # Nothing that a worker makes forms a cycle, and it ends when it is done.
    gc.disable()
    best: dict[str, Counts] = {}
    buffer = bytearray(BUFFER_BYTES)
    for path in paths:
        buffer = read_transcript(root, path, buffer=buffer, best=best)
    with os.fdopen(writer, "wb") as pipe:
        pipe.write(msgspec.msgpack.encode(best))
    os._exit(0)


def read_transcript(root: str, path: str, *, buffer: bytearray, best: dict[str, Counts]) -> bytearray:
    """Feed the whole lines of one file to the parser; the buffer is handed on, grown where a line needed it."""
    state = claude_code.new_state(os.path.relpath(path, root))
    descriptor = os.open(path, os.O_RDONLY)
    kept = offset = 0
    while True:
        if kept == len(buffer):
            buffer = buffer + bytes(len(buffer))
        view = memoryview(buffer)
        count = os.readv(descriptor, [view[kept:]])
        if count == 0:
            break
        end = buffer.rfind(b"\n", kept, kept + count) + 1
        if end:
            parsed = claude_code.parse(view[:end], offset=offset, state=state, project_of=project_of, device=DEVICE)
            keep_observations(best, parsed.observations)
            offset += end
        kept = kept + count - end
        view[:kept] = view[end : end + kept]
    os.close(descriptor)
    return buffer


def project_of(folder: str) -> str:
    return folder


def keep_observations(best: dict[str, Counts], observations: list[Observation]) -> None:
    found: dict[str, Counts] = {}
    for seen in observations:
        if seen.reject_reason:
            continue
        counts = (
            seen.is_final,
            seen.output_tokens,
            seen.origin_rank,
            seen.input_tokens,
            seen.cache_creation_5m_tokens,
            seen.cache_creation_1h_tokens,
            seen.cache_read_tokens,
        )
        found[seen.event_key] = max(found.get(seen.event_key, counts), counts)
    keep_best(best, found)


def keep_best(best: dict[str, Counts], found: dict[str, Counts]) -> None:
    for key, counts in found.items():
        best[key] = max(best.get(key, counts), counts)


def totals_of(best: dict[str, Counts]) -> dict[str, int]:
    return {
        "input_tokens": sum(counts[3] for counts in best.values()),
        "output_tokens": sum(counts[1] for counts in best.values()),
        "cache_creation_tokens": sum(counts[4] + counts[5] for counts in best.values()),
        "cache_read_tokens": sum(counts[6] for counts in best.values()),
        "call_count": len(best),
    }


if __name__ == "__main__":
    main()
