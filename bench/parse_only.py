"""Reads every transcript below a folder and prints the token totals: an import's reading half, without a ledger.

    python -m bench.parse_only CLAUDE_FOLDER

Of several records of one call the best one counts.
"""

from __future__ import annotations

import gc
import json
import sys
from collections.abc import Iterable, Iterator
from operator import attrgetter
from pathlib import Path

import msgspec

from tallystick.catalog import claude_code_roots
from tallystick.collector.discover import discover
from tallystick.collector.parse import parse_files
from tallystick.sources.claude_code import Parsed

# What decides between two records of one call, and what is summed: final, output, origin, input, 5m, 1h, read.
Counts = tuple[bool, int, int, int, int, int, int]
Calls = dict[str, Counts]

counts_of = attrgetter(
    "is_final",
    "output_tokens",
    "origin_rank",
    "input_tokens",
    "cache_creation_5m_tokens",
    "cache_creation_1h_tokens",
    "cache_read_tokens",
)


def main() -> None:
    """Parse as an import does, join what its processes found, and print the sums as JSON."""
    # nothing made here forms a cycle
    gc.disable()
    found = discover(claude_code_roots([Path(sys.argv[1])]))
    parsed = parse_files(found.files, summarize=summarize, device="bench")
    problems = [*found.problems, *parsed.problems]
    if problems:
        sys.exit(f"not everything could be read: {problems}")
    calls: Calls = {}
    for summary in parsed.summaries:
        keep_best(calls, msgspec.msgpack.decode(summary, type=Calls).items())
    print(json.dumps(totals_of(calls)))


def summarize(parts: Iterator[Parsed]) -> bytes:
    """The best record of every call that one process met."""
    calls: Calls = {}
    for part in parts:
        keep_best(calls, ((seen.event_key, counts_of(seen)) for seen in part.observations if not seen.reject_reason))
    return msgspec.msgpack.encode(calls)


def keep_best(calls: Calls, records: Iterable[tuple[str, Counts]]) -> None:
    """Take records in, the better one of each call."""
    for key, counts in records:
        held = calls.get(key)
        if held is None or counts > held:
            calls[key] = counts


def totals_of(calls: Calls) -> dict[str, int]:
    """The sums over all calls, and how many there are."""
    _, output, _, input_, write_5m, write_1h, read = map(sum, zip(*calls.values(), strict=True))
    return {
        "input_tokens": input_,
        "output_tokens": output,
        "cache_creation_tokens": write_5m + write_1h,
        "cache_read_tokens": read,
        "call_count": len(calls),
    }


if __name__ == "__main__":
    main()
