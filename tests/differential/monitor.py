"""What claude-monitor's own reader finds in each home that is named, as one list of calls for each; run by itself."""

from __future__ import annotations

import json
import sys

from claude_monitor.data.reader import load_usage_entries


def main() -> None:
    read = []
    for home in sys.argv[1:]:
        entries, _ = load_usage_entries(f"{home}/.claude/projects")
        read.append(
            [
                {
                    "at": entry.timestamp.isoformat(),
                    "model": entry.model,
                    "tokens": [
                        entry.input_tokens,
                        entry.cache_creation_tokens,
                        entry.cache_read_tokens,
                        entry.output_tokens,
                    ],
                    "cost_usd": entry.cost_usd,
                }
                for entry in entries
            ]
        )
    print(json.dumps(read))


if __name__ == "__main__":
    main()
