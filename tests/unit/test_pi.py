"""Sessions of pi and of its family: keys that other sources share, branches, and what they cost."""

from __future__ import annotations

from decimal import Decimal
from types import ModuleType
from typing import Any

import pytest

from tallystick.observation import Observation
from tallystick.sources import oh_my_pi, openclaw, pi
from tests.corpus.ledger_order import winners
from tests.corpus.pi import FORK, PATH, SESSION, header, message, usage
from tests.corpus.reading import only, read, written


def only_pi(*records: dict[str, Any]) -> Observation:
    return only(pi, written(*records), path=PATH)


def test_a_call_is_read_with_everything_that_is_known_of_it() -> None:
    measured = usage() | {"input": 2000, "output": 702, "cacheRead": 8002, "cacheWrite": 30}
    call = only_pi(header(), message(1, usage=measured))
    assert call == Observation(
        event_key="openai:resp_000000000000000000000001",
        occurred_at="2026-11-22T18:06:41.000Z",
        source="pi",
        provider="openai",
        model="gpt-5.6-sol",
        session_id=SESSION,
        project="/w/shop",
        device="laptop",
        input_tokens=2000,
        cache_creation_5m_tokens=30,
        cache_read_tokens=8002,
        output_tokens=702,
        reported_cost_usd=Decimal("0.00982"),
        is_final=True,
        place_order="2026-11-22T18:00:00.000Z",
        position=call.position,
    )


@pytest.mark.parametrize(
    ("api", "provider", "response_id", "key"),
    [
        ("openai-responses", "openai", "resp_0a1b2c3d4e5f", "openai:resp_0a1b2c3d4e5f"),
        ("openai-completions", "openrouter", "gen-1234567890abcd", "openai:gen-1234567890abcd"),
        ("anthropic-messages", "anthropic", "msg_01AbCdEfGhIj", "anthropic:msg_01AbCdEfGhIj"),
        ("anthropic-messages", "github-copilot", "msg_01AbCdEfGhIj", "anthropic:msg_01AbCdEfGhIj"),
        ("google-generative-ai", "google", "Ab1CdEfGhIjK", "google:Ab1CdEfGhIjK"),
        (None, "google", "Ab1CdEfGhIjK", "google:Ab1CdEfGhIjK"),
        ("bedrock-converse-stream", "amazon-bedrock", "0a1b2c3d-4e5f", "pi:0a1b2c3d-4e5f"),
    ],
)
def test_the_key_is_the_one_that_every_other_source_gives_the_response(
    api: str | None, provider: str, response_id: str, key: str
) -> None:
    call = only_pi(header(), message(1, api=api, provider=provider, responseId=response_id))
    assert (call.event_key, call.provider, call.flags) == (key, provider, ())


@pytest.mark.parametrize("response_id", [None, "", "resp_0002", 7])
def test_a_call_without_an_id_of_its_own_is_known_by_its_fingerprint(response_id: object) -> None:
    calls = [
        only_pi(header(), message(number, responseId=response_id, usage=usage(output=output)))
        for number, output in ((1, 100), (1, 101), (2, 100))
    ]
    assert len({call.event_key for call in calls}) == 3
    assert {call.flags for call in calls} == {("weak_key",)}
    assert {call.event_key[:3] for call in calls} == {"pi:"}


@pytest.mark.parametrize("response_id", ["resp_0a1b2c3d4e5f", None])
def test_a_branch_copies_calls_which_stay_the_sessions_that_made_them(response_id: str | None) -> None:
    made = [message(number, responseId=response_id and response_id + str(number)) for number in range(3)]
    origin = read(pi, written(header(), *made), path=PATH).calls
    branch_header = header(id="branch", timestamp="2026-11-22T19:00:00.000Z", parentSession=PATH, cwd="/w/other")
    branch = read(pi, written(branch_header, *made[:2], message(7)), path=FORK).calls
    for order in (origin + branch, branch + origin):
        events = winners(order)
        assert len(events) == 4
        assert sorted(event.session_id for event in events.values()) == [SESSION] * 3 + ["branch"]


@pytest.mark.parametrize("module", [oh_my_pi, openclaw])
def test_the_family_reads_the_same_under_its_own_name(module: ModuleType) -> None:
    call = only(module, written(header(), message(1)), path=PATH)
    assert call.source == module.SOURCE
    assert call.event_key == only_pi(header(), message(1)).event_key


@pytest.mark.parametrize(
    "change",
    [
        {"type": "model_change", "provider": "anthropic", "modelId": "claude-opus-5-5"},
        {
            "type": "custom",
            "customType": "model-snapshot",
            "data": {"provider": "anthropic", "modelId": "claude-opus-5-5"},
        },
    ],
)
def test_a_message_without_a_model_was_made_by_the_one_last_changed_to(change: dict[str, Any]) -> None:
    bare = message(2, model=None, provider=None)
    content = written(header(), message(1), change, bare, message(3))
    calls = read(openclaw, content, path=PATH, cuts=[1, 2, 3]).calls
    models = [("openai", "gpt-5.6-sol"), ("anthropic", "claude-opus-5-5"), ("openai", "gpt-5.6-sol")]
    assert [(call.provider, call.model) for call in calls] == models


def test_a_message_that_used_nothing_is_no_call() -> None:
    nothing = {"input": 0, "output": 0, "cacheRead": 0, "cacheWrite": 0, "cost": {"total": 0}}
    outcome = read(pi, written(header(), message(1, usage=nothing, stopReason="error")), path=PATH)
    assert (outcome.calls, outcome.rejects) == ([], [])
    assert outcome.state.line_counts == {"session": 1, "(no usage)": 1}


def test_what_is_no_answer_is_no_call() -> None:
    result = message(1, role="toolResult")
    nested = message(2) | {"type": "custom_message"}
    outcome = read(pi, written(header(), result, nested), path=PATH)
    assert (outcome.calls, outcome.rejects) == ([], [])


def test_a_message_without_a_time_takes_that_of_its_line_then_that_of_the_call_above() -> None:
    own = only_pi(header(), message(1, timestamp=None))
    assert (own.occurred_at, own.flags) == ("2026-11-22T18:30:00.000Z", ())
    bare = message(2, entry={"timestamp": None}, timestamp=None)
    _, inherited = read(pi, written(header(), message(1), bare), path=PATH).calls
    assert (inherited.occurred_at, inherited.flags) == ("2026-11-22T18:06:41.000Z", ("time_inherited",))


@pytest.mark.parametrize("cost", [None, "0.1", float("1e-40"), -1.0, True])
def test_a_cost_that_no_ledger_could_hold_is_taken_as_absent(cost: object) -> None:
    call = only_pi(header(), message(1, usage=usage() | {"cost": {"total": cost}}))
    assert (call.reported_cost_usd, call.output_tokens) == (None, 100)
