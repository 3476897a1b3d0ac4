"""Forge's database, invented."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

from tests.corpus.histories import BEGIN, Call, History, Tokens, make_calls, sum_of

MODEL = "anthropic/claude-opus-4.6"
TABLES = """\
create table conversations (
  conversation_id text primary key not null, title text, workspace_id bigint not null, context text,
  created_at timestamp not null default current_timestamp, updated_at timestamp, metrics text
);
"""


def conversation(seed: int, calls: int) -> History:
    """Calls of which nobody can tell what was written to the cache: it is in the prompt."""
    made = make_calls(seed, calls)
    merged = (Tokens(of.input + of.written, 0, of.read, of.output) for of in (call.tokens for call in made))
    return History({}, [call._replace(tokens=tokens) for call, tokens in zip(made, merged, strict=True)])


def usage(*calls: Call, cost: float | None = None) -> dict[str, Any]:
    """What some calls used, as beside an answer, or beside the summary that a compaction puts in their place."""
    tokens = sum_of(call.tokens for call in calls)
    counts = {
        "prompt_tokens": tokens.prompt,
        "completion_tokens": tokens.output,
        "total_tokens": tokens.prompt + tokens.output,
        "cached_tokens": tokens.read,
    }
    return {name: {"actual": value} for name, value in counts.items()} | ({} if cost is None else {"cost": cost})


def message(role: str, **members: Any) -> dict[str, Any]:
    """An entry of a context; `usage` stands beside the message, everything else in it."""
    beside = {"usage": members.pop("usage")} if "usage" in members else {}
    return {"message": {"text": {"role": role, "content": "x", **members}}, **beside}


def messages_of(calls: Iterable[Call]) -> list[dict[str, Any]]:
    """A question and an answer for each call."""
    return [
        entry for call in calls for entry in (message("User", model=MODEL), message("Assistant", usage=usage(call)))
    ]


def compacted(calls: list[Call], kept: int) -> list[dict[str, Any]]:
    """The same after a compaction that left the last calls as they were."""
    folded, left = calls[: len(calls) - kept], calls[len(calls) - kept :]
    return [message("User", usage=usage(*folded)), *messages_of(left)]


def save(
    path: Path, conversation_id: str, messages: list[dict[str, Any]], *, seed: int = 0, updates: int = 0, **row: Any
) -> None:
    """A conversation written anew, `seed` seconds behind the first of all, as Forge does after each answer."""
    path.parent.mkdir(parents=True, exist_ok=True)
    begun = BEGIN.replace(tzinfo=None) + timedelta(seconds=seed)
    values = {
        "conversation_id": conversation_id,
        # beyond what an IEEE double holds exactly
        "workspace_id": 9_007_199_254_740_993,
        "context": json.dumps({"messages": messages}),
        "created_at": f"{begun}.000123456",
        "updated_at": f"{begun + timedelta(minutes=1 + updates)}.5",
        **row,
    }
    with closing(sqlite3.connect(path)) as database, database:
        database.executescript(TABLES.replace("create table", "create table if not exists"))
        database.execute(
            f"insert or replace into conversations ({', '.join(values)}) values ({', '.join('?' * len(values))})",
            [*values.values()],
        )


def write(path: Path, histories: Iterable[History]) -> None:
    """One conversation for each history, of which the longer ones have been compacted meanwhile."""
    for number, history in enumerate(histories):
        calls = history.calls
        messages = compacted(calls, 2) if len(calls) > 4 else messages_of(calls)
        save(path, f"c{number:07d}", messages, seed=number, updates=len(calls))
