"""ZCode's database, invented."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

STARTED_MS = 1_795_370_054_576
STARTED_AT = "2026-11-22T17:54:14.576Z"

SCHEMA = """
create table session (id text primary key, parent_id text, directory text, time_created integer);
create table model_usage (
  id text primary key, session_id text not null, turn_id text, query_source text, provider_id text, model_id text,
  status text not null, started_at integer not null, completed_at integer, input_tokens integer not null default 0,
  output_tokens integer not null default 0, reasoning_tokens integer not null default 0,
  cache_creation_input_tokens integer not null default 0, cache_read_input_tokens integer not null default 0
);
insert into session values ('sess_1', null, '/w/shop', 1), ('sess_2', 'sess_1', '/w/shop', 1);
"""


def make_usage(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("pragma journal_mode = wal")
    connection.execute("pragma synchronous = off")
    connection.executescript(SCHEMA)
    return connection


def save_call(connection: sqlite3.Connection, number: int = 1, **columns: Any) -> None:
    row = {
        "id": f"usage_{number}",
        "session_id": "sess_1",
        "model_id": "GLM-5.3",
        "status": "completed",
        "started_at": STARTED_MS,
        "completed_at": STARTED_MS + 2000 + number,
        "input_tokens": 9000,
        "output_tokens": 700,
        "reasoning_tokens": 300,
        "cache_read_input_tokens": 8000,
        "cache_creation_input_tokens": 100,
        **columns,
    }
    names, places = ", ".join(row), ", ".join("?" * len(row))
    connection.execute(f"insert or replace into model_usage ({names}) values ({places})", list(row.values()))
