"""Histories of several agents in one home, with what they come to kept while they are made."""

from __future__ import annotations

import json
import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tests.corpus import gemini_cli, kimi, pi, qwen_code
from tests.corpus.reading import written


class Truth(NamedTuple):
    """What an agent used; `cache_read_tokens` are not in `input_tokens`, and thinking is in `output_tokens`."""

    calls: int = 0
    input_tokens: int = 0
    cache_read_tokens: int = 0
    output_tokens: int = 0


class History(NamedTuple):
    """The files of a home by their places in it, each as its lines or as the one document that it is."""

    files: dict[str, list[bytes]]
    truths: dict[str, Truth]

    def write(self, home: Path, *, share: float = 1.0) -> None:
        """Writes the first lines of every file, and the documents whole."""
        for place, lines in self.files.items():
            (home / place).parent.mkdir(parents=True, exist_ok=True)
            (home / place).write_bytes(b"".join(lines[: -int(-len(lines) * share // 1)]))


class _Counted(NamedTuple):
    """A call's counts, as the agents that keep them apart write them."""

    input_tokens: int
    cache_read_tokens: int
    output_tokens: int
    thinking_tokens: int


def make_histories(*, seed: int, calls: int) -> History:
    """As many calls of each agent, some of them copied as the agent copies them."""
    random_ = random.Random(seed)
    files: dict[str, list[bytes]] = {}
    truths: dict[str, Truth] = {}
    makers: Mapping[str, Callable[[list[_Counted], str], dict[str, list[bytes]]]] = {
        "gemini-cli": _gemini_cli,
        "kimi-cli": _kimi_cli,
        "kimi-code": _kimi_code,
        "oh-my-pi": _pi_in(".omp/agent/sessions/--w--/2026-11-22T18-00-00-000Z_{}.jsonl"),
        "openclaw": _pi_in(".openclaw/agents/main/sessions/{}.jsonl"),
        "pi": _pi_in(".pi/agent/sessions/--w--/2026-11-22T18-00-00-000Z_{}.jsonl"),
        "qwen-code": _qwen_code,
    }
    for number, (source, make) in enumerate(makers.items()):
        counted = [_make_counts(random_) for _ in range(calls)]
        files |= make(counted, f"{number:02d}")
        truths[source] = Truth(calls, *(sum(call[at] for call in counted) for at in range(3)))
    return History(files, truths)


def _make_counts(random_: random.Random) -> _Counted:
    """Few enough sorts that some calls are equal."""
    input_tokens, cache_read_tokens = random_.randrange(1, 30), random_.choice([0, 8000])
    thinking_tokens = random_.choice([0, 3])
    return _Counted(input_tokens, cache_read_tokens, random_.randrange(10, 20), thinking_tokens)


def _lines(records: Iterable[Mapping[str, object]]) -> list[bytes]:
    return [written(record) for record in records]


def _gemini_cli(calls: list[_Counted], _: str) -> dict[str, list[bytes]]:
    """A chat with a rewind and an update, a sub-agent's, and an old document that was moved to lines."""

    def message(number: int) -> dict[str, Any]:
        call = calls[number]
        prompt, output = call.input_tokens + call.cache_read_tokens, call.output_tokens - call.thinking_tokens
        tokens = {"input": prompt, "output": output, "cached": call.cache_read_tokens, "thoughts": call.thinking_tokens}
        return gemini_cli.message(number, tokens=tokens)

    third = len(calls) // 3
    main, sub, old = ([message(n) for n in range(len(calls))][at : at + third] for at in (0, third, 2 * third))
    old += [message(n) for n in range(3 * third, len(calls))]
    update = {"$set": {"messages": main[: third // 2]}}
    chats = ".gemini/tmp/shop/chats"
    moved = f"{chats}/session-2026-01-02T03-04-0a1b2c3d.json"
    return {
        f".gemini/{gemini_cli.MAIN}": _lines(
            [gemini_cli.header(), *main, *main[:2], {"$rewindTo": main[0]["id"]}, update]
        ),
        f".gemini/{gemini_cli.SUBAGENT}": _lines([gemini_cli.header(kind="subagent"), *sub]),
        moved: [json.dumps(gemini_cli.header(sessionId="old") | {"messages": old}).encode()],
        f"{moved}l": _lines([gemini_cli.header(sessionId="old"), *old]),
    }


def _pi_in(place: str) -> Callable[[list[_Counted], str], dict[str, list[bytes]]]:
    """A session and a branch of it; every third call has no id."""

    def make(calls: list[_Counted], agent: str) -> dict[str, list[bytes]]:
        messages = []
        for number, call in enumerate(calls):
            usage = {"input": call.input_tokens, "cacheRead": call.cache_read_tokens, "output": call.output_tokens}
            at = pi.BEGIN_MS + 1000 * number + int(agent)
            response_id = f"resp_{agent}{number:020d}" if number % 3 else None
            messages.append(pi.message(number, usage=usage, responseId=response_id, timestamp=at))
        half = len(calls) // 2
        branch = pi.header(id="branch", timestamp="2026-11-22T19:00:00.000Z")
        return {
            place.format("origin"): _lines([pi.header(), *messages[: half + 3]]),
            place.format("branch"): _lines([branch, *messages[:half], *messages[half + 3 :]]),
        }

    return make


def _qwen_code(calls: list[_Counted], _: str) -> dict[str, list[bytes]]:
    """Two sessions in one usage file and their chats, and a third from before there were usage files."""
    by_file: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for number, counted in enumerate(calls):
        call = qwen_code.Call(
            number,
            session_id=f"{number % 3:08d}{qwen_code.SESSION[8:]}",
            prompt=counted.input_tokens + counted.cache_read_tokens,
            cached=counted.cache_read_tokens,
            output=counted.output_tokens,
            thoughts=counted.thinking_tokens,
        )
        chat = f".qwen/{qwen_code.CHAT_PATH}".replace(qwen_code.SESSION, call.session_id)
        if number % 3:
            by_file[f".qwen/{qwen_code.USAGE_PATH}"].append(call.usage_line())
            by_file[chat].append(call.telemetry_line())
        by_file[chat].append(call.answer_line())
    return {place: _lines(records) for place, records in by_file.items()}


def _kimi_cli(calls: list[_Counted], _: str) -> dict[str, list[bytes]]:
    """A session and a fork of its beginning."""

    def line(number: int, call: _Counted) -> dict[str, Any]:
        usage = kimi.cli_usage(output=call.output_tokens)
        usage |= {"input_other": call.input_tokens, "input_cache_read": call.cache_read_tokens}
        return kimi.cli_line(number, token_usage=usage)

    lines = _lines([kimi.cli_header(), *(line(number, call) for number, call in enumerate(calls))])
    place = f".kimi/{kimi.CLI_PATH}"
    return {place: lines, place.replace(kimi.CLI_SESSION, "fork"): lines[: len(lines) // 2]}


def _kimi_code(calls: list[_Counted], _: str) -> dict[str, list[bytes]]:
    """A session with a call beside its turns, and a fork that goes on."""

    def line(number: int, call: _Counted) -> dict[str, Any]:
        usage = {"inputOther": call.input_tokens, "inputCacheRead": call.cache_read_tokens}
        scope = "turn" if number % 5 else "session"
        return kimi.code_line(number, usage=usage | {"output": call.output_tokens}, usageScope=scope)

    head = kimi.code_header()
    records = [line(number, call) for number, call in enumerate(calls)]
    half = len(calls) // 2
    place = f".kimi-code/{kimi.CODE_PATH}"
    return {
        place: _lines([*head, *records[:half]]),
        place.replace(kimi.CODE_SESSION, "session_fork"): _lines(
            [*head, *records[: half - 2], kimi.code_forked(half), *records[half:]]
        ),
    }
