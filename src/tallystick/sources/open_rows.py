"""Rows of a database that were seen before they were complete, and are asked for again by their ids.

No time of the agent's tells that they were completed since: its clock may have been put back meanwhile.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

# many are never completed, because their call was broken off
MAX_OPEN_ROWS: Final = 200


def note_row(open_ids: list[str], row_id: str, *, is_open: bool) -> bool:
    """Remember a row in the making, or forget it; answers whether it is met for the first time. The oldest go first."""
    is_known = row_id in open_ids
    if is_open and not is_known:
        open_ids.append(row_id)
        del open_ids[:-MAX_OPEN_ROWS]
    elif is_known and not is_open:
        open_ids.remove(row_id)
    return not is_known


def argument_of(open_ids: Sequence[str]) -> str:
    """The ids as one argument: SQLite finds those of rows in it with instr(?, char(10) || id || char(10))."""
    return "\n".join(("", *open_ids, ""))
