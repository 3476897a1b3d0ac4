"""Grok Build's updates: a turn, the models in it, its time and its cost."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest

from tallystick.sources import grok_build
from tests.corpus.grok_build import completed, said, session, usage_of
from tests.corpus.histories import Tokens, make_calls
from tests.corpus.reading_documents import Outcome, read_lines, tokens_of

PATH = "/home/ann/.grok/sessions/%2Fhome%2Fann%2Fmy%20shop/5e55107a-0000-4000-8000-000000000001/updates.jsonl"
SESSION = "5e55107a-0000-4000-8000-000000000001"
CALL = make_calls(1, 1)[0]


def read(*updates: dict[str, object]) -> Outcome:
    return read_lines(grok_build, "".join(json.dumps(each) + "\n" for each in updates).encode(), PATH)


def test_a_turn_is_an_event() -> None:
    call = read(said(CALL), completed(CALL)).only
    assert (call.event_key, call.occurred_at) == (f"grok-build:{SESSION}:p-0", CALL.at_text)
    assert (call.grain, call.provider, call.model) == ("turn", "xai", "grok-4.6")
    assert (call.session_id, call.project, call.flags) == (SESSION, "at /home/ann/my shop", ())
    assert (tokens_of(call), call.thinking_tokens) == (CALL.tokens, CALL.tokens.output // 3)
    # by hand: 250,000,000 ticks of a ten-thousand-millionth of a dollar
    assert call.reported_cost_usd == Decimal("0.025")


def test_every_turn_is_an_event_at_its_time_with_its_tokens() -> None:
    history = session(4, 12)
    outcome = read_lines(grok_build, history.content, history.path)
    assert {call.occurred_at: tokens_of(call) for call in outcome.calls} == {
        call.at_text: call.tokens for call in history.calls
    }
    assert outcome.state.line_counts == {"(update)": 12}


def test_each_model_of_a_turn_is_an_event_of_its_own() -> None:
    first, second = Tokens(100, 100, 600, 80), Tokens(100, 0, 100, 20)
    both = usage_of(Tokens(200, 100, 700, 100)) | {
        "modelUsage": {"grok-4.6": usage_of(first), "grok-4.6-mini": usage_of(second)}
    }
    calls = read(completed(CALL, usage=both)).calls
    assert [(call.model, tokens_of(call)) for call in calls] == [("grok-4.6", first), ("grok-4.6-mini", second)]
    assert [call.event_key for call in calls] == [
        f"grok-build:{SESSION}:p-0:grok-4.6",
        f"grok-build:{SESSION}:p-0:grok-4.6-mini",
    ]


def test_a_turn_without_models_has_the_one_that_it_names_or_none() -> None:
    assert read(completed(CALL, usage=usage_of(CALL.tokens))).only.model == ""
    assert read(completed(CALL, usage=usage_of(CALL.tokens), model=" grok-4.6 ")).only.model == "grok-4.6"


def test_a_turn_without_usage_is_of_an_older_version_and_gives_nothing() -> None:
    assert read(completed(CALL, usage=None)).calls == []


def test_a_turn_is_known_by_its_prompt_else_by_its_event() -> None:
    assert read(completed(CALL, prompt_id=None)).only.event_key == f"grok-build:{SESSION}:e-0"
    nameless = completed(CALL, prompt_id=None)
    nameless["params"].pop("_meta")  # type: ignore[attr-defined]
    assert read(nameless).rejects == [(f"{SESSION}:0", "no_key")]


def test_the_time_of_a_line_is_in_seconds_and_less_exact_than_the_agents() -> None:
    update = completed(CALL)
    update["params"]["_meta"].pop("agentTimestampMs")  # type: ignore[index]
    assert read(update).only.occurred_at == f"{CALL.at_text[:-5]}.000Z"


def test_a_turn_without_a_time_takes_that_of_the_turn_before() -> None:
    update = completed(CALL, prompt_id="p-1")
    update["params"]["_meta"].pop("agentTimestampMs")  # type: ignore[index]
    timeless = update | {"timestamp": None}
    assert read(completed(CALL), timeless).calls[1].flags == ("time_inherited",)
    assert read(timeless).rejects == [(f"grok-build:{SESSION}:p-1", "no_time")]


@pytest.mark.parametrize("ticks", [None, "many", -1])
def test_a_cost_that_is_none_is_unknown(ticks: object) -> None:
    assert read(completed(CALL, usage=usage_of(CALL.tokens) | {"costUsdTicks": ticks})).only.reported_cost_usd is None


def test_a_count_that_is_none_rejects_its_turn_and_no_other() -> None:
    outcome = read(completed(CALL, usage=usage_of(CALL.tokens) | {"outputTokens": 1.5}), completed(CALL, prompt_id="x"))
    assert outcome.rejects == [(f"grok-build:{SESSION}:p-0", "not_an_integer")]
    assert len(outcome.calls) == 1
