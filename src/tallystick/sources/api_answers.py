"""Answers of model APIs, in whatever object they come: which format it is, and what is taken from it.

No SDK is imported: an object is asked for a dict of the members that tell about usage, so that no text of a prompt or
of an answer is ever copied.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Final

import msgspec

from tallystick.observation import Observation
from tallystick.sources import anthropic_api, google_api, openai_api
from tallystick.sources.api_calls import ApiCall
from tallystick.sources.members import part_of

# What an object shall dump, for every format at once: a member that its class does not have is passed over.
_ANSWER: Final[dict[str, Any]] = {
    **dict.fromkeys(("id", "type", "model", "stop_reason", "usage"), True),
    **dict.fromkeys(("object", "created", "created_at", "status", "service_tier", "tool_usage", "error"), True),
    "choices": {"__all__": {"finish_reason"}},
    "output": {"__all__": {"type": True, "action": {"type"}}},
    "tools": {"__all__": {"type", "model"}},
    **dict.fromkeys(("response_id", "model_version", "create_time", "usage_metadata"), True),
    "candidates": {"__all__": {"finish_reason": True, "grounding_metadata": {"web_search_queries"}}},
}
_MEMBERS: Final[dict[str, Any]] = {
    **_ANSWER,
    **dict.fromkeys(("message", "response", "interaction"), _ANSWER),
    "delta": {"stop_reason"},
    "event_type": True,
    "result": {"type": True, "message": _ANSWER},
}
# what is never a chunk of a stream; an interaction's events have a type
_WHOLE_OBJECTS: Final = frozenset({"response", "list", "interaction"})
_USAGE_EVENTS: Final = anthropic_api.USAGE_EVENTS | openai_api.LAST_EVENTS | google_api.LAST_EVENTS
# A stream has a few of them; one without end must not fill the memory.
_MAX_EVENTS: Final = 1000


def read_answer(answer: object, call: ApiCall) -> list[Observation] | None:
    """The observations of a whole answer, or of the chunks of a streamed one in a list or tuple.

    Empty where it bears no usage, as an error does; None where it is no answer of an API that is known.
    """
    if isinstance(answer, list | tuple):
        stream = StreamParts()
        for chunk in answer:
            stream.add(chunk)
        return stream.read(call)
    record = _record_of(answer)
    if record is None:
        return None
    if _event_of(record) in _USAGE_EVENTS:
        return read_answer([record], call)
    batched = _batched_answer(record)
    if batched is None:
        return _observe(record, call)
    labels = msgspec.structs.replace(call.labels, service_tier=call.labels.service_tier or "batch")
    return _observe(batched, call._replace(labels=labels))


def answers_in(handed: object) -> list[object]:
    """What is to be read by itself: each of a list or tuple of answers; of anything else, as of chunks, the whole."""
    if isinstance(handed, list | tuple) and any(isinstance(one, list | tuple) or _is_whole(one) for one in handed):
        return list(handed)
    return [handed]


def _is_whole(one: object) -> bool:
    """Whether it is an answer, and no chunk of one: where the classes are the same, a chunk it is."""
    with suppress(Exception):  # what cannot be looked at is told to be unreadable when it is read
        kind = _member(one, "object")
        if kind == "chat.completion":
            choices: Any = _member(one, "choices")
            return _member(choices[0], "delta") is None
        return kind in _WHOLE_OBJECTS or _member(one, "type") == "message" or _member(one, "custom_id") is not None
    return False


class StreamParts:
    """What is kept of a stream while it passes by: the few chunks that say anything about usage, untouched."""

    def __init__(self) -> None:
        self._is_known = False
        self._events: list[object] = []
        self._answers: list[_ChunkedAnswer] = []

    def add(self, chunk: object) -> None:
        """Look at a chunk or an event, and keep it if it matters."""
        event = _event_of(chunk)
        if event == "chunk":
            chunk, event = _member(chunk, "chunk"), None  # the OpenAI SDK's own helper wraps them
        if isinstance(event, str):
            self._is_known = True
            if event in _USAGE_EVENTS and len(self._events) < _MAX_EVENTS:
                self._events.append(chunk)
            return
        if not self._answers or self._answers[-1].is_followed_by(chunk):
            # the Google SDK answers a function call by itself, and goes on in the same stream with another answer
            if len(self._answers) >= _MAX_EVENTS:
                return
            self._answers.append(_ChunkedAnswer(_answer_id_of(chunk)))
        self._answers[-1].add(chunk)

    def read(self, call: ApiCall) -> list[Observation] | None:
        """What the chunks so far make up; empty where none bore usage, None where none was known."""
        records = [answer.joined() for answer in self._answers]
        records.append(_joined_events([record for event in self._events if (record := _record_of(event)) is not None]))
        observed = [_observe(record, call) for record in records if record is not None]
        if not self._is_known and all(observations is None for observations in observed):
            return None
        return [observation for observations in observed for observation in observations or ()]


class _ChunkedAnswer:
    """One answer that comes in chunks of its own kind: its first, and the last ones that say something."""

    def __init__(self, answer_id: object) -> None:
        self._answer_id = answer_id
        self._is_finished = False
        self._kept: dict[str, object] = {}

    def is_followed_by(self, chunk: object) -> bool:
        """Whether a chunk belongs to another answer, as it does once this one has ended and the id is a new one."""
        return self._is_finished and _answer_id_of(chunk) not in ("", self._answer_id)

    def add(self, chunk: object) -> None:
        self._kept.setdefault("first", chunk)
        if _member(chunk, "usage") or _member(chunk, "usage_metadata") or _member(chunk, "usageMetadata"):
            self._keep("usage", chunk)
        parts: Any = _member(chunk, "choices") or _member(chunk, "candidates") or ()
        for part in parts:
            if _member(part, "finish_reason") or _member(part, "finishReason"):
                self._is_finished = True
                self._keep("finish", chunk)
            if _member(part, "grounding_metadata") or _member(part, "groundingMetadata"):
                self._keep("grounding", chunk)

    def _keep(self, name: str, chunk: object) -> None:
        # in the order in which they came, because the last one that says something is right
        self._kept.pop(name, None)
        self._kept[name] = chunk

    def joined(self) -> dict[str, object] | None:
        chunks = [record for chunk in self._kept.values() if (record := _record_of(chunk)) is not None]
        if any("choices" in chunk for chunk in chunks):
            return openai_api.join_chunks(chunks)
        return google_api.join_chunks(chunks)


def _joined_events(events: list[dict[str, object]]) -> dict[str, object] | None:
    return anthropic_api.join_events(events) or openai_api.join_events(events) or google_api.join_events(events)


def _observe(record: dict[str, object], call: ApiCall) -> list[Observation] | None:
    if anthropic_api.is_answer(record):
        return anthropic_api.observe(record, call)
    if openai_api.is_answer(record):
        return openai_api.observe(record, call)
    if google_api.is_answer(record):
        return google_api.observe(record, call)
    # a refusal, or a request of a batch that has no answer
    return [] if record.get("error") or part_of(record, "result") is not None else None


def _batched_answer(record: dict[str, object]) -> dict[str, object] | None:
    """The answer that a line of a batch's results holds: Anthropic's, OpenAI's or Google's."""
    response = part_of(record, "response")
    return part_of(part_of(record, "result") or {}, "message") or part_of(response or {}, "body") or response


def _record_of(answer: object) -> dict[str, object] | None:
    """The object as a dict of plain JSON; None where it is nothing of the kind. Raises what the object raises."""
    if isinstance(answer, dict):
        return answer
    if isinstance(answer, type):
        return None
    for name, arguments in (("model_dump", {"mode": "json", "include": _MEMBERS, "warnings": False}), ("to_dict", {})):
        method = getattr(answer, name, None)
        record: object = method(**arguments) if callable(method) else None
        if isinstance(record, dict):
            return record
    return None


def _answer_id_of(chunk: object) -> object:
    return _member(chunk, "id") or _member(chunk, "response_id") or _member(chunk, "responseId") or ""


def _event_of(chunk: object) -> object:
    """The name of an event; chunks have none."""
    return _member(chunk, "type") or _member(chunk, "event_type")


def _member(part: object, name: str) -> object:
    if isinstance(part, dict):
        return part.get(name)
    if hasattr(type(part), "__pydantic_fields__"):
        return part.__dict__.get(name)  # asking for what it does not have costs it ten times as long
    return getattr(part, name, None)
