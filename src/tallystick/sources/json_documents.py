"""JSON that is one document, for every source whose agent writes the whole of it anew whenever something changes.

A document is read whole each time: what it counts is counted anew, and the calls of an earlier reading are met again.
"""

from __future__ import annotations

from typing import Any

from tallystick.sources.formats import FileState, NotWhole
from tallystick.sources.json_lines import Damaged
from tallystick.sources.json_values import decode_value
from tallystick.sources.json_walk import is_utf_16


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
    value = decode_value(content)
    if isinstance(value, Damaged):
        raise NotWhole("not a whole JSON document")
    return value
