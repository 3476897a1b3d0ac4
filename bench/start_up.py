"""How long the command line takes to say anything at all."""

from __future__ import annotations

import shutil
import statistics
from collections.abc import Iterator

from bench.results import Result, at_most
from bench.setting import Setting

HELP_LIMIT_MS = 150
RUNS = 21


def measure_start_up(setting: Setting) -> Iterator[Result]:
    """`tally --help`, process start included."""
    home = setting.new_home("start-up")
    home.run("--help")
    times_ms = [home.run("--help").wall_seconds * 1000 for _ in range(RUNS)]
    shutil.rmtree(home.path)
    yield at_most("tally --help, median", statistics.median(times_ms), HELP_LIMIT_MS, unit="ms")
