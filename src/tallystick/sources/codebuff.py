"""Codebuff's chats: a list of messages, and the usage of an answer in one of several places of it.

Codebuff was called Manicode. What it bills are credits of its own, which are no money here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

from tallystick.observation import Observation
from tallystick.sources.calls import MESSAGE, Calls, time_of
from tallystick.sources.formats import Parsed
from tallystick.sources.json_documents import DocumentState as ParserState
from tallystick.sources.json_documents import decode_document, new_state
from tallystick.sources.json_walk import NOT_AN_OBJECT
from tallystick.sources.members import CountReader, items_of, part_of, text_of

__all__ = ["KNOWN_LINE_TYPES", "SOURCE", "ParserState", "new_state", "parse_document"]

SOURCE: Final = "codebuff"
KNOWN_LINE_TYPES: Final = frozenset[str]()

_ANSWERS: Final = frozenset({"ai", "agent", "assistant"})
# where usage is written as OpenAI writes it, what was cached is a part of the prompt
_INPUT: Final = ("inputTokens", "input_tokens")
_PROMPT: Final = ("promptTokens", "prompt_tokens")
_DETAILS: Final = ("promptTokensDetails", "prompt_tokens_details")
_CACHED: Final = ("cachedTokens", "cached_tokens")
_OUTPUT: Final = ("outputTokens", "output_tokens", "completionTokens", "completion_tokens")
_READ: Final = ("cacheReadInputTokens", "cache_read_input_tokens")
_WRITTEN: Final = (
    *("cacheCreationInputTokens", "cache_creation_input_tokens"),
    *("cacheCreationTokens", "cache_creation_tokens"),
)


def parse_document(content: bytes, *, state: ParserState, project_of: Callable[[str], str], device: str) -> Parsed:
    """Every answer of a chat; `project_of` is not asked, because only the name of the project's folder is known."""
    del project_of
    messages = decode_document(content, state=state)
    labels = Observation(source=SOURCE, session_id=state.folder, device=device, flags=("no_cwd",))
    calls = Calls(labels, state)
    calls.see_time(_time_of_chat(state.folder))
    for index, message in enumerate(messages if isinstance(messages, list) else []):
        if not isinstance(message, dict):
            state.count_lines(NOT_AN_OBJECT)
            continue
        metadata = part_of(message, "metadata") or {}
        occurred_at = _first_time(message, metadata)
        is_answer = not _ANSWERS.isdisjoint((text_of(message, "variant"), text_of(message, "role")))
        usages = list(_usages(metadata)) if is_answer else []
        if not usages:
            calls.see_time(occurred_at)
            state.count_lines(MESSAGE)
            continue
        message_id = (text_of(message, "id") or "").strip()
        calls.add(
            f"{SOURCE}:{state.folder}:{message_id or occurred_at or f'#{index}'}",
            occurred_at=occurred_at,
            model=_model(metadata, usages),
            flags=("no_cwd",) if message_id else ("no_cwd", "weak_key"),
            **_counts(usages),
        )
    return Parsed(calls.observations)


def _usages(metadata: dict[str, object]) -> Iterator[dict[str, object]]:
    """The places in which the usage of an answer may stand, best first; each may lack what another has."""
    for holder in (metadata, part_of(metadata, "codebuff") or {}, *_last_run(metadata)):
        if (usage := part_of(holder, "usage")) is not None:
            yield usage


def _last_run(metadata: dict[str, object]) -> list[dict[str, object]]:
    """What the provider said of the last call of the run that the answer is of."""
    part = metadata
    for name in ("runState", "sessionState", "mainAgentState"):
        part = part_of(part, name) or {}
    for message in reversed(items_of(part, "messageHistory")):
        if message.get("role") == "assistant":
            options = part_of(message, "providerOptions") or {}
            return [options, part_of(options, "codebuff") or {}]
    return []


def _counts(usages: list[dict[str, object]]) -> dict[str, Any]:
    reader = CountReader()

    def first(names: tuple[str, ...]) -> int:
        return next((count for usage in usages for name in names if (count := reader.count(usage, name))), 0)

    details = [
        part_of(usage, name) or {} for usage in usages for name in ("promptTokensDetails", "prompt_tokens_details")
    ]
    cached = [reader.count(part, name) for part in details for name in ("cachedTokens", "cached_tokens")]
    read, prompt_tokens = first(_READ) or max(cached, default=0), first(_PROMPT)
    return {
        "reader": reader,
        "input_tokens": first(_INPUT) or (prompt_tokens - read if prompt_tokens else 0),
        "cache_creation_5m_tokens": first(_WRITTEN),
        "cache_read_tokens": read,
        "output_tokens": first(_OUTPUT),
    }


def _model(metadata: dict[str, object], usages: list[dict[str, object]]) -> str:
    holders = (metadata, part_of(metadata, "codebuff") or {}, *_last_run(metadata), *usages)
    return next((model.strip() for holder in holders if (model := text_of(holder, "model"))), "")


def _first_time(message: dict[str, object], metadata: dict[str, object]) -> str:
    values = (message.get("timestamp"), message.get("createdAt"), metadata.get("timestamp"))
    return next((found for value in values if (found := time_of(value, per_second=1000))), "")


def _time_of_chat(folder: str) -> str:
    """When a chat began, which is its folder's name, with - for the : that no file may have in its name."""
    day, _, clock = folder.partition("T")
    return time_of(f"{day}T{clock.replace('-', ':', 2)}", per_second=1000)
