"""Histories of agents that write JSON lines or documents, with one thing each that is easily miscounted."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from tests.corpus import amp, codebuff, copilot, gemini_cli, grok_build, kimi, pi, qwen_code
from tests.corpus.histories import Call, Tokens
from tests.differential import plain
from tests.differential.made import BEGIN, Made, Use, all_of, files, lines, list_cost, uses_of

SONNET = "claude-sonnet-4-5"
GEMINI = f".gemini/{gemini_cli.MAIN}"
GEMINI_DOCUMENT = f".gemini/{gemini_cli.DOCUMENT}"
QWEN_CHAT = f".qwen/{qwen_code.CHAT_PATH}"
KIMI_CODE = f".kimi-code/{kimi.CODE_PATH}"


def make_trap_histories() -> list[Made]:
    return [*_gemini(), *_kimi(), *_pi(), *_qwen(), *_copilot(), *_amp(), *_codebuff(), *_grok(), *_droid()]


def some_calls(count: int = 3, *, written: int = 200, read: int = 3_000) -> list[Call]:
    """Calls a minute apart, of which no two are equal."""
    return [
        Call(at, BEGIN + timedelta(minutes=at), Tokens(100 + at, written and written + at, read, 400 + 10 * at))
        for at in range(count)
    ]


def _gemini() -> list[Made]:
    bare = uses_of(some_calls(written=0, read=0), "gemini-2.5-pro")
    cached = uses_of(some_calls(written=0), "gemini-2.5-pro")
    plainly = [plain.gemini_message(number, use) for number, use in enumerate(bare)]
    thinking = [plain.gemini_message(number, use, thoughts=150) for number, use in enumerate(bare)]
    head = gemini_cli.header()
    reading = [plain.gemini_message(number, use) for number, use in enumerate(cached)]
    searching = dict(plainly[0])
    searching["tokens"] = searching["tokens"] | {"tool": 7, "total": searching["tokens"]["total"] + 7}
    searched = [bare[0]._replace(tokens=bare[0].tokens._replace(input=bare[0].tokens.input + 7)), *bare[1:]]
    update = {"$set": {"messages": plainly[:2]}}
    return [
        _gemini_in("a chat in JSON lines, as versions of today keep it", bare, {GEMINI: [head, *plainly]}),
        _gemini_document("cache reads", cached, reading),
        _gemini_document("thinking", bare, thinking),
        _gemini_document("tokens of tools' answers", searched, [searching, *plainly[1:]]),
        _gemini_in(
            "a message written again, and an update of all", bare, {GEMINI: [head, *plainly, plainly[2], update]}
        ),
        _gemini_in(
            "a sub-agent's chat",
            bare,
            {
                GEMINI: [head, *plainly[:2]],
                f".gemini/{gemini_cli.SUBAGENT}": [gemini_cli.header(kind="subagent"), plainly[2]],
            },
        ),
        _gemini_document("a document, and the JSON lines that it was moved to", bare, plainly, [head, *plainly]),
    ]


def _gemini_document(what: str, uses: list[Use], messages: list[Any], moved_to: list[Any] | None = None) -> Made:
    """A chat as older versions keep it, and perhaps as those of today do beside it."""
    document = files({GEMINI_DOCUMENT: json.dumps(gemini_cli.header() | {"messages": messages}).encode()})
    return Made(("gemini-cli",), what, uses, all_of(document, lines({GEMINI: moved_to} if moved_to else {})))


def _gemini_in(what: str, uses: list[Use], records: dict[str, list[Any]]) -> Made:
    return Made(("gemini-cli",), what, uses, lines(records))


def _kimi() -> list[Made]:
    uses = uses_of(some_calls(), "")
    cli = [plain.kimi_cli_line(number, use) for number, use in enumerate(uses)]
    place = f".kimi/{kimi.CLI_PATH}"
    event = {"type": "SubagentEvent", "payload": {"parent_tool_call_id": "call_1", "event": cli[2]["message"]}}
    code_uses = uses_of(some_calls(), "kimi-k3")
    code = [plain.kimi_code_line(number, use) for number, use in enumerate(code_uses)]
    beside = plain.kimi_code_line(2, code_uses[2], usageScope="session")
    head = kimi.code_header()
    fork = KIMI_CODE.replace(kimi.CODE_SESSION, "session_fork")
    return [
        Made(
            ("kimi-cli",),
            "a fork: a copy in another session",
            uses,
            lines({place: [kimi.cli_header(), *cli], place.replace(kimi.CLI_SESSION, "fork"): cli[:2]}),
        ),
        Made(
            ("kimi-cli",),
            "a sub-agent's file, and its events passed on in the main one",
            uses,
            lines(
                {
                    place: [kimi.cli_header(), *cli[:2], {"timestamp": cli[2]["timestamp"], "message": event}],
                    f".kimi/{kimi.CLI_SUBAGENT}": [kimi.cli_header(), cli[2]],
                }
            ),
        ),
        Made(
            ("kimi-code",),
            "a fork: a copy in another session",
            code_uses,
            lines({KIMI_CODE: [*head, *code], fork: [*head, *code[:2], kimi.code_forked(9)]}),
        ),
        Made(
            ("kimi-code",),
            "a call beside the turns, as compaction is",
            code_uses,
            lines({KIMI_CODE: [*head, *code[:2], beside]}),
        ),
    ]


def _pi() -> list[Made]:
    uses = uses_of(some_calls(), SONNET)
    messages = [plain.pi_message(number, use) for number, use in enumerate(uses)]
    unnamed = [plain.pi_message(number, use, responseId=None) for number, use in enumerate(uses)]
    branch = pi.header(id="branch", timestamp="2026-09-01T09:00:00.000Z")
    claw = [record for number, use in enumerate(uses) for record in plain.openclaw_records(number, use)]
    return [
        _pi_branched("a branch: a copy in another session", uses, messages, branch),
        _pi_branched("a branch of a session whose answers have no ids", uses, unnamed, branch),
        Made(
            ("openclaw",),
            "a branch: a copy in another session",
            uses,
            plain.write_openclaw({"s.jsonl": claw, "t.jsonl": claw[:4]}),
        ),
        Made(
            ("openclaw",),
            "a session that was reset",
            uses,
            plain.write_openclaw({"s.jsonl.reset.2026-09-01T09-00-00.000Z": claw[:4], "s.jsonl": claw[4:]}),
        ),
        Made(
            ("pi", "openclaw"),
            "the same answers in pi's folder and in OpenClaw's",
            uses,
            all_of(
                lines({plain.pi_place("s"): [pi.header(), *messages]}),
                plain.write_openclaw({"s.jsonl": [claw[0], *messages]}),
            ),
        ),
    ]


def _pi_branched(what: str, uses: list[Use], messages: list[Any], branch: dict[str, Any]) -> Made:
    both = {plain.pi_place("s"): [pi.header(), *messages], plain.pi_place("t"): [branch, *messages[:2]]}
    return Made(("pi",), what, uses, lines(both))


def _qwen() -> list[Made]:
    bare = uses_of(some_calls(written=0, read=0), "qwen3-coder-plus")
    cached = uses_of(some_calls(written=0), "qwen3-coder-plus")
    chat = [line for number, use in enumerate(bare) for line in plain.qwen_lines(number, use)]
    usage = [_qwen_usage(number, use) for number, use in enumerate(bare)]
    monthly = ".qwen/usage/token-usage-2026-09.jsonl"
    thinking = [_thinking(line) for line in chat]
    return [
        Made(
            ("qwen-code",),
            "cache reads",
            cached,
            lines({QWEN_CHAT: [line for number, use in enumerate(cached) for line in plain.qwen_lines(number, use)]}),
        ),
        Made(("qwen-code",), "the chat, and the month's usage file", bare, lines({QWEN_CHAT: chat, monthly: usage})),
        Made(("qwen-code",), "the month's usage file alone", bare, lines({monthly: usage})),
        Made(("qwen-code",), "thinking within the output", bare, lines({QWEN_CHAT: thinking})),
    ]


def _qwen_usage(number: int, use: Use) -> dict[str, Any]:
    tokens = use.tokens
    call = qwen_code.Call(number, prompt=tokens.prompt, cached=tokens.read, output=tokens.output, model=use.model)
    return call.usage_line(timestamp=Call(number, use.at, tokens).at_text, localDate="2026-09-01", localMonth="2026-09")


def _thinking(line: dict[str, Any]) -> dict[str, Any]:
    if line["type"] == "assistant":
        return line | {"usageMetadata": line["usageMetadata"] | {"thoughtsTokenCount": 150}}
    event = line["systemPayload"]["uiEvent"] | {"thoughts_token_count": 150}
    return line | {"systemPayload": {"uiEvent": event}}


def _copilot() -> list[Made]:
    uses = uses_of(some_calls(), "claude-sonnet-4.5")
    events = [plain.copilot_event(number, use) for number, use in enumerate(uses)]
    calls = [plain.copilot_call(number, use.tokens) for number, use in enumerate(uses)]
    ended = copilot.shutdown_event(*calls) | {"timestamp": events[-1]["timestamp"]}
    start = copilot.start_event()
    spans = [_copilot_span(call, use) for call, use in zip(calls, uses, strict=True)]
    two_days = [uses[0], uses[1], uses[2]._replace(at=BEGIN + timedelta(days=1))]
    next_day = plain.copilot_event(2, two_days[2])
    large = Use(BEGIN, "claude-sonnet-4.5", Tokens(1_000, 0, 90_000, 100))
    larger = [large, *(large._replace(tokens=large.tokens._replace(output=100 + at)) for at in (1, 2))]
    large_calls = [plain.copilot_call(number, use.tokens) for number, use in enumerate(larger)]
    large_end = copilot.shutdown_event(*large_calls) | {"timestamp": events[-1]["timestamp"]}
    place, otel = plain.COPILOT_EVENTS, ".copilot/otel/copilot-otel.jsonl"
    return [
        Made(("copilot-cli",), "a session that has not ended", uses, lines({place: [start, *events]})),
        Made(
            ("copilot-cli",),
            "a session over two days",
            two_days,
            lines({place: [start, *events[:2], next_day, ended | {"timestamp": next_day["timestamp"]}]}),
        ),
        Made(("copilot-cli",), "spans of OpenTelemetry alone", uses, lines({otel: spans})),
        Made(
            ("copilot-cli",),
            "the same calls as events and as spans",
            uses,
            lines({place: [start, *events, ended], otel: spans}),
        ),
        Made(
            ("copilot-cli",),
            "a session whose cache reads pass 200,000 tokens, none of its calls",
            larger,
            lines({place: [start, *(plain.copilot_event(n, use) for n, use in enumerate(larger)), large_end]}),
            list_cost(larger),
        ),
    ]


def _copilot_span(call: copilot.Call, use: Use) -> dict[str, Any]:
    seconds = int(use.at.timestamp())
    return call.span() | {"startTime": [seconds - 1, 0], "endTime": [seconds, 0]}


def _amp() -> list[Made]:
    calls = some_calls()
    uses = uses_of(calls, SONNET)
    messages = [message for call in calls for message in (amp.question(call), amp.answer(call))]
    return [
        _amp_thread(
            "a ledger that leaves the cache to the messages", uses, messages, [amp.event(call) for call in calls]
        ),
        _amp_thread("a thread without a ledger", uses, messages, []),
        _amp_thread("a ledger that leaves a call out", uses, messages, [plain.amp_event(call) for call in calls[:2]]),
    ]


def _amp_thread(what: str, uses: list[Use], messages: list[Any], events: list[Any]) -> Made:
    thread = {
        "v": 3,
        "id": "T-1",
        "created": round(BEGIN.timestamp() * 1000),
        "messages": messages,
        "usageLedger": {"events": events},
    }
    return _made("amp", what, uses, {".local/share/amp/threads/T-1.json": json.dumps(thread).encode()})


def _codebuff() -> list[Made]:
    calls = some_calls()
    messages = [
        {"id": f"ai-{call.number}", "variant": "ai", "timestamp": call.at_text, "metadata": codebuff.metadata_of(call)}
        for call in calls
    ]
    priced = some_calls(written=0)
    dear = [
        message | {"metadata": codebuff.metadata_of(call._replace(number=0))}
        for message, call in zip(messages, priced, strict=True)
    ]
    place = ".config/manicode/projects/shop/chats/2026-09-01T08-00-00.000Z/chat-messages.json"
    models = ["openai/gpt-5.2", "openai/gpt-5.2", "openai/gpt-5.2"]
    uses = [Use(call.at, model, call.tokens) for call, model in zip(calls, models, strict=True)]
    dear_uses = uses_of(priced, "openai/gpt-5.2")
    return [
        _made("codebuff", "usage in each of its places", uses, {place: json.dumps(messages).encode()}),
        Made(
            ("codebuff",),
            "the price of openai/gpt-5.2",
            dear_uses,
            files({place: json.dumps(dear).encode()}),
            list_cost(dear_uses),
        ),
    ]


def _grok() -> list[Made]:
    calls = some_calls()
    place = ".grok/sessions/%2Fw%2Fshop/00000001-0000-4000-8000-000000000000/updates.jsonl"
    completed = [grok_build.completed(call) for call in calls]
    two = grok_build.completed(calls[0])
    other = grok_build.usage_of(Tokens(7, 0, 70, 8))
    update = two["params"]["update"]  # type: ignore[index]
    both = Tokens(*(a + b for a, b in zip(calls[0].tokens, Tokens(7, 0, 70, 8), strict=True)))
    update["usage"] = grok_build.usage_of(both) | {
        "modelUsage": {"grok-4.6": grok_build.usage_of(calls[0].tokens), "grok-4.6-mini": other}
    }
    uses = uses_of(calls, "grok-4.6")
    mini = Use(calls[0].at, "grok-4.6-mini", Tokens(7, 0, 70, 8))
    return [
        Made(("grok-build",), "a turn of two models", [*uses, mini], lines({place: [two, *completed[1:]]})),
        Made(("grok-build",), "an update written twice", uses, lines({place: [*completed, completed[2]]})),
    ]


def _droid() -> list[Made]:
    place = ".factory/sessions/-w-shop/00000001-0000-4000-8000-000000000000.settings.json"
    use = Use(BEGIN, "claude-sonnet-4-5", Tokens(1_000, 200, 3_000, 400))
    usage = {"inputTokens": 1_000, "outputTokens": 400, "cacheCreationTokens": 200, "cacheReadTokens": 3_000}
    known = {"model": SONNET, "providerLock": "anthropic", "providerLockTimestamp": "2026-09-01T08:00:00.000Z"}
    thinking = known | {"tokenUsage": usage | {"thinkingTokens": 150}}
    return [_made("droid", "thinking", [use], {place: json.dumps(thinking).encode()})]


def _made(source: str, what: str, uses: list[Use], contents: dict[str, bytes]) -> Made:
    return Made((source,), what, uses, files(contents))
