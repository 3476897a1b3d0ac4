"""Growing histories of the agents that keep nothing but a database."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from tests.corpus import forge, goose, hermes, zcode, zed
from tests.corpus.growing import Database, Growing
from tests.corpus.histories import Call, make_calls

Files = dict[str, Growing]
Json = dict[str, Any]


def goose_history(random_: random.Random) -> Files:
    """A session from before the ledger of calls, its totals carried forward, and calls of it and of another."""
    totals = [partial(_save_totals, 1000 * number, f"2026-11-22 18:0{number}:00") for number in range(1, 5)]
    calls = []
    for number in range(8):
        columns = {"input_tokens": 50_000 + random_.randrange(4), "created_timestamp": goose.CREATED_S + number}
        calls.append(partial(_save_call, columns))
    begin = goose.GooseHistory.save_session
    writes = [begin, *totals, goose.GooseHistory.renew, partial(_save_other_session, "20261122_2"), *calls]
    return {".local/share/goose/sessions/sessions.db": Database(partial(goose.GooseHistory, is_renewed=False), writes)}


def _save_totals(tokens: int, at: str, history: goose.GooseHistory) -> None:
    history.save_totals(input_tokens=10 * tokens, output_tokens=tokens, updated_at=at)


def _save_other_session(session_id: str, history: goose.GooseHistory) -> None:
    history.save_session(session_id)


def _save_call(columns: Json, history: goose.GooseHistory) -> None:
    history.save_call(**columns)


def zcode_history(random_: random.Random) -> Files:
    """Two sessions at once, whose calls begin and are completed, by a clock that is put back now and then."""
    lanes = []
    for session in (1, 2):
        writes, now = [], zcode.STARTED_MS
        for number in range(5):
            now += random_.choice([1000, 90_000, -200_000])
            columns = {"session_id": f"sess_{session}", "started_at": now, "input_tokens": 9000 + number}
            row = partial(_save_usage, 10 * session + number)
            writes += [partial(row, columns | {"status": "running", "completed_at": None}), partial(row, columns)]
        lanes.append(writes)
    return {".zcode/cli/db/db.sqlite": Database(zcode.make_usage, *lanes)}


def _save_usage(number: int, columns: Json, connection: Any) -> None:
    zcode.save_call(connection, number, **columns)


def hermes_history(random_: random.Random) -> Files:
    """Two profiles, in each of which sessions go on side by side."""
    return {
        ".hermes/state.db": Database(hermes.make_database, *(_hermes_lane(random_, at) for at in (1, 2))),
        ".hermes/profiles/work/state.db": Database(hermes.make_database, *(_hermes_lane(random_, at) for at in (3, 4))),
    }


def _hermes_lane(random_: random.Random, number: int) -> list[Callable[[Any], object]]:
    calls = make_calls(random_.randrange(1000), 6)
    return [partial(_save_turn, f"20260901_0800_{number:06x}", calls[: end + 1]) for end in range(len(calls))]


def _save_turn(session_id: str, calls: list[Call], database: Any) -> None:
    hermes.save_session(database, session_id, calls)
    hermes.save_messages(database, session_id, calls[-1:])


def forge_history(random_: random.Random) -> Files:
    """Two conversations at once, of which now and then all but the last answer is folded into a summary."""
    lanes = []
    for number in (1, 2):
        calls, writes = make_calls(random_.randrange(1000), 6), []
        for end in range(1, len(calls) + 1):
            entries = forge.messages_of(calls[:end]) if random_.random() < 0.7 else forge.compacted(calls[:end], 1)
            writes.append(partial(_save_conversation, f"c{number}", entries, number, end))
        lanes.append(writes)
    return {".forge/.forge.db": Database(Path, *lanes)}


def _save_conversation(conversation_id: str, entries: list[Json], seed: int, updates: int, path: Path) -> None:
    forge.save(path, conversation_id, entries, seed=seed, updates=updates)


def zed_history(random_: random.Random) -> Files:
    """Two threads at once."""
    lanes = []
    for number in (1, 2):
        calls = make_calls(random_.randrange(1000), 6)
        threads = [zed.compress(zed.thread(calls[:end])) for end in range(1, len(calls) + 1)]
        lanes.append([partial(_save_thread, f"t{number}", data, minutes) for minutes, data in enumerate(threads)])
    return {".local/share/zed/threads/threads.db": Database(Path, *lanes)}


def _save_thread(thread_id: str, data: bytes, minutes: int, path: Path) -> None:
    zed.save(path, thread_id, data, minutes=minutes)
