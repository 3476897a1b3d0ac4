"""Kills for real: the importer, and the whole of Postgres, at random moments; run again, the books are the same."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import psycopg
import pytest

from tallystick.embedded import EmbeddedServer
from tallystick.ledger import Ledger
from tests.servers import kill_all, process_tree

USER_ID = "7a11e000-0000-4000-8000-000000000001"
RUN_SECONDS = 120


class Books(NamedTuple):
    """A TALLYSTICK_HOME with its embedded ledger, and the transcripts that it reads."""

    home: Path
    environ: dict[str, str]
    server: EmbeddedServer

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "tallystick", *arguments],
            env=self.environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str) -> str:
        process = self.start(*arguments)
        output, errors = process.communicate(timeout=RUN_SECONDS)
        assert process.returncode == 0, errors
        return output

    def digest(self) -> str:
        with self.server as url, Ledger.connect(url, user_id=USER_ID) as ledger:
            assert [check for check in ledger.verify_token_usage() if check.bad_rows] == []
            return ledger.ledger_digest()

    def start_over(self) -> None:
        self.run("forget", "--everything", "--yes")
        for leftover in (self.home / "state").glob("checkpoints.sqlite3*"):
            leftover.unlink()


@pytest.fixture(scope="module")
def books(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Books]:
    folder = tmp_path_factory.mktemp("torture")
    subprocess.run(
        [sys.executable, "-m", "bench.make_corpus", str(folder / "corpus"), "--bytes", "12m", "--seed", "3"],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    home = folder / "home"
    environ = {
        **{name: value for name, value in os.environ.items() if name in {"PATH", "PYTHONPATH", "LANG"}},
        "HOME": str(folder),
        "TALLYSTICK_HOME": str(home),
        "CLAUDE_CONFIG_DIR": str(folder / "corpus" / ".claude"),
        "USER_ID": USER_ID,
        "TZ": "UTC",
    }
    server = EmbeddedServer(home / "data" / "postgres")
    kept = Books(home, environ, server)
    kept.run("db", "start")
    try:
        yield kept
    finally:
        server.erase()


@pytest.fixture(scope="module")
def undisturbed(books: Books) -> tuple[str, float]:
    """The digest that every disturbed run must reach, and how long an undisturbed import takes in seconds."""
    started = time.monotonic()
    books.run("import")
    return books.digest(), time.monotonic() - started


@pytest.mark.torture
@pytest.mark.timeout(3000)
def test_an_importer_killed_at_any_moment_and_run_again_gives_the_same_books(
    books: Books, undisturbed: tuple[str, float], torture_rounds: int
) -> None:
    digest, seconds = undisturbed
    moments = random.Random(1)
    killed = 0
    for _ in range(torture_rounds):
        books.start_over()
        importer = books.start("import")
        time.sleep(moments.uniform(0.05, seconds))
        importer.kill()
        importer.communicate()
        killed += importer.returncode == -signal.SIGKILL
        books.run("import")
        assert books.digest() == digest
    assert killed > 0


@pytest.mark.torture
@pytest.mark.timeout(3000)
def test_a_postgres_killed_at_any_moment_loses_nothing_acknowledged(
    books: Books, undisturbed: tuple[str, float], torture_rounds: int
) -> None:
    digest, seconds = undisturbed
    moments = random.Random(2)
    for _ in range(torture_rounds):
        books.start_over()
        importer = books.start("import")
        time.sleep(moments.uniform(0.05, seconds))
        acknowledged = kill_postgres(books)
        output, errors = importer.communicate(timeout=RUN_SECONDS)
        assert importer.returncode in (0, 1), output + errors
        assert "Traceback" not in errors
        books.run("import")
        assert books.digest() == digest
        with books.server as url, psycopg.connect(url) as connection:
            row = connection.execute("select count(*) from token_usage_events").fetchone()
            assert row is not None
            assert row[0] >= acknowledged


def kill_postgres(books: Books) -> int:
    """Kill the server and every process of it; answer how many events stood committed a moment before."""
    with books.server as url, psycopg.connect(url) as connection:
        row = connection.execute("select count(*) from token_usage_events").fetchone()
        assert row is not None
    postmaster = books.server.status().pid
    assert postmaster is not None
    kill_all(process_tree(postmaster))
    return int(row[0])
