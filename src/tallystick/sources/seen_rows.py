"""Rows that are large and replaced whole: asked for again only when they are not as they were read.

A mark tells one state of a row from another. Marks are compared and never ordered, so that no clock can hide a row.
"""

from __future__ import annotations

import json
from typing import Final

# a row whose mark was dropped is read again, which changes nothing
MAX_SEEN_ROWS: Final = 10_000
# rows of whole conversations, of which some are a few mebibytes
ROWS_AT_ONCE: Final = 10


def note_mark(seen: dict[str, str], row_id: str, mark: str) -> None:
    """Remember a row as it was read, as the latest of all; the oldest go first."""
    seen.pop(row_id, None)
    seen[row_id] = mark
    while len(seen) > MAX_SEEN_ROWS:
        del seen[next(iter(seen))]


def argument_of(seen: dict[str, str]) -> str:
    """The marks as one argument: SQLite finds them in (select value from json_each(?))."""
    return json.dumps(list(seen.values()))
