"""Parsing without a ledger, in one process or several."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec
import pytest

from tallystick.catalog import claude_code_roots
from tallystick.collector.discover import discover
from tallystick.collector.parse import parse_files
from tallystick.sources.claude_code import Parsed
from tests.acceptance.made_transcripts import make_home


def output_by_key(parsed: Iterable[Parsed]) -> bytes:
    best: dict[str, int] = {}
    for part in parsed:
        for seen in part.observations:
            best[seen.event_key] = max(best.get(seen.event_key, 0), seen.output_tokens)
    return msgspec.json.encode(best)


@pytest.mark.parametrize("workers", [1, 2, 9])
def test_what_the_processes_found_together_is_everything(tmp_path: Path, workers: int) -> None:
    truth = make_home(tmp_path, files=4, calls_per_file=30)
    files = discover(claude_code_roots([tmp_path])).files
    answer = parse_files(files, summarize=output_by_key, device="here", workers=workers)
    assert len(answer.summaries) == min(workers, len(files))
    together: dict[str, int] = {}
    for summary in answer.summaries:
        for key, output_tokens in msgspec.json.decode(summary).items():
            together[key] = max(together.get(key, 0), output_tokens)
    assert (len(together), sum(together.values())) == (truth.calls, truth.output_tokens)


def test_a_file_that_is_gone_is_a_problem_and_the_rest_is_parsed(tmp_path: Path) -> None:
    make_home(tmp_path, files=2, calls_per_file=10)
    files = discover(claude_code_roots([tmp_path])).files
    Path(files[0].path).unlink()
    answer = parse_files(files, summarize=output_by_key, device="here")
    assert answer.problems == [(files[0].path, "No such file or directory")]
    assert answer.summaries != [b"{}"]


def test_without_files_there_is_one_empty_summary() -> None:
    assert parse_files([], summarize=output_by_key, device="here").summaries == [b"{}"]
