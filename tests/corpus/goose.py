"""Goose's database, invented, as the versions before and since its ledger of calls have it."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

CREATED_S = 1_795_370_054  # 2026-11-22 17:54:14 UTC
CREATED_AT = "2026-11-22T17:54:14.000Z"
SESSION = "20261122_1"
CONFIG = '{"model_name":"claude-sonnet-4-5","temperature":null}'

SESSIONS = """
create table sessions (
  id text primary key, name text not null default '', session_type text not null default 'user',
  working_dir text not null, created_at timestamp default current_timestamp,
  updated_at timestamp default current_timestamp, total_tokens integer, input_tokens integer, output_tokens integer,
  accumulated_total_tokens integer, accumulated_input_tokens integer, accumulated_output_tokens integer,
  provider_name text, model_config_json text
);
"""
CACHE_COLUMNS = """
alter table sessions add column accumulated_cache_read_tokens integer;
alter table sessions add column accumulated_cache_write_tokens integer;
"""
LEDGER = """
create table usage_ledger (
  id integer primary key autoincrement, session_id text not null references sessions (id) on delete cascade,
  created_timestamp integer not null, model text, input_tokens integer, output_tokens integer, total_tokens integer,
  cache_read_tokens integer, cache_write_tokens integer, cost real, cost_source text, is_compaction integer default 0
);
"""


class GooseHistory:
    """A database as Goose keeps it, first without a ledger and after `renew` with one."""

    def __init__(self, path: Path, *, is_renewed: bool = True) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.connection = sqlite3.connect(path, isolation_level=None)
        self.connection.execute("pragma journal_mode = wal")
        self.connection.execute("pragma synchronous = off")
        self.connection.executescript(SESSIONS)
        if is_renewed:
            self.renew()

    def close(self) -> None:
        self.connection.close()

    def renew(self) -> None:
        """The change to a ledger: what every session has used by then is carried forward."""
        self.connection.executescript(CACHE_COLUMNS + LEDGER)
        self.connection.execute(
            "insert into usage_ledger (session_id, created_timestamp, input_tokens, output_tokens, cost_source) "
            "select id, ?, accumulated_input_tokens, accumulated_output_tokens, 'carried_forward' from sessions "
            "where accumulated_input_tokens > 0",
            [CREATED_S + 86_400],
        )

    def save_session(self, session_id: str = SESSION, **columns: Any) -> None:
        self._insert(
            "sessions",
            {
                "id": session_id,
                "working_dir": "/w/shop",
                "created_at": "2026-11-22 17:54:00",
                "updated_at": "2026-11-22 18:00:00",
                "provider_name": "anthropic",
                "model_config_json": CONFIG,
                **columns,
            },
        )

    def save_totals(self, session_id: str = SESSION, *, updated_at: str = "2026-11-22 18:00:00", **totals: int) -> None:
        for name, value in totals.items():
            self.connection.execute(
                f"update sessions set accumulated_{name} = ?, updated_at = ? where id = ?",
                [value, updated_at, session_id],
            )

    def save_call(self, session_id: str = SESSION, **columns: Any) -> None:
        self._insert(
            "usage_ledger",
            {
                "session_id": session_id,
                "created_timestamp": CREATED_S,
                "model": "claude-sonnet-4-5-20250929",
                "input_tokens": 40_800,
                "output_tokens": 450,
                "total_tokens": 41_250,
                "cache_read_tokens": 38_000,
                "cache_write_tokens": 2_100,
                "cost": 0.0291,
                "cost_source": "estimated",
                **columns,
            },
        )

    def _insert(self, table: str, row: dict[str, Any]) -> None:
        names, places = ", ".join(row), ", ".join("?" * len(row))
        self.connection.execute(f"insert into {table} ({names}) values ({places})", list(row.values()))
