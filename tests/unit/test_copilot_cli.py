"""Copilot CLI's events, its session store and its spans: three records of one call are one call."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tallystick.observation import Observation
from tallystick.sources import copilot_cli, copilot_cli_otel, copilot_cli_store
from tests.corpus.asking import ask
from tests.corpus.copilot import (
    SESSION,
    Call,
    make_event,
    make_store,
    save_row,
    shutdown_event,
    start_event,
    written,
)
from tests.corpus.ledger_order import winners

EVENTS = f"session-state/{SESSION}/events.jsonl"


def read(content: bytes, *, reading: Any = copilot_cli, path: str = EVENTS) -> tuple[list[Observation], Any]:
    state = reading.new_state(path)
    lines = memoryview(content)
    parsed = reading.parse(lines, offset=0, state=state, project_of="at {}".format, device="laptop")
    return parsed.observations, state


def only(*records: dict[str, Any]) -> Observation:
    (observation,) = read(written(*records))[0]
    return observation


def span_of(call: Call, **attributes: Any) -> Observation:
    (observation,) = read(written(call.span(**attributes)), reading=copilot_cli_otel, path="otel.jsonl")[0]
    return observation


def test_a_usage_record_is_a_call_with_disjoint_counts() -> None:
    observation = only(start_event(), Call(reasoning=300).event())
    assert msgspec.structs.replace(observation, event_key="") == Observation(
        occurred_at="2026-11-22T17:56:51.444Z",
        source="copilot-cli",
        provider="anthropic",
        model="claude-sonnet-4.5",
        session_id=SESSION,
        project="at /w/shop",
        device="laptop",
        agent_version="1.0.102",
        request_id="msg_0001",
        # 21,013 sent, of which 20,001 were read from the cache and 1,001 put into it
        input_tokens=11,
        cache_creation_5m_tokens=1001,
        cache_read_tokens=20_001,
        output_tokens=501,
        thinking_tokens=300,
        is_final=True,
        position=f"{SESSION}:{len(written(start_event()))}",
    )


def test_three_records_of_a_call_are_one_call_whatever_comes_first(tmp_path: Path) -> None:
    call = Call()
    event = only(start_event(), call.event())
    make_store(tmp_path / "session-store.db", call.row()).close()
    (row,) = ask(copilot_cli_store, tmp_path / "session-store.db").observations
    records = [event, row, span_of(call)]
    assert len({record.event_key for record in records}) == 1
    held = [winners(list(order)) for order in itertools.permutations(records)]
    assert all(each == held[0] for each in held)
    (call,) = held[0].values()
    counts = (call.input_tokens, call.cache_creation_5m_tokens, call.cache_read_tokens, call.output_tokens)
    assert counts == (11, 1001, 20_001, 501)
    assert call.project == "at /w/shop"


def test_a_span_that_does_not_tell_of_the_cache_changes_no_count() -> None:
    call = Call()
    silent = span_of(
        call, **{"gen_ai.usage.cache_read.input_tokens": None, "gen_ai.usage.cache_write.input_tokens": None}
    )
    event = only(start_event(), call.event())
    assert silent.event_key == event.event_key
    assert silent.input_tokens == 21_013
    (held,) = winners([silent, event]).values()
    assert held.input_tokens == 11


@pytest.mark.parametrize("name", ["cache_creation.input_tokens", "cache_creation_input_tokens"])
def test_the_names_of_cache_writes_have_changed(name: str) -> None:
    span = span_of(Call(), **{"gen_ai.usage.cache_write.input_tokens": None, f"gen_ai.usage.{name}": 1001})
    assert (span.input_tokens, span.cache_creation_5m_tokens) == (11, 1001)


def test_the_sum_of_an_agents_spans_is_no_call() -> None:
    total = Call().span(**{"gen_ai.operation.name": "invoke_agent"}) | {"name": "invoke_agent"}
    unnamed = Call().span(**{"gen_ai.operation.name": None}) | {"name": "invoke_agent copilot"}
    observations, state = read(written(total, unnamed), reading=copilot_cli_otel, path="otel.jsonl")
    assert (observations, state.line_counts) == ([], {"(other span)": 2})


def test_a_span_without_a_session_could_be_counted_twice_and_is_not_counted() -> None:
    span = Call().span(**{"gen_ai.conversation.id": None})
    observations, state = read(written(span), reading=copilot_cli_otel, path="otel.jsonl")
    assert (observations, state.line_counts) == ([], {"(no session)": 1})


@pytest.mark.parametrize(
    ("ended", "told_at"),
    [
        ([1_795_370_211, 440_000_000], "2026-11-22T17:56:52.440Z"),
        ("2026-11-22T17:56:51.440Z", "2026-11-22T17:56:52.440Z"),
        ("2026-11-22T18:56:51.440123+01:00", "2026-11-22T17:56:52.440123Z"),
    ],
)
def test_a_spans_time_is_a_second_after_its_end(ended: object, told_at: str) -> None:
    ((observation,), _) = read(written(Call().span() | {"endTime": ended}), reading=copilot_cli_otel, path="o.jsonl")
    assert observation.occurred_at == told_at


@pytest.mark.parametrize("ended", [None, "soon", [1], [1, "2"], 5])
def test_a_span_without_a_time_is_rejected(ended: object) -> None:
    span = Call().span() | {"endTime": ended, "startTime": None}
    ((observation,), _) = read(written(span), reading=copilot_cli_otel, path="o.jsonl")
    assert observation.reject_reason == "no_time"


def test_the_totals_at_shutdown_are_not_counted() -> None:
    calls = Call(1), Call(2, output=502)
    observations, state = read(written(start_event(), *(call.event() for call in calls), shutdown_event(*calls)))
    assert [each.output_tokens for each in observations] == [501, 502]
    assert state.line_counts == {"session.start": 1, "session.shutdown": 1}


def test_a_session_of_an_older_version_has_its_calls_from_the_store_alone(tmp_path: Path) -> None:
    calls = Call(1), Call(2, prompt=30_000)
    assert read(written(start_event(), shutdown_event(*calls)))[0] == []
    make_store(tmp_path / "session-store.db", *(call.row() for call in calls)).close()
    rows = ask(copilot_cli_store, tmp_path / "session-store.db").observations
    assert sum(row.input_tokens + row.cache_read_tokens + row.cache_creation_5m_tokens for row in rows) == 51_013


def test_a_record_copied_into_another_session_is_of_its_own_session() -> None:
    content = written(start_event(), Call().event())
    (here,), _ = read(content)
    (there,), _ = read(content, path="session-state/other/events.jsonl")
    assert winners([here, there]) == winners([here])


def test_the_same_prompt_in_two_sessions_is_two_calls() -> None:
    content = written(Call().event(accounting=None))
    (here,), _ = read(content)
    (there,), _ = read(content, path="session-state/other/events.jsonl")
    assert len(winners([here, there])) == 2


def test_the_folder_names_the_session_where_the_record_does_not() -> None:
    observation = only(start_event(), Call().event(accounting=None))
    assert (observation.session_id, observation.request_id) == (SESSION, "msg_0001")


def test_the_session_works_where_it_was_told_last() -> None:
    moved = make_event("session.context_changed", {"cwd": "/w/else"})
    observations, _ = read(written(start_event(), Call(1).event(), moved, Call(2).event()))
    assert [each.project for each in observations] == ["at /w/shop", "at /w/else"]


def test_a_record_without_a_time_takes_that_of_the_record_before() -> None:
    record = Call().event()
    del record["timestamp"]
    observation = only(start_event(), record)
    assert (observation.occurred_at, observation.flags) == ("2026-11-22T17:55:51.440Z", ("time_inherited",))
    assert only(record).reject_reason == "no_time"


@pytest.mark.parametrize(
    ("usage", "flags"),
    [
        ({"inputTokens": "21013"}, ("coerced",)),
        ({"inputTokens": 21013.0}, ("coerced",)),
        ({"reasoningTokens": None}, ()),
    ],
)
def test_counts_are_bent_where_they_may_be(usage: dict[str, Any], flags: tuple[str, ...]) -> None:
    observation = only(start_event(), Call().event(**usage))
    assert (observation.input_tokens, observation.flags) == (11, flags)


def test_a_prompt_smaller_than_its_cache_is_left_to_the_ledger() -> None:
    assert only(start_event(), Call(prompt=21_001).event()).input_tokens == -1


def test_a_record_that_cannot_be_counted_is_rejected_by_its_place() -> None:
    observations, state = read(written(Call().event(inputTokens=1.5), Call(2).event()))
    assert observations[0] == Observation(source="copilot-cli", position=f"{SESSION}:0", reject_reason="not_an_integer")
    assert (observations[1].output_tokens, state.reject_counts) == (501, {"not_an_integer": 1})


DAMAGED = {
    "carriage returns": lambda content: content.replace(b"\n", b"\r\n"),
    "a byte order mark": lambda content: b"\xef\xbb\xbf" + content,
    "NULs between lines": lambda content: content.replace(b"\n", b"\n\x00\x00\n"),
    "NULs in front of a line": lambda content: content.replace(b"\n{", b"\n\x00\x00{"),
    "an invalid byte": lambda content: content.replace(b"5a96", b"\xff"),
    "a lone surrogate": lambda content: content.replace(b"5a96", b"\\ud800"),
    "no spaces": lambda content: content.replace(b": ", b":"),
    "two lines glued": lambda content: content.replace(b"}\n{", b"}{", 2),
    "a long line": lambda content: content + b'{"type":"tool.execution_complete","data":"' + b"x" * 2_000_000 + b'"}\n',
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damage_costs_no_call(name: str) -> None:
    content = written(start_event(), *(Call(number, output=100).event() for number in range(3)))
    observations, _ = read(DAMAGED[name](content))
    assert [each.output_tokens for each in observations] == [100, 100, 100]


def test_a_torn_record_is_named() -> None:
    content = written(Call(1).event())[:200] + b"\n" + written(Call(2).event())
    assert [each.reject_reason for each in read(content)[0]] == ["not_json", ""]


def test_a_file_in_utf_16_is_named_once() -> None:
    observations, state = read(written(Call().event()).decode().encode("utf-16"))
    assert [each.reject_reason for each in observations] == ["encoding"]
    assert state.encoding_problem == "utf-16"


def test_the_store_is_asked_on_from_its_last_row_and_anew_when_it_is_another(tmp_path: Path) -> None:
    path = tmp_path / "session-store.db"
    store = make_store(path, *(Call(number, prompt=30_000 + number).row() for number in range(150)))
    first = ask(copilot_cli_store, path)
    assert len(first.observations) == 150
    save_row(store, Call(150, prompt=40_000).row())
    second = ask(copilot_cli_store, path, state=first.state)
    # the overlap of a hundred, and the new one
    assert len(second.observations) == 101
    store.execute("delete from assistant_usage_events")
    for number in range(150):
        save_row(store, Call(number, prompt=50_000 + number).row(created_at="2026-01-01T00:00:00Z"))
    store.execute("update assistant_usage_events set id = id - 151")
    assert len(ask(copilot_cli_store, path, state=second.state).observations) == 150
    store.close()


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"created_at": "2026-07-01 12:34:56"}, {"occurred_at": "2026-07-01T12:34:56.000Z"}),
        ({"agent_id": "agent-1"}, {"is_sidechain": True}),
        ({"parent_tool_call_id": "call_1"}, {"is_sidechain": True}),
        ({"cache_read_tokens": None, "cache_write_tokens": None}, {"input_tokens": 21_013}),
        ({"session_id": "unknown"}, {"flags": ("no_cwd",)}),
        ({"created_at": "soon"}, {"reject_reason": "no_time"}),
        ({"input_tokens": "many"}, {"reject_reason": "not_an_integer"}),
    ],
)
def test_a_row_is_read_as_it_is_written(tmp_path: Path, columns: dict[str, Any], expected: dict[str, Any]) -> None:
    store = make_store(tmp_path / "session-store.db", Call().row(**columns))
    (observation,) = ask(copilot_cli_store, tmp_path / "session-store.db").observations
    assert {name: getattr(observation, name) for name in expected} == expected
    store.close()


def test_a_store_without_the_table_is_not_asked(tmp_path: Path) -> None:
    store = make_store(tmp_path / "session-store.db")
    store.execute("drop table assistant_usage_events")
    assert ask(copilot_cli_store, tmp_path / "session-store.db").observations == []
    store.close()


def test_a_line_is_whole_when_its_json_is() -> None:
    line = json.dumps(Call().event()).encode()
    assert copilot_cli.is_whole_record(memoryview(line))
    assert not copilot_cli_otel.is_whole_record(memoryview(line[:-1]))
