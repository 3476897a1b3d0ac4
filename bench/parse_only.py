"""Reads every transcript below a folder and prints the token totals: an import's reading half, without a ledger.

    python -m bench.parse_only CLAUDE_FOLDER

Of several records of one call the best one counts.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec

from tallystick.collector.discover import discover
from tallystick.collector.parse import parse_files
from tallystick.sources.claude_code import Parsed

# What decides between two records of one call, and what is summed: final, output, origin, input, 5m, 1h, read.
Counts = tuple[bool, int, int, int, int, int, int]
Calls = dict[str, Counts]


def main() -> None:
    """Parse as an import does, join what its processes found, and print the sums as JSON."""
    found = discover([Path(sys.argv[1])])
    parsed = parse_files(found.files, summarize=summarize, device="bench")
    problems = [*found.problems, *parsed.problems]
    if problems:
        sys.exit(f"not everything could be read: {problems}")
    calls: Calls = {}
    for summary in parsed.summaries:
        for key, counts in msgspec.msgpack.decode(summary, type=Calls).items():
            calls[key] = max(calls.get(key, counts), counts)
    print(json.dumps(totals_of(calls)))


def summarize(parts: Iterator[Parsed]) -> bytes:
    """The best record of every call that one process met."""
    calls: Calls = {}
    for part in parts:
        for seen in part.observations:
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
            held = calls.get(seen.event_key)
            if held is None or counts > held:
                calls[seen.event_key] = counts
    return msgspec.msgpack.encode(calls)


def totals_of(calls: Calls) -> dict[str, int]:
    """The sums over all calls, and how many there are."""
    return {
        "input_tokens": sum(counts[3] for counts in calls.values()),
        "output_tokens": sum(counts[1] for counts in calls.values()),
        "cache_creation_tokens": sum(counts[4] + counts[5] for counts in calls.values()),
        "cache_read_tokens": sum(counts[6] for counts in calls.values()),
        "call_count": len(calls),
    }


if __name__ == "__main__":
    main()
