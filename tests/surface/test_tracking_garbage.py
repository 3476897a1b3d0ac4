"""Whatever an application hands over, and whatever surrounds it: tracking never raises and never makes it wait."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from typing import Any

import pytest

from tallystick.delivery import LedgerLike
from tallystick.ledger import Ledger
from tallystick.tracking import Tracker
from tests.surface.tracked_answers import LIMIT_S, answer, key_of, output_tokens_of


class Hostile:
    """Raises whatever it is asked."""

    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError(f"no {name}")


class Dumps:
    def __init__(self, dumped: object) -> None:
        self._dumped = dumped

    def model_dump(self, **_arguments: object) -> object:
        if isinstance(self._dumped, Exception):
            raise self._dumped
        return self._dumped


class EvilDict(dict[str, Any]):
    def get(self, *_arguments: object) -> Any:
        raise KeyError("evil")


class EvilList(list[object]):
    def __iter__(self) -> Any:
        raise KeyError("evil")


def cyclic() -> dict[str, Any]:
    made: dict[str, Any] = {"type": "message"}
    made["usage"] = made["message"] = made["result"] = made
    return made


def nested(depth: int) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for _ in range(depth):
        made = {"response": made, "result": {"message": made}}
    return made


def garbage() -> list[object]:
    return [
        *(
            None,
            True,
            0,
            -1,
            1.5,
            float("nan"),
            10**400,
            "",
            "text",
            b"bytes",
            bytearray(9),
            object(),
            Hostile(),
            int,
            Tracker,
        ),
        *(
            os,
            len,
            lambda: 1,
            iter([]),
            range(3),
            Exception("e"),
            {1, 2},
            frozenset(),
            memoryview(b"x"),
            threading.Lock(),
        ),
        *([], (), [None], [[]], [Hostile()], [{"type": "message_start"}], [{"type": "message_delta", "usage": 3}]),
        *([{"choices": 3}], [{"candidates": {"a": 1}}], [{"choices": [Hostile()], "usage": 1}], [1] * 1000),
        *({}, {"usage": {}}, {"type": "message"}, {"type": []}, {"object": {}}, {"object": ["list"]}, {1: 2}, cyclic()),
        *(
            nested(1000),
            EvilDict(type="message"),
            EvilList([1]),
            Dumps(3),
            Dumps(ValueError("a secret")),
            Dumps(RecursionError()),
        ),
        *(
            answer(1, id=7),
            answer(1, id="\ud800" * 9),
            answer(1, model=["m"]),
            answer(1, usage=[1]),
            answer(1, usage="u"),
        ),
        *(answer(1, usage={"input_tokens": 10**400}), answer(1, usage={"output_tokens": float("inf")})),
        *(answer(1, usage={"cache_creation": 3, "iterations": {"a": 1}}), answer(1, id="x" * 10_000_000)),
        *(
            {"object": "response", "usage": {}, "output": 3, "tool_usage": 3},
            {"choices": None, "usage": {"total_tokens": "x"}},
        ),
        {"usageMetadata": {"promptTokenCount": []}, "candidates": "STOP"},
    ]


def test_garbage_never_raises_and_is_counted_every_time(tracker: Tracker, caplog: pytest.LogCaptureFixture) -> None:
    handed_over = garbage()
    assert len(handed_over) >= 50
    for thing in handed_over:
        tracker.track(thing)
    assert tracker.flush(LIMIT_S)
    assert sum(tracker.counts) >= len(handed_over)
    assert tracker.counts.waiting == 0
    assert tracker.counts.unreadable > 30
    assert "secret" not in caplog.text
    # told once for each kind of trouble, not once for each answer
    assert len(caplog.records) < 15


def test_garbage_as_a_stream_comes_back_as_it_is(tracker: Tracker) -> None:
    for thing in garbage():
        assert tracker.tracked(thing) is thing or hasattr(type(thing), "__next__")
    assert list(tracker.tracked(iter([1, Hostile(), {"type": 3}]))) is not None
    assert tracker.flush(LIMIT_S)


def test_a_user_id_that_is_none_is_counted(tracker: Tracker) -> None:
    wrong: list[Any] = ["me", 7, Hostile()]
    for user_id in wrong:
        tracker.track(answer(1), user_id=user_id)
        assert list(tracker.tracked(iter([1, 2]), user_id=user_id)) == [1, 2]
    assert tracker.counts.unreadable == 6


def test_answers_without_usage_are_counted_apart(tracker: Tracker, caplog: pytest.LogCaptureFixture) -> None:
    tracker.track({"type": "error", "error": {"type": "overloaded_error"}})
    assert tracker.counts.without_usage == 1
    assert "include_usage" in caplog.text


def test_a_log_that_raises_disturbs_nobody(tracker: Tracker) -> None:
    class Raises(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise RuntimeError(record.getMessage())

    handler = Raises()
    logging.getLogger("tallystick").addHandler(handler)
    try:
        tracker.track("garbage")
    finally:
        logging.getLogger("tallystick").removeHandler(handler)
    assert tracker.counts.unreadable == 1


def test_tracking_that_is_switched_off_does_nothing(user_id: str) -> None:
    def connect(_user_id: str) -> LedgerLike:
        raise AssertionError("asked for a ledger")

    tracker = Tracker(connect, user_id=user_id, is_enabled=False)
    stream = iter([1])
    assert tracker.tracked(stream) is stream
    tracker.track(answer(1))
    tracker.track("garbage")
    assert tracker.flush(LIMIT_S)
    assert sum(tracker.counts) == 0
    assert "tallystick-delivery" not in {thread.name for thread in threading.enumerate()}


class Gate:
    """A ledger that answers only when it is let, and then as the ledger behind it does."""

    def __init__(self, ledger: Ledger) -> None:
        self.is_asked = threading.Event()
        self.may_answer = threading.Event()
        self.batches: list[int] = []
        self._ledger = ledger

    def ingest_token_usage(self, events: bytes) -> Any:
        self.is_asked.set()
        assert self.may_answer.wait(LIMIT_S)
        receipt = self._ledger.ingest_token_usage(events)
        self.batches.append(receipt.received)
        return receipt

    def close(self) -> None:
        self._ledger.close()


def test_a_full_queue_drops_the_newest_and_nobody_waits(
    make_tracker: Callable[..., Tracker], ledger_url: str, user_id: str
) -> None:
    gate = Gate(Ledger.connect(ledger_url, user_id=user_id))
    tracker = make_tracker(lambda _user_id: gate, max_waiting=8, batch_size=3, batch_interval_s=0.0)
    tracker.track(answer(0))
    assert gate.is_asked.wait(LIMIT_S)
    for number in range(1, 11):
        tracker.track(answer(number))  # returns although the ledger holds its answer back
    assert (tracker.counts.waiting, tracker.counts.dropped) == (8, 3)
    gate.may_answer.set()
    assert tracker.flush(LIMIT_S)
    assert set(output_tokens_of(ledger_url, user_id)) == {key_of(number) for number in range(8)}
    assert (gate.batches[0], max(gate.batches), sum(gate.batches)) == (1, 3, 8)
