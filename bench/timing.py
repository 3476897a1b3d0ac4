"""How things are measured: whole processes from start to exit, and ratios taken pair by pair in one run."""

from __future__ import annotations

import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

PAIR_COUNT = 5
MIB = 1 << 20
LAUNCHER = Path(__file__).with_name("launcher.py")
MAX_QUOTED_ERROR_BYTES = 2000


class BenchError(Exception):
    """A measurement that could not be made, or whose outcome is wrong."""


class Run(NamedTuple):
    """One finished command; peak_bytes is the resident size of the largest process in its tree."""

    wall_seconds: float
    cpu_seconds: float
    peak_bytes: int
    output: bytes


class Pairs(NamedTuple):
    """Ours against theirs, one after the other, several times; ratio is the median of the pairs' ratios."""

    ratio: float
    ours_seconds: float
    theirs_seconds: float


def measure(command: Sequence[str], *, environment: Mapping[str, str] | None = None, folder: Path | None = None) -> Run:
    """Run a command to its end; a failing one raises BenchError with the end of what it said."""
    with tempfile.TemporaryDirectory() as scratch:
        output, errors = Path(scratch, "output"), Path(scratch, "errors")
        finished = subprocess.run(
            [sys.executable, "-I", "-S", str(LAUNCHER), str(output), str(errors), *command],
            env=dict(os.environ if environment is None else environment),
            cwd=folder,
            check=True,
            stdout=subprocess.PIPE,
        )
        figures = json.loads(finished.stdout)
        if figures["exit_code"] != 0:
            said = errors.read_bytes()[-MAX_QUOTED_ERROR_BYTES:].decode(errors="replace")
            raise BenchError(f"{' '.join(command)} ended with {figures['exit_code']}:\n{said}")
        return Run(figures["wall_seconds"], figures["cpu_seconds"], figures["peak_bytes"], output.read_bytes())


def compare(ours: Callable[[], float], theirs: Callable[[], float], *, pair_count: int = PAIR_COUNT) -> Pairs:
    """Time both in turns, so that whatever else the machine does hits both; each answers its own seconds."""
    taken = [(ours(), theirs()) for _ in range(pair_count)]
    return Pairs(
        statistics.median(mine / yours for mine, yours in taken),
        statistics.median(mine for mine, _ in taken),
        statistics.median(yours for _, yours in taken),
    )


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that `share` of all values do not pass."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]
