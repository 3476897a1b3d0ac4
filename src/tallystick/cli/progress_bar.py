"""The bar that a long import draws on a terminal."""

from __future__ import annotations

import time
from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from tallystick.cli.progress import progress_line

if TYPE_CHECKING:
    from tallystick.collector.summary import ImportProgress

BAR_WIDTH = 12


class ProgressBar:
    """Drawn from the first report on, and wiped when the import ends; a context manager."""

    def __init__(self, *, has_colour: bool) -> None:
        console = Console(stderr=True, no_color=not has_colour, highlight=False)
        self._progress = Progress(
            BarColumn(bar_width=BAR_WIDTH), TextColumn("{task.description}"), console=console, transient=True
        )
        self._task = self._progress.add_task("reading", total=None)
        self._started_at = time.monotonic()

    def __enter__(self) -> ProgressBar:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def report(self, progress: ImportProgress) -> None:
        """Draw this state; an import with nothing to do never draws."""
        self._progress.update(
            self._task,
            completed=progress.bytes_done,
            total=max(progress.bytes_total, 1),
            description=progress_line(progress, seconds=time.monotonic() - self._started_at),
        )
        self._progress.start()
