"""The server's log: one line of JSON per request on standard error, or a readable one at a terminal; no secrets."""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from typing import Any

import msgspec
import structlog

from tallystick.redaction import without_passwords


def log_requests() -> None:
    """Send the log of this process to standard error."""
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
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    logging.getLogger("uvicorn").addHandler(logging.NullHandler())
    # the pool tells of every connection that it cannot make; whoever asks for one is told
    logging.getLogger("psycopg.pool").addHandler(logging.NullHandler())


def _json_line(event: Any, **_: Any) -> str:
    return msgspec.json.encode(event).decode()


def _without_passwords(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    if "exception" in event:
        event["exception"] = without_passwords(str(event["exception"]))
    return event
