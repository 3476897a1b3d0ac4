"""A growing history of every source of the catalog, out of its agent's generator.

A seed decides what is in it: which version wrote it, what lacks an id or a time, which calls are equal or copied.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from tests.corpus import (
    amp,
    claude_eras,
    cline,
    codebuff,
    copilot,
    cursor,
    droid,
    every_database,
    gemini_cli,
    grok_build,
    kimi,
    mistral_vibe,
    mux,
    opencode,
    pi,
    qwen_code,
)
from tests.corpus import codex_rollouts as codex
from tests.corpus.growing import Database, Document, Growing, Lines
from tests.corpus.histories import Call, History, make_calls
from tests.corpus.reading import written

Files = dict[str, Growing]
Json = dict[str, Any]


def _claude_code(random_: random.Random) -> Files:
    era = claude_eras.make_era(random_.choice(sorted(claude_eras.STYLES)))
    return {f".claude/projects/{place}": Lines(content) for place, content in era.files.items()}


def _codex(random_: random.Random) -> Files:
    """A tree of threads, forks and sub-agents."""
    era = random_.choice(codex.ERAS)
    threads = [codex.Thread(era)]
    for number in range(2, random_.randrange(4, 9)):
        thread = random_.choice(threads)
        if random_.random() < 0.4:
            threads.append(thread.fork(number=number))
        elif era.has_turn_ids and random_.random() < 0.3:
            threads.append(thread.spawn(number=number))
        for each in {id(thread): thread, id(threads[-1]): threads[-1]}.values():
            each.begin_turn()
            each.call(codex.Call(1000 + number, 100, 0, 10 + number, 3))
        if random_.random() < 0.2:
            thread.compact()
    return {f".codex/sessions/2026/11/22/{thread.name}": Lines(thread.content) for thread in threads}


def _gemini_cli(random_: random.Random) -> Files:
    """A chat, a sub-agent's, and one that was kept as a document before it was moved to lines."""

    def message() -> Json:
        return gemini_cli.message(random_.randrange(6), tokens=gemini_cli.tokens(output=random_.randrange(1, 4)))

    def record() -> Json:
        return random_.choice(
            [
                message(),
                message(),
                gemini_cli.prompt(random_.randrange(6)),
                {"$set": {"messages": [message() for _ in range(random_.randrange(3))]}},
                {"$set": {"sessionId": random_.choice("ab")}},
                {"$rewindTo": message()["id"]},
            ]
        )

    old = [message() for _ in range(5)]
    head = gemini_cli.header()
    documents = [json.dumps(head | {"messages": old[: count + 1]}).encode() for count in range(len(old))]
    moved = gemini_cli.DOCUMENT.replace("T17-53", "T07-53")
    return {
        f".gemini/{gemini_cli.MAIN}": _lines([head, *(record() for _ in range(8))]),
        f".gemini/{gemini_cli.SUBAGENT}": _lines([gemini_cli.header(kind="subagent"), *(record() for _ in range(4))]),
        f".gemini/{moved}": Document(documents),
        f".gemini/{moved}l": _lines([head, *old]),
    }


def _kimi_cli(random_: random.Random) -> Files:
    """A session with a sub-agent, and a fork of its beginning that goes on."""

    def record() -> Json:
        number = random_.randrange(4)
        if random_.random() < 0.2:
            return kimi.cli_nested(number)
        message_id = random_.choice([None, "chatcmpl-0a1b2c3d4e5f", "chatcmpl-f5e4d3c2b1a0", f"chatcmpl-{number:024d}"])
        usage = random_.choice([None, kimi.cli_usage(output=random_.randrange(3)), kimi.cli_usage()])
        return kimi.cli_line(number, token_usage=usage, message_id=message_id)

    head, begun = kimi.cli_header(), [record() for _ in range(6)]
    place = f".kimi/{kimi.CLI_PATH}"
    return {
        place: _lines([head, *begun, *(record() for _ in range(3))]),
        place.replace(kimi.CLI_SESSION, "fork"): _lines([head, *begun, *(record() for _ in range(3))]),
        f".kimi/{kimi.CLI_SUBAGENT}": _lines([head, *(kimi.cli_line(number) for number in range(4))]),
    }


def _kimi_code(random_: random.Random) -> Files:
    """A session with a sub-agent, and a fork of its beginning that goes on."""

    def record() -> Json:
        time = random_.choice([None, kimi.BEGIN_S * 1000, kimi.BEGIN_S * 1000 + 1])
        line = kimi.code_line(random_.randrange(4), model=random_.choice("kl"), time=time)
        return random_.choice([line, line, *kimi.code_header(), kimi.code_forked(1)])

    head, begun = kimi.code_header(), [record() for _ in range(6)]
    place = f".kimi-code/{kimi.CODE_PATH}"
    return {
        place: _lines([*head, *begun, *(record() for _ in range(3))]),
        place.replace(kimi.CODE_SESSION, "session_fork"): _lines([*head, *begun, kimi.code_forked(7), record()]),
        f".kimi-code/{kimi.CODE_SUBAGENT}": _lines([*head, *(record() for _ in range(4))]),
    }


def _pi_in(place: str, random_: random.Random) -> Files:
    """A session and a branch of it."""

    def record() -> Json:
        if random_.random() < 0.2:
            return {"type": "model_change", "provider": "x", "modelId": random_.choice("ab")}
        return pi.message(
            random_.randrange(4),
            usage=pi.usage(output=random_.randrange(1, 3)),
            responseId=random_.choice([None, "resp_0a1b2c3d4e5f", "resp_f5e4d3c2b1a0"]),
            timestamp=random_.choice([None, pi.BEGIN_MS, pi.BEGIN_MS + 1]),
        )

    begun = [record() for _ in range(5)]
    branch = pi.header(id="branch", timestamp="2026-11-22T19:00:00.000Z")
    return {
        place.format("origin"): _lines([pi.header(), *begun, *(record() for _ in range(3))]),
        place.format("branch"): _lines([branch, *begun, *(record() for _ in range(3))]),
    }


def _qwen_code(random_: random.Random) -> Files:
    """A month, and the chats that tell of the same calls."""
    calls = qwen_code.make_calls(random_, count=12)
    files = {f".qwen/{qwen_code.USAGE_PATH}": [call.usage_line() for call in calls]}
    for call in calls:
        chat = f".qwen/{qwen_code.CHAT_PATH}".replace(qwen_code.SESSION, call.session_id)
        files.setdefault(chat, []).extend([call.telemetry_line(), call.answer_line()])
    return {place: _lines(records) for place, records in files.items()}


def _opencode(place: str, random_: random.Random) -> Files:
    """Two sessions at once, of which the second begins with copies of the messages of the first."""
    return {place: Database(opencode.OpenCodeHistory, *(_opencode_lane(session, random_) for session in (1, 2)))}


def _opencode_lane(session: int, random_: random.Random) -> list[Callable[[opencode.OpenCodeHistory], object]]:
    """Messages that are written again until they are complete, by a clock that is put back now and then."""
    writes: list[Callable[[opencode.OpenCodeHistory], object]] = []
    now = opencode.CREATED_MS
    for number in range(5):
        message_id, at = f"msg_{session}{number}", opencode.CREATED_MS + number
        tokens, steps = opencode.Tokens(input=number + 1), [opencode.Tokens(input=4), opencode.Tokens(input=5)]
        for time in ({"created": at}, {"created": at}, {"created": at, "completed": at + 9}):
            now += random_.choice([0, 1000, 90_000, -200_000])
            message = opencode.make_message(tokens, time=time)
            writes.append(partial(_save_message, message_id, message, f"ses_{session}", now))
        if random_.random() < 0.3:
            written_steps = [opencode.make_step(step) for step in steps]
            writes.insert(-1, partial(_save_steps, message_id, written_steps))
    return writes


def _save_message(
    message_id: str, data: Json, session_id: str, updated: int, history: opencode.OpenCodeHistory
) -> None:
    history.save_message(message_id, data, session_id=session_id, updated=updated)


def _save_steps(message_id: str, steps: list[Json], history: opencode.OpenCodeHistory) -> None:
    history.save_steps(message_id, steps)


def _opencode_and_files(random_: random.Random) -> Files:
    """The database, and files of before it, one of them of a message that the database has too."""
    files: Files = {}
    for number in range(3):
        at = opencode.CREATED_MS + number
        states = [
            opencode.make_message(opencode.Tokens(input=number + 1), time=time)
            for time in ({"created": at}, {"created": at, "completed": at + 9})
        ]
        place = f".local/share/opencode/storage/message/ses_1/msg_1{number}.json"
        contents = [json.dumps({"id": f"msg_1{number}", "sessionID": "ses_1", **state}).encode() for state in states]
        files[place] = Document(contents)
    return files | _opencode(".local/share/opencode/opencode.db", random_)


def _copilot_cli(random_: random.Random) -> Files:
    """The same calls in all three records, each of which lacks some of them."""
    calls = [
        copilot.Call(number, prompt=21_013 + number % 5, reasoning=random_.choice([0, 9])) for number in range(1, 9)
    ]

    def some() -> list[copilot.Call]:
        return [call for call in calls if random_.random() < 0.8]

    events = [copilot.start_event(), *(call.event() for call in some()), copilot.shutdown_event(*calls)]
    events.insert(4, copilot.make_event("session.context_changed", {"cwd": "/w/other"}))
    spans = [call.span(**random_.choice([{}, {"gen_ai.usage.cache_read.input_tokens": None}])) for call in some()]
    rows = [partial(_save_row, call.row()) for call in some()]
    return {
        f".copilot/session-state/{copilot.SESSION}/events.jsonl": _lines(events),
        ".copilot/otel/copilot-otel.jsonl": _lines(spans),
        ".copilot/session-store.db": Database(copilot.make_store, rows),
    }


def _save_row(row: Json, store: Any) -> None:
    copilot.save_row(store, row)


def _documents(*makers: Callable[[int, int], History]) -> Callable[[random.Random], Files]:
    """Documents, one of each maker, that grow by one call after the other."""

    def make(random_: random.Random) -> Files:
        files: Files = {}
        for maker in makers:
            seed = random_.randrange(1000)
            states = [maker(seed, calls) for calls in range(1, 7)]
            files[states[0].path] = Document([state.content for state in states])
        return files

    return make


def _amp(random_: random.Random) -> Files:
    """Two threads, whose ledger has a call later than the message that it answers with."""
    files: Files = {}
    for _ in range(2):
        states = []
        seed = random_.randrange(1000)
        for calls in range(1, 6):
            history = amp.thread(seed, calls)
            document = json.loads(history.content)
            document["usageLedger"]["events"] = document["usageLedger"]["events"][:-1]
            states += [json.dumps(document).encode(), history.content]
        files[history.path] = Document(states)
    return files


def _cline(source: str, random_: random.Random) -> Files:
    return _documents(partial(cline.task, source=source), partial(cline.task, source=source))(random_)


def _cursor(random_: random.Random) -> Files:
    """Two exports of overlapping months, newest first, with calls that are equal."""
    calls = make_calls(random_.randrange(1000), 8)
    rows = {call.number: [cursor.row(call)] * random_.choice([1, 1, 2]) for call in calls}

    def export(some: Iterable[Call]) -> bytes:
        return cursor.export(row for call in reversed(list(some)) for row in rows[call.number])

    return {
        "Downloads/usage-events-1.csv": Document([export(calls[:end]) for end in range(2, 7)]),
        "Downloads/usage-events-2.csv": Document([export(calls[3:])]),
    }


def _appended(*makers: Callable[[int, int], History]) -> Callable[[random.Random], Files]:
    def make(random_: random.Random) -> Files:
        histories = [maker(random_.randrange(1000), 6) for maker in makers]
        return {history.path: Lines(history.content) for history in histories}

    return make


def _lines(records: Iterable[Mapping[str, object]]) -> Lines:
    return Lines(written(*records))


_MAKERS: Mapping[str, Callable[[random.Random], Files]] = {
    "amp": _amp,
    "claude-code": _claude_code,
    "cline": partial(_cline, "cline"),
    "cline-cli": _documents(cline.session, cline.session),
    "codebuff": _documents(codebuff.chat, codebuff.chat),
    "codex": _codex,
    "copilot-cli": _copilot_cli,
    "cursor": _cursor,
    "droid": _documents(droid.session, droid.session),
    "forge": every_database.forge_history,
    "gemini-cli": _gemini_cli,
    "goose": every_database.goose_history,
    "grok-build": _appended(grok_build.session, grok_build.session),
    "hermes": every_database.hermes_history,
    "ibm-bob": partial(_cline, "ibm-bob"),
    "kilo-cli": partial(_opencode, ".local/share/kilo/kilo.db"),
    "kilo-code": partial(_cline, "kilo-code"),
    "kimi-cli": _kimi_cli,
    "kimi-code": _kimi_code,
    "mimo-code": partial(_opencode, ".local/share/mimocode/mimocode.db"),
    "mistral-vibe": _documents(mistral_vibe.session, mistral_vibe.session),
    "mux": _appended(mux.chat, mux.chat),
    "oh-my-pi": partial(_pi_in, ".omp/agent/sessions/--w--/2026-11-22T18-00-00-000Z_{}.jsonl"),
    "openclaw": partial(_pi_in, ".openclaw/agents/main/sessions/{}.jsonl"),
    "opencode": _opencode_and_files,
    "pi": partial(_pi_in, ".pi/agent/sessions/--w--/2026-11-22T18-00-00-000Z_{}.jsonl"),
    "qwen-code": _qwen_code,
    "roo-code": partial(_cline, "roo-code"),
    "zed": every_database.zed_history,
    "zcode": every_database.zcode_history,
}


def make_history(source: str, seed: int) -> Files:
    """Raises KeyError for a source that has no history here."""
    return _MAKERS[source](random.Random(seed))
