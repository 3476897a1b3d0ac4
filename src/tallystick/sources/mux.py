"""Mux' chats: a line for each message, and the usage of an answer in its metadata.

The sub-agents of a workspace are workspaces themselves, whose chats lie with it when they are done.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from tallystick.observation import Observation
from tallystick.sources.calls import MESSAGE, Calls, time_of, uncached
from tallystick.sources.formats import FileState, Parsed
from tallystick.sources.json_walk import is_whole_record, walk
from tallystick.sources.members import CountReader, part_of, text_of

__all__ = ["KNOWN_LINE_TYPES", "SOURCE", "ParserState", "is_whole_record", "new_state", "parse"]

SOURCE: Final = "mux"
KNOWN_LINE_TYPES: Final = frozenset[str]()

_SUBAGENTS: Final = "subagent-transcripts"


class ParserState(FileState, kw_only=True):
    """The workspace, the one above it that it works for, and the time of the last message."""

    workspace: str = ""
    parent: str = ""
    occurred_at: str = ""


def new_state(path: str, /) -> ParserState:
    *_, above, between, workspace, _ = ("", "", "", *path.replace("\\", "/").split("/"))
    return ParserState(workspace=workspace, parent=above if between == _SUBAGENTS else "")


def parse(
    lines: memoryview, *, offset: int, state: ParserState, project_of: Callable[[str], str], device: str
) -> Parsed:
    """Every answer in some lines; `project_of` is not asked, because no message names a folder."""
    del project_of
    labels = Observation(
        source=SOURCE,
        session_id=state.parent or state.workspace,
        device=device,
        is_sidechain=bool(state.parent),
        flags=("no_cwd",),
    )
    calls = Calls(labels, state, occurred_at=state.occurred_at)
    for found in walk(
        lines,
        offset=offset,
        stem=state.workspace,
        state=state,
        is_wanted=lambda line: b'"usage"' in line,
        is_record=lambda record: "role" in record,
        other=MESSAGE,
    ):
        if found.fault:
            calls.reject(found.position, found.fault)
        else:
            _take(found.record, found.position, calls, state)
    state.occurred_at = calls.occurred_at
    return Parsed(calls.observations)


def _take(message: dict[str, object], position: str, calls: Calls, state: ParserState) -> None:
    metadata = part_of(message, "metadata") or {}
    occurred_at = time_of(metadata.get("timestamp", message.get("createdAt")), per_second=1000)
    usage = part_of(metadata, "usage")
    message_id = (text_of(message, "id") or "").strip()
    if usage is None or message.get("role") != "assistant":
        calls.see_time(occurred_at)
        state.count_lines(MESSAGE)
    elif not message_id:
        calls.see_time(occurred_at)
        calls.reject(position, "no_key")
    else:
        provider, _, model = (text_of(metadata, "model") or "").strip().partition(":")
        reader = CountReader()
        read, written = reader.count(usage, "cachedInputTokens"), _written(metadata, reader)
        calls.add(
            f"{SOURCE}:{state.workspace}:{message_id}",
            occurred_at=occurred_at,
            reader=reader,
            provider=provider if model else "",
            model=model or provider,
            input_tokens=uncached(reader.count(usage, "inputTokens"), read + written),
            cache_creation_5m_tokens=written,
            cache_read_tokens=read,
            output_tokens=reader.count(usage, "outputTokens"),
            thinking_tokens=reader.count(usage, "reasoningTokens"),
        )


def _written(metadata: dict[str, object], reader: CountReader) -> int:
    details = part_of(part_of(metadata, "providerMetadata") or {}, "anthropic") or {}
    return reader.count(details, "cacheCreationInputTokens")
