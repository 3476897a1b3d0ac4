"""Gemini CLI's chats, as lines (.jsonl) and as the documents (.json) of builds before them; pure.

Its input contains what was read from the cache, which is taken off, and neither what tools gave back to the model nor
what the model thought, which are added: total = input + output + thoughts + tool.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from tallystick.observation import ORIGIN_MAIN_LINE, ORIGIN_SIDECHAIN_LINE, Observation
from tallystick.sources.call_lines import CallState, count_other, parts_of, read_lines, settle, stem_of
from tallystick.sources.formats import NotWhole, Parsed, reject
from tallystick.sources.json_documents import decode_document
from tallystick.sources.json_walk import is_utf_16, is_whole_record
from tallystick.sources.members import CountReader, items_of, part_of, text_of
from tallystick.sources.times import utc_time

__all__ = ["KNOWN_LINE_TYPES", "SOURCE", "ParserState", "is_whole_record", "new_state", "parse", "parse_document"]

SOURCE: Final = "gemini-cli"
KNOWN_LINE_TYPES: Final = frozenset({"error", "gemini", "info", "user", "warning"})
PROVIDER: Final = "google"

# A chat lies in this folder, the chat of a sub-agent in a folder of it that has its parent's id.
_CHATS_FOLDER: Final = "chats"
_UPDATE: Final = "$set"


class ParserState(CallState, kw_only=True):
    """`parent_id` is the session that a sub-agent's chat belongs to, '' for any other chat."""

    parent_id: str = ""


def new_state(path: str) -> ParserState:
    *_, above, folder, _ = ("", "", *parts_of(path))
    return ParserState(stem=stem_of(path), parent_id=folder if above == _CHATS_FOLDER else "")


def parse(
    lines: memoryview, *, offset: int, state: ParserState, project_of: Callable[[str], str], device: str
) -> Parsed:
    """The calls that whole lines report."""
    return read_lines(
        lines,
        offset=offset,
        state=state,
        is_wanted=_is_wanted,
        is_record=_is_record,
        source=SOURCE,
        observe=partial(_observe, state=state, project_of=project_of, device=device),
    )


def parse_document(content: bytes, *, state: ParserState, project_of: Callable[[str], str], device: str) -> Parsed:
    """The calls of a chat that is one document."""
    state.line_counts, state.reject_counts = {}, {}
    state.session_id = state.cwd = state.occurred_at = ""
    position, state.encoding_problem = f"{state.stem}:0", "utf-16" if is_utf_16(content[:3]) else ""
    if state.encoding_problem:
        return Parsed([reject(state, source=SOURCE, position=position, reason="encoding")])
    chat = decode_document(content, state=state)
    if not isinstance(chat, dict):
        raise NotWhole("not a whole JSON object")
    return Parsed(_observe_chat(chat, position, state=state, project_of=project_of, device=device))


def _is_wanted(line: bytes) -> bool:
    return b'"tokens"' in line or b'"sessionId"' in line or b'"directories"' in line


def _is_record(record: dict[str, object]) -> bool:
    return "tokens" in record or _UPDATE in record


def _observe(
    record: dict[str, object], position: str, *, state: ParserState, project_of: Callable[[str], str], device: str
) -> list[Observation]:
    if "tokens" in record:
        return _observe_message(record, position, state=state, project_of=project_of, device=device)
    if (update := part_of(record, _UPDATE)) is not None:
        state.count_lines(f"({_UPDATE})")
        return _observe_chat(update, position, state=state, project_of=project_of, device=device)
    if "sessionId" in record:
        state.count_lines("(header)")
        return _observe_chat(record, position, state=state, project_of=project_of, device=device)
    count_other(state, record)
    return []


def _observe_chat(
    chat: dict[str, object], position: str, *, state: ParserState, project_of: Callable[[str], str], device: str
) -> list[Observation]:
    """What a header, an update of it or a whole document says of the chat, and the calls among its messages."""
    state.session_id = text_of(chat, "sessionId") or state.session_id
    directories = chat.get("directories")
    if isinstance(directories, list) and directories and isinstance(directories[0], str):
        state.cwd = directories[0]
    observations: list[Observation] = []
    for index, message in enumerate(items_of(chat, "messages")):
        place = f"{position}:{index}"
        if "tokens" in message:
            observations += _observe_message(message, place, state=state, project_of=project_of, device=device)
        else:
            count_other(state, message)
    return observations


def _observe_message(
    message: dict[str, object], position: str, *, state: ParserState, project_of: Callable[[str], str], device: str
) -> list[Observation]:
    message_id, tokens = text_of(message, "id"), part_of(message, "tokens")
    if tokens is None:
        count_other(state, message)
        return []
    if not message_id:
        return [reject(state, source=SOURCE, position=position, reason="no_key")]
    reader = CountReader()
    cached_tokens, thinking_tokens = reader.count(tokens, "cached"), reader.count(tokens, "thoughts")
    return settle(
        Observation(
            event_key=f"{SOURCE}:{message_id}",
            occurred_at=utc_time(text_of(message, "timestamp")),
            source=SOURCE,
            provider=PROVIDER,
            model=(text_of(message, "model") or "").strip(),
            session_id=state.parent_id or state.session_id,
            project=project_of(state.cwd),
            device=device,
            is_sidechain=state.parent_id != "",
            input_tokens=reader.count(tokens, "input") - cached_tokens + reader.count(tokens, "tool"),
            cache_read_tokens=cached_tokens,
            output_tokens=reader.count(tokens, "output") + thinking_tokens,
            thinking_tokens=thinking_tokens,
            origin_rank=ORIGIN_SIDECHAIN_LINE if state.parent_id else ORIGIN_MAIN_LINE,
            position=position,
        ),
        reader,
        state=state,
    )
