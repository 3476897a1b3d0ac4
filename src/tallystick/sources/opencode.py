"""The database of OpenCode."""

from __future__ import annotations

from typing import Final

from tallystick.sources import opencode_rows
from tallystick.sources.opencode_rows import KNOWN_LINE_TYPES, ParserState, new_state

__all__ = ["KNOWN_LINE_TYPES", "SOURCE", "ParserState", "new_state", "queries", "take_rows"]

SOURCE: Final = "opencode"

_rows = opencode_rows.OpenCodeRows(SOURCE)
queries, take_rows = _rows.queries, _rows.take_rows
