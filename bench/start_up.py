"""How long the command line takes to say anything at all, and the status line with ten of it at once."""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from bench.results import Result, at_most
from bench.setting import Setting, TallyHome
from bench.timing import BenchError

HELP_LIMIT_MS = 150
RUNS = 21
STATUS_LINE_LIMIT_MS = 50
AT_ONCE = 10
ROUNDS = 20
SAID_BY_THE_AGENT = json.dumps(
    {
        "session_id": "0b9d1f5e-1111-4222-8333-444455556666",
        "model": {"id": "claude-opus-5-5", "display_name": "Opus 5.5"},
        "cost": {"total_cost_usd": 0.376, "total_duration_ms": 5_400_000},
        "context_window": {"context_window_size": 1_000_000, "used_percentage": 26},
        "rate_limits": {"five_hour": {"used_percentage": 42.5, "resets_at": 4_000_000_000}},
    }
).encode()


def measure_start_up(setting: Setting) -> Iterator[Result]:
    """`tally --help`, process start included; then the status line as Claude Code runs it."""
    home = setting.new_home("start-up")
    home.run("--help")
    times_ms = [home.run("--help").wall_seconds * 1000 for _ in range(RUNS)]
    yield at_most("tally --help, median", statistics.median(times_ms), HELP_LIMIT_MS, unit="ms")
    yield measure_status_line(home)
    shutil.rmtree(home.path)


def measure_status_line(home: TallyHome) -> Result:
    """From the start of its process to its last byte, ten at once, several times."""
    home.run("statusline", "install")
    settings = json.loads((home.path / ".claude" / "settings.json").read_bytes())
    command = ["sh", "-c", settings["statusLine"]["command"]]
    environment = home.environment()
    with ThreadPoolExecutor(AT_ONCE) as threads:
        times_ms = [
            time_ms
            for _ in range(ROUNDS)
            for time_ms in threads.map(time_one, [command] * AT_ONCE, [environment] * AT_ONCE)
        ]
    return at_most("a status line, ten at once, median", statistics.median(times_ms), STATUS_LINE_LIMIT_MS, unit="ms")


def time_one(command: Sequence[str], environment: Mapping[str, str]) -> float:
    """Milliseconds of one line."""
    started_at = time.perf_counter()
    done = subprocess.run(command, env=environment, input=SAID_BY_THE_AGENT, capture_output=True, check=True)
    time_ms = (time.perf_counter() - started_at) * 1000
    if not done.stdout.startswith(b"$0.38 session | "):
        raise BenchError(f"the status line says {done.stdout!r}")
    return time_ms
