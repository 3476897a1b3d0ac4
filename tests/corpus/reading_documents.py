"""How a test reads what an agent left behind, as the collector does."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import msgspec

from tallystick.observation import Observation, Snapshot
from tallystick.sources.formats import Parsed
from tests.corpus.histories import Tokens, sum_of
from tests.corpus.reading import cut_at


class Outcome(NamedTuple):
    """What came of a file."""

    calls: list[Observation]
    rejects: list[tuple[str, str]]
    snapshots: list[Snapshot]
    state: Any

    @property
    def tokens(self) -> Tokens:
        return sum_of(tokens_of(call) for call in self.calls)

    @property
    def only(self) -> Observation:
        (call,) = self.calls
        assert self.rejects == []
        return call

    @property
    def only_snapshot(self) -> Snapshot:
        (snapshot,) = self.snapshots
        assert (self.calls, self.rejects) == ([], [])
        return snapshot


def tokens_of(call: Observation) -> Tokens:
    assert call.cache_creation_1h_tokens == 0
    return Tokens(call.input_tokens, call.cache_creation_5m_tokens, call.cache_read_tokens, call.output_tokens)


def read_document(module: Any, content: bytes, path: str, state: Any = None) -> Outcome:
    """Reads a document, with the state of an earlier reading if there was one."""
    state = module.new_state(path) if state is None else _kept(state)
    parsed = module.parse_document(content, state=state, project_of="at {}".format, device="laptop")
    return outcome_of(parsed, state)


def read_lines(module: Any, content: bytes, path: str, cuts: Iterable[int] = ()) -> Outcome:
    """Reads lines, cut where a line ends."""
    state = module.new_state(path)
    observations: list[Observation] = []
    for start, end in cut_at(content, cuts):
        state = _kept(state)
        lines = memoryview(content)[start:end]
        parsed = module.parse(lines, offset=start, state=state, project_of="at {}".format, device="laptop")
        observations += parsed.observations
    return outcome_of(Parsed(observations), state)


def outcome_of(parsed: Parsed, state: Any) -> Outcome:
    calls = [seen for seen in parsed.observations if not seen.reject_reason]
    rejects = [(seen.position, seen.reject_reason) for seen in parsed.observations if seen.reject_reason]
    assert sum(state.reject_counts.values()) == len(rejects)
    assert all(call.is_final and call.device == "laptop" for call in calls)
    return Outcome(calls, rejects, list(parsed.snapshots), state)


def _kept(state: Any) -> Any:
    """The state as it comes back from a checkpoint."""
    return msgspec.json.decode(msgspec.json.encode(state), type=type(state))
