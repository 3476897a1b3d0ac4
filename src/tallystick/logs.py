"""The log of what runs for long: a line of JSON per event on standard error, or a readable one at a terminal."""

from __future__ import annotations

import atexit
import logging
import queue
import sys
import threading
from collections.abc import MutableMapping
from contextlib import suppress
from typing import Any, TextIO, cast

import msgspec
import structlog

from tallystick.redaction import without_passwords

MAX_LINES_AT_ONCE = 1000


def log_to_stderr() -> None:
    """Send the log of this process to standard error; no line of it holds a password."""
    is_terminal = sys.stderr.isatty()
    render = (
        structlog.dev.ConsoleRenderer(colors=is_terminal)
        if is_terminal
        else structlog.processors.JSONRenderer(serializer=_json_line)
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            _without_passwords,
            render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.WriteLoggerFactory(cast("TextIO", _Lines(sys.stderr))),
        cache_logger_on_first_use=True,
    )
    logging.getLogger("uvicorn").addHandler(logging.NullHandler())
    # the pool tells of every connection that it cannot make; whoever asks for one is told
    logging.getLogger("psycopg.pool").addHandler(logging.NullHandler())


def log_to_nobody() -> None:
    """Keep the log of this process off a screen that shows something else; `tally status` says how following goes."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))


class _Lines:
    """A text file that a thread of its own writes: to write a line takes longer than to answer a request."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        threading.Thread(target=self._write, name="log", daemon=True).start()
        atexit.register(self._drain)

    def write(self, line: str) -> None:
        self._lines.put(line)

    def flush(self) -> None:
        """Nothing: the thread flushes."""

    def _write(self) -> None:
        while True:
            self._put_out(self._lines.get())

    def _drain(self) -> None:
        with suppress(queue.Empty):
            self._put_out(self._lines.get_nowait())

    def _put_out(self, line: str) -> None:
        lines = [line]
        with suppress(queue.Empty):
            while len(lines) < MAX_LINES_AT_ONCE:
                lines.append(self._lines.get_nowait())
        with suppress(OSError, ValueError):  # whoever read the log has gone
            self._file.write("".join(lines))
            self._file.flush()


def _json_line(event: Any, **_: Any) -> str:
    return msgspec.json.encode(event).decode()


def _without_passwords(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    if "exception" in event:
        event["exception"] = without_passwords(str(event["exception"]))
    return event
