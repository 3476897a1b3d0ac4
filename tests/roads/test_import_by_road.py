"""The same transcripts taken in by each road give the same books."""

from __future__ import annotations

import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tallystick.collector.run import import_new
from tallystick.config import load_settings
from tallystick.ledger import ATTEMPTS
from tallystick.model import Receipt, UsageFilter
from tests.roads.places import SERVICE_ROADS, Place


class Books(NamedTuple):
    """What is left of an import, apart from when it was."""

    receipt: Receipt
    digest: str
    rejects: list[Any]
    days: list[Any]


def corpus(folder: Path, size: str) -> Path:
    """Transcripts of that many bytes, which are the same every time."""
    subprocess.run(
        [sys.executable, "-m", "bench.make_corpus", str(folder / "corpus"), "--bytes", size, "--seed", "11"],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return folder / "corpus" / ".claude"


def imported(place: Place, road: str, transcripts: Path, home: Path) -> Books:
    user_id = str(uuid.uuid4())
    environ = {"HOME": str(home), "TALLYSTICK_HOME": str(home), "CLAUDE_CONFIG_DIR": str(transcripts), "TZ": "UTC"}
    settings = load_settings({**environ, "USER_ID": user_id})
    with place.open(road, user_id, attempts=ATTEMPTS) as ledger:
        started = time.monotonic()
        # two readers at once would send what they read in an order of chance
        receipt = import_new(ledger, settings, workers=1).receipt
        seconds = time.monotonic() - started
        assert import_new(ledger, settings).receipt == Receipt()
        print(f"{road}: {receipt.received:,} calls in {seconds:.1f} s")
        assert [check for check in ledger.verify_token_usage() if check.bad_rows] == []
        rejects = [(row.source, row.reason, row.record_count, row.position) for row in ledger.rejects()]
        days = ledger.usage_daily(UsageFilter(), by="session")
        return Books(receipt, ledger.ledger_digest(), rejects, days)


def assert_alike_by_every_road(place: Place, transcripts: Path, folder: Path) -> None:
    books = {}
    for number, road in enumerate(SERVICE_ROADS):
        home = folder / f"home-{number}"
        home.mkdir()
        books[road] = imported(place, road, transcripts, home)
    first = books[SERVICE_ROADS[0]]
    assert first.receipt.new > 0
    for road in SERVICE_ROADS:
        assert books[road] == first, road


@pytest.mark.torture
@pytest.mark.timeout(3000)
def test_an_import_leaves_the_same_books_by_every_road(place: Place, tmp_path: Path, torture_rounds: int) -> None:
    """Of 100 MiB in fifty rounds."""
    assert_alike_by_every_road(place, corpus(tmp_path, f"{2 * torture_rounds}m"), tmp_path)
