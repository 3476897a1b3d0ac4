"""Damaged lines of every agent that writes small JSON lines: three calls of 100 output tokens each."""

from __future__ import annotations

import json
from collections.abc import Callable
from types import ModuleType
from typing import Any, NamedTuple

import pytest

from tallystick.sources import gemini_cli, kimi_cli, kimi_code, oh_my_pi, openclaw, pi, qwen_code
from tests.corpus import gemini_cli as gemini
from tests.corpus import kimi
from tests.corpus import pi as pis
from tests.corpus import qwen_code as qwen
from tests.corpus.reading import Outcome, read, written


class Agent(NamedTuple):
    """One sort of line: who reads it, what stands above the calls, and how to write a call."""

    name: str
    module: ModuleType
    path: str
    head: list[dict[str, Any]]
    record: Callable[[int], dict[str, Any]]
    count: str
    time: str | None = None

    def line(self, number: int) -> bytes:
        return json.dumps(self.record(number) | {"note": "words"}, separators=(",", ":")).encode()

    def content(self, second: bytes) -> bytes:
        return written(*self.head) + b"\n".join([self.line(1), second, self.line(3), b""])

    def second_with(self, old: str, new: str) -> bytes:
        text = self.line(2).decode()
        assert text.count(old) == 1
        return self.content(text.replace(old, new).encode("utf-8", "surrogateescape"))

    def read(self, content: bytes) -> Outcome:
        return read(self.module, content, path=self.path)


GEMINI = Agent("gemini-cli", gemini_cli, gemini.MAIN, [gemini.header()], gemini.message, "output", "timestamp")
AGENTS = [
    GEMINI,
    Agent("kimi-cli", kimi_cli, kimi.CLI_PATH, [kimi.cli_header()], kimi.cli_line, "output"),
    Agent("kimi-code", kimi_code, kimi.CODE_PATH, kimi.code_header(), kimi.code_line, "output"),
    *(Agent(m.SOURCE, m, pis.PATH, [pis.header()], pis.message, "output") for m in (pi, oh_my_pi, openclaw)),
    Agent(
        "qwen usage",
        qwen_code,
        qwen.USAGE_PATH,
        [],
        lambda number: qwen.Call(number).usage_line(),
        "outputTokens",
        "timestamp",
    ),
    Agent(
        "qwen telemetry",
        qwen_code,
        qwen.CHAT_PATH,
        [],
        lambda number: qwen.Call(number).telemetry_line(),
        "output_token_count",
    ),
    Agent(
        "qwen answers",
        qwen_code,
        qwen.CHAT_PATH,
        [],
        lambda number: qwen.Call(number).answer_line(),
        "candidatesTokenCount",
        "timestamp",
    ),
]

every_agent = pytest.mark.parametrize("agent", AGENTS, ids=[agent.name for agent in AGENTS])

DAMAGE: dict[str, Callable[[Agent], bytes]] = {
    "crlf": lambda agent: agent.content(agent.line(2)).replace(b"\n", b"\r\n"),
    "last line without newline": lambda agent: agent.content(agent.line(2))[:-1],
    "spaces after colons": lambda agent: agent.content(agent.line(2)).replace(b'":', b'": '),
    "byte order mark": lambda agent: b"\xef\xbb\xbf" + agent.content(agent.line(2)),
    "NULs between lines": lambda agent: agent.content(bytes(4096) + b"\n" + agent.line(2)),
    "NULs in front of a line": lambda agent: agent.content(bytes(4096) + agent.line(2)),
    "invalid UTF-8": lambda agent: agent.second_with('"note":"words"', '"note":"w\udcfford"'),
    "lone surrogate escape": lambda agent: agent.second_with('"note":"words"', '"note":"w\\ud800ords"'),
    "raw control characters": lambda agent: agent.second_with('"note":"words"', '"note":"w\x01or\tds"'),
    "NaN": lambda agent: agent.second_with('"note":"words"', '"note":NaN'),
    "deep nesting": lambda agent: agent.second_with('"note":"words"', f'"note":{"[" * 2000}{"]" * 2000}'),
    "blank lines": lambda agent: agent.content(b" \n\n" + agent.line(2)),
    "version null": lambda agent: agent.second_with('"note":"words"', '"version":null'),
    "20 MB line": lambda agent: agent.second_with('"note":"words"', f'"note":"{"x" * 20_000_000}"'),
    "name twice": lambda agent: agent.second_with(f'"{agent.count}":100', f'"{agent.count}":1,"{agent.count}":100'),
    "another member first": lambda agent: agent.content(b'{"note":"first",' + agent.line(2)[1:]),
}


@every_agent
@pytest.mark.parametrize("damage", DAMAGE)
def test_no_call_is_lost_or_changed(agent: Agent, damage: str) -> None:
    plain, damaged = agent.read(agent.content(agent.line(2))), agent.read(DAMAGE[damage](agent))
    assert (len(set(plain.keys)), plain.output_tokens, plain.rejects) == (3, 300, [])
    assert [call.flags for call in damaged.calls] == [call.flags for call in plain.calls]
    assert (damaged.keys, damaged.output_tokens, damaged.rejects) == (plain.keys, 300, [])
    assert [call.occurred_at for call in damaged.calls] == [call.occurred_at for call in plain.calls]


@every_agent
def test_lines_glued_together_are_read_one_by_one(agent: Agent) -> None:
    outcome = agent.read(agent.line(1) + agent.line(2) + b"\x00 " + agent.line(3) + b"\n")
    assert (len(set(outcome.keys)), outcome.output_tokens, outcome.rejects) == (3, 300, [])


@every_agent
def test_a_line_cut_short_is_rejected_where_it_stands_and_whole_when_the_rest_arrives(agent: Agent) -> None:
    whole = agent.content(agent.line(2))
    start = whole.rindex(b"\n", 0, -1) + 1
    assert not agent.module.is_whole_record(memoryview(whole[start:-20]))
    assert agent.module.is_whole_record(memoryview(whole[start:-1]))
    assert not any(agent.module.is_whole_record(memoryview(whole[start:end])) for end in range(start, len(whole) - 1))
    cut = agent.read(whole[:-20])
    stem = agent.path.rpartition("/")[2].removesuffix(".jsonl")
    assert (cut.output_tokens, cut.rejects) == (200, [(f"{stem}:{start}", "not_json")])


@every_agent
@pytest.mark.parametrize("literal", ['"100"', "100.0", "1e2", '"0100"'])
def test_a_count_written_as_text_or_as_a_whole_float_is_taken_and_flagged(agent: Agent, literal: str) -> None:
    plain = agent.read(agent.content(agent.line(2)))
    outcome = agent.read(agent.second_with(f'"{agent.count}":100', f'"{agent.count}":{literal}'))
    assert (outcome.keys, outcome.output_tokens, outcome.rejects) == (plain.keys, 300, [])
    assert ["coerced" in call.flags for call in outcome.calls] == [False, True, False]


@every_agent
@pytest.mark.parametrize(
    ("literal", "reason"),
    [("1.5", "not_an_integer"), ("true", "not_an_integer"), ('"many"', "not_an_integer"), (str(2**63), "too_large")],
)
def test_a_count_that_is_no_integer_of_64_bits_rejects_its_record(agent: Agent, literal: str, reason: str) -> None:
    outcome = agent.read(agent.second_with(f'"{agent.count}":100', f'"{agent.count}":{literal}'))
    assert outcome.output_tokens == 200
    assert [reject_reason for _, reject_reason in outcome.rejects] == [reason]


@every_agent
def test_a_negative_count_is_left_to_the_ledger(agent: Agent) -> None:
    outcome = agent.read(agent.second_with(f'"{agent.count}":100', f'"{agent.count}":-100'))
    assert [call.output_tokens for call in outcome.calls] == [100, -100, 100]


@every_agent
def test_a_file_in_utf_16_is_flagged_and_not_silently_empty(agent: Agent) -> None:
    outcome = agent.read(agent.content(agent.line(2)).decode().encode("utf-16-le"))
    assert outcome.calls == []
    assert [reason for _, reason in outcome.rejects] == ["encoding"]
    assert outcome.state.encoding_problem == "utf-16"


timed_agents = pytest.mark.parametrize("agent", [a for a in AGENTS if a.time], ids=[a.name for a in AGENTS if a.time])


@timed_agents
@pytest.mark.parametrize(
    ("timestamp", "occurred_at"),
    [
        ("2026-11-22T18:06:42Z", "2026-11-22T18:06:42.000Z"),
        ("2026-11-22T20:06:42.5+02:00", "2026-11-22T18:06:42.500Z"),
        ("2026-11-22T18:06:42.000123Z", "2026-11-22T18:06:42.000123Z"),
    ],
)
def test_a_time_of_any_spelling_becomes_utc(agent: Agent, timestamp: str, occurred_at: str) -> None:
    second = json.dumps(agent.record(2) | {agent.time or "": timestamp}).encode()
    assert agent.read(agent.content(second)).calls[1].occurred_at == occurred_at


@timed_agents
@pytest.mark.parametrize("timestamp", [None, "2026-11-22T18:06:42", "soon", 7])
def test_a_line_without_a_usable_time_takes_that_of_the_call_above(agent: Agent, timestamp: object) -> None:
    second = json.dumps(agent.record(2) | {agent.time or "": timestamp}).encode()
    outcome = agent.read(agent.content(second))
    assert (outcome.output_tokens, outcome.rejects) == (300, [])
    assert outcome.calls[1].occurred_at == outcome.calls[0].occurred_at
    assert ["time_inherited" in call.flags for call in outcome.calls] == [False, True, False]


@timed_agents
def test_a_line_without_a_time_and_none_above_it_is_rejected(agent: Agent) -> None:
    outcome = agent.read(json.dumps(agent.record(1) | {agent.time or "": None}).encode() + b"\n")
    assert outcome.calls == []
    assert [reason for _, reason in outcome.rejects] == ["no_time"]


@every_agent
def test_a_call_without_a_model_counts_and_has_none(agent: Agent) -> None:
    text = json.dumps(agent.record(2)).replace('"model": ', '"no model": ')
    outcome = agent.read(agent.content(text.encode()))
    assert (outcome.output_tokens, outcome.calls[1].model) == (300, "")
