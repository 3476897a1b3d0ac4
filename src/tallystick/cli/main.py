"""The entry point `tally`: nothing but the exit code, and a quiet end when Ctrl-C comes while Python still loads."""

from __future__ import annotations

import sys

EXIT_INTERRUPTED = 130


def main() -> None:
    """Run the command line on this process's arguments and leave with its exit code."""
    try:
        # Loading the program takes a quarter of a short command's time, and a Ctrl-C in it must not show a traceback.
        from tallystick.cli.program import run

        exit_code = run(sys.argv[1:])
    except KeyboardInterrupt:
        exit_code = EXIT_INTERRUPTED
    sys.exit(exit_code)
