"""What holds for every source of the catalog: however its files grow and are read, the events are the same.

The files are read by the collector's own reader. They end at any byte or are torn, are written to by several sessions,
are met at rest or not, in any order, again and again, and from the start where what was kept of them is lost.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tallystick.catalog import CATALOG, Layout
from tallystick.observation import Snapshot
from tests.corpus.every_source import make_history
from tests.corpus.growing import Collector, Home, Seen
from tests.corpus.ledger_order import winners

SOURCES = sorted({layout.source for layout in CATALOG})
MOVES = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 2**17), st.booleans(), st.booleans()), max_size=10)


def rejects(seen: Seen) -> set[tuple[str, str]]:
    return {(each.position, each.reject_reason) for each in seen.observations if each.reject_reason}


def totals(snapshots: Iterable[Snapshot]) -> dict[str, tuple[object, ...]]:
    """The greatest totals of each session, in each of their figures."""
    greatest: dict[str, tuple[object, ...]] = {}
    for each in snapshots:
        counts = (each.input_tokens, each.output_tokens, each.cache_creation_tokens, each.cache_read_tokens)
        held = greatest.get(each.session_id, (each.source, each.project, *counts))
        greatest[each.session_id] = (each.source, each.project, *map(max, counts, held[2:]))  # type: ignore[call-overload]
    return greatest


def states(seen: Seen, home: Path) -> dict[Path, object]:
    """What is kept of each file but of a database, whose state tells what was asked."""
    return {
        Path(path).relative_to(home): msgspec.json.decode(mark.parser_state)
        for path, mark in seen.marks.items()
        if not path.endswith((".db", ".sqlite"))
    }


def read_at_once(source: str, paths: Iterable[Path]) -> Seen:
    collector = Collector(source)
    collector.look(list(paths))
    assert collector.seen.problems == {}
    return collector.seen


@pytest.mark.parametrize("layout", CATALOG, ids=lambda layout: f"{layout.module} {layout.files}")
def test_every_layout_of_the_catalog_has_a_history_in_which_something_was_used(layout: Layout, tmp_path: Path) -> None:
    home = Home(tmp_path, make_history(layout.source, 1))
    home.finish()
    seen = read_at_once(layout.source, [path for path in home.paths if layout.has(path.as_posix())])
    assert winners(seen.observations) or totals(seen.snapshots)


@pytest.mark.parametrize("source", SOURCES)
@settings(max_examples=25, deadline=None)  # every example is a home on the disk
@given(seed=st.integers(0, 999), moves=MOVES, data=st.data())
def test_any_cut_order_and_repetition_of_its_bytes_gives_the_same_events(
    source: str, seed: int, moves: list[tuple[int, int, bool, bool]], data: st.DataObject
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        here, elsewhere = Path(folder, "here"), Path(folder, "elsewhere")
        home = Home(here, make_history(source, seed))
        collector = Collector(source)
        for which, share, rests, is_anew in moves:
            collector.look([home.grow(which, share, rests=rests)], is_anew=is_anew)
        home.finish()
        collector.look(data.draw(st.permutations(home.paths)))
        here.rename(elsewhere)
        whole = read_at_once(source, (elsewhere / path.relative_to(here) for path in home.paths))
    seen = collector.seen
    assert winners(seen.observations) == winners(whole.observations)
    assert totals(seen.snapshots) == totals(whole.snapshots)
    assert rejects(seen) == rejects(whole)
    assert states(seen, here) == states(whole, elsewhere)
