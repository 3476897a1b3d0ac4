"""A whole file of JSON, mended where it must be."""

from __future__ import annotations

from typing import Any

from tallystick.sources.formats import FileState, NotWhole
from tallystick.sources.json_values import decode_value
from tallystick.sources.json_walk import is_utf_16


def decode_document(content: bytes, *, state: FileState) -> dict[str, Any] | None:
    """The object that a document is; None, and `encoding_problem` set, where it cannot be read.

    Raises NotWhole for what is no object, or not all of one.
    """
    state.encoding_problem = "utf-16" if is_utf_16(content[:3]) else ""
    if state.encoding_problem:
        return None
    record = decode_value(content)
    if not isinstance(record, dict):
        raise NotWhole("not a whole JSON object")
    return record
