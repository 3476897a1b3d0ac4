"""How tests read what a source of lines would be given: at once, in pieces, several files in any order."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
from types import ModuleType
from typing import Any, NamedTuple

import msgspec

from tallystick.observation import Observation


class Outcome(NamedTuple):
    """What came of a file: the calls, what was rejected by place and reason, and the state behind its last line."""

    calls: list[Observation]
    rejects: list[tuple[str, str]]
    state: Any

    @property
    def output_tokens(self) -> int:
        return sum(call.output_tokens for call in self.calls)

    @property
    def keys(self) -> list[str]:
        return [call.event_key for call in self.calls]


def written(*records: Mapping[str, object]) -> bytes:
    return b"".join(json.dumps(each, separators=(",", ":")).encode() + b"\n" for each in records)


def line_ends(content: bytes) -> list[int]:
    """Where the lines end, and where the first begins; byte by byte, 20 MB would take most of the tests' time."""
    return [0, *(newline.end() for newline in re.finditer(b"\n", content))]


def cut_at(content: bytes, cuts: Iterable[int]) -> Iterator[tuple[int, int]]:
    """The beginning and the end of each part, where it is cut at the ends of some lines; any number names one."""
    ends = line_ends(content)
    return pairwise(sorted({0, len(content), *(ends[cut % len(ends)] for cut in cuts)}))


def read(module: ModuleType, content: bytes, *, path: str, cuts: Iterable[int] = ()) -> Outcome:
    """Parses a file, cut at the given lines, the state going through JSON at each cut as it does between two runs."""
    state = module.new_state(path)
    observations: list[Observation] = []
    for start, end in cut_at(content, cuts):
        state = msgspec.json.decode(msgspec.json.encode(state), type=module.ParserState)
        part = memoryview(content)[start:end]
        observations += module.parse(part, offset=start, state=state, project_of=str, device="laptop").observations
    rejects = [(each.position, each.reject_reason) for each in observations if each.reject_reason]
    expected = {reason: sum(other == reason for _, other in rejects) for _, reason in rejects}
    assert state.reject_counts == expected
    return Outcome([each for each in observations if not each.reject_reason], rejects, state)


def only(module: ModuleType, content: bytes, *, path: str) -> Observation:
    outcome = read(module, content, path=path)
    assert outcome.rejects == []
    (call,) = outcome.calls
    return call
