"""How a test asks a database: as the collector does, its state going through JSON as between two runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from tallystick.collector.database import open_database
from tallystick.observation import Observation, Snapshot
from tallystick.sources.formats import DatabaseFormat


class Asked(NamedTuple):
    """What one look at a database gave."""

    observations: list[Observation]
    snapshots: list[Snapshot]
    state: Any


def ask(reading: DatabaseFormat, path: Path, *, state: Any = None, rows_at_once: int = 3) -> Asked:
    """One look; the answers come in small handfuls, so that a handful cannot be taken for the whole."""
    state = reading.new_state(str(path)) if state is None else state
    state = msgspec.json.decode(msgspec.json.encode(state), type=reading.ParserState)
    asked = Asked([], [], state)
    with open_database(str(path)) as database:
        for query in reading.queries(database.columns(), state):
            for rows in database.ask(query, rows_at_once=rows_at_once):
                parsed = reading.take_rows(query, rows, state=state, project_of="at {}".format, device="laptop")
                asked.observations.extend(parsed.observations)
                asked.snapshots.extend(parsed.snapshots)
    return asked


def winners(observations: list[Observation]) -> dict[str, tuple[object, ...]]:
    """What the ledger would hold of each call: counts by the first members of its order, place by the others."""
    held: dict[str, tuple[Observation, Observation]] = {}
    for each in observations:
        amount, place = held.get(each.event_key, (each, each))
        held[each.event_key] = (max(amount, each, key=_how_much), min(place, each, key=_when_and_where))
    return {
        key: (*_how_much(amount), place.occurred_at, place.session_id, place.project, place.is_sidechain)
        for key, (amount, place) in held.items()
    }


def _how_much(observation: Observation) -> tuple[object, ...]:
    return (
        observation.is_final,
        observation.output_tokens,
        observation.origin_rank,
        observation.input_tokens,
        observation.cache_creation_5m_tokens,
        observation.cache_read_tokens,
        observation.thinking_tokens,
        observation.provider,
        observation.model,
        -1 if observation.reported_cost_usd is None else observation.reported_cost_usd,
    )


def _when_and_where(observation: Observation) -> tuple[object, ...]:
    return (observation.occurred_at, observation.place_order, observation.session_id, observation.project)
