"""What sources of small JSON lines share: the state of a file, a time that may be inherited, a call put together."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable

from tallystick.observation import Observation
from tallystick.sources import calls
from tallystick.sources.formats import FileState, Parsed, reject
from tallystick.sources.json_walk import NO_TYPE, walk
from tallystick.sources.members import CountReader, text_of


class CallState(FileState):
    """What lines above a call say of it; `stem` names the file, `occurred_at` is the last time that was read."""

    stem: str = ""
    session_id: str = ""
    cwd: str = ""
    occurred_at: str = ""


def stem_of(path: str) -> str:
    """A file's name without the suffix of its kind."""
    name = parts_of(path)[-1]
    return name.removesuffix(".jsonl").removesuffix(".json")


def parts_of(path: str) -> list[str]:
    return path.replace("\\", "/").split("/")


def read_lines(
    lines: memoryview,
    *,
    offset: int,
    state: CallState,
    is_wanted: Callable[[bytes], object],
    is_record: Callable[[dict[str, object]], bool],
    source: str,
    observe: Callable[[dict[str, object], str], Iterable[Observation]],
) -> Parsed:
    """What `observe` makes of every record that is wanted, given the record and its position."""
    observations: list[Observation] = []
    for found in walk(lines, offset=offset, stem=state.stem, state=state, is_wanted=is_wanted, is_record=is_record):
        if found.fault:
            observations.append(reject(state, source=source, position=found.position, reason=found.fault))
        else:
            observations += observe(found.record, found.position)
    return Parsed(observations)


def count_other(state: CallState, record: dict[str, object]) -> None:
    """Count a record that was looked at and reports no call."""
    state.count_lines(text_of(record, "type") or NO_TYPE)


def settle(labels: Observation, reader: CountReader, *, state: CallState) -> list[Observation]:
    """The same as of `calls`, with the last time of the file."""
    state.occurred_at = labels.occurred_at or state.occurred_at
    return calls.settle(labels, reader, last_time=state.occurred_at, state=state)


def fingerprint(call: Observation, *, state: CallState) -> str:
    """A call by its model, time and counts, for what has no id: a copy of its record in another file has the same."""
    counts = (call.input_tokens, call.cache_creation_5m_tokens, call.cache_read_tokens, call.output_tokens)
    told = (call.provider, call.model, call.occurred_at or state.occurred_at, *map(str, counts))
    return hashlib.sha256("\n".join(told).encode("utf-8", "replace")).hexdigest()[:32]
