"""Files that are written anew: read whole, and again whenever they have changed or were not whole."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from tallystick.catalog import CATALOG, Root
from tallystick.collector import document
from tallystick.collector.checkpoint import Checkpoint
from tallystick.collector.discover import discover
from tallystick.collector.project import ProjectResolver
from tallystick.collector.reader import Batch, Job, read_batches
from tallystick.collector.run import compare
from tests.corpus.opencode import Tokens, make_message, write_message_file
from tests.unit.nobody import as_nobody

MESSAGES = next(layout for layout in CATALOG if layout.module == "opencode_files")
LONG_AGO_S = 1_780_000_000


def look(root: Path, known: dict[str, tuple[Checkpoint, bytes]]) -> Batch | None:
    """What an import would read below a root, None where nothing has changed; `known` is kept as it keeps it."""
    found = discover([Root(root, MESSAGES)])
    changed, _, _ = compare(found.files, {path: checkpoint for path, (checkpoint, _) in known.items()})
    if not changed:
        return None
    jobs = [
        Job(number, file, checkpoint, known[file.path][1] if checkpoint else b"")
        for number, (file, checkpoint) in enumerate(changed)
    ]
    (batch,) = read_batches(jobs, projects=ProjectResolver({}), device="laptop")
    known.update({jobs[mark.number].file.path: (mark.checkpoint, mark.parser_state) for mark in batch.marks})
    return batch


def inputs(batch: Batch | None) -> list[int]:
    events = json.loads(batch.events) if batch and batch.events else []
    return [event["input_tokens"] for event in events]


def rest(path: Path) -> None:
    os.utime(path, (LONG_AGO_S, LONG_AGO_S))


def test_a_document_is_read_whole_and_again_when_it_has_changed(tmp_path: Path) -> None:
    known: dict[str, tuple[Checkpoint, bytes]] = {}
    write_message_file(tmp_path, "msg_1", make_message(Tokens(input=1)))
    assert inputs(look(tmp_path, known)) == [1]
    assert look(tmp_path, known) is None
    write_message_file(tmp_path, "msg_1", make_message(Tokens(input=22)))
    assert inputs(look(tmp_path, known)) == [22]
    assert look(tmp_path, known) is None


def test_a_document_of_the_same_size_is_read_again_when_its_time_has_changed(tmp_path: Path) -> None:
    known: dict[str, tuple[Checkpoint, bytes]] = {}
    path = write_message_file(tmp_path, "msg_1", make_message(Tokens(input=1)))
    rest(path)
    look(tmp_path, known)
    write_message_file(tmp_path, "msg_1", make_message(Tokens(input=2)))
    assert inputs(look(tmp_path, known)) == [2]


def test_a_document_replaced_by_another_is_read_again(tmp_path: Path) -> None:
    known: dict[str, tuple[Checkpoint, bytes]] = {}
    path = write_message_file(tmp_path, "msg_1", make_message(Tokens(input=1)))
    rest(path)
    look(tmp_path, known)
    other = write_message_file(tmp_path, "msg_1.new", make_message(Tokens(input=2)))
    rest(other)
    other.replace(path)
    assert inputs(look(tmp_path, known)) == [2]


def test_a_torn_document_is_tried_again_when_it_has_rested_and_named_if_it_is_torn_still(tmp_path: Path) -> None:
    known: dict[str, tuple[Checkpoint, bytes]] = {}
    path = write_message_file(tmp_path, "msg_1", make_message())
    path.write_bytes(path.read_bytes()[:-9])
    torn = look(tmp_path, known)
    assert torn is not None
    assert (torn.events, torn.problems) == (b"", [])
    assert torn.marks[0].checkpoint.pending_bytes == path.stat().st_size
    assert look(tmp_path, known) is None
    almost_rested_s = time.time() - 1.5
    os.utime(path, (almost_rested_s, almost_rested_s))
    assert look(tmp_path, known) is not None
    while (again := look(tmp_path, known)) is None:
        assert time.time() - almost_rested_s < 30
    assert again.problems == [(0, "not a whole JSON document")]
    assert [mark.checkpoint.fault for mark in (*torn.marks, *again.marks)] == ["", "not a whole JSON document"]
    assert look(tmp_path, known) is None


def test_the_rest_of_a_torn_document_is_read_when_it_comes(tmp_path: Path) -> None:
    known: dict[str, tuple[Checkpoint, bytes]] = {}
    path = write_message_file(tmp_path, "msg_1", make_message(Tokens(input=1)))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    rest(path)
    look(tmp_path, known)
    path.write_bytes(whole)
    assert inputs(look(tmp_path, known)) == [1]


def test_a_document_torn_later_takes_nothing_back(tmp_path: Path) -> None:
    known: dict[str, tuple[Checkpoint, bytes]] = {}
    path = write_message_file(tmp_path, "msg_1", make_message(Tokens(input=1)))
    assert inputs(look(tmp_path, known)) == [1]
    path.write_bytes(b"")
    emptied = look(tmp_path, known)
    assert emptied is not None
    assert emptied.events == b""


def test_a_document_that_is_too_large_is_named_and_costs_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(document, "MAX_DOCUMENT_BYTES", 1 << 20)
    large = write_message_file(tmp_path, "msg_1", make_message(finish="x" * (1 << 20)))
    write_message_file(tmp_path, "msg_2", make_message(Tokens(input=2)))
    known: dict[str, tuple[Checkpoint, bytes]] = {}
    batch = look(tmp_path, known)
    assert batch is not None
    assert [reason for _, reason in batch.problems] == ["larger than 1 MiB"]
    assert (inputs(batch), str(large) in known) == ([2], False)


def test_a_document_that_vanishes_or_is_closed_to_us_is_named_and_costs_no_other(public_folder: Path) -> None:
    gone = write_message_file(public_folder, "msg_1", make_message())
    closed = write_message_file(public_folder, "msg_2", make_message())
    write_message_file(public_folder, "msg_3", make_message(Tokens(input=3)))
    files = sorted(discover([Root(public_folder, MESSAGES)]).files)
    gone.unlink()
    closed.chmod(0)
    jobs = [Job(number, file, None, b"") for number, file in enumerate(files)]
    with as_nobody():
        (batch,) = read_batches(jobs, projects=ProjectResolver({}), device="laptop")
    assert batch.problems == [(0, "No such file or directory"), (1, "Permission denied")]
    assert (inputs(batch), [mark.number for mark in batch.marks]) == ([3], [2])


def test_what_is_written_behind_the_first_look_at_its_size_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_message_file(tmp_path, "msg_1", make_message())
    (file,) = discover([Root(tmp_path, MESSAGES)]).files
    size, fstat = path.stat().st_size, os.fstat

    def fstat_and_append(descriptor: int) -> os.stat_result:
        status = fstat(descriptor)
        with path.open("ab") as other:
            other.write(b" " * 100)
        return status

    monkeypatch.setattr(os, "fstat", fstat_and_append)
    read = document.read_document(file)
    assert (len(read.content), read.size) == (size, size)
