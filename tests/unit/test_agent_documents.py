"""What holds for every agent that writes documents: the truth is met, however often, whatever has happened to them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick.sources import (
    amp,
    cline,
    cline_cli,
    codebuff,
    cursor,
    droid,
    ibm_bob,
    kilo_code,
    mistral_vibe,
    roo_code,
)
from tallystick.sources.formats import NotWhole
from tests.corpus import amp as amp_corpus
from tests.corpus import cline as cline_corpus
from tests.corpus import codebuff as codebuff_corpus
from tests.corpus import cursor as cursor_corpus
from tests.corpus import droid as droid_corpus
from tests.corpus import mistral_vibe as vibe_corpus
from tests.corpus.histories import History, Tokens
from tests.corpus.reading_documents import Outcome, read_document, tokens_of


class Agent(NamedTuple):
    """A module, and what makes up histories for it."""

    module: Any
    make: Callable[[int, int], History]

    def read(self, history: History, state: Any = None) -> Outcome:
        return read_document(self.module, history.content, history.path, state)


def task_of(source: str) -> Callable[[int, int], History]:
    return lambda seed, calls: cline_corpus.task(seed, calls, source=source)


CALL_AGENTS = [
    pytest.param(Agent(cline, cline_corpus.task), id="cline"),
    pytest.param(Agent(roo_code, task_of("roo-code")), id="roo-code"),
    pytest.param(Agent(kilo_code, task_of("kilo-code")), id="kilo-code"),
    pytest.param(Agent(ibm_bob, task_of("ibm-bob")), id="ibm-bob"),
    pytest.param(Agent(cline_cli, cline_corpus.session), id="cline-cli"),
    pytest.param(Agent(amp, amp_corpus.thread), id="amp"),
    pytest.param(Agent(codebuff, codebuff_corpus.chat), id="codebuff"),
    pytest.param(Agent(cursor, cursor_corpus.month), id="cursor"),
]
TOTAL_AGENTS = [
    pytest.param(Agent(droid, droid_corpus.session), id="droid"),
    pytest.param(Agent(mistral_vibe, vibe_corpus.session), id="mistral-vibe"),
]
JSON_AGENTS = [agent for agent in CALL_AGENTS + TOTAL_AGENTS if agent.id != "cursor"]


def totals_of(outcome: Outcome) -> Tokens:
    snapshot = outcome.only_snapshot
    counts = (snapshot.input_tokens, snapshot.cache_creation_tokens, snapshot.cache_read_tokens, snapshot.output_tokens)
    return Tokens(*counts)


@pytest.mark.parametrize("agent", CALL_AGENTS)
def test_every_call_is_an_event_at_its_time_with_its_tokens(agent: Agent) -> None:
    history = agent.make(5, 30)
    outcome = agent.read(history)
    truth = {call.at_text: call.tokens for call in history.calls}
    assert {call.occurred_at: tokens_of(call) for call in outcome.calls} == truth
    assert len({call.event_key for call in outcome.calls}) == len(outcome.calls) == 30
    assert outcome.rejects == []
    assert {call.source for call in outcome.calls} == {agent.module.SOURCE}
    assert not {name for name in outcome.state.line_counts if name[:1] != "("} - agent.module.KNOWN_LINE_TYPES


@pytest.mark.parametrize("agent", TOTAL_AGENTS)
def test_the_totals_of_a_session_are_one_snapshot(agent: Agent) -> None:
    history = agent.make(5, 30)
    assert totals_of(agent.read(history)) == history.tokens


@pytest.mark.parametrize("agent", CALL_AGENTS + TOTAL_AGENTS)
def test_a_document_without_calls_gives_nothing(agent: Agent) -> None:
    outcome = agent.read(agent.make(1, 0) if agent.module is not droid else droid_corpus.session(1, 0))
    assert (outcome.calls, outcome.rejects, outcome.snapshots) == ([], [], [])


def plain(history: History) -> str:
    return history.content.decode()


@pytest.mark.parametrize("agent", JSON_AGENTS)
@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda text: text.encode(), id="none"),
        pytest.param(lambda text: json.dumps(json.loads(text), indent=2).replace("\n", "\r\n").encode(), id="crlf"),
        pytest.param(lambda text: json.dumps(json.loads(text), separators=(",", ":")).encode(), id="no blanks"),
        pytest.param(lambda text: b"\xef\xbb\xbf" + text.encode(), id="byte order mark"),
        pytest.param(lambda text: bytes(4096) + text.encode() + bytes(4096), id="NULs around it"),
        pytest.param(lambda text: with_member(text, '"w\udcff\x01"'), id="invalid UTF-8 and a control character"),
        pytest.param(lambda text: with_member(text, '"\\ud800"'), id="lone surrogate"),
        pytest.param(lambda text: with_member(text, "[NaN, -Infinity, 1e99999999999]"), id="numbers that are none"),
        pytest.param(lambda text: with_member(text, "9" * 5000), id="absurd integer"),
        pytest.param(lambda text: with_member(text, "[" * 5000 + "]" * 5000), id="deep nesting"),
        pytest.param(lambda text: with_member(text, '"' + "x" * 20_000_000 + '"'), id="20 MB of text"),
    ],
)
def test_no_call_is_lost_or_changed_by_what_has_happened_to_a_document(
    agent: Agent, damage: Callable[[str], bytes]
) -> None:
    history = agent.make(2, 3)
    whole = agent.read(history)
    damaged = read_document(agent.module, damage(history.content.decode()), history.path)
    assert damaged[:3] == whole[:3]


def with_member(text: str, value: str) -> bytes:
    """The document with one more member in its first object."""
    return text.replace("{", f'{{"strange": {value}, ', 1).encode("utf-8", "surrogateescape")


@pytest.mark.parametrize("agent", JSON_AGENTS)
@given(st.data())
def test_a_document_that_ends_too_early_is_not_read(agent: Agent, data: st.DataObject) -> None:
    history = agent.make(3, 2)
    end = data.draw(st.integers(0, len(history.content) - 1))
    with pytest.raises(NotWhole):
        read_document(agent.module, history.content[:end], history.path)


@pytest.mark.parametrize("agent", JSON_AGENTS)
@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_a_document_in_utf_16_is_named_and_not_taken_for_an_empty_one(agent: Agent, encoding: str) -> None:
    history = agent.make(3, 2)
    with pytest.raises(NotWhole, match="UTF-16"):
        read_document(agent.module, history.content.decode().encode(encoding), history.path)


@pytest.mark.parametrize("agent", JSON_AGENTS)
@pytest.mark.parametrize("content", [b"null", b"[]", b"{}", b"7", b'"x"', b"[1, null, [2]]", b'{"messages": 3}'])
def test_a_document_that_is_no_agents_gives_nothing(agent: Agent, content: bytes) -> None:
    outcome = read_document(agent.module, content, agent.make(1, 1).path)
    assert (outcome.calls, outcome.rejects, outcome.snapshots) == ([], [], [])


@pytest.mark.parametrize("agent", JSON_AGENTS)
@given(st.data())
def test_nothing_in_a_document_makes_reading_it_fail(agent: Agent, data: st.DataObject) -> None:
    history = agent.make(1, 2)
    document = json.loads(history.content)
    holders = list(holders_in(document))
    holder, place = data.draw(st.sampled_from(holders))
    holder[place] = data.draw(st.none() | st.booleans() | st.integers() | st.text() | st.just([]) | st.just({}))
    outcome = read_document(agent.module, json.dumps(document).encode(), history.path)
    assert len(outcome.calls) + len(outcome.rejects) + len(outcome.snapshots) <= 3


def holders_in(part: Any) -> Any:
    """Every place in a document that has a value."""
    for place, value in list(part.items() if isinstance(part, dict) else enumerate(part)):
        yield part, place
        if isinstance(value, dict | list):
            yield from holders_in(value)
