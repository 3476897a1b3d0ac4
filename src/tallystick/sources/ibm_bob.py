"""Tasks of IBM Bob."""

from __future__ import annotations

from typing import Final

from tallystick.sources.cline_tasks import KNOWN_LINE_TYPES, TaskReader
from tallystick.sources.json_documents import DocumentState as ParserState
from tallystick.sources.json_documents import new_state

__all__ = ["KNOWN_LINE_TYPES", "SOURCE", "ParserState", "new_state", "parse_document"]

SOURCE: Final = "ibm-bob"

parse_document = TaskReader(SOURCE).parse_document
