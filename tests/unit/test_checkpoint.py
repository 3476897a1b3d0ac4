"""The checkpoint file: kept and found again, shared, dropped when the ledger was set back, moved aside when damaged."""

from __future__ import annotations

import multiprocessing
import os
import sqlite3
import stat
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

from tallystick.collector.checkpoint import MAX_ASKED_SINGLY, MAX_BOOKS, Checkpoint, Checkpoints, storable
from tallystick.errors import CheckpointError
from tallystick.model import LedgerState

USER = "00000000-0000-4000-8000-000000000001"
LEDGER = LedgerState(
    "00000000-0000-4000-8000-00000000000a", 0, "UTC", "0001_initial", "00000000-0000-4000-8000-00000000000b"
)


def checkpoint(offset: int = 10) -> Checkpoint:
    return Checkpoint(
        device=1,
        inode=2**63 - 1,
        size=20,
        mtime_ns=1_790_000_000_123_456_789,
        offset=offset,
        fingerprint=b"\x00\xff",
        is_settled=True,
        pending_bytes=3,
        fault="torn",
    )


def open_checkpoints(path: Path, ledger_id: str = LEDGER.ledger_id, user_id: str = USER) -> Checkpoints:
    return Checkpoints(path, ledger_id=ledger_id, user_id=user_id)


def save(
    path: Path, *, ledger_id: str = LEDGER.ledger_id, user_id: str = USER, receipts: int = 0, offset: int = 10
) -> None:
    with open_checkpoints(path, ledger_id, user_id) as checkpoints:
        checkpoints.make_book()
        checkpoints.save({"/t.jsonl": (checkpoint(offset), b"state")}, projects={"/w": "/p"}, receipt_count=receipts)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "checkpoints.sqlite3"


def test_a_new_file_knows_nothing(path: Path) -> None:
    with open_checkpoints(path) as checkpoints:
        assert (checkpoints.checkpoints(), checkpoints.projects()) == ({}, {})
        assert checkpoints.parser_state("/t.jsonl") == b""
        assert checkpoints.set_aside is None
        assert checkpoints.agrees_with(LEDGER)


def test_what_was_saved_is_found_again(path: Path) -> None:
    save(path)
    with open_checkpoints(path) as checkpoints:
        assert checkpoints.checkpoints() == {"/t.jsonl": checkpoint()}
        assert checkpoints.parser_state("/t.jsonl") == b"state"
        assert checkpoints.projects() == {"/w": "/p"}


@pytest.mark.parametrize("others", [0, MAX_ASKED_SINGLY])
def test_the_checkpoints_of_some_files_can_be_asked_for(path: Path, others: int) -> None:
    odd = os.fsdecode(b"/\xff.jsonl")
    with open_checkpoints(path) as checkpoints:
        checkpoints.make_book()
        files = {name: (checkpoint(at), b"") for at, name in enumerate(["/a.jsonl", odd, "/c.jsonl"])}
        checkpoints.save(files, projects={}, receipt_count=0)
        asked = ["/a.jsonl", odd, "/nowhere.jsonl", *(f"/{number}" for number in range(others))]
        found = checkpoints.checkpoints(asked)
    assert (found["/a.jsonl"], found[storable(odd)]) == (checkpoint(0), checkpoint(1))
    assert ("/nowhere.jsonl" in found, "/c.jsonl" in found) == (False, others > 0)


def test_the_file_and_its_folder_are_the_owners_alone(path: Path) -> None:
    save(path)
    assert [stat.S_IMODE(place.stat().st_mode) for place in (path, path.parent)] == [0o600, 0o700]


def test_another_ledger_and_another_user_have_checkpoints_of_their_own(path: Path) -> None:
    save(path)
    for ledger_id, user_id in ((str(uuid.uuid4()), USER), (LEDGER.ledger_id, str(uuid.uuid4()))):
        with open_checkpoints(path, ledger_id, user_id) as checkpoints:
            assert checkpoints.checkpoints() == {}
    with open_checkpoints(path) as checkpoints:
        assert checkpoints.checkpoints() == {"/t.jsonl": checkpoint()}


def test_a_ledger_agrees_that_counts_as_many_receipts_or_more(path: Path) -> None:
    save(path, receipts=7)
    with open_checkpoints(path) as checkpoints:
        assert [checkpoints.agrees_with(LEDGER._replace(receipt_count=count)) for count in (6, 7, 8)] == [0, 1, 1]
        assert not checkpoints.agrees_with(LEDGER._replace(ledger_id=str(uuid.uuid4()), receipt_count=7))


def test_dropping_forgets_the_files_and_keeps_the_projects(path: Path) -> None:
    save(path, receipts=7)
    with open_checkpoints(path) as checkpoints:
        checkpoints.drop()
        assert (checkpoints.checkpoints(), checkpoints.parser_state("/t.jsonl")) == ({}, b"")
        assert checkpoints.projects() == {"/w": "/p"}
        assert checkpoints.agrees_with(LEDGER)
    with open_checkpoints(path) as checkpoints:
        assert checkpoints.checkpoints() == {}


def test_a_writer_that_began_before_the_book_was_dropped_writes_no_checkpoint(path: Path) -> None:
    save(path)
    with open_checkpoints(path) as late:
        with open_checkpoints(path) as checkpoints:
            checkpoints.drop()
            checkpoints.make_book()
        late.save({"/late.jsonl": (checkpoint(), b"")}, projects={}, receipt_count=8)
    connection = sqlite3.connect(path)
    assert connection.execute("select count(*) from files").fetchone() == (0,)
    connection.close()


def test_the_receipt_count_never_goes_back(path: Path) -> None:
    save(path, receipts=7)
    save(path, receipts=5)
    with open_checkpoints(path) as checkpoints:
        assert not checkpoints.agrees_with(LEDGER._replace(receipt_count=6))


def test_the_last_writer_wins(path: Path) -> None:
    save(path, offset=10)
    save(path, offset=5)
    with open_checkpoints(path) as checkpoints:
        assert checkpoints.checkpoints()["/t.jsonl"].offset == 5


def test_the_first_answer_about_a_project_stays(path: Path) -> None:
    save(path)
    with open_checkpoints(path) as checkpoints:
        checkpoints.save({}, projects={"/w": "/another", "/v": "/q"}, receipt_count=0)
        assert checkpoints.projects() == {"/w": "/p", "/v": "/q"}


def test_files_that_are_gone_can_be_dropped(path: Path) -> None:
    save(path)
    with open_checkpoints(path) as checkpoints:
        checkpoints.drop_files(["/t.jsonl", "/unknown"])
        assert (checkpoints.checkpoints(), checkpoints.parser_state("/t.jsonl")) == ({}, b"")


def test_a_path_that_is_no_text_is_kept_too(path: Path) -> None:
    odd = os.fsdecode(b"/odd\xff.jsonl")
    with open_checkpoints(path) as checkpoints:
        checkpoints.make_book()
        checkpoints.save({odd: (checkpoint(), b"state")}, projects={}, receipt_count=0)
        assert list(checkpoints.checkpoints()) == [storable(odd)]
        assert checkpoints.parser_state(odd) == b"state"


def test_only_the_latest_books_are_kept(path: Path) -> None:
    for number in range(MAX_BOOKS + 3):
        save(path, ledger_id=str(uuid.UUID(int=number)))
    kept = []
    for number in range(MAX_BOOKS + 3):
        with open_checkpoints(path, str(uuid.UUID(int=number))) as checkpoints:
            kept.append(bool(checkpoints.checkpoints()))
    assert kept == [False] * 3 + [True] * MAX_BOOKS


def damage_header(path: Path) -> None:
    path.write_bytes(b"this is no database at all" * 400)


def damage_pages(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[4096:] = b"\xa5" * (len(content) - 4096)
    path.write_bytes(content)


def make_foreign(path: Path) -> None:
    path.unlink()
    with sqlite3.connect(path) as connection:
        connection.execute("create table somebody_elses (x)")
    connection.close()


def make_newer(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("pragma user_version = 99")
    connection.close()


def lose_a_table(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("drop table files")
    connection.close()


@pytest.mark.parametrize("harm", [damage_header, damage_pages, make_foreign, make_newer, lose_a_table])
def test_a_file_that_cannot_be_used_is_moved_aside_and_a_new_one_begun(
    path: Path, harm: Callable[[Path], None]
) -> None:
    save(path)
    harm(path)
    harmed = path.read_bytes()
    with open_checkpoints(path) as checkpoints:
        assert checkpoints.checkpoints() == {}
        assert checkpoints.set_aside is not None
        assert checkpoints.set_aside.read_bytes() == harmed
    save(path)
    with open_checkpoints(path) as checkpoints:
        assert checkpoints.checkpoints() == {"/t.jsonl": checkpoint()}
        assert checkpoints.set_aside is None


def test_damage_found_while_saving_costs_what_was_known_and_nothing_else(path: Path) -> None:
    save(path)
    with open_checkpoints(path) as checkpoints:
        checkpoints.make_book()
        damage_header(path)
        checkpoints.save({"/u.jsonl": (checkpoint(), b"u")}, projects={}, receipt_count=0)
        assert checkpoints.set_aside is not None
    with open_checkpoints(path) as checkpoints:
        assert list(checkpoints.checkpoints()) == ["/u.jsonl"]


def test_the_journal_of_a_file_moved_aside_does_not_reach_the_new_one(path: Path) -> None:
    save(path)
    journal = path.with_name(path.name + "-journal")
    writer = sqlite3.connect(path, isolation_level=None)
    writer.execute("pragma cache_size = 1")
    writer.execute("begin")
    writer.executemany("insert into projects values (?, ?)", [(f"/{n}", "x" * 500) for n in range(500)])
    left_by_a_crash = journal.read_bytes()
    writer.rollback()
    writer.close()
    damage_header(path)
    journal.write_bytes(left_by_a_crash)
    with open_checkpoints(path) as checkpoints:
        assert checkpoints.checkpoints() == {}
        checkpoints.make_book()
        checkpoints.save({"/t.jsonl": (checkpoint(), b"")}, projects={}, receipt_count=0)
        assert list(checkpoints.checkpoints()) == ["/t.jsonl"]


def test_a_place_that_cannot_be_written_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for place in (tmp_path, tmp_path / "file" / "checkpoints.sqlite3"):
        with pytest.raises(CheckpointError, match="cannot use the checkpoint file"):
            open_checkpoints(place)


def test_a_file_locked_for_too_long_is_one_clear_error(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tallystick.collector.checkpoint.BUSY_TIMEOUT_S", 0.01)
    save(path)
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("begin exclusive")
    with pytest.raises(CheckpointError, match="locked"):
        open_checkpoints(path)
    holder.close()


def save_often(path: Path, name: str) -> None:
    for number in range(30):
        with open_checkpoints(path) as checkpoints:
            checkpoints.make_book()
            checkpoints.save({name: (checkpoint(number), b"")}, projects={name: name}, receipt_count=number)


def test_several_processes_may_write_at_once(path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    names = ["/a", "/b", "/c"]
    writers = [context.Process(target=save_often, args=(path, name)) for name in names]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0, 0, 0]
    with open_checkpoints(path) as checkpoints:
        assert {name: found.offset for name, found in checkpoints.checkpoints().items()} == dict.fromkeys(names, 29)
        assert checkpoints.set_aside is None
