"""Sessions of Oh-My-Pi, which are pi's."""

from __future__ import annotations

from typing import Final

from tallystick.sources import pi
from tallystick.sources.pi import KNOWN_LINE_TYPES, ParserState, is_whole_record, parse

__all__ = ["KNOWN_LINE_TYPES", "SOURCE", "ParserState", "is_whole_record", "new_state", "parse"]

SOURCE: Final = "oh-my-pi"


def new_state(path: str) -> ParserState:
    return pi.new_state(path, source=SOURCE)
