"""Histories of several agents imported into a real ledger: each call once, under the agent that made it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tallystick.model import Receipt, UsageFilter
from tests.acceptance.machines import Machine, machine
from tests.acceptance.made_histories import Truth, make_histories


def totals_of(here: Machine, source: str) -> Truth:
    row = here.ledger.usage_summary(UsageFilter(sources=[source]))
    return Truth(row.event_count, row.input_tokens, row.cache_read_tokens, row.output_tokens)


@pytest.mark.parametrize("workers", [1, 2])
def test_every_agents_calls_come_to_what_its_histories_were_made_of(
    ledger_url: str, tmp_path: Path, workers: int
) -> None:
    history = make_histories(seed=workers, calls=90)
    history.write(tmp_path)
    here = machine(ledger_url, tmp_path)
    with here.ledger:
        summary = here.take_in(workers=workers)
        assert {source: totals_of(here, source) for source in history.truths} == history.truths
        assert (summary.receipt.rejected, summary.problems, summary.unknown_line_types) == (0, (), ())
        assert summary.receipt.new == sum(truth.calls for truth in history.truths.values())
        assert summary.files_read == summary.files_seen == len(history.files)
        assert all(check.bad_rows == 0 for check in here.ledger.verify_token_usage())


def test_a_second_import_changes_nothing_and_one_without_checkpoints_neither(here: Machine, tmp_path: Path) -> None:
    history = make_histories(seed=7, calls=60)
    history.write(tmp_path)
    here.take_in()
    digest = here.ledger.ledger_digest()
    summary = here.take_in()
    assert (summary.receipt, summary.files_read) == (Receipt(), 0)
    here.settings.checkpoint_file.unlink()
    summary = here.take_in()
    assert (summary.receipt.new, summary.receipt.revised, summary.files_read) == (0, 0, len(history.files))
    assert here.ledger.ledger_digest() == digest


def test_histories_that_grow_between_imports_come_to_the_same(
    here: Machine, ledger_url_18: str, tmp_path: Path
) -> None:
    history = make_histories(seed=8, calls=60)
    for share in (0.2, 0.5, 0.9, 1.0):
        history.write(tmp_path, share=share)
        here.take_in()
    assert {source: totals_of(here, source) for source in history.truths} == history.truths
    history.write(tmp_path / "other")
    other = machine(ledger_url_18, tmp_path / "other")
    with other.ledger:
        other.take_in()
        assert other.ledger.ledger_digest() == here.ledger.ledger_digest()
