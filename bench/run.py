"""All measurements that the budgets ask for, as one table; the exit status is 1 if a must is missed.

python -m bench.run [--only NAME ...] [--bytes 1g] [--stored 10m] [--work DIR] [--database URL]
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg

from bench.following import measure_following
from bench.importing import measure_daily, measure_import
from bench.ingest import measure_ingest
from bench.make_corpus import parse_size
from bench.reading import measure_big_file, measure_reading
from bench.results import Result, render_table
from bench.serving import measure_serving
from bench.setting import Setting
from bench.start_up import measure_start_up
from bench.stored import measure_stored
from bench.timing import BenchError
from tallystick.errors import TallystickError

MEASUREMENTS: dict[str, Callable[[Setting], Iterator[Result]]] = {
    "reading": measure_reading,
    "big-file": measure_big_file,
    "import": measure_import,
    "daily": measure_daily,
    "following": measure_following,
    "ingest": measure_ingest,
    "serving": measure_serving,
    "stored": measure_stored,
    "start-up": measure_start_up,
}
BUSY_LOAD = 0.5
COUNT_UNITS = {"k": 10**3, "m": 10**6}


def main() -> None:
    """Run the measurements asked for, each row to stderr as it comes, the table to stdout at the end."""
    given = read_arguments()
    setting = Setting(given.work.resolve(), given.bytes, given.stored, given.database)
    setting.work_folder.mkdir(parents=True, exist_ok=True)
    warn_if_busy()
    results: list[Result] = []
    for name in given.only or MEASUREMENTS:
        results += take(name, setting)
    print(render_table(results))
    sys.exit(1 if any(result.is_met is False for result in results) else 0)


def warn_if_busy() -> None:
    """Say so where something else is running: ratios bear it to a degree, milliseconds do not."""
    load = os.getloadavg()[0]
    if load > BUSY_LOAD:
        print(f"the load average is {load:.1f}: figures in milliseconds will mean little", file=sys.stderr)


def take(name: str, setting: Setting) -> Iterator[Result]:
    """One measurement's rows; one that fails is a row that is not met, and the others go on."""
    try:
        for result in MEASUREMENTS[name](setting):
            print(f"{result.what}: {result.figure}", file=sys.stderr)
            yield result
    except (BenchError, TallystickError, psycopg.Error, OSError) as error:
        print(f"{name}: {str(error).strip()}", file=sys.stderr)
        yield Result(name, "could not be measured", "", False)


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure Tallystick against its peers and floors.")
    parser.add_argument("--only", action="append", choices=list(MEASUREMENTS), help="one measurement; may be repeated")
    parser.add_argument("--bytes", type=parse_size, default="1g", help="size of the corpus, such as 100m (default 1g)")
    parser.add_argument("--stored", type=parse_count, default="10m", help="events in the long ledger (default 10m)")
    parser.add_argument(
        "--work", type=Path, default=Path(tempfile.gettempdir(), "tallystick-bench"), help="folder to work in"
    )
    parser.add_argument("--database", help="superuser URL of an empty database, instead of the embedded server")
    return parser.parse_args()


def parse_count(text: str) -> int:
    """A number, with k or m for thousands or millions."""
    unit = COUNT_UNITS.get(text[-1:].lower())
    return int(text) if unit is None else int(float(text[:-1]) * unit)


if __name__ == "__main__":
    main()
