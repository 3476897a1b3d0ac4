"""JSON that is one document, for every source whose agent writes the whole of it anew whenever something changes.

A document is read whole each time: what it counts is counted anew, and the calls of an earlier reading are met again.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final

import msgspec

from tallystick.sources.formats import FileState, NotWhole
from tallystick.sources.json_lines import Damaged, decode_records
from tallystick.sources.json_walk import is_utf_16

_REFUSED: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
_decode = msgspec.json.Decoder(float_hook=Decimal).decode


class DocumentState(FileState, kw_only=True):
    """The names of the file and of the folder around it, of which some are ids."""

    name: str = ""
    folder: str = ""


def new_state(path: str, /) -> DocumentState:
    *_, folder, name = ("", *path.replace("\\", "/").split("/"))
    return DocumentState(name=name, folder=folder)


def decode_document(content: bytes, *, state: FileState) -> Any:
    """The JSON that a document is, mended where it must be, with the counts of an earlier reading gone.

    Raises NotWhole where it ends too early, or is in another encoding.
    """
    state.line_counts, state.reject_counts = {}, {}
    if is_utf_16(content[:3]):
        raise NotWhole("not UTF-8 but UTF-16")
    try:
        return _decode(content)
    except _REFUSED:
        records = decode_records(content, is_record=lambda _: False)
    if len(records) != 1 or isinstance(records[0], Damaged):
        raise NotWhole("not a whole JSON document")
    return records[0]


def decode_text(text: object) -> dict[str, object] | None:
    """The object that a string in a document is, None where it is none."""
    if not isinstance(text, str):
        return None
    records = decode_records(text.encode("utf-8", "replace"), is_record=lambda _: False)
    return records[0] if len(records) == 1 and isinstance(records[0], dict) else None
