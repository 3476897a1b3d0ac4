"""The messages of OpenCode before it had a database: a file for each, written anew until the message is complete.

Its parts are files of their own and are not asked: of a message with several steps only the last is seen here, under
the key that the database gives it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from tallystick.sources.formats import FileState, NotWhole, Parsed
from tallystick.sources.json_documents import decode_document
from tallystick.sources.members import text_of
from tallystick.sources.opencode import SOURCE
from tallystick.sources.opencode_messages import Place, observe
from tallystick.sources.opencode_rows import KNOWN_LINE_TYPES

__all__ = ["KNOWN_LINE_TYPES", "SOURCE", "ParserState", "new_state", "parse_document"]

# behind the place in the database, which knows more of the session
_PLACE_SUFFIX: Final = "~"


class ParserState(FileState, kw_only=True):
    """The names of the file and of its folder, which are those of the message and of its session."""

    message_id: str = ""
    session_id: str = ""


def new_state(path: str, /) -> ParserState:
    *_, folder, name = ("", *path.replace("\\", "/").split("/"))
    return ParserState(message_id=name.removesuffix(".json"), session_id=folder)


def parse_document(content: bytes, *, state: ParserState, project_of: Callable[[str], str], device: str) -> Parsed:
    message = decode_document(content, state=state)
    if not isinstance(message, dict):
        raise NotWhole("not a whole message")
    message_id = text_of(message, "id") or state.message_id
    place = Place(
        f"message:{message_id}",
        f"{message_id}{_PLACE_SUFFIX}",
        text_of(message, "sessionID") or state.session_id,
    )
    return Parsed(observe(message, [], place, source=SOURCE, state=state, project_of=project_of, device=device))
