"""The five-hour blocks of ccusage beside ours, on calls at their very edges."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from tallystick.db import Database
from tallystick.model import UsageFilter
from tests.corpus.histories import Tokens
from tests.differential.made import Use, lines
from tests.differential.measuring import take_in
from tests.differential.plain import claude_line
from tests.differential.table import rows_below
from tests.differential.tools import run_ccusage

TIMES = ("01T10:59:59.999", "01T11:00", "01T15:00", "01T15:00:00.001", "02T10:30", "02T15:31")


def test_the_table_of_blocks_is_what_was_measured(ledger_url_18: str, tmp_path: Path) -> None:
    uses = [
        Use(datetime.fromisoformat(f"2026-09-{time}").replace(tzinfo=UTC), "claude-opus-4-6", Tokens(1, 0, 0, 1))
        for time in TIMES
    ]
    lines({".claude/projects/-w/s.jsonl": [claude_line(number, use) for number, use in enumerate(uses)]})(tmp_path)
    theirs = {
        (_minute(block["startTime"]), _minute(block["endTime"])): "gap" if block["isGap"] else str(block["entries"])
        for block in run_ccusage(tmp_path, "blocks")["blocks"]
    }
    with closing(Database.connect(ledger_url_18)) as database:
        ours = {
            (_minute(row.block_start.isoformat()), _minute(row.block_end.isoformat())): "gap"
            if row.is_gap
            else str(row.event_count)
            for row in take_in(tmp_path, database).usage_blocks(UsageFilter())
        }
    measured = [[*block, ours.get(block, ""), theirs.get(block, "")] for block in sorted(ours | theirs)]
    assert rows_below("| from | to |") == measured
    # by hand: a block begins at the full hour, has five of them and not its end, and no call is left out
    assert [ours[block] for block in sorted(ours)] == ["2", "2", "gap", "1", "1"]


def _minute(time: str) -> str:
    return datetime.fromisoformat(time).astimezone(UTC).strftime("%Y-%m-%d %H:%M")
