"""Waiting for what another session does, seen in the server's own views."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import psycopg

LIMIT_S = 60.0
# whether somebody waits for a lock that this process of the server holds
LOCKED_OUT = "select exists (select from pg_stat_activity where %s = any (pg_blocking_pids(pid)))"


def wait_for(connection: psycopg.Connection[Any], query: str, arguments: Sequence[object] = ()) -> None:
    """Ask until the answer is true; each asking is a round trip, so this is no busy loop of our own."""
    deadline = time.monotonic() + LIMIT_S
    while time.monotonic() < deadline:
        if connection.execute(query.encode(), arguments).fetchone() == (True,):
            return
    raise AssertionError(f"this never came true: {query}")


def server_process(connection: psycopg.Connection[Any]) -> int:
    """The process that runs the open transaction; what a pooler tells of it when connecting is made up."""
    row = connection.execute("select pg_backend_pid()").fetchone()
    assert row is not None
    return int(row[0])
