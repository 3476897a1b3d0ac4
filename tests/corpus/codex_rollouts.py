"""Codex threads of every era, invented: the lines of their files, and what the model was really asked.

What the eras have in common with real files is only their shape. A thread's `truth` is kept beside its lines, and never
read from them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, NamedTuple

BEGIN_MS = 1_795_370_800_000  # 2026-11-22 18:06:40 UTC
CWD = "/w/shop"
MODEL = "gpt-6.1-sol"


class Era(NamedTuple):
    """What the versions of an era write."""

    version: str
    has_turn_ids: bool = True
    has_cache_writes: bool = True
    has_records: bool = False
    repeats_totals: bool = False
    history_mode: str = ""


ERAS = (
    Era("0.42.0", has_turn_ids=False, has_cache_writes=False, repeats_totals=True),
    Era("0.80.0", has_turn_ids=False, has_cache_writes=False, repeats_totals=True),
    Era("0.131.0", has_cache_writes=False),
    Era("0.145.0", history_mode="legacy"),
    Era("0.155.0", has_records=True, history_mode="paginated"),
    Era("0.169.0", has_records=True, history_mode="paginated"),
)
ERA = {era.version: era for era in ERAS}


class Call(NamedTuple):
    """One call as the provider counts it: input and output hold the rest."""

    input: int
    cached: int = 0
    written: int = 0
    output: int = 0
    reasoning: int = 0

    def plus(self, other: Call) -> Call:
        return Call(*(mine + its for mine, its in zip(self, other, strict=True)))

    def usage(self, era: Era) -> dict[str, int]:
        usage = {
            "input_tokens": self.input,
            "cached_input_tokens": self.cached,
            "cache_write_input_tokens": self.written,
            "output_tokens": self.output,
            "reasoning_output_tokens": self.reasoning,
            "total_tokens": self.input + self.output,
        }
        if not era.has_cache_writes:
            del usage["cache_write_input_tokens"]
        return usage


def total(calls: Iterable[Call]) -> Call:
    """What calls come to together."""
    sum_ = Call(0)
    for call in calls:
        sum_ = sum_.plus(call)
    return sum_


def uuid_7(at_ms: int, number: int) -> str:
    return f"{at_ms >> 16:08x}-{at_ms & 0xFFFF:04x}-7{number % 0x1000:03x}-8000-{number:012x}"


def stamp(at_ms: int) -> str:
    text = datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds")
    return text.removesuffix("+00:00") + "Z"


class Thread:
    """One thread: its file's lines in the making, and its own calls."""

    def __init__(self, era: Era, *, number: int = 1, begin_ms: int = BEGIN_MS, cwd: str = CWD, **meta: object) -> None:
        self.era = era
        self.number = number
        self.cwd = cwd
        self.now_ms = begin_ms
        self.id = uuid_7(begin_ms, number)
        self.session_id = self.id
        self.turn_id = ""
        self.totals = Call(0)
        self.last: Call | None = None
        self.lines: list[dict[str, Any]] = []
        self.truth: list[Call] = []
        self.ordinal = 0
        self._turns = 0
        self.write_meta(**meta)

    @property
    def name(self) -> str:
        return f"rollout-2026-11-22T19-06-40-{self.id}.jsonl"

    @property
    def content(self) -> bytes:
        return written(self.lines)

    # -- lines

    def write(self, kind: str, payload: dict[str, Any], *, after_ms: int = 3) -> None:
        self.now_ms += after_ms
        line: dict[str, Any] = {"timestamp": stamp(self.now_ms)}
        if self.era.history_mode == "paginated":
            line["ordinal"] = self.ordinal
            self.ordinal += 1
        self.lines.append({**line, "type": kind, "payload": payload})

    def write_meta(self, **members: object) -> None:
        era = self.era
        payload = {
            "id": self.id,
            "timestamp": stamp(self.now_ms),
            "cwd": self.cwd,
            "originator": "codex_exec",
            "cli_version": era.version,
            "source": "exec",
            "model_provider": "openai",
            "git": {"commit_hash": "0" * 40, "branch": "main"},
            "base_instructions": {"text": 'Say "token_count" and nothing else.'},
        }
        if era.history_mode:
            payload["history_mode"] = era.history_mode
        if era.has_records:
            payload["session_id"] = self.session_id
        self.write("session_meta", payload | members)

    def begin_turn(self, *, model: str | None = MODEL, cwd: str | None = None, after_ms: int = 5000) -> None:
        era, self._turns = self.era, self._turns + 1
        self.now_ms += after_ms
        turn: dict[str, Any] = {"cwd": cwd or self.cwd, "sandbox_policy": {"type": "read-only"}, "summary": "auto"}
        if model is not None:
            turn["model"] = model
        if era.has_turn_ids:
            self.turn_id = turn["turn_id"] = uuid_7(self.now_ms, 1000 * self.number + self._turns)
            started = {"type": "task_started", "turn_id": self.turn_id, "model_context_window": 258400}
            self.write("event_msg", started)
        self.write("turn_context", turn)
        self.write("response_item", {"type": "message", "role": "user", "content": [{"text": "how far is the moon?"}]})
        if era.repeats_totals:
            self.repeat_totals()

    def call(self, call: Call, *, takes_ms: int = 4000, totals_first: bool = False) -> None:
        """The model is asked and answers."""
        if self.era.repeats_totals and self.truth:
            self.repeat_totals()
        self.write("response_item", {"type": "reasoning", "summary": [], "content": None}, after_ms=takes_ms)
        self.truth.append(call)
        self.totals, self.last = self.totals.plus(call), call
        if totals_first:
            self.repeat_totals()
        if self.era.has_records:
            self.write_record(call)
        if not totals_first:
            self.repeat_totals()

    def repeat_totals(self) -> None:
        """A token_count with whatever the totals are now."""
        info = None
        if self.last is not None:
            info = {
                "total_token_usage": self.totals.usage(self.era),
                "last_token_usage": self.last.usage(self.era),
                "model_context_window": 258400,
            }
        self.write("event_msg", {"type": "token_count", "info": info, "rate_limits": {"primary": None}})

    def write_record(self, call: Call, **members: object) -> None:
        payload = {
            "thread_id": self.id,
            "turn_id": self.turn_id,
            "session_id": self.session_id,
            "root_turn_id": self.turn_id,
            "response_id": self.response_id(len(self.truth)),
            "usage": call.usage(self.era),
            "turn_token_usage": call.usage(self.era),
            "thread_token_usage": self.totals.usage(self.era),
        }
        self.write("token_usage_record", payload | members)

    def response_id(self, number: int) -> str:
        return f"resp_{self.number:016x}{number:016x}"

    def compact(self) -> None:
        """The call that compacts is in no total; the event after it knows only how long the context is now."""
        self.write("compacted", {"message": "so far: the moon", "replacement_history": []}, after_ms=3000)
        last = dict.fromkeys(Call(0).usage(self.era), 0) | {"total_tokens": 6068}
        info = {"total_token_usage": self.totals.usage(self.era), "last_token_usage": last}
        self.write("event_msg", {"type": "token_count", "info": info, "rate_limits": None})

    def reset(self) -> None:
        """The counter starts anew."""
        self.totals = Call(0)

    def resume(self, era: Era | None = None) -> None:
        """A later run of the program goes on in the same file, perhaps as another version."""
        self.era = era or self.era
        self.now_ms += 60_000
        self.turn_id = ""
        if self.last is not None and not self.era.has_records:
            self.repeat_totals()

    # -- threads of it

    def fork(self, *, number: int, after_ms: int = 90_000, is_named: bool = True, pause_ms: int = 1) -> Thread:
        """Another thread that goes on from here; up to 0.145 its file begins with a copy of this one's lines."""
        members: dict[str, object] = {"forked_from_id": self.id} if is_named else {}
        return self._branch(number=number, after_ms=after_ms, pause_ms=pause_ms, members=members)

    def spawn(self, *, number: int, after_ms: int = 20, has_history: bool = True) -> Thread:
        """A sub-agent's thread."""
        members: dict[str, object] = {"parent_thread_id": self.id, "thread_source": "subagent"}
        if self.era.has_records:
            members["session_id"] = self.session_id
        child = self._branch(number=number, after_ms=after_ms, members=members, has_history=has_history)
        child.session_id = self.session_id
        return child

    def _branch(
        self, *, number: int, after_ms: int, members: dict[str, object], pause_ms: int = 1, has_history: bool = True
    ) -> Thread:
        is_paginated = self.era.history_mode == "paginated"
        if is_paginated and has_history:
            base = {"thread_id": self.id, "end_ordinal_exclusive": self.ordinal, "end_byte_offset": len(self.content)}
            members = {**members, "forked_from_ordinal_exclusive": self.ordinal, "history_base": base}
        other = Thread(self.era, number=number, begin_ms=self.now_ms + after_ms, cwd=self.cwd, **members)
        if has_history:
            other.totals, other.last = self.totals, self.last
        if has_history and not is_paginated:
            for line in self.lines:
                other.now_ms += pause_ms
                other.lines.append({**line, "timestamp": stamp(other.now_ms)})
        return other


def written(lines: Iterable[dict[str, Any]], *, spaces: bool = False) -> bytes:
    separators = None if spaces else (",", ":")
    return b"".join(json.dumps(line, separators=separators).encode() + b"\n" for line in lines)
