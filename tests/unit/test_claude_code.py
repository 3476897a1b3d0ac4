"""Claude Code transcripts of every era: each call once, with its final figures, at its origin."""

from __future__ import annotations

import json
from collections.abc import Iterable
from decimal import Decimal

import pytest

from tallystick.observation import Observation
from tallystick.sources.claude_code import KNOWN_LINE_TYPES
from tests.corpus.claude_eras import BRANCH, CWD, STYLES, Era, TrueCall, make_era
from tests.corpus.claude_lines import KEY, MAIN, MESSAGE_ID, line, only, read, with_message, written


def fold(observations: Iterable[Observation]) -> dict[str, tuple[Observation, Observation]]:
    """By key, the observation that says how much and the one that says when and where, as DESIGN.md has it."""
    copies: dict[str, list[Observation]] = {}
    for observation in observations:
        assert observation.reject_reason == ""
        copies.setdefault(observation.event_key, []).append(observation)
    return {
        key: (
            max(same, key=lambda o: (o.is_final, o.output_tokens, o.origin_rank)),
            min(same, key=lambda o: (o.occurred_at, o.place_order.encode())),
        )
        for key, same in copies.items()
    }


def found_calls(observations: Iterable[Observation]) -> list[TrueCall]:
    calls = []
    for key, (amount, place) in fold(observations).items():
        counts = {name: getattr(amount, name) for name in TrueCall._fields if name.endswith(("_tokens", "_requests"))}
        calls.append(
            TrueCall(
                event_key=key,
                occurred_at=place.occurred_at,
                session_id=place.session_id,
                model=amount.model,
                is_sidechain=place.is_sidechain,
                is_final=amount.is_final,
                **counts,
            )
        )
    return sorted(calls)


def read_era(era: Era) -> list[Observation]:
    return [o for path, content in era.files.items() for o in read(content, path=path)[0].observations]


@pytest.mark.parametrize("name", STYLES)
def test_an_era_gives_each_call_once_with_its_last_figures_at_its_origin(name: str) -> None:
    era = make_era(name)
    assert found_calls(read_era(era)) == sorted(era.calls)


@pytest.mark.parametrize("name", STYLES)
def test_labels_come_from_the_lines(name: str) -> None:
    observations = read_era(make_era(name))
    assert {(o.source, o.device, o.project) for o in observations} == {("claude-code", "laptop", f"at {CWD}")}
    assert {o.agent_version for o in observations} == {STYLES[name].version}
    assert {o.git_branch for o in observations} == ({""} if name == "1.0.30" else {BRANCH})
    assert {o.grain for o in observations} == {"call"}
    assert {o.message_count for o in observations} == {1}


@pytest.mark.parametrize("name", ["1.0.30", "2.1.30 -p"])
def test_a_call_whose_end_was_never_written_is_flagged_not_final(name: str) -> None:
    assert all("not_final" in amount.flags for amount, _ in fold(read_era(make_era(name))).values())


@pytest.mark.parametrize("name", ["1.0.128", "2.0.77", "2.1.30", "2.1.90", "2.1.120", "2.1.330"])
def test_a_call_whose_end_was_written_is_not_flagged(name: str) -> None:
    assert all("not_final" not in amount.flags for amount, _ in fold(read_era(make_era(name))).values())


def test_every_line_that_is_no_call_is_counted_by_its_type() -> None:
    era = make_era("2.1.330")
    counts: dict[str, int] = {}
    for path, content in era.files.items():
        for kind, number in read(content, path=path)[1].line_counts.items():
            counts[kind] = counts.get(kind, 0) + number
    lines = [json.loads(text) for content in era.files.values() for text in content.splitlines()]
    expected: dict[str, int] = {"(assistant error)": 0}
    for each in lines:
        if each.get("isApiErrorMessage"):
            expected["(assistant error)"] += 1
        elif each["type"] != "assistant":
            expected[each["type"]] = expected.get(each["type"], 0) + 1
    assert counts == expected
    assert set(counts) - KNOWN_LINE_TYPES == {"mood", "(assistant error)"}


def test_the_agents_own_books_are_read_and_make_no_event() -> None:
    era = make_era("2.1.330")
    parts = [read(content, path=path)[0] for path, content in era.files.items()]
    totals = [total for part in parts for total in part.reported_totals]
    assert [(t.session_id, t.model, t.output_tokens) for t in totals] == era.reported_totals
    assert {(t.cost_usd, t.input_tokens, t.cache_read_tokens, t.web_search_requests) for t in totals} == {
        (Decimal("0.0559872"), 34, 4, 0)
    }
    assert all(t.cache_creation_tokens == 0 and not t.has_unknown_model_cost for t in totals)


def test_a_copy_made_on_resuming_leaves_the_call_where_it_was_made() -> None:
    era = make_era("1.0.30")
    observations = read_era(era)
    copied = [o for o in observations if o.request_id == ""]
    assert copied
    assert len({o.session_id for o in observations}) == 2
    resumed = copied[0].session_id
    kept = fold(observations)
    assert all(kept[o.event_key][1].session_id != resumed for o in copied)


@pytest.mark.parametrize("name", ["2.1.30", "2.1.330"])
def test_a_forked_copy_that_names_its_origin_wins_over_a_file_name_that_sorts_first(name: str) -> None:
    era = make_era(name)
    parent, fork = sorted((path for path in era.files if "subagents" not in path and era.files[path]), reverse=True)
    assert parent > fork
    places = {
        path: min(o.place_order for o in read(era.files[path], path=path)[0].observations) for path in (parent, fork)
    }
    assert places[fork].startswith("00")
    assert places[parent].startswith("01")
    assert {o.session_id for o in read_era(era) if o.event_key == era.calls[0].event_key} == {era.calls[0].session_id}


def test_a_progress_line_yields_to_the_sub_agents_own_line() -> None:
    era = make_era("2.1.30")
    mirrors = [o for o in read_era(era) if o.origin_rank == 0]
    # three of them in the session, and again in its fork
    assert len(mirrors) == 2 * 3
    for key in {o.event_key for o in mirrors}:
        amount, place = fold(read_era(era))[key]
        assert (amount.origin_rank, place.origin_rank) == (1, 1)


def test_a_call_known_only_from_a_progress_line_counts() -> None:
    copy = {name: line()[name] for name in ("type", "timestamp", "message", "requestId", "uuid")}
    around = line(type="progress", message=None, timestamp="2026-11-22T20:00:00.000Z", data={"message": copy})
    mirror = only(around)
    assert (mirror.event_key, mirror.origin_rank, mirror.is_sidechain) == (KEY, 0, True)
    assert (mirror.occurred_at, mirror.project) == ("2026-11-22T18:06:44.758Z", "at /home/ann/shop")
    assert mirror.session_id == around["sessionId"]


def test_a_progress_line_without_usage_is_only_counted() -> None:
    usage = {"output_tokens": 5}
    content = written(
        line(type="progress", message=None, data={"type": "bash_progress", "message": "half"}),
        line(type="progress", message=None, data={"message": {"type": "user", "message": {"usage": usage}}}),
        line(type="progress", message=None, data={"message": {"type": "user", "usage": {"input_tokens": 5}}}),
        line(type="progress", message=None, data={"message": 'a "usage" in words', "usage": {}}),
    )
    parsed, state = read(content)
    assert parsed.observations == []
    assert state.line_counts == {"progress": 4}


def test_usage_elsewhere_in_a_line_is_never_counted() -> None:
    usage = {"input_tokens": 99, "output_tokens": 99}
    content = written(
        line(type="user", message={"role": "user", "content": "x"}, toolUseResult={"usage": usage}),
        line(type="system", message="plain words", usage=usage),
        {"data": {"usage": usage}, "type": "attachment"},
        line(message={"id": MESSAGE_ID, "model": "m", "content": [{"input": {"usage": usage}}]}),
    )
    parsed, state = read(content)
    assert parsed.observations == []
    assert state.line_counts == {"user": 1, "system": 1, "attachment": 1, "(assistant without usage)": 1}


def test_the_agents_own_errors_are_no_calls() -> None:
    content = written(with_message(model="<synthetic>"), line(isApiErrorMessage=True))
    parsed, state = read(content)
    assert parsed.observations == []
    assert state.line_counts == {"(assistant error)": 2}


def test_a_sidechain_and_a_mirror_stand_behind_a_main_line_of_the_same_time() -> None:
    copy = line(type="assistant")
    content = written(
        line(type="progress", message=None, data={"message": copy}), line(isSidechain=True), line(), line(sessionId="x")
    )
    mirror, sidechain, main, foreign = read(content)[0].observations
    assert foreign.place_order < main.place_order < sidechain.place_order < mirror.place_order
    assert [o.origin_rank for o in (mirror, sidechain, main)] == [0, 1, 2]


def test_the_place_names_the_first_time_in_the_file_wherever_the_file_is_cut() -> None:
    content = written(
        {"type": "summary", "snapshot": {"timestamp": "2020-01-01T00:00:00.000Z"}},
        {"type": "user", "message": {}, "timestamp": "2026-11-22T18:00:00+01:00"},
        line(),
    )
    (observation,) = read(content)[0].observations
    assert observation.place_order == f"012026-11-22T17:00:00.000Z {MAIN[3:-6]}"
    assert read(content, cuts=[1, 2]) == read(content)


def test_a_type_is_found_wherever_it_stands_in_the_line() -> None:
    content = (
        b'{"message":{"type":"message","role":"user"},"type":"user"}\n'
        b'{ "type" : "system" }\n'
        b'{"parentUuid":"x","note":"a {","type":"summary"}\n'
        b'{"note":"\\"type\\":\\"mode\\"","type":"pr-link"}\n'
        b'{"tags":["type"],"type":"attachment"}\n'
        b'{"type":"user","type":"last-prompt"}\n'
        b'{"other":1}\n'
        b'{"type":5}\n'
    )
    parsed, state = read(content)
    assert parsed.observations == []
    kinds = dict.fromkeys(["user", "system", "summary", "pr-link", "attachment"], 1)
    assert {kind: state.line_counts.get(kind, 0) for kind in kinds} == kinds | {"user": 2}
    assert state.line_counts["(no type)"] == 2


def test_the_types_that_are_counted_are_bounded() -> None:
    content = b"".join(b'{"type":"t%d%s"}\n' % (number, b"x" * 99) for number in range(1_000))
    content += b'{"x":{},"type":"late"}\n' + content
    counts = read(content)[1].line_counts
    assert counts == read(content, cuts=range(0, 2_000, 150))[1].line_counts
    assert sum(counts.values()) == 2_001
    assert len(counts) <= 201
    assert max(map(len, counts)) <= 60
