"""A day of twenty agents, while collector, ledger, disks, clocks and files fail again and again."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.acceptance.day.day import a_day
from tests.acceptance.day.everybody import used_by_source


@pytest.mark.torture
@pytest.mark.timeout(1200)
def test_a_day_of_faults_ends_with_the_books_of_a_clean_import(tmp_path: Path, day_hours: int, day_seed: int) -> None:
    with a_day(tmp_path, seed=day_seed) as day:
        day.run(day_hours)
        books, clean = day.books(), day.clean_books()
    assert books.bad_checks == []
    assert books.used == used_by_source(day.agents)
    assert books.digest == clean.digest
    assert day.kills >= day_hours
    assert day.files.halves > 0
