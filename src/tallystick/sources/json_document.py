"""A whole file of JSON, mended where it must be."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final

import msgspec

from tallystick.sources.formats import FileState, NotWhole
from tallystick.sources.json_lines import decode_records
from tallystick.sources.json_walk import is_utf_16

_REFUSED: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
_decode = msgspec.json.Decoder(float_hook=Decimal).decode


def decode_document(content: bytes, *, state: FileState) -> dict[str, Any] | None:
    """The object that a document is; None, and `encoding_problem` set, where it cannot be read.

    Raises NotWhole for what is no object, or not all of one.
    """
    state.encoding_problem = "utf-16" if is_utf_16(content[:3]) else ""
    if state.encoding_problem:
        return None
    try:
        record = _decode(content)
    except _REFUSED:
        records = decode_records(content, is_record=lambda _: True)
        record = records[0] if len(records) == 1 else None
    if not isinstance(record, dict):
        raise NotWhole("not a whole JSON object")
    return record
