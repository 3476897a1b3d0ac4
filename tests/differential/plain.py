"""A history of each agent without anything unusual in it, on which whoever reads it must agree."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from tests.corpus import (
    amp,
    claude_lines,
    codebuff,
    copilot,
    droid,
    gemini_cli,
    goose,
    grok_build,
    hermes,
    kimi,
    opencode,
    pi,
    qwen_code,
    zcode,
)
from tests.corpus import codex_rollouts as codex
from tests.corpus.histories import Call, History, Tokens, make_calls
from tests.differential.made import BEGIN, PLAIN, Made, Use, files, lines, list_cost, uses_of

CALLS = 12
OPENCODE_DATA = ".local/share/opencode"
COPILOT_EVENTS = f".copilot/session-state/{copilot.SESSION}/events.jsonl"


def make_plain_histories() -> list[Made]:
    return [
        _claude_code(),
        _codex(),
        _gemini_cli(),
        _kimi_cli(),
        _kimi_code(),
        _pi(),
        _openclaw(),
        _qwen_code(),
        _opencode("opencode", f"{OPENCODE_DATA}/opencode.db"),
        _opencode("kilo-cli", ".local/share/kilo/kilo.db"),
        _copilot_cli(),
        _goose(),
        _zcode(),
        _amp(),
        _codebuff(),
        _grok_build(),
        _droid(),
        _hermes(),
    ]


def spread_calls(seed: int, *, has_writes: bool = True, has_cache: bool = True) -> list[Call]:
    """Three calls a day, far from any midnight; without cache where not everybody counts it alike."""
    calls = []
    for call in make_calls(seed, CALLS):
        written = call.tokens.written if has_writes and has_cache else 0
        tokens = call.tokens._replace(written=written, read=call.tokens.read if has_cache else 0)
        after = timedelta(days=call.number // 3, hours=5 * (call.number % 3), milliseconds=seed)
        calls.append(call._replace(at=BEGIN + after, tokens=tokens))
    return calls


def uses_by_model(calls: list[Call], *models: str) -> list[Use]:
    """Calls of one model after the other in turns."""
    return [Use(call.at, models[call.number % len(models)], call.tokens) for call in calls]


def _claude_code() -> Made:
    uses = uses_by_model(spread_calls(1), "claude-sonnet-4-5-20250929", "claude-opus-4-6")
    records = [claude_line(number, use) for number, use in enumerate(uses)]
    return Made(("claude-code",), PLAIN, uses, lines({".claude/projects/-w-shop/s.jsonl": records}), list_cost(uses))


def claude_line(number: int, use: Use, **changes: object) -> dict[str, Any]:
    """The one line of a call, whose writes last five minutes."""
    usage = {
        "input_tokens": use.tokens.input,
        "cache_creation_input_tokens": use.tokens.written,
        "cache_read_input_tokens": use.tokens.read,
        "cache_creation": {"ephemeral_5m_input_tokens": use.tokens.written, "ephemeral_1h_input_tokens": 0},
        "output_tokens": use.tokens.output,
    }
    message_id = f"msg_01Made{number:012d}"
    message = {"id": message_id, "role": "assistant", "model": use.model, "stop_reason": "end_turn", "usage": usage}
    at = Call(number, use.at, use.tokens).at_text
    known = {"message": message, "requestId": f"req_{number:012d}", "timestamp": at, "uuid": f"u-{number}"}
    return claude_lines.line(**{**known, **changes})


def _codex() -> Made:
    uses = uses_by_model(spread_calls(2, has_writes=False), "gpt-5.2", "gpt-5.1-codex")
    thread = codex.Thread(codex.ERA["0.155.0"], begin_ms=round(BEGIN.timestamp() * 1000) - 60_000)
    for number, use in enumerate(uses):
        call = Call(number, use.at, use.tokens)
        thread.now_ms = call.at_ms - 1000
        thread.begin_turn(model=use.model, after_ms=0)
        thread.call(codex_call(use.tokens), takes_ms=900)
    return Made(("codex",), PLAIN, uses, files({codex_place(thread): thread.content}), list_cost(uses))


def codex_call(tokens: Tokens) -> codex.Call:
    """A call as the provider counts it, a part of its output reasoning."""
    return codex.Call(tokens.prompt, tokens.read, tokens.written, tokens.output, tokens.output // 3)


def codex_place(thread: codex.Thread) -> str:
    return f".codex/sessions/2026/09/01/{thread.name}"


def _gemini_cli() -> Made:
    """A chat as the older versions keep it, in one document."""
    uses = uses_by_model(spread_calls(3, has_cache=False), "gemini-2.5-pro", "gemini-2.5-flash")
    messages = [gemini_message(number, use) for number, use in enumerate(uses)]
    document = json.dumps(gemini_cli.header() | {"messages": messages}).encode()
    return Made(("gemini-cli",), PLAIN, uses, files({f".gemini/{gemini_cli.DOCUMENT}": document}), list_cost(uses))


def gemini_message(number: int, use: Use, *, thoughts: int = 0, **changes: object) -> dict[str, Any]:
    tokens = use.tokens
    counts = {"input": tokens.prompt, "output": tokens.output - thoughts, "cached": tokens.read, "thoughts": thoughts}
    counts |= {"tool": 0, "total": tokens.prompt + tokens.output}
    at = Call(number, use.at, tokens).at_text
    return gemini_cli.message(number, **{"tokens": counts, "timestamp": at, "model": use.model, **changes})


def _kimi_cli() -> Made:
    uses = uses_of(spread_calls(4), "")
    records = [kimi_cli_line(number, use) for number, use in enumerate(uses)]
    return Made(("kimi-cli",), PLAIN, uses, lines({f".kimi/{kimi.CLI_PATH}": [kimi.cli_header(), *records]}))


def kimi_cli_line(number: int, use: Use) -> dict[str, Any]:
    tokens = use.tokens
    usage = {"input_other": tokens.input, "output": tokens.output, "input_cache_read": tokens.read}
    usage |= {"input_cache_creation": tokens.written}
    return kimi.cli_line(number, token_usage=usage) | {"timestamp": use.at.timestamp()}


def _kimi_code() -> Made:
    uses = uses_of(spread_calls(5), "kimi-k3")
    records = [kimi_code_line(number, use) for number, use in enumerate(uses)]
    return Made(("kimi-code",), PLAIN, uses, lines({f".kimi-code/{kimi.CODE_PATH}": [*kimi.code_header(), *records]}))


def kimi_code_line(number: int, use: Use, **changes: object) -> dict[str, Any]:
    tokens = use.tokens
    usage = {"inputOther": tokens.input, "output": tokens.output, "inputCacheRead": tokens.read}
    usage |= {"inputCacheCreation": tokens.written}
    return kimi.code_line(number, **{"usage": usage, "time": Call(number, use.at, tokens).at_ms, **changes})


def _pi() -> Made:
    uses = uses_by_model(spread_calls(8), "claude-sonnet-4-5", "claude-opus-4-6")
    records = [pi_message(number, use) for number, use in enumerate(uses)]
    return Made(("pi",), PLAIN, uses, lines({pi_place("s"): [pi.header(), *records]}), list_cost(uses))


def pi_place(name: str) -> str:
    return f".pi/agent/sessions/--w--/2026-09-01T08-00-00-000Z_{name}.jsonl"


def _openclaw() -> Made:
    uses = uses_by_model(spread_calls(14), "claude-sonnet-4-5", "claude-opus-4-6")
    records = [record for number, use in enumerate(uses) for record in openclaw_records(number, use)]
    return Made(("openclaw",), PLAIN, uses, write_openclaw({"s.jsonl": records}), list_cost(uses))


def openclaw_records(number: int, use: Use) -> list[dict[str, Any]]:
    """A call behind the choice of its model."""
    choice: dict[str, Any] = {"type": "model_change", "id": f"c{number}", "provider": "anthropic", "modelId": use.model}
    at = Call(number, use.at, use.tokens).at_text
    return [choice | {"timestamp": at}, pi_message(number, use, responseId=f"msg_01Claw{number:016d}")]


def write_openclaw(records_of: Mapping[str, list[dict[str, Any]]]) -> Callable[[Path], None]:
    """A way to write sessions, with the list that OpenClaw keeps of those that are still open."""
    folder = ".openclaw/agents/main/sessions"

    def write(home: Path) -> None:
        lines({f"{folder}/{name}": [pi.header(id=name), *records] for name, records in records_of.items()})(home)
        listed = {
            f"agent:main:{name}": {"sessionId": name, "sessionFile": str(home / folder / name)}
            for name in records_of
            if name.endswith(".jsonl")
        }
        (home / folder / "sessions.json").write_text(json.dumps(listed))

    return write


def pi_message(number: int, use: Use, **changes: object) -> dict[str, Any]:
    tokens, call = use.tokens, Call(number, use.at, use.tokens)
    usage = {"input": tokens.input, "output": tokens.output, "cacheRead": tokens.read, "cacheWrite": tokens.written}
    usage |= {"totalTokens": sum(tokens)}
    known = {"usage": usage, "model": use.model, "timestamp": call.at_ms, "responseId": f"msg_01Pi{number:016d}"}
    known |= {"api": "anthropic-messages", "provider": "anthropic"}
    return pi.message(number, entry={"timestamp": call.at_text}, **{**known, **changes})


def _qwen_code() -> Made:
    uses = uses_of(spread_calls(20, has_cache=False), "qwen3-coder-plus")
    records = [line for number, use in enumerate(uses) for line in qwen_lines(number, use)]
    return Made(("qwen-code",), PLAIN, uses, lines({f".qwen/{qwen_code.CHAT_PATH}": records}))


def qwen_lines(number: int, use: Use) -> list[dict[str, Any]]:
    """The two lines of a call in its chat."""
    tokens = use.tokens
    call = qwen_code.Call(number, prompt=tokens.prompt, cached=tokens.read, output=tokens.output, model=use.model)
    at = Call(number, use.at, tokens).at_text
    telemetry = call.telemetry_line()
    telemetry["systemPayload"]["uiEvent"]["event.timestamp"] = at
    return [telemetry | {"timestamp": at}, call.answer_line(timestamp=at)]


def _opencode(source: str, place: str) -> Made:
    uses = uses_by_model(spread_calls(21 + len(source)), "claude-sonnet-4-5", "gpt-5.2")

    def write(home: Path) -> None:
        history = opencode.OpenCodeHistory(home / place)
        history.save_session("ses_1")
        for number, use in enumerate(uses):
            history.save_message(f"msg_{number:04d}", opencode_message(number, use))
        history.close()

    return Made((source,), PLAIN, uses, write)


def opencode_message(number: int, use: Use, *, reasoning: int = 0, **changes: object) -> dict[str, Any]:
    tokens, at_ms = use.tokens, Call(number, use.at, use.tokens).at_ms
    counts = opencode.Tokens(tokens.input, tokens.output - reasoning, reasoning, tokens.read, tokens.written)
    provider = "anthropic" if use.model.startswith("claude") else "openai"
    return opencode.make_message(counts, at=at_ms, **{"modelID": use.model, "providerID": provider, **changes})


def _copilot_cli() -> Made:
    """A session of one day, its calls in lines and its totals at the end."""
    uses = uses_of(spread_calls(40)[:2], "claude-sonnet-4.5")
    records = [copilot.start_event(), *(copilot_event(number, use) for number, use in enumerate(uses))]
    shutdown = copilot.shutdown_event(*(copilot_call(number, use.tokens) for number, use in enumerate(uses)))
    records.append(shutdown | {"timestamp": Call(0, uses[-1].at + timedelta(hours=1), uses[-1].tokens).at_text})
    return Made(("copilot-cli",), PLAIN, uses, lines({COPILOT_EVENTS: records}), list_cost(uses))


def copilot_call(number: int, tokens: Tokens) -> copilot.Call:
    return copilot.Call(number, tokens.prompt, tokens.output, tokens.read, tokens.written)


def copilot_event(number: int, use: Use) -> dict[str, Any]:
    event = copilot_call(number, use.tokens).event()
    return event | {"timestamp": Call(number, use.at, use.tokens).at_text}


def _goose() -> Made:
    """Sessions of one call each: an older version keeps nothing but totals."""
    uses = uses_of(spread_calls(41, has_cache=False), "claude-sonnet-4-5")

    def write(home: Path) -> None:
        history = goose.GooseHistory(home / ".local/share/goose/sessions/sessions.db")
        for number, use in enumerate(uses):
            save_goose_session(history, number, use)
        history.close()

    return Made(("goose",), PLAIN, uses, write, list_cost(uses))


def save_goose_session(history: goose.GooseHistory, number: int, use: Use) -> None:
    """A session of one call."""
    save_goose_totals(history, f"20260901_{number}", use)
    save_goose_call(history, f"20260901_{number}", use)


def save_goose_totals(history: goose.GooseHistory, session_id: str, use: Use) -> None:
    tokens, at = use.tokens, use.at.strftime("%Y-%m-%d %H:%M:%S")
    history.save_session(session_id, created_at=at, updated_at=at)
    history.save_totals(session_id, updated_at=at, input_tokens=tokens.prompt, output_tokens=tokens.output)
    history.save_totals(session_id, updated_at=at, total_tokens=tokens.prompt + tokens.output)
    history.save_totals(session_id, updated_at=at, cache_read_tokens=tokens.read, cache_write_tokens=tokens.written)


def save_goose_call(history: goose.GooseHistory, session_id: str, use: Use) -> None:
    tokens = use.tokens
    history.save_call(
        session_id,
        created_timestamp=int(use.at.timestamp()),
        model=use.model,
        input_tokens=tokens.prompt,
        output_tokens=tokens.output,
        total_tokens=tokens.prompt + tokens.output,
        cache_read_tokens=tokens.read,
        cache_write_tokens=tokens.written,
    )


def _zcode() -> Made:
    uses = uses_of(spread_calls(42), "glm-4.6")

    def write(home: Path) -> None:
        (home / ".zcode/cli/db").mkdir(parents=True)
        connection = zcode.make_usage(home / ".zcode/cli/db/db.sqlite")
        for number, use in enumerate(uses):
            at_ms = Call(number, use.at, use.tokens).at_ms
            zcode.save_call(
                connection,
                number,
                model_id=use.model,
                started_at=at_ms - 1,
                completed_at=at_ms,
                input_tokens=use.tokens.prompt,
                output_tokens=use.tokens.output,
                reasoning_tokens=0,
                cache_read_input_tokens=use.tokens.read,
                cache_creation_input_tokens=use.tokens.written,
            )
        connection.close()

    return Made(("zcode",), PLAIN, uses, write)


def _amp() -> Made:
    """Every call in the thread's ledger and in a message."""
    calls = spread_calls(43)
    thread = {
        "v": 3,
        "id": "T-1",
        "created": calls[0].at_ms,
        "messages": [message for call in calls for message in (amp.question(call), amp.answer(call))],
        "usageLedger": {"events": [amp_event(call) for call in calls]},
    }
    place = ".local/share/amp/threads/T-1.json"
    uses = uses_of(calls, "claude-sonnet-4-5")
    return Made(("amp",), PLAIN, uses, files({place: json.dumps(thread).encode()}), list_cost(uses))


def amp_event(call: Call) -> dict[str, Any]:
    tokens = {"input": call.tokens.input, "output": call.tokens.output}
    tokens |= {"cacheCreationInputTokens": call.tokens.written, "cacheReadInputTokens": call.tokens.read}
    return amp.event(call) | {"tokens": tokens}


def _codebuff() -> Made:
    """Answers with their usage in the first of its four places."""
    calls = spread_calls(44, has_writes=False)
    messages = [
        {"id": f"ai-{call.number}", "variant": "ai", "timestamp": call.at_text}
        | {"metadata": codebuff.metadata_of(call._replace(number=0)) | {"model": "claude-sonnet-4-5"}}
        for call in calls
    ]
    place = ".config/manicode/projects/shop/chats/2026-09-01T08-00-00.000Z/chat-messages.json"
    uses = uses_of(calls, "claude-sonnet-4-5")
    return Made(("codebuff",), PLAIN, uses, files({place: json.dumps(messages).encode()}), list_cost(uses))


def _grok_build() -> Made:
    calls = spread_calls(45)
    place = ".grok/sessions/%2Fw%2Fshop/00000001-0000-4000-8000-000000000000/updates.jsonl"
    records = [line for call in calls for line in (grok_build.said(call), grok_build.completed(call))]
    return Made(("grok-build",), PLAIN, uses_of(calls, "grok-4.6"), lines({place: records}))


def _droid() -> Made:
    """A session of one day: nothing but its totals is kept."""
    calls = make_calls(46, CALLS)
    locked_at = calls[0].at
    uses = [Use(locked_at, "GLM-4.6", call.tokens) for call in calls]
    return Made(("droid",), PLAIN, uses, files(droid.session(46, CALLS).files))


def _hermes() -> Made:
    calls = _of_one_day(make_calls(47, CALLS))
    uses = uses_of(calls, "anthropic/claude-opus-4.6")
    return Made(("hermes",), PLAIN, uses, lambda home: hermes.write(home / ".hermes/state.db", [History({}, calls)]))


def _of_one_day(calls: list[Call]) -> list[Call]:
    return [call._replace(at=BEGIN + timedelta(minutes=call.number)) for call in calls]
