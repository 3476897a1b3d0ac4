"""Tasks of Cline and its family: which entries are calls, what their input contains, and whose they are."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from tallystick.sources import cline, cline_cli, ibm_bob, kilo_code, roo_code
from tests.corpus.cline import entry
from tests.corpus.reading_documents import Outcome, read_document

TASK = "/home/ann/globalStorage/tasks/1780000000001/ui_messages.json"
AT_MS = 1_795_370_803_802
AT = "2026-11-22T18:06:43.802Z"
BEFORE_CHANGE_MS = 1_760_000_000_000  # 2025-10-09


def read(*entries: object, module: Any = cline, path: str = TASK) -> Outcome:
    return read_document(module, json.dumps(entries).encode(), path)


def test_a_request_is_a_call_once_it_has_its_counts() -> None:
    sent = read(entry(AT_MS))
    assert (sent.calls, sent.state.line_counts) == ([], {"(no usage)": 1})
    usage = {"tokensIn": 7, "tokensOut": 310, "cacheWrites": 5, "cacheReads": 42, "cost": 0.0375}
    answered = read(entry(AT_MS, usage)).only
    assert answered.event_key == f"cline:1780000000001:{AT}"
    assert (answered.occurred_at, answered.session_id, answered.flags) == (AT, "1780000000001", ("no_cwd",))
    counts = (answered.input_tokens, answered.cache_creation_5m_tokens, answered.cache_read_tokens)
    assert (*counts, answered.output_tokens) == (7, 5, 42, 310)
    assert answered.reported_cost_usd == Decimal("0.0375")
    assert answered.grain == "call"


def test_a_request_that_was_cancelled_before_an_answer_is_none() -> None:
    cancelled = {"tokensIn": 0, "tokensOut": 0, "cacheWrites": 0, "cacheReads": 0, "cost": 0}
    assert read(entry(AT_MS, cancelled | {"cancelReason": "user_cancelled"})).calls == []


def test_a_request_that_cost_money_counts_though_nobody_knows_its_tokens() -> None:
    assert read(entry(AT_MS, {"cost": 0.5})).only.reported_cost_usd == Decimal("0.5")


def test_the_model_is_the_one_beside_the_entry_and_else_unknown() -> None:
    model = {"providerId": "anthropic", "modelId": " claude-opus-5-5 ", "mode": "act"}
    known, unknown = read(entry(AT_MS, {"tokensIn": 1}, modelInfo=model), entry(AT_MS + 1, {"tokensIn": 1})).calls
    assert (known.model, known.provider) == ("claude-opus-5-5", "anthropic")
    assert (unknown.model, unknown.provider) == ("", "")


@pytest.mark.parametrize(
    ("written", "provider"), [("openai-native", "openai"), ("openai", ""), ("openrouter", "openrouter"), (None, "")]
)
def test_a_provider_that_may_be_any_server_is_unknown(written: str | None, provider: str) -> None:
    assert read(entry(AT_MS, {"tokensIn": 1}, modelInfo={"providerId": written})).only.provider == provider


@pytest.mark.parametrize(
    ("module", "source"),
    [(cline, "cline"), (roo_code, "roo-code"), (kilo_code, "kilo-code"), (ibm_bob, "ibm-bob")],
)
def test_each_extension_has_its_own_name_and_keys(module: Any, source: str) -> None:
    call = read(entry(AT_MS, {"tokensIn": 1}), module=module).only
    assert (call.source, call.event_key) == (source, f"{source}:1780000000001:{AT}")


# by hand: a prompt of 1,000 tokens, of which 600 were read from the cache and 100 written to it
@pytest.mark.parametrize(
    ("at_ms", "protocol", "tokens_in", "input_tokens"),
    [
        pytest.param(AT_MS, None, 300, 300, id="Cline's is without the cache"),
        pytest.param(AT_MS, None, 1000, 1000, id="also where it could contain it"),
        pytest.param(BEFORE_CHANGE_MS, "anthropic", 1000, 1000, id="so is that of Roo Code before 3.29.5"),
        pytest.param(AT_MS, "anthropic", 1000, 300, id="from then on it contains the cache"),
        pytest.param(BEFORE_CHANGE_MS, "openai", 1000, 300, id="OpenAI's always did"),
        pytest.param(AT_MS, "openai", 1000, 300, id="and does"),
        pytest.param(AT_MS, "anthropic", 412, 412, id="one smaller than the cache cannot contain it"),
        pytest.param(AT_MS, "anthropic", 700, 0, id="one as large as the cache is all of it"),
    ],
)
def test_the_input_is_what_was_not_cached(at_ms: int, protocol: str | None, tokens_in: int, input_tokens: int) -> None:
    usage = {"tokensIn": tokens_in, "tokensOut": 1, "cacheReads": 600, "cacheWrites": 100}
    usage |= {"apiProtocol": protocol} if protocol else {}
    assert read(entry(at_ms, usage), module=roo_code).only.input_tokens == input_tokens


def test_the_oldest_versions_wrote_the_counts_when_the_request_had_finished() -> None:
    finished = entry(AT_MS + 9000, {"tokensIn": 10, "tokensOut": 4}, say="api_req_finished")
    call = read(entry(AT_MS), entry(AT_MS + 5, "thinking", say="text"), finished).only
    assert (call.occurred_at, call.input_tokens, call.output_tokens) == (AT, 10, 4)


def test_the_end_of_a_request_that_has_counts_adds_nothing() -> None:
    finished = entry(AT_MS + 9000, {"request": ""}, say="api_req_finished")
    assert read(entry(AT_MS, {"tokensIn": 3}), finished).only.input_tokens == 3


def test_sub_agents_of_a_turn_are_one_event() -> None:
    usage = {"source": "subagents", "tokensIn": 900, "tokensOut": 90, "cacheWrites": 0, "cacheReads": 0, "cost": 0.09}
    own, subagents = read(entry(AT_MS, {"tokensIn": 1}), entry(AT_MS, usage, say="subagent_usage")).calls
    assert own.event_key != subagents.event_key
    assert (subagents.grain, subagents.is_sidechain, subagents.input_tokens) == ("turn", True, 900)


def test_the_status_of_a_sub_agent_is_no_usage() -> None:
    status = {"status": "running", "tokensIn": 900, "inputTokens": 900}
    assert read(entry(AT_MS, status, say="subagent")).calls == []


def test_the_sum_of_deleted_requests_is_not_counted_because_they_were_before() -> None:
    deleted = read(entry(AT_MS, {"tokensIn": 400, "tokensOut": 40, "cost": 0.04}, say="deleted_api_reqs"))
    assert (deleted.calls, deleted.state.line_counts) == ([], {"deleted_api_reqs": 1})
    assert "deleted_api_reqs" in cline.KNOWN_LINE_TYPES


def test_a_task_in_two_editors_is_the_same_calls() -> None:
    here = read(entry(AT_MS, {"tokensIn": 1}), path="/home/ann/.config/Code/User/tasks/7/ui_messages.json")
    there = read(entry(AT_MS, {"tokensIn": 1}), path="C:\\Users\\ann\\Cursor\\tasks\\7\\ui_messages.json")
    assert here.calls == there.calls


@pytest.mark.parametrize("at", [None, "soon", True, [], 0, 10**30])
def test_an_entry_without_a_time_takes_that_of_the_entry_before(at: object) -> None:
    call = read({"ts": AT_MS, "type": "ask", "ask": "tool"}, entry(at, {"tokensIn": 1})).only
    assert (call.occurred_at, call.flags) == (AT, ("no_cwd", "weak_key", "time_inherited"))
    assert read(entry(at, {"tokensIn": 1})).rejects == [("cline:1780000000001:#0", "no_time")]


@pytest.mark.parametrize(
    ("usage", "output_tokens", "flags"),
    [
        ({"tokensOut": "310"}, 310, ("no_cwd", "coerced")),
        ({"tokensOut": 310.0}, 310, ("no_cwd", "coerced")),
        ({"tokensOut": -3}, -3, ("no_cwd",)),
        ({"tokensOut": 310, "cacheReads": None, "cost": None}, 310, ("no_cwd",)),
        ({"tokensOut": 310, "cost": "dear"}, 310, ("no_cwd",)),
        ({"tokensOut": 310, "cost": -1}, 310, ("no_cwd",)),
    ],
)
def test_counts_of_another_kind_are_bent_where_that_is_safe(
    usage: dict[str, object], output_tokens: int, flags: tuple[str, ...]
) -> None:
    call = read(entry(AT_MS, usage)).only
    assert (call.output_tokens, call.flags, call.reported_cost_usd) == (output_tokens, flags, None)


@pytest.mark.parametrize(
    ("count", "reason"),
    [(1.5, "not_an_integer"), (True, "not_an_integer"), ("many", "not_an_integer"), (10**19, "too_large")],
)
def test_a_count_that_is_none_rejects_its_call_and_no_other(count: object, reason: str) -> None:
    outcome = read(entry(AT_MS, {"tokensIn": count}), entry(AT_MS + 1, {"tokensIn": 5}))
    assert outcome.rejects == [(f"cline:1780000000001:{AT}", reason)]
    assert [call.input_tokens for call in outcome.calls] == [5]


def test_usage_that_is_torn_is_named() -> None:
    outcome = read(entry(AT_MS, '{"request": "x", "tokensIn": 4'), entry(AT_MS + 1, "POST /v1/messages"))
    assert (outcome.calls, outcome.rejects) == ([], [("cline:1780000000001:#0", "not_json")])


# -- the command line

SESSION = "/home/ann/.cline/data/sessions/s-1/s-1.messages.json"


def read_session(*messages: dict[str, object], **members: object) -> Outcome:
    document = {"version": 1, "sessionId": "s-1", "messages": messages, **members}
    return read_document(cline_cli, json.dumps(document).encode(), SESSION)


def answer(**members: object) -> dict[str, object]:
    metrics = {"inputTokens": 100, "outputTokens": 20, "cacheReadTokens": 70, "cacheWriteTokens": 5, "cost": 0.0125}
    model = {"id": "claude-sonnet-4-6", "provider": "anthropic"}
    return {"id": "m-1", "role": "assistant", "ts": AT_MS, "modelInfo": model, "metrics": metrics} | members


def test_an_answer_of_the_command_line_names_its_model() -> None:
    call = read_session({"role": "user", "ts": 1}, answer()).only
    assert (call.event_key, call.occurred_at, call.session_id) == ("cline-cli:s-1:m-1", AT, "s-1")
    assert (call.model, call.provider, call.reported_cost_usd) == ("claude-sonnet-4-6", "anthropic", Decimal("0.0125"))
    # by hand: 100 - 70 - 5
    assert (call.input_tokens, call.cache_read_tokens, call.cache_creation_5m_tokens) == (25, 70, 5)


def test_an_answer_without_an_id_is_known_by_its_time() -> None:
    call = read_session(answer(id=None)).only
    assert (call.event_key, call.flags) == (f"cline-cli:s-1:{AT}", ("no_cwd", "weak_key"))


def test_an_answer_without_metrics_is_no_call_yet() -> None:
    assert read_session(answer(metrics=None)).state.line_counts == {"(message)": 1}


def test_a_session_without_an_id_is_named_as_its_file() -> None:
    assert read_session(answer(), sessionId=None).only.session_id == "s-1"


def test_a_question_with_the_name_of_a_request_is_none() -> None:
    assert read(entry(AT_MS, {"tokensIn": 5}) | {"type": "ask"}).calls == []


def test_usage_of_a_question_to_the_command_line_is_no_call() -> None:
    assert read_session(answer(role="user")).calls == []
    assert read_session(answer(), sessionId="s-2").only.session_id == "s-2"
