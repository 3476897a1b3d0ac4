"""Histories of Codex CLI with one thing each that is easily miscounted."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import zstandard

from tests.corpus.codex_rollouts import ERA, Call, Thread
from tests.corpus.histories import Tokens
from tests.differential.made import BEGIN, TIME_ZONE, Made, Use, files

MODEL = "gpt-5.2"
BEGIN_MS = round(BEGIN.timestamp() * 1000)
FOLDER = ".codex/sessions/2026/09/01"
WRITE_FREE, WITH_WRITES = Call(5_000, 4_000, 0, 300, 100), Call(9_000, 4_000, 2_000, 500, 200)


def make_trap_histories() -> list[Made]:
    return [
        _made("0.80: totals told again at each request", _asked("0.80.0", 3)),
        _made("0.155: cache writes", _asked("0.155.0", 3, WITH_WRITES)),
        _made("0.80: a thread forked with a copy of its lines", *_forked("0.80.0")),
        _made("0.145: a thread forked with a copy of its lines", *_forked("0.145.0")),
        _made("0.169: a fork that names where it begins", *_forked("0.169.0")),
        _made("0.145: a sub-agent that begins with a copy", *_spawned("0.145.0")),
        _made("0.169: a sub-agent that names where it begins", *_spawned("0.169.0")),
        _made("a compaction", _compacted()),
        _made("a counter that starts anew", _reset()),
        _made("begun by 0.145 and resumed by 0.155", _resumed()),
        _archived(),
        _compressed(),
        _nameless(),
        _midnight(),
    ]


def _asked(version: str, calls: int, call: Call = WRITE_FREE) -> Thread:
    thread = Thread(ERA[version], begin_ms=BEGIN_MS)
    for number in range(calls):
        _ask(thread, number, call)
    return thread


def _ask(thread: Thread, number: int, call: Call = WRITE_FREE) -> None:
    """One turn; no two calls of a thread are equal."""
    thread.begin_turn(model=MODEL)
    thread.call(call._replace(input=call.input + number, output=call.output + number))


def _forked(version: str) -> tuple[Thread, Thread]:
    parent = _asked(version, 3)
    fork = parent.fork(number=2)
    _ask(fork, 10)
    _ask(fork, 20)
    return parent, fork


def _spawned(version: str) -> tuple[Thread, Thread]:
    parent = _asked(version, 2)
    child = parent.spawn(number=3)
    spawned = {"parent_thread_id": parent.id, "depth": 1}
    child.lines[0]["payload"]["source"] = {"subagent": {"thread_spawn": spawned}}
    _ask(child, 30)
    _ask(parent, 2)
    return parent, child


def _compacted() -> Thread:
    thread = _asked("0.145.0", 2)
    thread.compact()
    _ask(thread, 2)
    return thread


def _reset() -> Thread:
    thread = _asked("0.131.0", 3)
    thread.reset()
    _ask(thread, 0)
    return thread


def _resumed() -> Thread:
    thread = _asked("0.145.0", 2)
    thread.resume(ERA["0.155.0"])
    _ask(thread, 2)
    return thread


def _archived() -> Made:
    thread = _asked("0.155.0", 2)
    both = {f"{folder}/{thread.name}": thread.content for folder in (FOLDER, ".codex/archived_sessions")}
    return Made(("codex",), "a thread still there and archived as well", _uses(thread), files(both))


def _compressed() -> Made:
    thread = _asked("0.169.0", 2)
    content = zstandard.compress(thread.content)
    return Made(("codex",), "a compressed thread", _uses(thread), files({f"{FOLDER}/{thread.name}.zst": content}))


def _nameless() -> Made:
    thread = Thread(ERA["0.42.0"], begin_ms=BEGIN_MS)
    thread.begin_turn(model=None)
    thread.call(WRITE_FREE)
    uses = [use._replace(model="") for use in _uses(thread)]
    return Made(("codex",), "0.42: no model named", uses, files({f"{FOLDER}/{thread.name}": thread.content}))


def _midnight() -> Made:
    """The last call of the day in Berlin, and the first of the next."""
    thread = Thread(ERA["0.155.0"], begin_ms=BEGIN_MS)
    midnight = datetime(2026, 9, 2, tzinfo=ZoneInfo(TIME_ZONE)).astimezone(UTC)
    uses = []
    for number, seconds in enumerate((-60, 60)):
        thread.now_ms = round(midnight.timestamp() * 1000) + seconds * 1000
        thread.begin_turn(model=MODEL, after_ms=0)
        thread.call(WRITE_FREE._replace(output=100 + number), takes_ms=500)
        uses += [use._replace(at=_time(thread.now_ms)) for use in _uses(thread)[number:]]
    return Made(("codex",), "midnight in Berlin", uses, files({f"{FOLDER}/{thread.name}": thread.content}))


def _made(what: str, *threads: Thread) -> Made:
    uses = [use for thread in threads for use in _uses(thread)]
    return Made(("codex",), what, uses, files({f"{FOLDER}/{thread.name}": thread.content for thread in threads}))


def _uses(thread: Thread) -> list[Use]:
    """What the thread was asked, all on the day of its beginning."""
    return [
        Use(BEGIN, MODEL, Tokens(call.input - call.cached - call.written, call.written, call.cached, call.output))
        for call in thread.truth
    ]


def _time(at_ms: int) -> datetime:
    return datetime.fromtimestamp(at_ms / 1000, UTC)
