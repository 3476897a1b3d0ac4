"""What sources of SQLite databases share: columns that some versions lack, and rows of calls and running totals."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tallystick.observation import Observation, Snapshot
from tallystick.sources.formats import Parsed


def select_list(present: frozenset[str], needed: Sequence[str], optional: Sequence[str]) -> str:
    """Columns as SQL selects them, null for an optional one that the table does not have."""
    return ", ".join((*needed, *(name if name in present else f"null as {name}" for name in optional)))


def sort_out(found: Iterable[Observation | Snapshot | None]) -> Parsed:
    """What each row holds, calls and rejected ones apart from running totals; None is nothing that counts."""
    observations: list[Observation] = []
    snapshots: list[Snapshot] = []
    for one in found:
        if isinstance(one, Observation):
            observations.append(one)
        elif one is not None:
            snapshots.append(one)
    return Parsed(observations, snapshots)
