"""One line of Claude Code, one observation: its key, its labels, its counts, its cost."""

from __future__ import annotations

import gc
import json
from decimal import Decimal

import pytest

from tallystick.observation import Observation
from tallystick.sources.claude_code import new_state, parse
from tests.corpus.claude_eras import ADVISOR_MODEL
from tests.corpus.claude_lines import KEY, MAIN, MESSAGE_ID, line, only, read, with_message, with_usage, written


@pytest.mark.parametrize(
    ("changes", "key", "is_weak"),
    [
        ({}, KEY, False),
        ({"requestId": None}, KEY, False),
        ({"message_id": "msg_bdrk_01Ab_Cd"}, "anthropic:msg_bdrk_01Ab_Cd", False),
        ({"message_id": "msg_short"}, "claude-code:mr:msg_short:req_1", False),
        ({"message_id": "msg_01AbCdEfGhIj\n"}, "claude-code:mr:msg_01AbCdEfGhIj\n:req_1", False),
        ({"message_id": "chatcmpl-1", "requestId": None}, "claude-code:ms:s-1:chatcmpl-1", True),
        (
            {"message_id": "chatcmpl-1", "requestId": None, "requestSessionId": "s-0"},
            "claude-code:ms:s-0:chatcmpl-1",
            True,
        ),
        ({"message_id": None}, "claude-code:u:u-1", True),
    ],
)
def test_the_key_is_the_providers_id_or_says_that_it_is_weak(
    changes: dict[str, object], key: str, is_weak: bool
) -> None:
    changes = {"message_id": MESSAGE_ID, "sessionId": "s-1"} | changes
    message_id = changes.pop("message_id")
    observation = only(with_message(id=message_id) | changes)
    assert observation.event_key == key
    assert ("weak_key" in observation.flags) == is_weak


def test_a_line_without_any_id_is_rejected() -> None:
    observation = only(with_message(id=None) | {"uuid": None})
    assert observation == Observation(source="claude-code", position=f"{MAIN[3:-6]}:0", reject_reason="no_key")


def test_a_key_without_id_is_not_taken_over_from_the_line_before() -> None:
    parsed, _ = read(written(with_message(id="", uuid="a"), with_message(id=None), with_message(id="")))
    assert [o.event_key for o in parsed.observations] == ["claude-code:u:u-1"] * 3
    parsed, _ = read(written(line(), with_message(id=None)))
    assert [o.event_key for o in parsed.observations] == [KEY, "claude-code:u:u-1"]


@pytest.mark.parametrize(
    ("flat", "split", "expected"),
    [
        (1_000, None, (1_000, 0)),
        (1_000, (300, 700), (300, 700)),
        (0, (300, 700), (300, 700)),
        (5_000, (300, 700), (4_300, 700)),
        (None, (None, 700), (0, 700)),
        (None, None, (0, 0)),
        (500, (300, 700), (300, 700)),
        (-5, (300, 700), (-5, 700)),
        (900, (-300, 700), (-300, 700)),
        (900, (300, -700), (300, -700)),
    ],
)
def test_cache_writes_are_the_larger_of_the_flat_and_the_split_figure(
    flat: int | None, split: tuple[int | None, int] | None, expected: tuple[int, int]
) -> None:
    creation = split and {"ephemeral_5m_input_tokens": split[0], "ephemeral_1h_input_tokens": split[1]}
    observation = only(with_usage(cache_creation_input_tokens=flat, cache_creation=creation))
    assert (observation.cache_creation_5m_tokens, observation.cache_creation_1h_tokens) == expected


def test_all_members_of_usage_may_be_null_or_missing() -> None:
    names = "input_tokens output_tokens cache_read_input_tokens cache_creation_input_tokens cache_creation iterations"
    names += " server_tool_use service_tier speed inference_geo output_tokens_details fallback_credit"
    nulls = only(with_usage(**dict.fromkeys(names.split())))
    assert nulls == only(with_usage())
    assert (nulls.input_tokens, nulls.output_tokens, nulls.speed, nulls.flags) == (0, 0, "", ())


def test_thinking_is_never_more_than_the_output_of_a_placeholder() -> None:
    observation = only(with_usage(output_tokens=1, output_tokens_details={"thinking_tokens": 120}))
    assert (observation.output_tokens, observation.thinking_tokens) == (1, 1)


@pytest.mark.parametrize(
    ("stop_reason", "output", "is_final", "flags"),
    [("tool_use", 3, True, ()), (None, 8, False, ("not_final",)), (None, 9, False, ())],
)
def test_a_call_is_final_with_a_stop_reason_and_a_placeholder_without(
    stop_reason: str | None, output: int, is_final: bool, flags: tuple[str, ...]
) -> None:
    observation = only(with_message(stop_reason=stop_reason, usage={"output_tokens": output}))
    assert (observation.is_final, observation.flags) == (is_final, flags)


def test_the_price_context_is_kept_and_unknown_geography_is_none() -> None:
    observation = only(with_usage(service_tier="batch", speed="fast", inference_geo="us"))
    assert (observation.service_tier, observation.speed, observation.inference_geo) == ("batch", "fast", "us")
    assert only(with_usage(inference_geo="not_available")).inference_geo == ""


@pytest.mark.parametrize(
    ("model", "kept", "provider"),
    [
        ("claude-sonnet-4-5[1m]", "claude-sonnet-4-5[1m]", "anthropic"),
        (" claude-opus-4-8 ", "claude-opus-4-8", "anthropic"),
        ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", "us.anthropic.claude-sonnet-4-5-20250929-v1:0", "aws"),
        ("us-gov.anthropic.claude-3-5", "us-gov.anthropic.claude-3-5", "aws"),
        ("anthropic.claude-3-5", "anthropic.claude-3-5", "aws"),
        ("claude-sonnet-4-5@20250929", "claude-sonnet-4-5@20250929", "google"),
        ("glm-4.6", "glm-4.6", ""),
        ("xy.anthropic.claude", "xy.anthropic.claude", ""),
        (None, "", ""),
    ],
)
def test_the_model_is_kept_as_written_and_names_its_provider(model: str | None, kept: str, provider: str) -> None:
    observation = only(with_message(model=model))
    assert (observation.model, observation.provider) == (kept, provider)


@pytest.mark.parametrize(
    ("literal", "cost"),
    [
        ("0.123456789012345678901234567890", Decimal("0.123456789012345678901234567890")),
        ("3", Decimal(3)),
        ("1e-7", Decimal("0.0000001")),
        ("1e400", None),
        ("NaN", None),
        ('"NaN"', None),
        ("true", None),
        ("null", None),
    ],
)
def test_the_reported_cost_is_exact(literal: str, cost: Decimal | None) -> None:
    text = json.dumps(line(costUSD="?")).replace('"?"', literal)
    (observation,) = read(text.encode())[0].observations
    assert observation.reported_cost_usd == cost
    assert observation.output_tokens == 310


def test_an_advisor_is_a_call_of_its_own_and_parts_of_the_top_level_are_not() -> None:
    kinds = ["message", "advisor_message", "fallback_message", "compaction", "advisor_message"]
    iterations = [
        {"type": kind, "input_tokens": index, "output_tokens": 10 * index, "cache_creation_input_tokens": 2}
        for index, kind in enumerate(kinds)
    ]
    iterations[1]["model"] = iterations[4]["model"] = ADVISOR_MODEL
    server_tools = {"web_search_requests": 4}
    usage = {"output_tokens": 5, "iterations": iterations, "speed": "fast", "server_tool_use": server_tools}
    observations = read(written(with_usage(**usage) | {"costUSD": 1.5}))[0].observations
    position = observations[0].position
    seen = [(o.event_key, o.model, o.output_tokens, o.speed, o.flags, o.position) for o in observations]
    advisor = (ADVISOR_MODEL, 10, "", ("iteration_advisor",), f"{position}:advisor:1")
    assert seen == [
        (KEY, "claude-opus-5-5", 5, "fast", (), position),
        (f"{KEY}:advisor:1", *advisor),
        (f"{KEY}:compaction:3", "claude-opus-5-5", 30, "fast", ("iteration_compaction",), f"{position}:compaction:3"),
        (f"{KEY}:advisor:4", ADVISOR_MODEL, 40, "", ("iteration_advisor",), f"{position}:advisor:4"),
    ]
    assert [o.web_search_requests for o in observations] == [4, 0, 0, 0]
    assert [o.reported_cost_usd for o in observations] == [Decimal("1.5"), None, None, None]
    assert {o.message_count for o in observations} == {1}


def test_an_advisor_without_a_model_has_none() -> None:
    _, advisor = read(written(with_usage(iterations=[{"type": "advisor_message", "output_tokens": 3}])))[0].observations
    assert (advisor.model, advisor.provider) == ("", "")


@pytest.mark.parametrize(
    ("label", "other"),
    [
        ("model", with_message(model="glm-4.6")),
        ("project", line(cwd="/b")),
        ("session_id", line(sessionId="s-2")),
        ("session_id", line(requestSessionId="s-2")),
        ("git_branch", line(gitBranch="b")),
        ("agent_version", line(version="3")),
        ("request_id", line(requestId="req_2")),
        ("is_sidechain", line(isSidechain=True)),
        ("service_tier", with_usage(service_tier="batch")),
        ("speed", with_usage(speed="fast")),
        ("inference_geo", with_usage(inference_geo="us")),
    ],
)
def test_a_label_that_changes_from_line_to_line_is_each_lines_own(label: str, other: dict[str, object]) -> None:
    together = read(written(line(), other, line()))[0].observations
    apart = [only(line()), only(other), only(line())]
    assert [getattr(o, label) for o in together] == [getattr(o, label) for o in apart]
    assert getattr(apart[0], label) != getattr(apart[1], label)


@pytest.mark.parametrize(
    ("path", "session_id", "is_sidechain"),
    [
        ("-w/abc.jsonl", "abc", False),
        ("-w\\abc.jsonl", "abc", False),
        ("-w/agent-0a1b2c3.jsonl", "", True),
        ("-w/abc/subagents/agent-0a1b2c3.jsonl", "abc", True),
        ("-w/abc/subagents/workflows/w1/agent-0a1b2c3.jsonl", "abc", True),
        ("subagents/abc.jsonl", "abc", False),
    ],
)
def test_a_line_without_session_belongs_to_the_session_that_its_path_names(
    path: str, session_id: str, is_sidechain: bool
) -> None:
    observation = only(line(sessionId=None, isSidechain=None), path=path)
    assert (observation.session_id, observation.is_sidechain) == (session_id, is_sidechain)


def test_a_line_without_directory_takes_the_one_named_last() -> None:
    content = written(line(cwd=None), line(), line(cwd="/b"), line(cwd=None), line(cwd=""))
    parsed, _ = read(content)
    assert [(o.project, o.flags) for o in parsed.observations] == [
        ("", ("no_cwd",)),
        ("at /home/ann/shop", ()),
        ("at /b", ()),
        ("at /b", ("no_cwd",)),
        ("at /b", ("no_cwd",)),
    ]
    assert read(content, cuts=range(6)) == read(content)


def test_the_project_of_a_directory_is_asked_once_for_each_buffer() -> None:
    asked: list[str] = []

    def project_of(cwd: str) -> str:
        asked.append(cwd)
        return cwd

    content = written(line(), line(cwd="/b"), line(), line(cwd="/b"))
    parse(content, offset=0, state=new_state(MAIN), project_of=project_of, device="")
    assert asked == ["/home/ann/shop", "/b"]


def test_the_buffer_is_free_again_when_parse_returns() -> None:
    buffer = bytearray(written(line(), line()))
    gc.disable()
    try:
        with memoryview(buffer) as view:
            parse(view, offset=0, state=new_state(MAIN), project_of=str, device="")
        buffer.clear()
    finally:
        gc.enable()
    assert buffer == b""
