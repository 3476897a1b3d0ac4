"""Mistral Vibe's record of a session, with what the session has used so far, and when it ended."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from tallystick.observation import Observation, Snapshot
from tallystick.sources.calls import NO_USAGE, cost_of, time_of
from tallystick.sources.formats import Parsed, reject
from tallystick.sources.json_documents import DocumentState as ParserState
from tallystick.sources.json_documents import decode_document, new_state
from tallystick.sources.members import CountReader, part_of, text_of

__all__ = ["KNOWN_LINE_TYPES", "SOURCE", "ParserState", "new_state", "parse_document"]

SOURCE: Final = "mistral-vibe"
KNOWN_LINE_TYPES: Final = frozenset[str]()

_META: Final = "meta.json"


def parse_document(content: bytes, *, state: ParserState, project_of: Callable[[str], str], device: str) -> Parsed:
    """The session's totals. Before 2.0 the same stood in one file with the messages, as its `metadata`."""
    document = decode_document(content, state=state)
    record = document if isinstance(document, dict) else {}
    meta = part_of(record, "metadata") or record
    session_id = (text_of(meta, "session_id") or "").strip() or _name_of(state)
    stats, config = part_of(meta, "stats") or {}, part_of(meta, "config") or meta
    folder = text_of(part_of(meta, "environment") or {}, "working_directory") or text_of(meta, "origin_directory") or ""
    started_at = time_of(meta.get("start_time"), per_second=1)
    reader = CountReader()
    cached_tokens = reader.count(stats, "session_cached_tokens")
    snapshot = Snapshot(
        session_id=session_id,
        source=SOURCE,
        model_used=(text_of(config, "active_model") or "").strip(),
        session_started_at=started_at,
        last_activity_at=time_of(meta.get("end_time"), per_second=1) or started_at,
        project=project_of(folder),
        device=device,
        input_tokens=reader.count(stats, "session_prompt_tokens") - cached_tokens,
        output_tokens=reader.count(stats, "session_completion_tokens"),
        cache_read_tokens=cached_tokens,
        estimated_cost_usd=cost_of(stats, "session_cost"),
    )
    if reader.fault:
        return Parsed([_reject(state, session_id, reader.fault)])
    if not any((snapshot.input_tokens, snapshot.output_tokens, snapshot.cache_read_tokens)):
        state.count_lines(NO_USAGE)
        return Parsed([])
    return Parsed([], [snapshot])


def _name_of(state: ParserState) -> str:
    return state.folder if state.name == _META else state.name.removesuffix(".json")


def _reject(state: ParserState, session_id: str, reason: str) -> Observation:
    return reject(state, source=SOURCE, position=f"{SOURCE}:{session_id}", reason=reason)
