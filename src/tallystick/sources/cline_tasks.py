"""Tasks of the extensions that grew out of Cline: one list of everything that was said, with the usage among it.

A request is listed when it is sent, and gets its counts when it is answered. The entry has no working directory, and a
model only where the extension writes one beside it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from tallystick.observation import Observation
from tallystick.sources.calls import MESSAGE, Calls, cost_of, time_of, uncached
from tallystick.sources.formats import Parsed
from tallystick.sources.json_documents import DocumentState, decode_document
from tallystick.sources.json_values import decode_object
from tallystick.sources.json_walk import NOT_AN_OBJECT
from tallystick.sources.members import CountReader, part_of, text_of

_STARTED: Final = "api_req_started"
_FINISHED: Final = "api_req_finished"
_SUBAGENTS: Final = "subagent_usage"
# what was deleted was read before, and is kept; its sum would be in the ledger twice
_DELETED: Final = "deleted_api_reqs"
KNOWN_LINE_TYPES: Final = frozenset({_FINISHED, _DELETED})
_USAGE_TYPES: Final = frozenset({_STARTED, _FINISHED, _SUBAGENTS, _DELETED})

# from Roo Code 3.29.5 on, of 2025-11-01, tokensIn contains the cache whatever the protocol
_ALL_CONTAIN_CACHE_SINCE: Final = "2025-11-01T"
# `openai` is any server that speaks like OpenAI's
_PROVIDERS: Final = {"openai-native": "openai", "openai": ""}


class TaskReader:
    """Reads the tasks of one extension."""

    def __init__(self, source: str) -> None:
        self._source = source

    def parse_document(
        self, content: bytes, *, state: DocumentState, project_of: Callable[[str], str], device: str
    ) -> Parsed:
        """Every request of a task that has been answered; `project_of` is not asked, because none names a folder."""
        del project_of
        entries = decode_document(content, state=state)
        labels = Observation(source=self._source, session_id=state.folder, device=device, flags=("no_cwd",))
        task = _Task(Calls(labels, state), state, prefix=f"{self._source}:{state.folder}")
        for index, entry in enumerate(entries if isinstance(entries, list) else []):
            if isinstance(entry, dict):
                task.take(entry, index)
            else:
                state.count_lines(NOT_AN_OBJECT)
        return Parsed(task.calls.observations)


class _Task:
    def __init__(self, calls: Calls, state: DocumentState, *, prefix: str) -> None:
        self.calls = calls
        self._state = state
        self._prefix = prefix
        self._sent: tuple[dict[str, Any], int] | None = None

    def take(self, entry: dict[str, Any], index: int) -> None:
        kind = text_of(entry, "say") if entry.get("type") == "say" else None
        if kind not in _USAGE_TYPES:
            self.calls.see_time(time_of(entry.get("ts"), per_second=1000))
            self._state.count_lines(MESSAGE)
            return
        usage = decode_object(entry.get("text"))
        if usage is None and "tokensIn" in (text_of(entry, "text") or ""):
            self.calls.reject(f"{self._prefix}:#{index}", "not_json")
        elif kind == _STARTED:
            self._sent = (entry, index)
            self._observe(entry, index, usage or {})
        elif kind == _SUBAGENTS:
            self._observe(entry, index, usage or {}, place=":subagents", grain="turn", is_sidechain=True)
        elif kind == _FINISHED and self._sent is not None and usage and "tokensIn" in usage:
            # the oldest versions left the entry of the request as it was sent
            self._observe(*self._sent, usage)
        else:
            self._state.count_lines(kind or MESSAGE)

    def _observe(
        self, entry: dict[str, Any], index: int, usage: dict[str, object], *, place: str = "", **labels: Any
    ) -> None:
        occurred_at = time_of(entry.get("ts"), per_second=1000)
        model = part_of(entry, "modelInfo") or {}
        provider = (text_of(model, "providerId") or "").strip()
        reader = CountReader()
        written = reader.count(usage, "cacheWrites")
        read = reader.count(usage, "cacheReads")
        self.calls.add(
            f"{self._prefix}{place}:{occurred_at or f'#{index}'}",
            occurred_at=occurred_at,
            reader=reader,
            provider=_PROVIDERS.get(provider, provider),
            model=(text_of(model, "modelId") or text_of(usage, "model") or "").strip(),
            input_tokens=_input_tokens(reader.count(usage, "tokensIn"), read + written, usage, occurred_at),
            cache_creation_5m_tokens=written,
            cache_read_tokens=read,
            output_tokens=reader.count(usage, "tokensOut"),
            reported_cost_usd=cost_of(usage, "cost"),
            flags=("no_cwd",) if occurred_at else ("no_cwd", "weak_key"),
            **labels,
        )


def _input_tokens(tokens_in: int, cached_tokens: int, usage: dict[str, object], occurred_at: str) -> int:
    """The uncached input. Only Roo Code and its descendants name a protocol; Cline's tokensIn is without the cache."""
    protocol = usage.get("apiProtocol")
    if protocol == "openai" or (protocol == "anthropic" and occurred_at >= _ALL_CONTAIN_CACHE_SINCE):
        return uncached(tokens_in, cached_tokens)
    return tokens_in
