"""Reading the databases of agents: what they hold now, whoever writes to them, and nothing left behind."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from tallystick.catalog import CATALOG
from tallystick.collector.checkpoint import Checkpoint
from tallystick.collector.database import AgentDatabase, NotADatabase, open_database
from tallystick.collector.discover import TranscriptFile
from tallystick.collector.project import ProjectResolver
from tallystick.collector.reader import Batch, Job, read_batches
from tallystick.sources.formats import Query
from tests.corpus.opencode import CREATED_MS, OpenCodeHistory, Tokens, make_message
from tests.unit.nobody import as_nobody

ALL = Query("all", "select a from t order by a")
OPENCODE = next(layout for layout in CATALOG if layout.module == "opencode")
LONG_AGO_NS = 1_780_000_000 * 10**9


@pytest.fixture
def writer(public_folder: Path) -> Iterator[sqlite3.Connection]:
    """An agent's connection to a database in write-ahead mode, in a folder that everybody may enter."""
    connection = sqlite3.connect(public_folder / "agent.db", isolation_level=None)
    connection.execute("pragma journal_mode = wal")
    connection.execute("create table t (a, b text)")
    connection.execute("insert into t values (1, 'one')")
    yield connection
    connection.close()


def path_of(writer: sqlite3.Connection) -> str:
    return str(writer.execute("select file from pragma_database_list").fetchone()[0])


def rows_in(path: str) -> list[object]:
    with open_database(path) as database:
        return [row[0] for rows in database.ask(ALL, rows_at_once=2) for row in rows]


def test_what_an_open_writer_has_not_put_into_the_file_is_seen(writer: sqlite3.Connection) -> None:
    writer.executemany("insert into t values (?, '')", [(number,) for number in range(2, 6)])
    assert rows_in(path_of(writer)) == [1, 2, 3, 4, 5]


def test_a_look_sees_one_moment(writer: sqlite3.Connection) -> None:
    with open_database(path_of(writer)) as database:
        writer.execute("insert into t values (2, '')")
        assert list(database.ask(ALL, rows_at_once=9)) == [[(1,)]]


def test_a_look_hinders_no_writer(writer: sqlite3.Connection) -> None:
    with open_database(path_of(writer)) as database:
        list(database.ask(ALL, rows_at_once=9))
        writer.execute("pragma busy_timeout = 0")
        writer.execute("begin immediate")
        writer.execute("insert into t values (2, '')")
        writer.execute("commit")
    assert rows_in(path_of(writer)) == [1, 2]


def test_a_transaction_that_is_not_finished_is_not_seen(writer: sqlite3.Connection) -> None:
    writer.execute("begin immediate")
    writer.execute("insert into t values (2, '')")
    assert rows_in(path_of(writer)) == [1]
    writer.execute("rollback")


def test_a_database_that_nobody_has_open_is_left_as_it_was(writer: sqlite3.Connection) -> None:
    path = Path(path_of(writer))
    writer.close()
    before = {file: file.stat() for file in path.parent.iterdir()}
    assert rows_in(str(path)) == [1]
    assert {file: file.stat() for file in path.parent.iterdir()} == before
    assert list(before) == [path]


def test_what_is_read_while_a_writer_comes_does_not_count(writer: sqlite3.Connection) -> None:
    path = path_of(writer)
    writer.close()
    other = sqlite3.connect(path, isolation_level=None)
    with open_database(path) as database:
        other.execute("insert into t values (2, '')")
        with pytest.raises(NotADatabase, match="began to write"):
            list(database.ask(ALL, rows_at_once=9))
    assert rows_in(path) == [1, 2]
    other.close()


def test_a_writer_that_crashed_left_rows_that_are_seen_and_files_that_stay(
    writer: sqlite3.Connection, tmp_path: Path
) -> None:
    path = Path(path_of(writer))
    crashed = tmp_path / "crashed"
    crashed.mkdir()
    for suffix in ("", "-wal"):
        shutil.copyfile(f"{path}{suffix}", crashed / f"agent.db{suffix}")
    before = {file.name: file.read_bytes() for file in crashed.iterdir()}
    assert len(before["agent.db-wal"]) > 0
    assert rows_in(str(crashed / "agent.db")) == [1]
    assert {file.name: file.read_bytes() for file in crashed.iterdir()} == before


@pytest.mark.parametrize("is_open", [True, False])
def test_a_folder_that_may_not_be_written_is_read(writer: sqlite3.Connection, is_open: bool) -> None:
    path = Path(path_of(writer))
    if not is_open:
        writer.close()
    for file in path.parent.iterdir():
        file.chmod(0o444)
    path.parent.chmod(0o555)
    with as_nobody():
        assert rows_in(str(path)) == [1]


def test_a_log_without_its_index_in_a_folder_that_may_not_be_written_is_read(
    writer: sqlite3.Connection, public_folder: Path
) -> None:
    path = Path(path_of(writer))
    folder = public_folder / "readonly"
    folder.mkdir()
    for suffix in ("", "-wal"):
        shutil.copyfile(f"{path}{suffix}", folder / f"agent.db{suffix}")
    folder.chmod(0o555)
    with as_nobody():
        assert rows_in(str(folder / "agent.db")) == [1]


def test_a_database_that_writes_no_log_is_read_and_left_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "agent.db"
    writer = sqlite3.connect(path, isolation_level=None)
    writer.executescript("create table t (a); insert into t values (1), (2), (3)")
    assert rows_in(str(path)) == [1, 2, 3]
    assert list(tmp_path.iterdir()) == [path]
    writer.close()


def test_a_locked_database_is_read_another_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tallystick.collector.database.BUSY_TIMEOUT_S", 0.01)
    path = tmp_path / "agent.db"
    writer = sqlite3.connect(path, isolation_level=None)
    writer.executescript("create table t (a); insert into t values (1)")
    writer.execute("begin exclusive")
    writer.execute("insert into t values (2)")
    with pytest.raises(NotADatabase, match="locked"):
        rows_in(str(path))
    writer.execute("commit")
    assert rows_in(str(path)) == [1, 2]
    writer.close()


def test_a_change_that_was_broken_off_is_taken_back_before_reading(tmp_path: Path) -> None:
    path, crashed = tmp_path / "agent.db", tmp_path / "crashed"
    writer = sqlite3.connect(path, isolation_level=None)
    writer.executescript("pragma cache_size = 10; create table t (a, b text); begin")
    writer.executemany("insert into t values (1, ?)", [("x" * 500,)] * 500)
    writer.execute("commit")
    before = path.read_bytes()
    writer.execute("begin")
    # more than the cache holds, so that the file itself is changed before the end
    writer.execute("update t set a = 2")
    assert path.read_bytes() != before
    crashed.mkdir()
    for suffix in ("", "-journal"):
        shutil.copyfile(f"{path}{suffix}", crashed / f"agent.db{suffix}")
    writer.execute("rollback")
    writer.close()
    assert set(rows_in(str(crashed / "agent.db"))) == {1}


def test_what_is_no_database_is_named_as_such(tmp_path: Path) -> None:
    path = tmp_path / "agent.db"
    path.write_bytes(b"no database at all, but long enough to have a header as one has " * 9)
    with pytest.raises(NotADatabase, match="not a database"):
        rows_in(str(path))


def test_a_database_that_is_cut_off_is_named(writer: sqlite3.Connection) -> None:
    path = Path(path_of(writer))
    writer.executemany("insert into t values (?, ?)", [(number, "x" * 500) for number in range(200)])
    writer.close()
    os.truncate(path, 20_000)
    with pytest.raises(NotADatabase, match="malformed"):
        rows_in(str(path))


def test_a_database_that_is_gone_is_an_error_of_its_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        rows_in(str(tmp_path / "agent.db"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["50%?x=1#y&mode=rwc.db", "ü.db", os.fsdecode(b"\xff.db")])
def test_any_name_will_do(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    writer = sqlite3.connect(os.fsencode(path), isolation_level=None)
    writer.executescript("pragma journal_mode = wal; create table t (a); insert into t values (1)")
    assert rows_in(str(path)) == [1]
    writer.close()
    assert rows_in(str(path)) == [1]


def test_a_text_that_is_no_utf_8_costs_no_row(writer: sqlite3.Connection) -> None:
    writer.execute("update t set b = cast(x'6fff' as text)")
    with open_database(path_of(writer)) as database:
        assert list(database.ask(Query("texts", "select b from t"), rows_at_once=9)) == [[("o�",)]]


def test_the_columns_of_every_table_are_named_and_a_module_that_is_missing_does_no_harm(
    writer: sqlite3.Connection,
) -> None:
    writer.execute("create virtual table words using fts5 (word)")
    writer.execute("pragma writable_schema = on")
    writer.execute("update sqlite_master set sql = replace(sql, 'fts5', 'nobody_has_it') where name = 'words'")
    with open_database(path_of(writer)) as database:
        columns = database.columns()
    assert columns["t"] == {"a", "b"}
    assert "words" not in columns


# -- through the reader


def read(path: Path, *, before: Batch | None = None) -> Batch:
    """One look of the collector, from the mark of the look before."""
    status = path.stat()
    file = TranscriptFile(str(path), status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, OPENCODE)
    checkpoint: Checkpoint | None = None
    state = b""
    if before is not None and before.marks:
        ((_, checkpoint, state),) = before.marks
    (batch,) = read_batches([Job(0, file, checkpoint, state)], projects=ProjectResolver({}), device="laptop")
    return batch


def make_history(path: Path, *inputs: int, updated: int = CREATED_MS) -> None:
    history = OpenCodeHistory(path)
    history.save_session("ses_1")
    for number in inputs:
        history.save_message(f"msg_{number}", make_message(Tokens(input=number)), updated=updated)
    history.close()


def make_another(path: Path, before: Path) -> None:
    """A database whose last message is that of the one before, with a message of its own that is older."""
    make_history(path, 4, updated=CREATED_MS - 10**9)
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("attach ? as before", [str(before)])
    connection.execute("update message set rowid = -5")
    connection.execute("insert into message select * from before.message where id = 'msg_3'")
    connection.close()


def test_a_database_in_the_place_of_another_is_read_from_its_beginning(tmp_path: Path) -> None:
    path, other = tmp_path / "opencode.db", tmp_path / "other.db"
    make_history(path, 1, 2, 3)
    first = read(path)
    make_another(other, path)
    other.replace(path)
    assert b'"input_tokens":4' in read(path, before=first).events


def test_a_database_that_cannot_be_read_now_keeps_its_place_and_is_asked_again(tmp_path: Path) -> None:
    path = tmp_path / "opencode.db"
    make_history(path, 1, 2, 3)
    before = read(path)
    whole = path.read_bytes()
    path.write_bytes(b"x" * 5000)
    broken = read(path, before=before)
    assert broken.problems == [(0, "SQLite: file is not a database")]
    ((_, checkpoint, state),) = broken.marks
    assert (checkpoint.fault, checkpoint.is_settled) == ("SQLite: file is not a database", False)
    assert state == before.marks[0].parser_state
    path.write_bytes(whole)
    assert read(path, before=broken).events == read(path, before=before).events


def test_a_broken_database_in_the_place_of_another_takes_its_place_with_it(tmp_path: Path) -> None:
    path, broken, other = (tmp_path / name for name in ("opencode.db", "broken.db", "other.db"))
    make_history(path, 1, 2, 3)
    before = read(path)
    make_another(other, path)
    broken.write_bytes(b"x" * 5000)
    broken.replace(path)
    after = read(path, before=before)
    path.write_bytes(other.read_bytes())
    assert b'"input_tokens":4' in read(path, before=after).events


def test_a_schema_that_is_not_the_agents_is_named(tmp_path: Path) -> None:
    path = tmp_path / "opencode.db"
    sqlite3.connect(path, isolation_level=None).executescript("create table message (id, words)")
    batch = read(path)
    assert (batch.events, batch.problems) == (b"", [(0, "has no table that is known")])
    assert batch.marks[0].checkpoint.fault == "has no table that is known"


def test_a_database_without_tables_is_no_problem_yet(tmp_path: Path) -> None:
    path = tmp_path / "opencode.db"
    path.touch()
    assert read(path).problems == []


def test_a_database_is_settled_when_it_has_rested(tmp_path: Path) -> None:
    path = tmp_path / "opencode.db"
    make_history(path, 1)
    ((_, fresh, _),) = read(path).marks
    os.utime(path, ns=(LONG_AGO_NS, LONG_AGO_NS))
    ((_, rested, _),) = read(path).marks
    assert (fresh.is_settled, rested.is_settled) == (False, True)


def test_a_database_that_vanishes_is_named(tmp_path: Path) -> None:
    path = tmp_path / "opencode.db"
    make_history(path, 1)
    file = TranscriptFile(str(path), 1, 2, 3, 4, OPENCODE)
    path.unlink()
    (batch,) = read_batches([Job(0, file, None, b"")], projects=ProjectResolver({}), device="laptop")
    assert (batch.marks, batch.problems) == ([], [(0, "No such file or directory")])


def test_an_answer_that_was_disturbed_is_not_handed_on() -> None:
    connection = sqlite3.connect(":memory:")
    connection.execute("create table t (a)")
    connection.execute("insert into t values (1)")
    database = AgentDatabase(connection, is_undisturbed=lambda: False)
    with pytest.raises(NotADatabase):
        next(database.ask(ALL, rows_at_once=1))
    with pytest.raises(NotADatabase):
        database.columns()
    connection.close()
