"""Wire files of Kimi CLI and of Kimi Code: keys, forks, sub-agents, and calls beside the turns."""

from __future__ import annotations

import pytest

from tallystick.observation import Observation
from tallystick.sources import kimi_cli, kimi_code
from tests.corpus.kimi import (
    CLI_PATH,
    CLI_SESSION,
    CLI_SUBAGENT,
    CODE_PATH,
    CODE_SESSION,
    CODE_SUBAGENT,
    cli_header,
    cli_line,
    cli_nested,
    code_forked,
    code_header,
    code_line,
)
from tests.corpus.ledger_order import winners
from tests.corpus.reading import only, read, written


def test_a_call_of_kimi_cli_is_read_with_everything_that_is_known_of_it() -> None:
    usage = {"input_other": 900, "output": 40, "input_cache_read": 8000, "input_cache_creation": 7}
    call = only(kimi_cli, written(cli_header(), cli_line(1, token_usage=usage)), path=CLI_PATH)
    assert call == Observation(
        event_key="openai:chatcmpl-000000000000000000000001",
        occurred_at="2026-11-22T18:06:41.125Z",
        source="kimi-cli",
        session_id=CLI_SESSION,
        device="laptop",
        input_tokens=900,
        cache_creation_5m_tokens=7,
        cache_read_tokens=8000,
        output_tokens=40,
        is_final=True,
        position=call.position,
    )


@pytest.mark.parametrize(
    ("message_id", "key", "flags"),
    [
        ("msg_01AbCdEfGhIj", "anthropic:msg_01AbCdEfGhIj", ()),
        ("0a1b2c3d4e5f6071", "kimi-cli:0a1b2c3d4e5f6071", ()),
        ("chatcmpl-1", None, ("weak_key",)),
        (None, None, ("weak_key",)),
    ],
)
def test_the_id_of_the_answer_is_the_key_of_kimi_clis_call(
    message_id: str | None, key: str | None, flags: tuple[str, ...]
) -> None:
    call = only(kimi_cli, written(cli_line(1, message_id=message_id)), path=CLI_PATH)
    assert call.flags == flags
    assert key is None or call.event_key == key


@pytest.mark.parametrize("message_id", ["chatcmpl-0a1b2c3d4e5f6071", None])
def test_a_fork_of_kimi_clis_copies_its_lines_and_makes_no_call(message_id: str | None) -> None:
    lines = [cli_line(number, message_id=message_id and f"{message_id}{number}") for number in range(3)]
    origin = read(kimi_cli, written(cli_header(), *lines), path=CLI_PATH).calls
    fork = read(kimi_cli, written(cli_header(), *lines[:2]), path=CLI_PATH.replace(CLI_SESSION, "fork")).calls
    assert len(winners(origin + fork)) == 3
    assert winners(origin + fork) == winners(fork + origin)


def test_a_status_without_usage_is_no_call() -> None:
    outcome = read(kimi_cli, written(cli_header(), cli_line(1, token_usage=None)), path=CLI_PATH)
    assert (outcome.calls, outcome.rejects) == ([], [])


def test_a_sub_agents_call_counts_once_in_its_parents_file_and_in_its_own() -> None:
    passed_on = read(kimi_cli, written(cli_header(), cli_nested(1)), path=CLI_PATH).calls
    own = read(kimi_cli, written(cli_header(), cli_line(1)), path=CLI_SUBAGENT).calls
    assert passed_on[0].event_key == own[0].event_key
    assert {(call.session_id, call.is_sidechain) for call in passed_on + own} == {(CLI_SESSION, True)}


def test_a_line_of_kimi_clis_without_a_time_takes_that_of_the_call_above() -> None:
    bare = cli_line(2) | {"timestamp": None}
    _, call = read(kimi_cli, written(cli_line(1), bare), path=CLI_PATH).calls
    assert (call.occurred_at, call.flags) == ("2026-11-22T18:06:41.125Z", ("time_inherited",))


def test_a_call_of_kimi_code_is_read_with_everything_that_is_known_of_it() -> None:
    usage = {"inputOther": 900, "output": 40, "inputCacheRead": 8000, "inputCacheCreation": 7}
    call = only(kimi_code, written(*code_header(), code_line(1, usage=usage)), path=CODE_PATH)
    assert call == Observation(
        event_key=call.event_key,
        occurred_at="2026-11-22T18:06:41.125Z",
        source="kimi-code",
        provider="moonshot",
        model="kimi-k3",
        session_id=CODE_SESSION,
        project="/w/shop",
        device="laptop",
        input_tokens=900,
        cache_creation_5m_tokens=7,
        cache_read_tokens=8000,
        output_tokens=40,
        is_final=True,
        flags=("weak_key",),
        position=call.position,
    )
    assert call.event_key.startswith("kimi-code:")


def test_an_alias_that_no_request_explained_is_the_models_name() -> None:
    call = only(kimi_code, written(*code_header(), code_line(1, model="fast")), path=CODE_PATH)
    assert (call.provider, call.model) == ("", "fast")


def test_compaction_is_a_call_of_its_own_beside_the_turn() -> None:
    content = written(*code_header(), code_line(1), code_line(2, usageScope="session"), code_line(3))
    assert read(kimi_code, content, path=CODE_PATH).output_tokens == 300


def test_a_fork_of_kimi_codes_copies_its_records_and_makes_no_call() -> None:
    lines = [code_line(number) for number in range(3)]
    origin = read(kimi_code, written(*code_header(), *lines), path=CODE_PATH).calls
    note = {"type": "permission.set_mode", "mode": "manual"}
    copied = written(*code_header(), note, *lines, code_forked(9), code_line(10))
    fork = read(kimi_code, copied, path=CODE_PATH.replace(CODE_SESSION, "session_fork")).calls
    for order in (origin + fork, fork + origin):
        assert len(winners(order)) == 4
    assert winners(origin + fork) == winners(fork + origin)


def test_equal_counts_at_another_time_are_another_call() -> None:
    content = written(*code_header(), code_line(1), code_line(2))
    assert len(winners(read(kimi_code, content, path=CODE_PATH).calls)) == 2


def test_the_step_that_repeats_a_records_counts_is_no_call() -> None:
    usage = {"inputOther": 1, "output": 100, "inputCacheRead": 5, "inputCacheCreation": 0}
    step = {"type": "context.append_loop_event", "event": {"type": "step.end", "usage": usage}, "time": 1}
    assert read(kimi_code, written(*code_header(), step, code_line(1)), path=CODE_PATH).output_tokens == 100


def test_a_sub_agent_of_kimi_codes_is_a_sidechain_of_its_session() -> None:
    call = only(kimi_code, written(*code_header(), code_line(1)), path=CODE_SUBAGENT)
    assert (call.session_id, call.is_sidechain, call.origin_rank) == (CODE_SESSION, True, 1)


def test_a_record_of_kimi_codes_without_a_time_takes_that_of_the_call_above() -> None:
    content = written(*code_header(), code_line(1), code_line(2, time=None, model="other"))
    _, call = read(kimi_code, content, path=CODE_PATH).calls
    assert (call.occurred_at, call.flags) == ("2026-11-22T18:06:41.125Z", ("weak_key", "time_inherited"))
