"""A machine made up for a test: transcripts in a home, and the books of its user in a real ledger."""

from __future__ import annotations

import os
import time
import uuid
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

from tallystick.collector.run import import_new
from tallystick.collector.summary import ImportSummary
from tallystick.config import Settings, load_settings
from tallystick.ledger import Ledger
from tallystick.model import UsageFilter
from tests.acceptance.made_transcripts import BEGIN, make_line
from tests.processes import tally_environ

SESSION = "5e55107a-0000-4000-8000-000000000001"
LONG_AGO_S = 1_780_000_000


class Machine(NamedTuple):
    """A home with transcripts and the books of its user."""

    ledger: Ledger
    settings: Settings
    url: str

    @property
    def folder(self) -> Path:
        return self.settings.claude_config_dirs[0] / "projects" / "-w"

    def take_in(self, **options: object) -> ImportSummary:
        return import_new(self.ledger, self.settings, **options)  # type: ignore[arg-type]

    def tokens(self) -> tuple[int, int, int]:
        """Events, input and output tokens, as the ledger's reports have them."""
        rows = self.ledger.usage_models(UsageFilter())
        counts = [(row.event_count, row.input_tokens, row.output_tokens) for row in rows]
        events, sent, received = (sum(column) for column in zip(*counts, strict=True)) if counts else (0, 0, 0)
        return events, sent, received

    def write(self, name: str, content: bytes, *, rests: bool = True) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        # what is fresh is so for as long as the test takes
        changed_at_s = LONG_AGO_S if rests else time.time() + 1.8
        os.utime(path, (changed_at_s, changed_at_s))
        return path


def machine(url: str, home: Path, user_id: str | None = None) -> Machine:
    user_id = user_id or str(uuid.uuid4())
    environ = {
        "HOME": str(home),
        "TALLYSTICK_HOME": str(home / "tallystick"),
        "CLAUDE_CONFIG_DIR": str(home / "claude"),
        "USER_ID": user_id,
        "TZ": "Europe/Berlin",
    }
    return Machine(Ledger.connect(url, user_id=user_id), load_settings(environ), url)


def environ_of(home: Path, url: str, **more: str) -> dict[str, str]:
    """The environment of a process of `tally` whose transcripts and files lie in a home, and whose ledger is there."""
    folders = {"TALLYSTICK_HOME": str(home / "tallystick"), "CLAUDE_CONFIG_DIR": str(home / "claude")}
    return tally_environ(home, TALLYSTICK_DATABASE_URL=url, **folders, **more)


def line(number: int, *, output_tokens: int = 10, text: str = "") -> bytes:
    return make_line(
        session_id=SESSION,
        message_id=f"msg_number{number:06d}",
        output_tokens=output_tokens,
        input_tokens=1,
        at=BEGIN + timedelta(seconds=number),
        text=text,
    )
