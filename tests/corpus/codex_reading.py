"""How a test reads Codex files: cut anywhere, in any order, folded as the ledger folds them."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from tallystick.observation import Observation
from tallystick.sources.codex import ParserState, new_state, parse
from tests.corpus.codex_rollouts import Call, Thread
from tests.corpus.reading import cut_at


def read(content: bytes, name: str = "", *, cuts: Iterable[int] = ()) -> tuple[list[Observation], ParserState]:
    """Parses a file, cut at the given lines, the state going through JSON at each cut as it does between two runs."""
    state = new_state(f"/home/ann/.codex/sessions/2026/11/22/{name}")
    observations: list[Observation] = []
    for start, end in cut_at(content, cuts):
        state = msgspec.json.decode(msgspec.json.encode(state), type=ParserState)
        lines = memoryview(content)[start:end]
        observations += parse(lines, offset=start, state=state, project_of="at {}".format, device="laptop").observations
    return observations, state


def seen_in(*threads: Thread) -> list[Observation]:
    """Every observation of some threads' files, one after the other."""
    return [seen for thread in threads for seen in read(thread.content, thread.name)[0]]


def events(observations: Iterable[Observation]) -> dict[str, Observation]:
    """One observation for each call: the most telling, and of equals the earliest, as the ledger decides."""
    best: dict[str, Observation] = {}
    for seen in observations:
        assert not seen.reject_reason, seen
        held = best.get(seen.event_key)
        if held is None or (-seen.output_tokens, seen.occurred_at) < (-held.output_tokens, held.occurred_at):
            best[seen.event_key] = seen
    return best


def sums(observations: Iterable[Observation]) -> Call:
    """What the events come to, as the provider counts: input and output hold the rest."""
    best = events(observations).values()
    cached, written = sum(e.cache_read_tokens for e in best), sum(e.cache_creation_5m_tokens for e in best)
    return Call(
        input=sum(e.input_tokens for e in best) + cached + written,
        cached=cached,
        written=written,
        output=sum(e.output_tokens for e in best),
        reasoning=sum(e.thinking_tokens for e in best),
    )
