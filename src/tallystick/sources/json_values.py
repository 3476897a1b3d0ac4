"""JSON that is a value by itself: a column of a row, or a whole document."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final

import msgspec

from tallystick.sources.json_lines import decode_records

_REFUSED: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
_decode = msgspec.json.Decoder(float_hook=Decimal).decode


def decode_object(value: object) -> dict[str, Any] | None:
    """The object that some text is, mended where it must be; None where it is none, or not the whole of one."""
    content = _bytes_of(value)
    try:
        decoded = _decode(content)
    except _REFUSED:
        records = decode_records(content, is_record=lambda _: False)
        decoded = records[0] if len(records) == 1 else None
    return decoded if isinstance(decoded, dict) else None


def decode_objects(value: object) -> list[dict[str, Any]]:
    """The objects that stand one behind the other in some text; what is none is left out."""
    return [record for record in decode_records(_bytes_of(value), is_record=lambda _: True) if isinstance(record, dict)]


def _bytes_of(value: object) -> bytes:
    if isinstance(value, bytes):
        return value
    return value.encode("utf-8", "replace") if isinstance(value, str) else b""
