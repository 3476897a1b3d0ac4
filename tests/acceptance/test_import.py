"""Importing transcripts into a real ledger: what is new, once, whatever the files go through."""

from __future__ import annotations

import json
import os
import random
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import psycopg
import pytest

from tallystick.collector.checkpoint import Checkpoints
from tallystick.collector.run import import_new
from tallystick.errors import ConfigError
from tallystick.model import Receipt, RejectedRecord
from tests.acceptance.machines import LONG_AGO_S, Machine, line, machine
from tests.acceptance.made_transcripts import make_home
from tests.corpus.codex_rollouts import ERA, Call, Thread


@pytest.mark.parametrize("workers", [None, 1, 2, 3])
def test_an_import_takes_in_every_call_once(ledger_url: str, tmp_path: Path, workers: int | None) -> None:
    truth = make_home(tmp_path / "claude", files=6, calls_per_file=300)
    here = machine(ledger_url, tmp_path)
    with here.ledger:
        summary = here.take_in(workers=workers)
        assert here.tokens() == (truth.calls, truth.input_tokens, truth.output_tokens)
        assert summary.receipt.received == truth.lines_with_usage
        assert summary.receipt.new == truth.calls
        assert summary.receipt.rejected == 0
        assert sum(summary.receipt[1:5]) == summary.receipt.received
        assert (summary.files_seen, summary.files_read) == (12, 12)
        assert summary.line_counts == {"user": truth.calls}
        assert summary.bytes_read == sum(path.stat().st_size for path in tmp_path.rglob("*.jsonl"))
        assert all(check.bad_rows == 0 for check in here.ledger.verify_token_usage())


@contextmanager
def without_parser() -> Iterator[None]:
    """Inside, nothing may import what only a parser needs."""
    heavy = [name for name in sys.modules if name.startswith("msgspec") or name == "tallystick.collector.intake"]
    kept = {name: sys.modules.pop(name) for name in heavy}
    assert kept
    try:
        yield
        loaded = [name for name in heavy if name in sys.modules]
    finally:
        sys.modules.update(kept)
    assert loaded == []


def test_an_import_with_nothing_new_sends_nothing_and_loads_no_parser(here: Machine) -> None:
    make_home(here.settings.claude_config_dirs[0], files=2, calls_per_file=20)
    here.take_in()
    state = here.ledger.ledger_state()
    with without_parser():
        summary = here.take_in()
    assert (summary.receipt, summary.files_seen, summary.files_read) == (Receipt(), 4, 0)
    assert here.ledger.ledger_state() == state


def test_only_what_was_appended_is_sent(here: Machine) -> None:
    path = here.write("a.jsonl", line(1) + line(2))
    here.take_in()
    with path.open("ab") as file:
        file.write(line(3))
    summary = here.take_in()
    assert (summary.receipt, summary.files_read) == (Receipt(received=1, new=1), 1)
    assert summary.bytes_read == len(line(3))


def test_a_call_that_goes_on_streaming_is_revised(here: Machine) -> None:
    path = here.write("a.jsonl", line(1, output_tokens=5))
    here.take_in()
    with path.open("ab") as file:
        file.write(line(1, output_tokens=50))
    assert here.take_in().receipt == Receipt(received=1, revised=1)
    assert here.tokens() == (1, 1, 50)


def test_lines_with_carriage_returns_count(here: Machine) -> None:
    here.write("a.jsonl", (line(1) + line(2)).replace(b"\n", b"\r\n"))
    here.take_in()
    assert here.tokens() == (2, 2, 20)


def test_a_last_line_without_newline_counts_once_the_file_has_rested(
    here: Machine, undisturbed: Callable[[Machine], str]
) -> None:
    path = here.write("a.jsonl", line(1) + line(2).rstrip(), rests=False)
    assert here.take_in().pending_bytes == len(line(2)) - 1
    assert here.take_in().pending_bytes == len(line(2)) - 1
    assert here.tokens() == (1, 1, 10)
    os.utime(path, (LONG_AGO_S, LONG_AGO_S))
    assert here.take_in().pending_bytes == 0
    assert here.tokens() == (2, 2, 20)
    assert here.take_in().files_read == 0
    with path.open("ab") as file:
        file.write(line(3) + line(4))
    here.take_in()
    assert here.tokens() == (4, 4, 40)
    assert here.ledger.ledger_digest() == undisturbed(here)


def test_a_last_line_without_newline_counts_when_it_comes_to_rest_untouched(
    here: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = here.write("a.jsonl", line(1) + line(2).rstrip(), rests=False)
    rested_at_ns = path.stat().st_mtime_ns + 2_000_000_000
    for now_ns, pending_bytes in ((time.time_ns(), len(line(2)) - 1), (rested_at_ns - 1, len(line(2)) - 1)):
        monkeypatch.setattr(time, "time_ns", lambda now_ns=now_ns: now_ns)
        assert here.take_in(workers=1).pending_bytes == pending_bytes
        assert here.tokens() == (1, 1, 10)
    monkeypatch.setattr(time, "time_ns", lambda: rested_at_ns + 1)
    assert here.take_in(workers=1).pending_bytes == 0
    assert here.tokens() == (2, 2, 20)


def test_a_line_read_twice_is_counted_once_among_the_lines_of_its_file(here: Machine) -> None:
    path = here.write("a.jsonl", line(1) + b'{"type":"user"}')
    here.take_in()
    with path.open("ab") as file:
        file.write(b"\n")
    assert here.take_in().line_counts == {"user": 1}
    ledger_id = here.ledger.ledger_state().ledger_id
    with Checkpoints(here.settings.checkpoint_file, ledger_id=ledger_id, user_id=here.ledger.user_id) as checkpoints:
        assert json.loads(checkpoints.parser_state(str(path)))["line_counts"] == {"user": 1}


def test_a_torn_last_line_waits_and_counts_when_the_rest_arrives(here: Machine) -> None:
    whole = line(1) + line(2)
    path = here.write("a.jsonl", whole[:-40])
    assert here.take_in().pending_bytes == len(line(2)) - 40
    assert here.take_in().files_read == 0
    with path.open("ab") as file:
        file.write(whole[-40:])
    here.take_in()
    assert here.tokens() == (2, 2, 20)


def test_a_line_of_20_mb_in_the_middle_does_no_harm(here: Machine) -> None:
    here.write("a.jsonl", line(1) + line(2, text="x" * 20_000_000) + line(3))
    here.take_in()
    assert here.tokens() == (3, 3, 30)


def test_a_line_beyond_the_limit_is_kept_as_a_rejected_record(here: Machine) -> None:
    here.write("a.jsonl", line(1) + line(2, text="x" * (65 << 20)) + line(3))
    told = (RejectedRecord(f"a:{len(line(1))}", "line_too_long", 1),)
    for expected in (Receipt(received=3, new=2, rejected=1, rejects=told), Receipt()):
        assert here.take_in().receipt == expected
    assert here.tokens() == (2, 2, 20)
    with psycopg.connect(here.url) as connection:
        rejects = connection.execute("select source, position, reason from token_usage_rejects").fetchall()
    assert rejects == [("claude-code", f"a:{len(line(1))}", "line_too_long")]


def test_a_file_that_was_cut_and_written_anew_loses_nothing(
    here: Machine, undisturbed: Callable[[Machine], str]
) -> None:
    path = here.write("a.jsonl", b"".join(map(line, range(9))))
    here.take_in()
    here.write("a.jsonl", b"".join(map(line, range(5))))
    assert here.take_in().receipt == Receipt(received=5, duplicate=5)
    (path.parent / "new").write_bytes(b"".join(map(line, range(9))))
    (path.parent / "new").replace(path)
    here.take_in()
    assert here.ledger.ledger_digest() == undisturbed(here)
    path.unlink()
    here.take_in()
    assert here.tokens() == (9, 9, 90)


def test_a_file_that_vanishes_between_listing_and_reading_is_reported_and_the_rest_read(here: Machine) -> None:
    paths = [here.write(f"{name}.jsonl", line(number)) for number, name in enumerate("abc")]
    opened: list[str] = []

    def vanish(event: str, arguments: tuple[object, ...]) -> None:
        # an audit hook stays for ever, so it must do nothing in any other test
        if event == "open" and not opened and str(arguments[0]) in map(str, paths):
            opened.append(str(arguments[0]))
            for path in paths:
                if str(path) not in opened:
                    path.unlink()

    sys.addaudithook(vanish)
    summary = here.take_in(workers=1)
    gone = sorted(str(path) for path in paths if str(path) not in opened)
    assert sorted(summary.problems) == [(path, "No such file or directory") for path in gone]
    assert here.tokens() == (1, 1, 10)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody who may not read a file")
def test_a_file_that_may_not_be_read_is_reported_each_time_and_read_once_it_may(here: Machine) -> None:
    closed = here.write("a.jsonl", line(1))
    here.write("b.jsonl", line(2))
    for folder in (here.folder, *here.folder.parents[:-2]):
        folder.chmod(0o755)
    closed.chmod(0)
    here.settings.state_dir.mkdir(parents=True)
    os.chown(here.settings.state_dir, 65534, 65534)
    os.setresuid(65534, 65534, 0)
    try:
        for read in (1, 0):
            with without_parser() if read == 0 else nullcontext():
                summary = here.take_in()
            assert (summary.problems, summary.files_read) == (((str(closed), "Permission denied"),), read)
    finally:
        os.setresuid(0, 0, 0)
    assert here.tokens() == (1, 1, 10)
    # root may read it all the same
    assert here.take_in().problems == ()
    assert here.tokens() == (2, 2, 20)


def test_a_file_growing_while_it_is_read_ends_up_whole(here: Machine, undisturbed: Callable[[Machine], str]) -> None:
    content = b"".join(line(number // 2, output_tokens=number) for number in range(4000))
    path = here.write("a.jsonl", b"", rests=False)
    random_ = random.Random(4)

    def grow() -> None:
        with path.open("ab", buffering=0) as file:
            written = 0
            while written < len(content):
                piece = random_.randrange(1, 20_000)
                file.write(content[written : written + piece])
                written += piece

    writer = threading.Thread(target=grow)
    writer.start()
    while writer.is_alive():
        here.take_in()
    here.take_in()
    assert here.tokens()[0] == 2000
    assert here.ledger.ledger_digest() == undisturbed(here)


def test_paths_are_read_instead_of_the_roots(here: Machine, tmp_path: Path) -> None:
    here.write("a.jsonl", line(1))
    saved = tmp_path / "saved.jsonl"
    saved.write_bytes(line(2) + line(3))
    assert here.take_in(paths=[saved]).receipt == Receipt(received=2, new=2)
    assert here.take_in(paths=[saved]).receipt == Receipt()
    assert here.take_in().receipt == Receipt(received=1, new=1)
    with pytest.raises(ConfigError):
        here.take_in(paths=[tmp_path / "nowhere"])


def test_whatever_was_said_wrong_of_a_file_it_counts_when_it_is_said_right(here: Machine) -> None:
    written = here.write("one.jsonl", line(1))
    assert here.take_in(paths=[written], source="codex").receipt.received == 0
    assert here.take_in().receipt.new == 1
    thread = Thread(ERA["0.155.0"])
    thread.begin_turn()
    thread.call(Call(10_000, 7_000, 0, 700, 300))
    saved = here.write("saved.txt", thread.content)
    assert here.take_in(paths=[saved]).receipt.received == 0
    for new in (1, 0):
        assert here.take_in(paths=[saved], source="codex").receipt.new == new


def test_nothing_is_read_where_tracking_is_switched_off(here: Machine) -> None:
    here.write("a.jsonl", line(1))
    summary = import_new(here.ledger, here.settings._replace(token_tracking_enabled=False))
    assert summary.files_seen == 0
    assert here.tokens() == (0, 0, 0)


def test_transcripts_are_only_ever_read(here: Machine) -> None:
    make_home(here.settings.claude_config_dirs[0], files=2, calls_per_file=10)
    root = here.settings.claude_config_dirs[0]

    def look() -> list[tuple[str, int, int]]:
        return sorted((str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in root.rglob("*"))

    before = look()
    here.take_in()
    assert look() == before


def test_checkpoints_of_files_that_are_gone_are_dropped(here: Machine) -> None:
    path = here.write("a.jsonl", line(1))
    here.take_in()
    path.unlink()
    here.write("b.jsonl", line(2))
    here.take_in()
    here.write("a.jsonl", line(1))
    assert here.take_in().receipt == Receipt(received=1, duplicate=1)
