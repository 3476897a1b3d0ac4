"""Zed's database of threads, invented."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import zstandard

from tests.corpus.histories import BEGIN, Call, History, Tokens, make_calls

MODEL = "claude-opus-4-6"
TABLES = """\
create table if not exists threads (
  id text primary key, summary text not null, updated_at text not null, data_type text not null, data blob not null
);
"""
LATER_COLUMNS = ("parent_id", "folder_paths", "folder_paths_order", "created_at")
NAMES = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens", "output_tokens")


def thread_history(seed: int, calls: int) -> History:
    return History({}, make_calls(seed, calls))


def usage(tokens: Tokens) -> dict[str, int]:
    """Counts of zero are left out."""
    return {name: count for name, count in zip(NAMES, tokens, strict=True) if count}


def thread(calls: list[Call], **members: Any) -> dict[str, Any]:
    """What is compressed: the sum of all requests, and of them every second one, as where a question needed two."""
    return {
        "title": "x",
        "messages": [{"User": {"id": f"u{call.number}", "content": [{"Text": "x"}]}} for call in calls],
        "updated_at": "2026-09-01T08:00:00Z",
        "cumulative_token_usage": usage(History({}, calls).tokens),
        "request_token_usage": {f"u{call.number}": usage(call.tokens) for call in calls[1::2]},
        "model": {"provider": "anthropic", "model": MODEL},
        "version": "0.3.0",
        **members,
    }


def compress(thread: dict[str, Any]) -> bytes:
    """One frame that does not say how long it becomes, as Zed writes it."""
    made = zstandard.ZstdCompressor(write_content_size=False)
    return made.compress(json.dumps(thread).encode())


def save(path: Path, thread_id: str, data: bytes | str, *, is_old: bool = False, minutes: int = 0, **row: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    values: dict[str, Any] = {
        "id": thread_id,
        "summary": "x",
        "updated_at": (BEGIN + timedelta(minutes=minutes, microseconds=123_456)).isoformat().replace("+", "789+"),
        "data_type": "zstd",
        "data": data,
    }
    if not is_old:
        values |= {
            "folder_paths": "/w/api\n/w/shop",
            "folder_paths_order": "1,0",
            "created_at": BEGIN.isoformat(),
        }
    values |= row
    with closing(sqlite3.connect(path)) as database, database:
        database.executescript(TABLES)
        if not is_old and len(database.execute("pragma table_info(threads)").fetchall()) == 5:
            for column in LATER_COLUMNS:
                database.execute(f"alter table threads add column {column} text")
        database.execute(
            f"insert or replace into threads ({', '.join(values)}) values ({', '.join('?' * len(values))})",
            [*values.values()],
        )


def write(path: Path, histories: Iterable[History]) -> None:
    """One thread for each history."""
    for number, history in enumerate(histories):
        save(path, f"t{number:07d}", compress(thread(history.calls)), minutes=len(history.calls))
