"""Connections for a program that answers many at once: each request has one, and one transaction at a time on it.

The pool is a small one of this process; where many processes share a database, a pooler (Supavisor, PgBouncer) stands
in front of it, and everything here is fit for its transaction mode.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from psycopg_pool import ConnectionPool, PoolTimeout

from tallystick.db import Connection, Database, connection_settings, open_connection, settle
from tallystick.errors import Busy, LedgerUnavailable
from tallystick.road import Caller

WAIT_S = 5.0


class Pool:
    """At most `size` connections to one database, opened as they are needed."""

    def __init__(self, url: str, *, size: int) -> None:
        self._url = url
        self._pool = ConnectionPool(
            url,
            connection_class=Connection,
            # asked for with each connection: a URL that cannot be read shows at the first use, as all else does
            kwargs=lambda: connection_settings(url),
            configure=settle,
            min_size=1,
            max_size=size,
            timeout=WAIT_S,
            reconnect_timeout=WAIT_S,
            open=False,
        )

    def open(self) -> None:
        """Begin to connect; whether it works shows at the first use."""
        self._pool.open()

    def close(self) -> None:
        self._pool.close()

    @contextmanager
    def database(self, caller: Caller | None) -> Iterator[Database]:
        """A connection with the rights of `caller`; raises Busy where none becomes free in 5 s, LedgerUnavailable."""
        try:
            connection = self._pool.getconn()
        except PoolTimeout:
            # connections that broke count as open until somebody has used them, so the database itself is asked
            open_connection(self._url, timeout_s=1).close()
            raise Busy("every connection to the database is in use", hint="Try again in a moment.") from None
        is_broken = False
        try:
            yield Database(connection, caller=caller)
        except LedgerUnavailable:
            is_broken = True
            raise
        finally:
            self._pool.putconn(connection)
            if is_broken:
                # what broke this one has broken the others, and each would cost somebody a request to find out
                self._pool.check()

    def open_count(self) -> int:
        """How many connections are open now."""
        return int(self._pool.get_stats().get("pool_size", 0))

    def stats(self) -> dict[str, int]:
        """Open connections, those that are free, and who waits for one."""
        stats = self._pool.get_stats()
        return {
            "open": int(stats.get("pool_size", 0)),
            "free": int(stats.get("pool_available", 0)),
            "waiting": int(stats.get("requests_waiting", 0)),
        }
