"""The spans of Copilot CLI, which it writes to a file that somebody named: `chat <model>` is a call.

`invoke_agent` is the sum of such spans. A span counts least of the records of a call, because older ones say nothing of
what was read from the cache.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from tallystick.observation import ORIGIN_SIDECHAIN_LINE, Observation
from tallystick.sources import json_walk
from tallystick.sources.copilot_calls import SOURCE, Usage
from tallystick.sources.formats import FileState, Parsed, reject
from tallystick.sources.json_walk import Found, is_whole_record
from tallystick.sources.members import CountReader, part_of, text_of
from tallystick.sources.times import time_of_number, utc_time

__all__ = ["KNOWN_LINE_TYPES", "SOURCE", "ParserState", "is_whole_record", "new_state", "parse"]

OTHER_SPAN: Final = "(other span)"
NO_SESSION: Final = "(no session)"
KNOWN_LINE_TYPES: Final = frozenset({"span", "metric", "log", "event", OTHER_SPAN, NO_SESSION})

_USAGE: Final = "gen_ai.usage."
_WRITTEN: Final = ("cache_write.input_tokens", "cache_creation.input_tokens", "cache_creation_input_tokens")
_READ: Final = ("cache_read.input_tokens", "cache_read_input_tokens")
_REASONING: Final = ("reasoning.output_tokens", "reasoning_tokens")


class ParserState(FileState, kw_only=True):
    """The name of the file."""

    stem: str = ""


def new_state(path: str, /) -> ParserState:
    return ParserState(stem=path.replace("\\", "/").rpartition("/")[2].removesuffix(".jsonl"))


def parse(
    lines: memoryview, *, offset: int, state: ParserState, project_of: Callable[[str], str], device: str
) -> Parsed:
    """The calls in whole lines; no span says in which folder the session works."""
    observations: list[Observation] = []
    found_records = json_walk.walk(
        lines, offset=offset, stem=state.stem, state=state, is_wanted=_is_wanted, is_record=_is_record
    )
    for found in found_records:
        attributes = part_of(found.record, "attributes") or {}
        session_id = text_of(attributes, "gen_ai.conversation.id") or ""
        if found.fault:
            observations.append(reject(state, source=SOURCE, position=found.position, reason=found.fault))
        elif not _is_call(found.record, attributes):
            state.count_lines(OTHER_SPAN)
        elif not session_id:
            state.count_lines(NO_SESSION)
        else:
            observations.append(_observe(found, attributes, session_id, state, project=project_of(""), device=device))
    return Parsed(observations)


def _is_wanted(line: bytes) -> bool:
    return b"gen_ai.usage." in line


def _is_record(record: dict[str, object]) -> bool:
    return "attributes" in record


def _is_call(record: dict[str, Any], attributes: dict[str, Any]) -> bool:
    operation = text_of(attributes, "gen_ai.operation.name")
    is_chat = operation == "chat" if operation else (text_of(record, "name") or "").startswith("chat ")
    return is_chat and f"{_USAGE}output_tokens" in attributes


def _observe(
    found: Found, attributes: dict[str, Any], session_id: str, state: ParserState, *, project: str, device: str
) -> Observation:
    reader = CountReader()
    usage = Usage(
        reader.count(attributes, f"{_USAGE}input_tokens"),
        reader.count(attributes, f"{_USAGE}output_tokens"),
        _first(attributes, _READ, reader),
        _first(attributes, _WRITTEN, reader),
        _first(attributes, _REASONING, reader),
    )
    occurred_at = _time(found.record)
    if fault := reader.fault or ("" if occurred_at else "no_time"):
        return reject(state, source=SOURCE, position=found.position, reason=fault)
    model = text_of(attributes, "gen_ai.response.model") or text_of(attributes, "gen_ai.request.model") or ""
    observation = Observation(
        event_key=usage.event_key(session_id),
        occurred_at=occurred_at,
        source=SOURCE,
        model=model.strip(),
        session_id=session_id,
        project=project,
        device=device,
        request_id=text_of(attributes, "gen_ai.response.id") or "",
        is_final=True,
        origin_rank=ORIGIN_SIDECHAIN_LINE,
        flags=("coerced", "no_cwd") if reader.is_coerced else ("no_cwd",),
        position=found.position,
    )
    return usage.laid_over(observation)


def _first(attributes: dict[str, Any], names: tuple[str, ...], reader: CountReader) -> int:
    """A count by the first of its names that is there: they have changed over the versions."""
    named = [f"{_USAGE}{name}" for name in names if f"{_USAGE}{name}" in attributes]
    return reader.count(attributes, named[0]) if named else 0


def _time(span: dict[str, Any]) -> str:
    """A second after a span's end: the records that know the folder were written in it, and theirs is the place."""
    ended = span.get("endTime") or span.get("startTime")
    if isinstance(ended, str):
        ended_at = utc_time(ended)
        return utc_time((datetime.fromisoformat(ended_at) + timedelta(seconds=1)).isoformat()) if ended_at else ""
    if isinstance(ended, list) and len(ended) == 2 and all(type(part) is int for part in ended):
        return time_of_number(Decimal(ended[0]) + Decimal(ended[1]) / 10**9 + 1, per_second=1)
    return ""
