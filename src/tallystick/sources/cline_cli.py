"""Sessions of Cline's command line, from 3.0 on: the messages, with what each answer used.

The session's own file beside it holds sums of the same and is not read.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from tallystick.observation import Observation
from tallystick.sources.calls import MESSAGE, Calls, cost_of, time_of, uncached
from tallystick.sources.formats import Parsed
from tallystick.sources.json_documents import DocumentState as ParserState
from tallystick.sources.json_documents import decode_document, new_state
from tallystick.sources.members import CountReader, items_of, part_of, text_of

__all__ = ["KNOWN_LINE_TYPES", "SOURCE", "ParserState", "new_state", "parse_document"]

SOURCE: Final = "cline-cli"
KNOWN_LINE_TYPES: Final = frozenset[str]()

_SUFFIX: Final = ".messages.json"


def parse_document(content: bytes, *, state: ParserState, project_of: Callable[[str], str], device: str) -> Parsed:
    """Every answer of a session; `project_of` is not asked, because the folder stands in another file."""
    del project_of
    document = decode_document(content, state=state)
    session = document if isinstance(document, dict) else {}
    session_id = (text_of(session, "sessionId") or "").strip() or state.name.removesuffix(_SUFFIX)
    calls = Calls(Observation(source=SOURCE, session_id=session_id, device=device, flags=("no_cwd",)), state)
    for index, message in enumerate(items_of(session, "messages")):
        occurred_at = time_of(message.get("ts", message.get("createdAt")), per_second=1000)
        metrics = part_of(message, "metrics")
        if message.get("role") != "assistant" or metrics is None:
            calls.see_time(occurred_at)
            state.count_lines(MESSAGE)
            continue
        model = part_of(message, "modelInfo") or {}
        message_id = (text_of(message, "id") or "").strip()
        reader = CountReader()
        read, written = reader.count(metrics, "cacheReadTokens"), reader.count(metrics, "cacheWriteTokens")
        calls.add(
            f"{SOURCE}:{session_id}:{message_id or occurred_at or f'#{index}'}",
            occurred_at=occurred_at,
            reader=reader,
            provider=(text_of(model, "provider") or "").strip(),
            model=(text_of(model, "id") or "").strip(),
            input_tokens=uncached(reader.count(metrics, "inputTokens"), read + written),
            cache_creation_5m_tokens=written,
            cache_read_tokens=read,
            output_tokens=reader.count(metrics, "outputTokens"),
            reported_cost_usd=cost_of(metrics, "cost"),
            flags=("no_cwd",) if message_id else ("no_cwd", "weak_key"),
        )
    return Parsed(calls.observations)
