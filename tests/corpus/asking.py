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
