"""`tally watch` as a process in a home of its own, and waiting for what it does."""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from decimal import Decimal
from pathlib import Path
from typing import Any

from tallystick.ledger import Ledger
from tallystick.model import UsageFilter
from tests.acceptance.machines import environ_of
from tests.processes import LIMIT_S, until


class Watched:
    """A home with transcripts, and the processes of `tally` in it."""

    def __init__(self, home: Path, url: str, postgres_url: str) -> None:
        self.postgres_url = postgres_url
        self.user_id = str(uuid.uuid4())
        self.url = url
        self.home = home
        self.log_file = home / "watch.log"
        self.environ = environ_of(home, url, USER_ID=self.user_id, TZ="Europe/Berlin")
        self.folder = home / "claude" / "projects" / "-w"
        self.folder.mkdir(parents=True)
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self, *before: str) -> subprocess.Popen[bytes]:
        """`tally watch`, by way of another program where one stands before it."""
        command = [*before, sys.executable, "-m", "tallystick", "watch"]
        with self.log_file.open("ab") as log:
            process = subprocess.Popen(command, env=self.environ, stdin=subprocess.PIPE, stderr=log)
        self.processes.append(process)
        return process

    def tally(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "tallystick", *arguments],
            env=self.environ,
            capture_output=True,
            text=True,
            check=False,
            timeout=LIMIT_S,
        )

    def log(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log_file.read_text(encoding="utf-8").splitlines()]

    def append(self, name: str, *lines: bytes) -> None:
        with (self.folder / name).open("ab") as file:
            file.write(b"".join(lines))

    def used_percents(self) -> list[Decimal]:
        with Ledger.connect(self.url, user_id=self.user_id) as ledger:
            return [limit.used_percent for limit in ledger.usage_limits()]

    def wait_for_events(self, count: int) -> None:
        # on one connection: to plan the question on a new one each time takes the processor from what is waited for
        with Ledger.connect(self.url, user_id=self.user_id) as ledger:
            until(lambda: event_count(ledger) == count, what=lambda: f"{event_count(ledger)} events, not {count}")


def event_count(ledger: Ledger) -> int:
    return ledger.usage_summary(UsageFilter()).event_count
