"""OpenCode's histories: each call once, whether a row, a file or a fork's copy tells of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tallystick.observation import Observation
from tallystick.sources import kilo_cli, mimo_code, opencode, opencode_files
from tallystick.sources.formats import NotWhole
from tests.corpus.asking import ask
from tests.corpus.ledger_order import winners
from tests.corpus.opencode import (
    CREATED_AT,
    CREATED_MS,
    OpenCodeHistory,
    Tokens,
    make_message,
    make_step,
)


@pytest.fixture
def history(tmp_path: Path) -> Iterator[OpenCodeHistory]:
    made = OpenCodeHistory(tmp_path / "opencode.db")
    made.save_session("ses_1")
    yield made
    made.close()


def only(history: OpenCodeHistory) -> Observation:
    (observation,) = ask(opencode, history.path).observations
    return observation


def read_file(
    data: dict[str, Any] | bytes, *, path: str = "storage/message/ses_1/msg_1.json"
) -> tuple[list[Observation], opencode_files.ParserState]:
    content = data if isinstance(data, bytes) else json.dumps(data).encode()
    state = opencode_files.new_state(path)
    parsed = opencode_files.parse_document(content, state=state, project_of="at {}".format, device="laptop")
    return parsed.observations, state


def test_a_message_is_a_call_with_disjoint_counts(history: OpenCodeHistory) -> None:
    history.save_message("msg_1", make_message(Tokens(input=2000, output=402, reasoning=300, read=8002, write=17)))
    observation = only(history)
    assert msgspec.structs.replace(observation, event_key="") == Observation(
        occurred_at=CREATED_AT,
        source="opencode",
        provider="openai",
        model="gpt-x",
        session_id="ses_1",
        project="at /w/shop",
        device="laptop",
        agent_version="1.18.33",
        input_tokens=2000,
        cache_creation_5m_tokens=17,
        cache_read_tokens=8002,
        # the provider's 702 tokens of completion, of which 300 were thought
        output_tokens=702,
        thinking_tokens=300,
        reported_cost_usd=Decimal("0.0098202"),
        is_final=True,
        place_order="msg_1",
        position="message:msg_1",
    )
    assert observation.event_key.startswith("opencode:")


def test_what_was_not_yet_put_into_the_database_itself_is_seen(history: OpenCodeHistory) -> None:
    history.save_message("msg_1", make_message())
    assert history.path.with_name("opencode.db-wal").stat().st_size > 0
    assert only(history).input_tokens == 2000


def test_the_running_totals_of_a_session_are_not_added(history: OpenCodeHistory) -> None:
    history.connection.execute("update session set tokens_input = 99, tokens_output = 99, cost = 9")
    history.save_message("msg_1", make_message())
    assert only(history).input_tokens == 2000


def test_a_message_in_the_making_waits_until_it_is_complete(history: OpenCodeHistory) -> None:
    history.save_message("msg_1", make_message(Tokens(0, 0, 0, 0, 0), time={"created": CREATED_MS}))
    first = ask(opencode, history.path)
    assert (first.observations, first.state.line_counts) == ([], {"(not completed)": 1})
    history.save_message("msg_1", make_message(), updated=CREATED_MS + 1810)
    second = ask(opencode, history.path, state=first.state)
    assert [each.input_tokens for each in second.observations] == [2000]


def test_what_was_touched_longer_ago_than_a_minute_is_not_asked_again(history: OpenCodeHistory) -> None:
    for number in range(5):
        history.save_message(
            f"msg_{number}", make_message(Tokens(input=number + 1)), updated=CREATED_MS + 20_000 * number
        )
    first = ask(opencode, history.path)
    assert len(first.observations) == 5
    again = ask(opencode, history.path, state=first.state)
    # the last one is 80 seconds in, and those from 20 on are within the minute before it
    assert [each.input_tokens for each in again.observations] == [2, 3, 4, 5]
    assert winners(first.observations + again.observations) == winners(first.observations)


def test_a_row_that_comes_late_with_an_old_time_is_asked(history: OpenCodeHistory) -> None:
    history.save_message("msg_1", make_message())
    first = ask(opencode, history.path)
    history.save_message("msg_2", make_message(Tokens(input=7)), updated=CREATED_MS - 86_400_000)
    second = ask(opencode, history.path, state=first.state)
    assert 7 in [each.input_tokens for each in second.observations]


def test_a_message_that_is_completed_after_the_clock_was_put_back_is_seen_and_a_broken_off_one_counted_once(
    history: OpenCodeHistory,
) -> None:
    history.save_message("msg_1", make_message(), updated=CREATED_MS)
    history.save_message("msg_2", make_message(time={"created": CREATED_MS}), updated=CREATED_MS)
    history.save_message("msg_3", make_message(time={"created": CREATED_MS}), updated=CREATED_MS)
    first = ask(opencode, history.path)
    history.save_message("msg_2", make_message(at=CREATED_MS - 10_000_000), updated=CREATED_MS - 10_000_000)
    second = ask(opencode, history.path, state=first.state)
    assert "message:msg_2" in {each.position for each in second.observations}
    assert second.state.line_counts == {"(not completed)": 2}
    assert second.state.open_ids == ["msg_3"]


def test_another_database_in_the_same_file_is_asked_for_all(history: OpenCodeHistory) -> None:
    history.save_message("msg_1", make_message(), updated=CREATED_MS)
    state = ask(opencode, history.path).state
    history.connection.execute("delete from message")
    for number in range(2):
        history.save_message(f"msg_old_{number}", make_message(Tokens(input=number + 1)), updated=1)
    state.last_rowid = 99
    assert len(ask(opencode, history.path, state=state).observations) == 2


def test_a_fork_whose_copies_have_new_ids_is_counted_once(history: OpenCodeHistory) -> None:
    history.save_session("ses_0_fork", directory="/w/elsewhere")
    for number in range(3):
        message = make_message(Tokens(input=number + 1), at=CREATED_MS + number)
        history.save_message(f"msg_a{number}", message)
        history.save_message(f"msg_b{number}", message, session_id="ses_0_fork")
    observations = ask(opencode, history.path).observations
    assert len(observations) == 6
    held = winners(observations)
    assert len(held) == 3
    assert sorted(each.input_tokens for each in held.values()) == [1, 2, 3]
    assert {each.session_id for each in held.values()} == {"ses_1"}


@pytest.mark.parametrize(
    "change",
    [
        {"providerID": "azure"},
        {"modelID": "gpt-y"},
        {"time": {"created": CREATED_MS + 1, "completed": CREATED_MS + 1810}},
        {"time": {"created": CREATED_MS, "completed": CREATED_MS + 1811}},
        *({"tokens": Tokens()._replace(**{name: 1}).written()} for name in Tokens._fields),
    ],
)
def test_messages_that_differ_in_anything_measured_are_two_calls(
    history: OpenCodeHistory, change: dict[str, Any]
) -> None:
    history.save_message("msg_1", make_message())
    history.save_message("msg_2", make_message(**change))
    assert len(winners(ask(opencode, history.path).observations)) == 2


def test_the_file_and_the_row_of_a_message_are_one_call_with_the_place_of_the_row(history: OpenCodeHistory) -> None:
    history.save_session("ses_child", parent_id="ses_1")
    history.save_message("msg_1", make_message(), session_id="ses_child")
    row = only(history)
    (file,), _ = read_file({"id": "msg_1", "sessionID": "ses_child", **make_message()})
    assert winners([file, row]) == winners([row, file]) == winners([row])
    assert row.is_sidechain


def test_a_file_that_does_not_say_whose_it_is_is_known_by_its_name() -> None:
    (observation,), _ = read_file(make_message(), path="message\\ses_7\\msg_9.json")
    assert (observation.session_id, observation.position) == ("ses_7", "message:msg_9")


def test_a_file_that_was_completed_is_no_longer_counted_as_not_completed() -> None:
    states = [make_message(time={"created": CREATED_MS}), make_message()]
    state = opencode_files.new_state("msg_1.json")
    for content in (json.dumps(message).encode() for message in states):
        opencode_files.parse_document(content, state=state, project_of=str, device="")
    assert state.line_counts == {}


@pytest.mark.parametrize("size", [0, 1, 100, -1])
def test_a_file_that_ends_too_early_is_read_later(size: int) -> None:
    with pytest.raises(NotWhole):
        read_file(json.dumps(make_message()).encode()[:size])


def test_the_steps_of_a_message_are_calls_and_its_own_counts_are_the_last_of_them(history: OpenCodeHistory) -> None:
    steps = [Tokens(100, 10, 1, 0, 5), Tokens(20, 30, 2, 100, 0), Tokens(7, 40, 0, 120, 0)]
    message = make_message(steps[-1])
    history.save_message("msg_1", message)
    history.save_steps("msg_1", [{"type": "step-start"}, *map(make_step, steps)])
    observations = ask(opencode, history.path).observations
    assert [each.input_tokens for each in observations] == [100, 20, 7]
    assert [each.output_tokens for each in observations] == [11, 32, 40]
    assert [each.cache_creation_5m_tokens for each in observations] == [5, 0, 0]
    # the message's cost is that of all steps, and is given once
    assert [each.reported_cost_usd for each in observations] == [None, None, Decimal("0.0098202")]
    (file,), _ = read_file(message)
    assert winners([*observations, file]) == winners(observations)


def test_steps_whose_sum_the_message_has_are_not_added_to_it(history: OpenCodeHistory) -> None:
    history.save_message("msg_1", make_message(Tokens(30, 3, 0, 300, 0)))
    history.save_steps("msg_1", [make_step(Tokens(10, 1, 0, 100, 0)), make_step(Tokens(20, 2, 0, 200, 0))])
    assert only(history).input_tokens == 30


def test_one_step_is_the_message(history: OpenCodeHistory) -> None:
    history.save_message("msg_1", make_message())
    history.save_steps("msg_1", [make_step(Tokens())])
    assert only(history).output_tokens == 702


@pytest.mark.parametrize(
    ("path", "directory", "project"),
    [
        ({"cwd": "/w/shop/api", "root": "/w/shop"}, "/d", "at /w/shop"),
        # a folder outside of every repository
        ({"cwd": "/w/shop/api", "root": "/"}, "/d", "at /w/shop/api"),
        (None, "/d", "at /d"),
    ],
)
def test_the_project_is_the_root_or_the_folder_of_the_session(
    history: OpenCodeHistory, path: object, directory: str, project: str
) -> None:
    history.save_session("ses_2", directory=directory)
    history.save_message("msg_1", make_message(path=path), session_id="ses_2")
    assert only(history).project == project


def test_a_message_that_used_nothing_is_no_call(history: OpenCodeHistory) -> None:
    history.save_message("msg_1", make_message(Tokens(0, 0, 0, 0, 0), cost=0))
    asked = ask(opencode, history.path)
    assert (asked.observations, asked.state.line_counts) == ([], {"(no tokens)": 1})


@pytest.mark.parametrize("cost", [0, 0.0, None, "0.1", True])
def test_a_cost_of_nothing_is_no_cost(history: OpenCodeHistory, cost: object) -> None:
    history.save_message("msg_1", make_message(cost=cost))
    assert only(history).reported_cost_usd is None


@pytest.mark.parametrize(
    ("tokens", "flags"),
    [
        ({"input": "7", "output": 1}, ("coerced",)),
        ({"input": 7.0, "output": 1}, ("coerced",)),
        ({"input": 7, "output": 1, "reasoning": None, "cache": None}, ()),
    ],
)
def test_counts_are_bent_where_they_may_be(history: OpenCodeHistory, tokens: object, flags: object) -> None:
    history.save_message("msg_1", make_message(tokens=tokens))
    observation = only(history)
    assert (observation.input_tokens, observation.output_tokens, observation.flags) == (7, 1, flags)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"tokens": {"input": 1.5}}, "not_an_integer"),
        ({"tokens": {"input": 10**30}}, "too_large"),
        ({"time": {"created": None, "completed": 5}}, "no_time"),
    ],
)
def test_a_message_that_cannot_be_counted_is_rejected_by_its_place(
    history: OpenCodeHistory, changes: dict[str, Any], reason: str
) -> None:
    history.save_message("msg_1", make_message(**changes))
    history.save_message("msg_2", make_message())
    asked = ask(opencode, history.path)
    assert asked.observations[0] == Observation(source="opencode", position="message:msg_1", reject_reason=reason)
    assert asked.observations[1].input_tokens == 2000
    assert asked.state.reject_counts == {reason: 1}


def test_a_negative_count_is_left_to_the_ledger(history: OpenCodeHistory) -> None:
    history.save_message("msg_1", make_message(Tokens(input=-5)))
    assert only(history).input_tokens == -5


def test_a_message_that_is_no_json_costs_no_other(history: OpenCodeHistory) -> None:
    history.save_message("msg_1", '{"role":"assistant", "tokens')
    history.save_message("msg_2", make_message())
    assert [each.reject_reason for each in ask(opencode, history.path).observations] == ["not_json", ""]


def test_a_byte_that_is_no_utf_8_costs_nothing(history: OpenCodeHistory) -> None:
    data = json.dumps(make_message(agent="caf?")).encode().replace(b"caf?", b"caf\xe9")
    history.connection.execute("insert into message values ('msg_1', 'ses_1', 1, 1, cast(? as text))", [data])
    assert only(history).input_tokens == 2000


def test_a_database_that_is_not_opencodes_is_not_asked(history: OpenCodeHistory) -> None:
    history.connection.execute("drop table part")
    assert ask(opencode, history.path).observations == []


@pytest.mark.parametrize(("reading", "source"), [(kilo_cli, "kilo-cli"), (mimo_code, "mimo-code")])
def test_what_was_made_from_opencode_has_its_own_name(history: OpenCodeHistory, reading: Any, source: str) -> None:
    history.save_message("msg_1", make_message())
    (observation,) = ask(reading, history.path).observations
    assert (observation.source, observation.event_key.split(":")[0], observation.input_tokens) == (source, source, 2000)
