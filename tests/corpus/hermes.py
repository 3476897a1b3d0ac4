"""Hermes' database, invented."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

from tests.corpus.histories import Call, History, make_calls

TABLES = """\
create table sessions (
  id text primary key, source text, model text, billing_provider text, started_at real not null, ended_at real,
  message_count integer default 0, input_tokens integer default 0, output_tokens integer default 0,
  cache_read_tokens integer default 0, cache_write_tokens integer default 0, reasoning_tokens integer default 0,
  estimated_cost_usd real, actual_cost_usd real, api_call_count integer default 0
);
create table messages (
  id integer primary key autoincrement, session_id text not null, role text not null, content text,
  timestamp real not null
);
"""


def session(seed: int, calls: int) -> History:
    return History({}, make_calls(seed, calls))


def write(path: Path, histories: Iterable[History], *, name: str = "0800") -> None:
    """A database anew, with one session for each history; `name` is in the ids of them all."""
    path.unlink(missing_ok=True)
    with closing(make_database(path)) as database:
        database.execute("begin")
        for number, history in enumerate(histories):
            session_id = f"20260901_{name}_{number:06x}"
            save_session(database, session_id, history.calls)
            save_messages(database, session_id, history.calls)
        database.execute("commit")


def make_database(path: Path) -> sqlite3.Connection:
    path.parent.mkdir(parents=True, exist_ok=True)
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("pragma synchronous = off")
    database.executescript(TABLES)
    return database


def save_session(database: sqlite3.Connection, session_id: str, calls: list[Call]) -> None:
    """A session with the sums of all its calls so far."""
    tokens = History({}, calls).tokens
    row = {
        "id": session_id,
        "model": "anthropic/claude-opus-4.6",
        "started_at": calls[0].at.timestamp() if calls else 0.0,
        "input_tokens": tokens.input,
        "output_tokens": tokens.output,
        "cache_read_tokens": tokens.read,
        "cache_write_tokens": tokens.written,
        "reasoning_tokens": tokens.output * 2,
        "api_call_count": len(calls),
    }
    names, places = ", ".join(row), ", ".join("?" * len(row))
    database.execute(f"insert or replace into sessions ({names}) values ({places})", [*row.values()])


def save_messages(database: sqlite3.Connection, session_id: str, calls: list[Call]) -> None:
    database.executemany(
        "insert into messages (session_id, role, timestamp) values (?, 'assistant', ?)",
        [(session_id, call.at.timestamp()) for call in calls],
    )
