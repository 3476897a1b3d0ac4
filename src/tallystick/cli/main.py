"""The entry point `tally`: quick to start, quick to leave, and quiet when Ctrl-C comes while Python still loads."""

from __future__ import annotations

import gc
import os
import sys

EXIT_INTERRUPTED = 130


def main() -> None:
    """Run the command line on this process's arguments and leave with its exit code."""
    # Collecting garbage among modules being loaded takes 15 % of a short command; LazyGroup switches it on again.
    gc.disable()
    try:
        # Loading the program takes a quarter of a short command's time, and a Ctrl-C in it must not show a traceback.
        from tallystick.cli.signals import unwind_at_signals

        unwind_at_signals()
        from tallystick.cli.program import run

        exit_code = run(sys.argv[1:])
    except KeyboardInterrupt:
        exit_code = EXIT_INTERRUPTED
    except SystemExit as leaving:  # a signal
        exit_code = leaving.code if isinstance(leaving.code, int) else 0
    # All is flushed and closed by now; taking the interpreter down piece by piece would take 30 ms more.
    os._exit(exit_code)
