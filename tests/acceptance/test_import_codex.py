"""Codex histories of every era into a real ledger: each call once, whatever becomes of the files."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zstandard

from tallystick.catalog import CODEX, Root
from tallystick.collector.run import import_new
from tallystick.model import Receipt, UsageFilter
from tests.acceptance.machines import LONG_AGO_S, Machine, machine
from tests.corpus.codex_rollouts import BEGIN_MS, ERA, ERAS, Call, Thread, total

DAY_MS = 86_400_000


class History:
    """Codex's folder on a machine, and what the threads in it were asked in truth."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.threads: list[Thread] = []
        for number, era in enumerate(ERAS):
            parent = self._add(Thread(era, number=10 * number + 1, begin_ms=BEGIN_MS + number * DAY_MS))
            go_on(parent, 3)
            parent.compact()
            go_on(self._add(parent.fork(number=10 * number + 2)), 2)
            if era.has_turn_ids:
                go_on(self._add(parent.spawn(number=10 * number + 3)), 1)
            parent.resume()
            go_on(parent, 2)
        mixed = self._add(Thread(ERA["0.145.0"], number=90, begin_ms=BEGIN_MS - DAY_MS))
        go_on(mixed, 2)
        mixed.resume(ERA["0.155.0"])
        go_on(mixed, 2)
        for thread in self.threads:
            write(self.path(thread), thread.content)

    @property
    def roots(self) -> tuple[Root, ...]:
        return tuple(Root(self.home / folder, CODEX) for folder in ("sessions", "archived_sessions"))

    @property
    def truth(self) -> Call:
        return total(call for thread in self.threads for call in thread.truth)

    @property
    def calls(self) -> int:
        return sum(len(thread.truth) for thread in self.threads)

    def path(self, thread: Thread) -> Path:
        return self.home / "sessions" / "2026" / "11" / "22" / thread.name

    def archive(self, thread: Thread) -> Path:
        path = self.home / "archived_sessions" / thread.name
        path.parent.mkdir(exist_ok=True)
        self.path(thread).rename(path)
        return path

    def _add(self, thread: Thread) -> Thread:
        self.threads.append(thread)
        return thread


def go_on(thread: Thread, count: int) -> None:
    thread.begin_turn()
    for _ in range(count):
        number = len(thread.truth) + thread.number
        written = 100 + number if thread.era.has_cache_writes else 0
        thread.call(Call(10_000 + number, 7_000 + number, written, 700 + number, 300))


def write(path: Path, content: bytes, *, rests: bool = True) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    if rests:
        os.utime(path, (LONG_AGO_S, LONG_AGO_S))
    return path


def compress(path: Path) -> Path:
    made = write(path.with_name(f"{path.name}.zst"), zstandard.ZstdCompressor().compress(path.read_bytes()))
    path.unlink()
    return made


@pytest.fixture
def history(tmp_path: Path) -> History:
    return History(tmp_path / "codex")


@pytest.fixture
def here(ledger_url_18: str, tmp_path: Path, history: History) -> Iterator[Machine]:
    made = machine(ledger_url_18, tmp_path)
    with made.ledger:
        yield made._replace(settings=made.settings._replace(agent_roots=history.roots))


@pytest.fixture
def taken_in(here: Machine, history: History) -> Callable[[], None]:
    """Asserts that the ledger holds what the model was asked, no more and no less."""

    def check() -> None:
        usage = here.ledger.usage_summary(UsageFilter())
        truth = history.truth
        assert usage.message_count == history.calls
        assert usage.input_tokens == truth.input - truth.cached - truth.written
        assert usage.cache_read_tokens == truth.cached
        assert usage.cache_creation_tokens == truth.written
        assert (usage.output_tokens, usage.thinking_tokens) == (truth.output, truth.reasoning)
        assert all(check.bad_rows == 0 for check in here.ledger.verify_token_usage())

    return check


@pytest.mark.parametrize("workers", [1, 2])
def test_the_ledger_holds_what_the_model_was_asked(
    here: Machine, history: History, taken_in: Callable[[], None], workers: int
) -> None:
    summary = here.take_in(workers=workers)
    taken_in()
    assert (summary.receipt.new, summary.receipt.rejected) == (history.calls, 0)
    assert (summary.files_read, summary.problems, summary.unknown_line_types) == (len(history.threads), (), ())
    # by hand: one of each of the six eras, with forks and sub-agents in them, and the mixed one
    assert len(history.threads) == 6 + 6 + 4 + 1


def test_a_second_import_changes_nothing(here: Machine) -> None:
    here.take_in()
    digest = here.ledger.ledger_digest()
    assert here.take_in().receipt == Receipt()
    here.settings.checkpoint_file.unlink()
    receipt = here.take_in().receipt
    assert (receipt.new, receipt.revised, receipt.duplicate) == (0, 0, receipt.received)
    assert here.ledger.ledger_digest() == digest


def test_what_is_archived_and_compressed_is_counted_once(
    here: Machine, history: History, taken_in: Callable[[], None]
) -> None:
    here.take_in()
    digest = here.ledger.ledger_digest()
    archived = [history.archive(thread) for thread in history.threads]
    receipt = here.take_in().receipt
    assert (receipt.new, receipt.received) == (0, history.calls)
    for path in archived:
        compress(path)
    summary = here.take_in()
    assert (summary.receipt.new, summary.receipt.received, summary.problems) == (0, history.calls, ())
    assert here.take_in().receipt == Receipt()
    assert here.ledger.ledger_digest() == digest
    taken_in()


def test_files_met_only_compressed_or_in_both_forms_count_once(
    here: Machine, history: History, taken_in: Callable[[], None]
) -> None:
    for number, thread in enumerate(history.threads):
        content = thread.content
        if number % 3:
            compress(history.path(thread))
        if number % 3 == 2:
            write(history.path(thread), content)
    assert here.take_in().receipt.new == history.calls
    taken_in()


def test_a_file_that_grows_after_each_line_ends_up_the_same(
    here: Machine, history: History, taken_in: Callable[[], None]
) -> None:
    thread = history.threads[-1]
    path = history.path(thread)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"")
    for line in lines:
        with path.open("ab") as file:
            file.write(line)
        here.take_in()
    taken_in()


def test_a_torn_compressed_file_is_a_problem_until_it_is_whole(
    here: Machine, history: History, taken_in: Callable[[], None]
) -> None:
    path = compress(history.path(history.threads[0]))
    whole = path.read_bytes()
    write(path, whole[:-20])
    assert here.take_in().problems == ((str(path), "ends in the middle"),)
    again = here.take_in()
    assert (again.files_read, again.problems) == (0, ((str(path), "ends in the middle"),))
    write(path, whole)
    assert here.take_in().problems == ()
    taken_in()


def test_the_folders_of_the_settings_are_read(ledger_url_18: str, tmp_path: Path, history: History) -> None:
    history.home.rename(tmp_path / ".codex")
    made = machine(ledger_url_18, tmp_path)
    with made.ledger:
        assert import_new(made.ledger, made.settings).receipt.new == history.calls
