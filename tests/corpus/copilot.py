"""One call of Copilot CLI, invented, in each of the three records that the CLI keeps of it."""

from __future__ import annotations

import json
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

SESSION = "a42c0000-0000-4000-8000-000000000001"
ENDED_AT = datetime(2026, 11, 22, 17, 56, 51, 440_000, tzinfo=UTC)

SCHEMA = """
create table sessions (id text primary key, cwd text, repository text, branch text, created_at text, updated_at text);
create table assistant_usage_events (
  id integer primary key autoincrement, session_id text not null, turn_index integer, agent_id text,
  parent_tool_call_id text, model text not null, input_tokens integer, output_tokens integer,
  cache_read_tokens integer, cache_write_tokens integer, reasoning_tokens integer, total_nano_aiu integer,
  request_multiplier real, duration_ms integer, initiator text, api_endpoint text, reasoning_effort text,
  finish_reason text, created_at text default (datetime('now'))
);
"""


class Call(NamedTuple):
    """A call as Copilot counts it: the prompt contains both cache figures, the output what was thought."""

    number: int = 1
    prompt: int = 21_013
    output: int = 501
    read: int = 20_001
    written: int = 1001
    reasoning: int = 0

    @property
    def ended_at(self) -> datetime:
        return ENDED_AT + timedelta(minutes=self.number - 1)

    def event(self, **usage: Any) -> dict[str, Any]:
        """The line in events.jsonl, written a few milliseconds after the answer came."""
        call_id = f"msg_{self.number:04d}"
        reported = {
            "model": "claude-sonnet-4.5",
            "inputTokens": self.prompt,
            "outputTokens": self.output,
            "cacheReadTokens": self.read,
            "cacheWriteTokens": self.written,
            "reasoningTokens": self.reasoning,
            "cost": 1.0,
            "modelProvider": "anthropic",
            "apiCallId": call_id,
            "accounting": {"sourceSessionId": SESSION, "sequence": self.number, "usageId": call_id},
            **usage,
        }
        return make_event("session.usage_record", {"usage": reported}, at=self.ended_at + timedelta(milliseconds=4))

    def row(self, **columns: Any) -> dict[str, Any]:
        return {
            "session_id": SESSION,
            "turn_index": 0,
            "model": "claude-sonnet-4.5",
            "input_tokens": self.prompt,
            "output_tokens": self.output,
            "cache_read_tokens": self.read,
            "cache_write_tokens": self.written,
            "reasoning_tokens": self.reasoning,
            "created_at": time_text(self.ended_at + timedelta(milliseconds=9)),
            **columns,
        }

    def span(self, **attributes: Any) -> dict[str, Any]:
        """The span; `None` takes an attribute away."""
        seconds = int(self.ended_at.timestamp())
        written = {
            "gen_ai.operation.name": "chat",
            "gen_ai.request.model": "claude-sonnet-4.5",
            "gen_ai.conversation.id": SESSION,
            "gen_ai.response.id": f"msg_{self.number:04d}",
            "gen_ai.usage.input_tokens": self.prompt,
            "gen_ai.usage.output_tokens": self.output,
            "gen_ai.usage.cache_read.input_tokens": self.read,
            "gen_ai.usage.cache_write.input_tokens": self.written,
            "gen_ai.usage.reasoning.output_tokens": self.reasoning,
            **attributes,
        }
        return {
            "type": "span",
            "name": "chat claude-sonnet-4.5",
            "startTime": [seconds - 1, 0],
            "endTime": [seconds, self.ended_at.microsecond * 1000],
            "attributes": {name: value for name, value in written.items() if value is not None},
        }


def time_text(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def make_event(kind: str, data: dict[str, Any], *, at: datetime = ENDED_AT) -> dict[str, Any]:
    return {"type": kind, "data": data, "id": "5a96", "timestamp": time_text(at), "parentId": "d4b7"}


def start_event(*, cwd: str = "/w/shop") -> dict[str, Any]:
    data = {"sessionId": SESSION, "version": 1, "copilotVersion": "1.0.102", "context": {"cwd": cwd}}
    return make_event("session.start", data, at=ENDED_AT - timedelta(minutes=1))


def shutdown_event(*calls: Call) -> dict[str, Any]:
    """The totals of a session so far."""
    usage = {
        "inputTokens": sum(call.prompt for call in calls),
        "outputTokens": sum(call.output for call in calls),
        "cacheReadTokens": sum(call.read for call in calls),
        "cacheWriteTokens": sum(call.written for call in calls),
    }
    metrics = {"claude-sonnet-4.5": {"requests": {"count": len(calls), "cost": 0}, "usage": usage}}
    return make_event("session.shutdown", {"modelMetrics": metrics, "totalPremiumRequests": 0})


def written(*records: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(record).encode() + b"\n" for record in records)


def make_store(path: Path, *rows: dict[str, Any], cwd: str = "/w/shop") -> sqlite3.Connection:
    """The session store with some rows; open, as the CLI has it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    store = sqlite3.connect(path, isolation_level=None)
    store.execute("pragma journal_mode = wal")
    store.execute("pragma synchronous = off")
    store.executescript(SCHEMA)
    store.execute("insert into sessions (id, cwd) values (?, ?)", [SESSION, cwd])
    for row in rows:
        save_row(store, row)
    return store


def save_row(store: sqlite3.Connection, row: dict[str, Any]) -> None:
    names, places = ", ".join(row), ", ".join("?" * len(row))
    store.execute(f"insert into assistant_usage_events ({names}) values ({places})", list(row.values()))
