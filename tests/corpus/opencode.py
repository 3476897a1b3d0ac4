"""Histories of OpenCode, invented: its database, its older files, and the truth about what they hold."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any, NamedTuple

CREATED_MS = 1_795_370_054_576  # 2026-11-22 17:54:14.576 UTC
CREATED_AT = "2026-11-22T17:54:14.576Z"

SCHEMA = """
create table session (
  id text primary key, project_id text not null, parent_id text, directory text not null, path text,
  version text not null, cost real not null default 0, tokens_input integer not null default 0,
  tokens_output integer not null default 0, time_created integer not null, time_updated integer not null
);
create table message (
  id text primary key, session_id text not null, time_created integer not null, time_updated integer not null,
  data text not null
);
create index message_session_idx on message (session_id);
create table part (
  id text primary key, message_id text not null, session_id text not null, time_created integer not null,
  time_updated integer not null, data text not null
);
create index part_message_idx on part (message_id);
"""


class Tokens(NamedTuple):
    """The five figures of a call as OpenCode writes them, none of which contains another."""

    input: int = 2000
    output: int = 402
    reasoning: int = 300
    read: int = 8002
    write: int = 0

    def written(self) -> dict[str, Any]:
        return {
            "total": sum(self),
            "input": self.input,
            "output": self.output,
            "reasoning": self.reasoning,
            "cache": {"write": self.write, "read": self.read},
        }


def make_message(tokens: object = Tokens(), *, at: int = CREATED_MS, **changes: Any) -> dict[str, Any]:
    """The data of an assistant message that is complete and that nothing is wrong with."""
    return {
        "role": "assistant",
        "parentID": "msg_parent",
        "mode": "build",
        "agent": "build",
        "path": {"cwd": "/w/shop/api", "root": "/w/shop"},
        "cost": 0.0098202,
        "tokens": tokens.written() if isinstance(tokens, Tokens) else tokens,
        "modelID": "gpt-x",
        "providerID": "openai",
        "time": {"created": at, "completed": at + 1810},
        "finish": "tool-calls",
        **changes,
    }


def make_step(tokens: Tokens, *, cost: float = 0.001) -> dict[str, Any]:
    return {
        "type": "step-finish",
        "reason": "tool-calls",
        "snapshot": "4b82",
        "tokens": tokens.written(),
        "cost": cost,
    }


class OpenCodeHistory:
    """A database as OpenCode keeps it; whatever was saved stands in its log until `close`."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self.connection = sqlite3.connect(path, isolation_level=None)
        self.connection.execute("pragma journal_mode = wal")
        self.connection.execute("pragma synchronous = off")
        self.connection.executescript(SCHEMA)

    def close(self) -> None:
        self.connection.close()

    def save_session(self, session_id: str, *, parent_id: str | None = None, directory: str = "/w/shop") -> None:
        self.connection.execute(
            "insert into session (id, project_id, parent_id, directory, version, time_created, time_updated) "
            "values (?, 'p', ?, ?, '1.18.33', ?, ?)",
            [session_id, parent_id, directory, CREATED_MS, CREATED_MS],
        )

    def save_message(
        self, message_id: str, data: dict[str, Any] | str, *, session_id: str = "ses_1", updated: int = CREATED_MS
    ) -> None:
        written = data if isinstance(data, str) else json.dumps(data)
        self.connection.execute(
            "insert into message values (?1, ?2, ?3, ?4, ?5) "
            "on conflict (id) do update set time_updated = ?4, data = ?5",
            [message_id, session_id, CREATED_MS, updated, written],
        )

    def save_steps(self, message_id: str, steps: list[dict[str, Any]], *, session_id: str = "ses_1") -> None:
        self.connection.executemany(
            "insert into part values (?, ?, ?, ?, ?, ?)",
            [
                (f"prt_{message_id}_{at}", message_id, session_id, CREATED_MS, CREATED_MS, json.dumps(step))
                for at, step in enumerate(steps)
            ],
        )


def write_message_file(root: Path, message_id: str, data: dict[str, Any], *, session_id: str = "ses_1") -> Path:
    """The file that the versions before the database wrote for the same message."""
    path = root / "storage" / "message" / session_id / f"{message_id}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"id": message_id, "sessionID": session_id, **data}, indent=2))
    return path
