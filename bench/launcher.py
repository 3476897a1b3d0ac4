"""Runs one command and prints, as JSON, what it took: wall and CPU seconds, peak memory, exit code.

    python -I -S launcher.py OUTPUT ERRORS COMMAND [ARGUMENT...]

A small process of its own, because Linux counts the memory of the process that forks towards the child's peak: measured
from a program that holds a database driver, nothing would ever take less than that program.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

MAXRSS_UNIT_BYTES = 1 if sys.platform == "darwin" else 1024


def main() -> None:
    """Run the command with its output and errors in files."""
    output, errors, *command = sys.argv[1:]
    with Path(output).open("wb") as output_file, Path(errors).open("wb") as errors_file:
        started_at = time.perf_counter()
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output_file, stderr=errors_file)
        _, status, usage = os.wait4(process.pid, 0)
        wall_seconds = time.perf_counter() - started_at
    print(
        json.dumps(
            {
                "wall_seconds": wall_seconds,
                "cpu_seconds": usage.ru_utime + usage.ru_stime,
                "peak_bytes": usage.ru_maxrss * MAXRSS_UNIT_BYTES,
                "exit_code": os.waitstatus_to_exitcode(status),
            }
        )
    )


if __name__ == "__main__":
    main()
