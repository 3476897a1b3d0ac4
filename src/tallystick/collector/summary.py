"""What an import says of itself, while it runs and when it is done."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from tallystick.collector.discover import Problem
from tallystick.model import Receipt


class ImportProgress(NamedTuple):
    """How far an import has come, counting what the ledger has acknowledged."""

    bytes_done: int
    bytes_total: int
    files_done: int
    files_total: int
    events: int


class ImportSummary(NamedTuple):
    """What an import did.

    The receipt counts copies that were folded before they were sent as received and duplicate. `pending_bytes` stand
    behind the last newline of a file and wait until they are a whole line. `line_counts` are the lines read that report
    no call, by type; `unknown_line_types` are the types among them that no version known to us writes.
    """

    receipt: Receipt = Receipt()
    files_seen: int = 0
    files_read: int = 0
    bytes_read: int = 0
    problems: tuple[Problem, ...] = ()
    pending_bytes: int = 0
    line_counts: Mapping[str, int] = {}
    unknown_line_types: tuple[str, ...] = ()
    notices: tuple[str, ...] = ()
    duration_s: float = 0.0
