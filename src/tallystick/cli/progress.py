"""How far an import has come: a bar on a terminal, now and then a line in a pipe."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tallystick.cli.cells import byte_size, grouped
from tallystick.cli.terminal import look_at, say

if TYPE_CHECKING:
    from tallystick.collector.summary import ImportProgress

LINE_INTERVAL_S = 5.0
LEAST_RATE_S = 0.05


@contextmanager
def shown_progress() -> Iterator[Callable[[ImportProgress], None]]:
    """What to call with each state of an import; it writes to standard error, and leaves no bar behind."""
    terminal = look_at(sys.stderr)
    if not terminal.is_interactive:
        yield _LineReporter().report
        return
    # rich takes 80 ms to import, and only an import at a terminal shows a bar.
    from tallystick.cli.progress_bar import ProgressBar

    with ProgressBar(has_colour=bool(terminal.palette.reset)) as bar:
        yield bar.report


class _LineReporter:
    """A line every few seconds, so that a log shows that a long import is alive."""

    def __init__(self) -> None:
        self._started_at = time.monotonic()
        self._said_at = self._started_at

    def report(self, progress: ImportProgress) -> None:
        now = time.monotonic()
        if now - self._said_at >= LINE_INTERVAL_S:
            self._said_at = now
            say(progress_line(progress, seconds=now - self._started_at))


def progress_line(progress: ImportProgress, *, seconds: float) -> str:
    """120.0 MiB of 1.0 GiB, 204 of 2,597 files, 25,310 calls, 180.2 MiB/s."""
    return (
        f"{byte_size(progress.bytes_done)} of {byte_size(progress.bytes_total)}, "
        f"{grouped(progress.files_done)} of {grouped(progress.files_total)} files, "
        f"{grouped(progress.events)} calls, {byte_size(int(progress.bytes_done / max(seconds, LEAST_RATE_S)))}/s"
    )
