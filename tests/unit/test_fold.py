"""Folding copies before they are sent: the winners stay the ones that the ledger would have chosen without it.

`tests/corpus/ledger_order.py` tells the winners.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from itertools import cycle, islice
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tallystick.collector.fold import COUNTS as FOLD_COUNTS
from tallystick.collector.fold import RANK, TEXTS, Fold
from tallystick.observation import Observation
from tests.corpus.ledger_order import COUNTS, PLACE_LABELS, PRICE_LABELS, is_rejected, winners


def rejected(observations: Sequence[Observation]) -> Counter[bytes]:
    return Counter(
        repr(observation).encode("utf-8", "surrogatepass") for observation in filter(is_rejected, observations)
    )


TIMES = [
    "2026-08-22T10:00:00.000Z",
    "2026-08-22T10:00:00.001Z",
    "2026-08-22T09:59:59.999Z",
    "2026-08-31T23:00:00.000Z",
    "2026-02-30T10:00:00.000Z",
    "2022-12-31T23:59:59.999Z",
    "1970-01-01T00:00:00.000Z",
    "2026-08-22T10:00:00Z",
    "2026-08-22T10:00:00.0005Z",
    "2026-08-22T12:00:00.000+02:00",
    "not a time",
    "",
]
FLAGS = [(), ("not_final",), ("time_inherited",), ("time_inherited", "weak_key"), ("clock_skew",), ("x" * 201,)]
LABELS = ["", "a", "b", "ä", "\U0001f600", "x" * 201, "ä" * 150, "\0", "\ud800"]
SOME_COUNTS = [0, 1, 2, -1, 10**12, 10**12 + 1]
USUAL = dict.fromkeys([*PRICE_LABELS[:-1], *PLACE_LABELS[2:], "request_id"], "a")
USUAL |= {"source": "claude-code", "place_order": "p", "grain": "call"}
ODD: dict[str, list[Any]] = dict.fromkeys([*USUAL, "event_key"], LABELS)
ODD |= dict.fromkeys([*COUNTS, "output_tokens"], SOME_COUNTS)
ODD |= {
    "occurred_at": TIMES,
    "grain": ["turn", "nonsense"],
    "is_sidechain": [True],
    "reported_cost_usd": [Decimal("0.5"), Decimal(-1)],
    "origin_rank": [0, 1],
    "flags": FLAGS,
    "reject_reason": ["not_json"],
}
# each member as often as the next
ODDITIES = st.sampled_from([(name, value) for name, values in ODD.items() for value in islice(cycle(values), 12)])


def observed(usual: dict[str, Any], oddities: list[tuple[str, Any]]) -> Observation:
    return Observation(**{**USUAL, "origin_rank": 2, **usual, **dict(oddities)})


# seldom more than one odd member: were each of the thirty odd by itself, nearly every record would be rejected
OBSERVATIONS = st.builds(
    observed,
    st.fixed_dictionaries(
        {
            "event_key": st.sampled_from(["k1", "k1", "k2"]),
            "occurred_at": st.sampled_from([*(TIMES[:2] * 12), *TIMES]),
            "output_tokens": st.sampled_from([1, 2]),
            "is_final": st.booleans(),
            "position": st.sampled_from(["f:1", "f:2"]),
        }
    ),
    st.lists(ODDITIES, max_size=2),
)


@settings(max_examples=400, deadline=None)
@given(st.lists(st.lists(OBSERVATIONS, min_size=1, max_size=7), min_size=1, max_size=3))
def test_folding_changes_no_winner_and_loses_no_record(batches: list[list[Observation]]) -> None:
    fold = Fold()
    received = [observation for batch in batches for observation in batch]
    sent: list[Observation] = []
    folded = 0
    for batch in batches:
        fold.add(batch)
        folded += fold.folded
        sent += fold.take_all()
    assert winners(sent) == winners(received)
    assert rejected(sent) == rejected(received)
    assert len(sent) + folded == len(received)


def call(**members: Any) -> Observation:
    usual: dict[str, Any] = {
        "event_key": "anthropic:msg_1",
        "occurred_at": "2026-08-22T10:00:00.000Z",
        "source": "claude-code",
        "model": "claude-x",
        "session_id": "s",
        "output_tokens": 5,
        "place_order": "p",
    }
    return Observation(**usual | members)


def folded(*observations: Observation) -> list[Observation]:
    fold = Fold()
    fold.add(observations)
    return fold.take_all()


def test_copies_written_while_a_call_streams_become_one() -> None:
    begun = call(output_tokens=1, flags=("not_final",), position="f:0")
    more = call(output_tokens=40, occurred_at="2026-08-22T10:00:01.000Z", position="f:1")
    done = call(output_tokens=90, occurred_at="2026-08-22T10:00:02.000Z", is_final=True, position="f:2")
    assert folded(begun, more, done) == [call(output_tokens=90, is_final=True, position="f:2")]


def test_equal_copies_become_one() -> None:
    assert folded(call(), call(position="f:9"), call()) == [call()]


def test_the_earliest_time_stays_whichever_copy_comes_first() -> None:
    early, late = call(), call(output_tokens=9, occurred_at="2026-08-22T10:00:01.000Z")
    for copies in ((early, late), (late, early), (late, early, late)):
        assert folded(*copies) == [call(output_tokens=9)]


@pytest.mark.parametrize(
    "copy",
    [
        call(input_tokens=1),
        call(model="claude-y"),
        call(model="claude-y", output_tokens=6),
        call(flags=("weak_key",)),
        call(flags=("time_inherited",), output_tokens=6),
        call(session_id="t"),
        call(request_id="r"),
        call(is_sidechain=True),
        call(reported_cost_usd=Decimal(1), output_tokens=6),
        call(output_tokens=6, occurred_at="2022-12-31T23:59:59.999Z"),
        call(output_tokens=6, occurred_at="2026-08-22T10:00:00Z"),
        call(output_tokens=-6),
        call(output_tokens=6, thinking_tokens=7),
        call(output_tokens=6, git_branch="x" * 201),
        call(output_tokens=6, git_branch="\ud83d"),
    ],
)
def test_a_copy_that_leaves_a_doubt_is_sent_as_it_is(copy: Observation) -> None:
    assert folded(call(), copy) == [call(), copy]
    assert folded(copy, call()) == [copy, call()]


@pytest.mark.parametrize(
    "members",
    [
        {"grain": "nonsense"},
        {"input_tokens": -1},
        {"cache_read_tokens": 10**12 + 1},
        {"thinking_tokens": 6},
        {"origin_rank": 40_000},
        {"project": "x" * 501},
        {"git_branch": "a\0b"},
        {"occurred_at": "2026-02-30T10:00:00.000Z"},
        {"source": ""},
        {"event_key": ""},
        {"reported_cost_usd": Decimal(-1)},
    ],
)
def test_copies_that_the_ledger_will_reject_are_all_sent(members: dict[str, Any]) -> None:
    assert folded(call(**members), call(**members)) == [call(**members), call(**members)]


def test_rejected_records_are_all_sent() -> None:
    rejects = [Observation(source="claude-code", position=f"f:{number}", reject_reason="no_key") for number in range(3)]
    assert folded(*rejects) == rejects


def test_labels_that_are_not_ascii_fold_too() -> None:
    assert folded(call(project="/home/jürgen/仕事"), call(project="/home/jürgen/仕事")) == [
        call(project="/home/jürgen/仕事")
    ]


def test_what_was_taken_is_held_no_longer() -> None:
    fold = Fold()
    fold.add([call(), call()])
    assert (len(fold), fold.folded) == (1, 1)
    assert fold.take_all() == [call()]
    assert (len(fold), fold.folded, fold.take_all()) == (0, 0, [])


def test_every_member_is_compared_or_decided() -> None:
    """A member added to the observation must be looked at here, or a fold could lose it."""
    decided = {"occurred_at", "flags", "position", *RANK, *FOLD_COUNTS}
    assert decided | set(TEXTS) | {"grain", "is_sidechain", "reported_cost_usd", "reject_reason"} == set(
        msgspec.structs.asdict(call())
    )
