"""JSON that is a value by itself: a column of a row, or a whole document."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final

import msgspec

from tallystick.sources.json_lines import Damaged, decode_records

_REFUSED: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
_decode = msgspec.json.Decoder(float_hook=Decimal).decode


def decode_value(content: bytes) -> Any:
    """What some text is, mended where it must be; Damaged where it is no JSON, or not the whole of it."""
    try:
        return _decode(content)
    except _REFUSED:
        records = decode_records(content, is_record=lambda _: False)
    return records[0] if len(records) == 1 else Damaged("")


def decode_object(value: object) -> dict[str, Any] | None:
    """The object that some text is; None where it is none, or not the whole of one."""
    decoded = decode_value(_bytes_of(value))
    return decoded if isinstance(decoded, dict) else None


def decode_objects(value: object) -> list[dict[str, Any]]:
    """The objects that stand one behind the other in some text; what is none is left out."""
    return [record for record in decode_records(_bytes_of(value), is_record=lambda _: True) if isinstance(record, dict)]


def _bytes_of(value: object) -> bytes:
    if isinstance(value, bytes):
        return value
    return value.encode("utf-8", "replace") if isinstance(value, str) else b""
