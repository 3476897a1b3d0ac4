"""Amp's threads: a ledger of what was used, and beside it the same in the messages, with the cache.

One call stands in both, or in only one of them: under the message that it answered with, where that is known.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple
from urllib.parse import unquote, urlsplit

from tallystick.observation import Observation
from tallystick.sources.calls import MESSAGE, Calls, time_of
from tallystick.sources.formats import Parsed
from tallystick.sources.json_documents import DocumentState as ParserState
from tallystick.sources.json_documents import decode_document, new_state
from tallystick.sources.members import CountReader, items_of, part_of, text_of

__all__ = ["KNOWN_LINE_TYPES", "SOURCE", "ParserState", "new_state", "parse_document"]

SOURCE: Final = "amp"
KNOWN_LINE_TYPES: Final = frozenset[str]()

_LEDGER_CACHE: Final = ("cacheCreationInputTokens", "cacheReadInputTokens")


def parse_document(content: bytes, *, state: ParserState, project_of: Callable[[str], str], device: str) -> Parsed:
    """Every call of a thread, first those of the ledger, then those of messages that it does not name."""
    document = decode_document(content, state=state)
    thread = document if isinstance(document, dict) else {}
    thread_id = (text_of(thread, "id") or "").strip() or state.name.removesuffix(".json")
    folder = _folder(thread)
    labels = Observation(
        source=SOURCE,
        session_id=thread_id,
        project=project_of(folder),
        device=device,
        flags=() if folder else ("no_cwd",),
    )
    calls = Calls(labels, state)
    _Thread(calls, state, labels, thread).observe()
    return Parsed(calls.observations)


class _Answer(NamedTuple):
    """What a message says of the call that it answers; `sent_at` is the last time up to it, where it has none."""

    usage: dict[str, object]
    sent_at: str


class _Thread:
    def __init__(self, calls: Calls, state: ParserState, labels: Observation, thread: dict[str, object]) -> None:
        self._calls = calls
        self._labels = labels
        self._events = items_of(part_of(thread, "usageLedger") or {}, "events")
        # of an answer that is written twice the last holds
        self._answers: dict[str, _Answer] = {}
        sent_at = time_of(thread.get("created"), per_second=1000)
        calls.see_time(sent_at)
        for message in items_of(thread, "messages"):
            usage, message_id = part_of(message, "usage"), _id_of(message, "messageId")
            sent_at = _time_of_message(message) or sent_at
            if message.get("role") == "assistant" and usage is not None and message_id:
                self._answers[message_id] = _Answer(usage, sent_at)
            else:
                state.count_lines(MESSAGE)

    def observe(self) -> None:
        named = set[str]()
        for index, event in enumerate(self._events):
            message_id, event_id = _id_of(event, "toMessageId"), _id_of(event, "id")
            occurred_at = time_of(event.get("timestamp"), per_second=1000)
            if message_id and message_id not in named:
                named.add(message_id)
                answer = self._answers.get(message_id, _Answer({}, ""))
                self._calls.see_time(answer.sent_at)
                self._add(message_id, event, occurred_at, _event_counts(event, answer.usage))
            else:
                # without an answer of its own, or one of several on the way to it
                key = f"event:{event_id}" if event_id else f"{occurred_at}#{index}"
                self._add(key, event, occurred_at, _event_counts(event, {}), is_weak=not event_id)
        for message_id, answer in self._answers.items():
            if message_id not in named:
                self._calls.see_time(answer.sent_at)
                occurred_at = time_of(answer.usage.get("timestamp"), per_second=1000)
                self._add(message_id, answer.usage, occurred_at, _message_counts(answer.usage))

    def _add(
        self, key: str, record: dict[str, object], occurred_at: str, counts: dict[str, Any], *, is_weak: bool = False
    ) -> None:
        self._calls.add(
            f"{SOURCE}:{self._labels.session_id}:{key}",
            occurred_at=occurred_at,
            model=(text_of(record, "model") or "").strip(),
            flags=(*self._labels.flags, "weak_key") if is_weak else self._labels.flags,
            **counts,
        )


def _event_counts(event: dict[str, object], usage: dict[str, object]) -> dict[str, Any]:
    """What an event of the ledger says, with the cache out of the message where only that has it."""
    tokens, reader = part_of(event, "tokens") or {}, CountReader()
    cache = tokens if any(tokens.get(name) is not None for name in _LEDGER_CACHE) else usage
    written, read = (reader.count(cache, name) for name in _LEDGER_CACHE)
    return {
        "reader": reader,
        "input_tokens": reader.count(tokens, "input"),
        "cache_creation_5m_tokens": written,
        "cache_read_tokens": read,
        "output_tokens": reader.count(tokens, "output"),
    }


def _message_counts(usage: dict[str, object]) -> dict[str, Any]:
    reader = CountReader()
    written, read = (reader.count(usage, name) for name in _LEDGER_CACHE)
    return {
        "reader": reader,
        "input_tokens": reader.count(usage, "inputTokens"),
        "cache_creation_5m_tokens": written,
        "cache_read_tokens": read,
        "output_tokens": reader.count(usage, "outputTokens"),
    }


def _time_of_message(message: dict[str, object]) -> str:
    usage, meta = part_of(message, "usage") or {}, part_of(message, "meta") or {}
    return time_of(usage.get("timestamp"), per_second=1000) or time_of(meta.get("sentAt"), per_second=1000)


def _id_of(record: dict[str, object], name: str) -> str:
    """An id, which is a text or a number; '' where there is none."""
    value = record.get(name)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return (text_of(record, name) or "").strip()


def _folder(thread: dict[str, object]) -> str:
    """The folder in which a thread began."""
    trees = items_of(part_of(part_of(thread, "env") or {}, "initial") or {}, "trees")
    uri = text_of(trees[0], "uri") if trees else None
    try:
        parts = urlsplit(uri or "")
    except ValueError:
        return ""
    return unquote(parts.path) if parts.scheme == "file" else ""
