"""The histories of other agents in a real ledger: what their makers know is what the ledger says, by source."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import psycopg
import pytest

from tallystick.model import Receipt
from tests.acceptance.machines import LONG_AGO_S, Machine
from tests.corpus.copilot import SESSION, Call, make_store, save_row, shutdown_event, start_event, written
from tests.corpus.goose import CREATED_S, GooseHistory
from tests.corpus.opencode import CREATED_MS, OpenCodeHistory, Tokens, make_message, make_step, write_message_file

CALLS = 120


class Used(NamedTuple):
    """Events and the tokens in their buckets: input, cache writes, cache reads, output."""

    events: int
    input: int
    written: int
    read: int
    output: int

    def plus(self, other: Used) -> Used:
        return Used(*(mine + others for mine, others in zip(self, other, strict=True)))


def used_by_source(here: Machine) -> dict[str, Used]:
    with psycopg.connect(here.url) as connection:
        rows = connection.execute(
            "select source, count(*), sum(input_tokens), sum(cache_creation_5m_tokens), sum(cache_read_tokens), "
            "sum(output_tokens) from public.token_usage_events where user_id = %s group by source",
            [here.ledger.user_id],
        ).fetchall()
    return {source: Used(*map(int, amounts)) for source, *amounts in rows}


class Home:
    """A home in which every agent of this module has worked, and what each of them used."""

    def __init__(self, folder: Path) -> None:
        self.truth: dict[str, Used] = {}
        self._data = folder / ".local" / "share"
        self._copilot = folder / ".copilot"
        with ExitStack() as open_databases:
            self._work_with_opencode(open_databases)
            self._work_with_kilo(open_databases)
            self._work_with_copilot(open_databases)
            self._work_with_goose(open_databases)
            # the agents are still at work while their histories are read
            self._still_open = open_databases.pop_all()

    def leave(self) -> None:
        self._still_open.close()

    def _use(self, source: str, *amounts: int) -> None:
        self.truth[source] = self.truth.get(source, Used(0, 0, 0, 0, 0)).plus(Used(*amounts))

    def _work_with_opencode(self, open_databases: ExitStack) -> None:
        root = self._data / "opencode"
        self.opencode = OpenCodeHistory(root / "opencode.db")
        open_databases.callback(self.opencode.close)
        self.opencode.save_session("ses_1")
        self.opencode.save_session("ses_0_fork")
        for number in range(CALLS):
            tokens = Tokens(number + 1, 10 + number, 3, 800, 40)
            message = make_message(tokens, at=CREATED_MS + number)
            self.opencode.save_message(f"msg_{number:04d}", message, updated=CREATED_MS + 1000 * number)
            if number % 2:
                self.opencode.save_message(f"msg_9{number:04d}", message, session_id="ses_0_fork")
            if number % 3:
                write_message_file(root, f"msg_{number:04d}", message)
            self._use("opencode", 1, number + 1, 40, 800, 13 + number)
        steps = [Tokens(5, 6, 0, 7, 8), Tokens(50, 60, 0, 70, 80)]
        message = make_message(steps[-1], at=CREATED_MS - 5000)
        self.opencode.save_message("msg_steps", message)
        self.opencode.save_steps("msg_steps", [make_step(step) for step in steps])
        write_message_file(root, "msg_steps", message)
        self._use("opencode", 2, 55, 88, 77, 66)
        # seen in a file alone, as before the change to a database
        write_message_file(root, "msg_alone", make_message(Tokens(7, 7, 7, 7, 7), at=CREATED_MS - 9000))
        self._use("opencode", 1, 7, 7, 7, 14)

    def _work_with_kilo(self, open_databases: ExitStack) -> None:
        kilo = OpenCodeHistory(self._data / "kilo" / "kilo.db")
        open_databases.callback(kilo.close)
        kilo.save_message("msg_1", make_message(Tokens(1, 2, 3, 4, 5)))
        self._use("kilo-cli", 1, 1, 5, 4, 5)

    def _work_with_copilot(self, open_databases: ExitStack) -> None:
        calls = [Call(number, prompt=3000 + number, output=9, read=2000, written=500) for number in range(1, CALLS)]
        events, spans = (
            self._copilot / "session-state" / SESSION / "events.jsonl",
            self._copilot / "otel" / "otel.jsonl",
        )
        for path in (events, spans):
            path.parent.mkdir(parents=True, exist_ok=True)
        events.write_bytes(written(start_event(), *(call.event() for call in calls[:100]), shutdown_event(*calls)))
        spans.write_bytes(written(*(call.span() for call in calls[:50])))
        self.copilot = make_store(self._copilot / "session-store.db", *(call.row() for call in calls))
        open_databases.callback(self.copilot.close)
        for call in calls:
            self._use("copilot-cli", 1, call.prompt - 2500, 500, 2000, 9)

    def _work_with_goose(self, open_databases: ExitStack) -> None:
        self.goose = GooseHistory(self._data / "goose" / "sessions" / "sessions.db", is_renewed=False)
        open_databases.callback(self.goose.close)
        self.goose.save_session("20261101_1", updated_at="2026-11-01 18:00:00", created_at="2026-11-01 17:00:00")
        self.goose.save_totals("20261101_1", updated_at="2026-11-01 18:00:00", input_tokens=1000, output_tokens=100)
        self._use("goose", 1, 1000, 0, 0, 100)


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    made = Home(tmp_path)
    yield made
    made.leave()


def test_what_each_agent_used_is_counted_once_and_only_what_is_new_later(here: Machine, home: Home) -> None:
    summary = here.take_in()
    assert (summary.problems, summary.unknown_line_types, summary.receipt.rejected) == ((), (), 0)
    assert used_by_source(here) == home.truth
    digest = here.ledger.ledger_digest()

    again = here.take_in()
    assert (again.receipt.new, again.receipt.revised, again.problems) == (0, 0, ())
    assert here.ledger.ledger_digest() == digest

    here.settings.checkpoint_file.unlink()
    anew = here.take_in()
    assert (anew.receipt.new, anew.receipt.revised) == (0, 0)
    assert here.ledger.ledger_digest() == digest
    assert all(check.bad_rows == 0 for check in here.ledger.verify_token_usage())


def test_a_row_that_is_updated_in_place_raises_the_totals_by_exactly_the_difference(here: Machine, home: Home) -> None:
    running = make_message(Tokens(0, 0, 0, 0, 0), at=CREATED_MS + 500_000, time={"created": CREATED_MS + 500_000})
    home.opencode.save_message("msg_z", running, updated=CREATED_MS + 500_000)
    here.take_in()
    assert used_by_source(here) == home.truth

    done = make_message(Tokens(100, 20, 3, 4000, 50), at=CREATED_MS + 500_000)
    home.opencode.save_message("msg_z", done, updated=CREATED_MS + 501_810)
    home.goose.save_totals("20261101_1", updated_at="2026-11-24 10:00:00", input_tokens=1700, output_tokens=130)
    save_row(home.copilot, Call(CALLS, prompt=9000, output=10, read=0, written=0).row())
    summary = here.take_in()
    assert summary.receipt.rejected == 0
    home.truth["opencode"] = home.truth["opencode"].plus(Used(1, 100, 50, 4000, 23))
    home.truth["copilot-cli"] = home.truth["copilot-cli"].plus(Used(1, 9000, 0, 0, 10))
    # of another day, and so a delta of its own
    home.truth["goose"] = home.truth["goose"].plus(Used(1, 700, 0, 0, 30))
    assert used_by_source(here) == home.truth


def test_goose_is_counted_once_over_its_change_to_a_ledger(here: Machine, home: Home) -> None:
    here.take_in()
    home.goose.renew()
    home.goose.save_session("20261123_1")
    home.goose.save_call("20261123_1", created_timestamp=CREATED_S + 90_000)
    home.goose.save_call("20261101_1", created_timestamp=CREATED_S + 90_001)
    here.take_in()
    home.truth["goose"] = home.truth["goose"].plus(Used(2, 1400, 4200, 76_000, 900))
    assert used_by_source(here) == home.truth


def test_the_databases_are_not_written_to(here: Machine, home: Home, tmp_path: Path) -> None:
    home.leave()
    databases = [path for path in tmp_path.rglob("*.db") if "tallystick" not in path.parts]
    assert len(databases) == 4

    def files() -> dict[str, bytes]:
        folders = {path.parent for path in databases}
        return {str(path): path.read_bytes() for folder in folders for path in folder.iterdir() if path.is_file()}

    before = files()
    here.take_in()
    assert files() == before
    assert used_by_source(here) == home.truth


def test_a_home_read_by_two_workers_gives_the_same(here: Machine, home: Home) -> None:
    home.leave()
    here.take_in(workers=2)
    assert used_by_source(here) == home.truth


def test_histories_that_have_rested_are_not_opened_again(here: Machine, home: Home, tmp_path: Path) -> None:
    home.leave()
    for path in tmp_path.rglob("*"):
        if path.is_file() and "tallystick" not in path.parts:
            os.utime(path, (LONG_AGO_S, LONG_AGO_S))
    assert here.take_in().files_read > 5
    again = here.take_in()
    assert (again.files_read, again.receipt) == (0, Receipt())
