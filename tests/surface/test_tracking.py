"""An application that hands over its answers: each of them is recorded once, streamed or not."""

from __future__ import annotations

import asyncio
import threading
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import datetime
from decimal import Decimal
from typing import Any

import psycopg
import pytest

from tallystick.ledger import Ledger
from tallystick.model import UsageFilter
from tallystick.tracking import Tracker
from tests.surface.tracked_answers import LIMIT_S, answer, event_of, events_of, key_of, output_tokens_of

# -- once


def test_answers_of_many_threads_are_recorded_once_each(tracker: Tracker, ledger_url: str, user_id: str) -> None:
    def hand_over() -> None:
        for number in range(300):
            tracker.track(answer(number), occurred_at="2026-03-12T12:00:00Z")

    threads = [threading.Thread(target=hand_over) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert tracker.flush(LIMIT_S)
    assert output_tokens_of(ledger_url, user_id) == {key_of(number): 10 + number for number in range(300)}
    counts = tracker.counts
    assert (counts.delivered, counts.duplicates, counts.waiting) == (300, 900, 0)
    assert sum(counts) == 1200
    with Ledger.connect(ledger_url, user_id=user_id) as ledger:
        (day,) = ledger.usage_models(UsageFilter())
    # by hand: 300 x 1,000 in, 300 x 10 + (0 + ... + 299) out, at 5 and 25 dollars a million
    assert (day.input_tokens, day.output_tokens, day.cost_usd) == (300_000, 47_850, Decimal("2.69625"))


def test_every_user_gets_their_own(tracker: Tracker, ledger_url: str, user_id: str) -> None:
    others = [uuid.uuid4() for _ in range(12)]  # more than may be connected at once
    for _ in range(2):
        for number, other in enumerate(others):
            tracker.track(answer(number), user_id=other)
        assert tracker.flush(LIMIT_S)
    for number, other in enumerate(others):
        assert output_tokens_of(ledger_url, str(other)) == {key_of(number): 10 + number}
    assert output_tokens_of(ledger_url, user_id) == {}


def test_labels_arrive(tracker: Tracker, ledger_url: str) -> None:
    labels: dict[str, Any] = {"session_id": "s", "project": "p", "device": "d", "agent_version": "1.2"}
    labels |= {"git_branch": "b", "request_id": "r", "source": "my-app", "provider": "aws", "service_tier": "batch"}
    tracker.track(answer(1), **labels, occurred_at=datetime.fromisoformat("2026-03-01T12:00:00+02:00"))
    assert tracker.flush(LIMIT_S)
    event = event_of(ledger_url, key_of(1))
    assert {name: event[name] for name in labels} == labels
    assert event["occurred_at"] == datetime.fromisoformat("2026-03-01T10:00:00+00:00")


def test_a_label_that_nobody_knows_costs_no_answer(tracker: Tracker, caplog: pytest.LogCaptureFixture) -> None:
    wrong: dict[str, Any] = {"sesion": "s", "occurred_at": "2026-03-01T12:00:00"}
    tracker.track(answer(1), **wrong)
    assert tracker.flush(LIMIT_S)
    assert tracker.counts.delivered == 1
    assert "there is no label sesion" in caplog.text
    assert "occurred_at is no time with an offset" in caplog.text


def test_what_the_ledger_rejects_is_counted_as_that(tracker: Tracker, ledger_url: str, user_id: str) -> None:
    usage = {"prompt_tokens": 5, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 9}}
    tracker.track({"id": "chatcmpl-01tracked0001", "object": "chat.completion", "model": "gpt-5", "usage": usage})
    tracker.track(answer(1, usage={"input_tokens": "many"}))
    tracker.track(answer(2))
    assert tracker.flush(LIMIT_S)
    assert (tracker.counts.delivered, tracker.counts.rejected) == (1, 2)
    with psycopg.connect(ledger_url) as connection:
        query = "select position, reason from public.token_usage_rejects where user_id = %s order by reason"
        rejects = connection.execute(query, [user_id]).fetchall()
    assert rejects == [("openai:chatcmpl-01tracked0001", "negative"), (key_of(1), "not_an_integer")]


class Embeddings:
    """An answer without an id of its own, as an SDK hands it out: with the id of the request."""

    object = "list"

    def __init__(self, request_id: str | None) -> None:
        self._request_id = request_id

    def to_dict(self) -> dict[str, Any]:
        return {
            "object": self.object,
            "model": "text-embedding-3-small",
            "usage": {"prompt_tokens": 8, "total_tokens": 8},
        }


def test_an_answer_without_an_id_is_one_call_for_each_request_that_its_sdk_noted(tracker: Tracker) -> None:
    for request_id in ("req_1", "req_1", "req_2", None, None):
        tracker.track(Embeddings(request_id))
    assert tracker.flush(LIMIT_S)
    # without the id of a request, nobody can tell the same answer from one that is like it
    assert (tracker.counts.delivered, tracker.counts.duplicates) == (4, 1)


def test_each_answer_of_a_list_is_recorded(tracker: Tracker, ledger_url: str, user_id: str) -> None:
    chat = {"object": "chat.completion", "model": "gpt-5", "usage": {"prompt_tokens": 3, "completion_tokens": 5}}
    chats = [
        {**chat, "id": f"chatcmpl-0tracked{place}", "choices": [{"index": 0, "message": {"role": "assistant"}}]}
        for place in range(2)
    ]
    of_a_batch = {"custom_id": "mine", "result": {"type": "succeeded", "message": answer(3)}}
    tracker.track([answer(1), answer(2), None, of_a_batch, events_of(4, output_tokens=77), *chats])
    assert tracker.flush(LIMIT_S)
    recorded = {key_of(1): 11, key_of(2): 12, key_of(3): 13, key_of(4): 77}
    recorded |= {"openai:chatcmpl-0tracked0": 5, "openai:chatcmpl-0tracked1": 5}
    assert output_tokens_of(ledger_url, user_id) == recorded
    assert (tracker.counts.delivered, tracker.counts.unreadable) == (6, 1)


def test_answers_of_a_list_keep_the_request_that_each_came_by(tracker: Tracker) -> None:
    tracker.track([Embeddings("req_1"), Embeddings("req_2"), Embeddings(None)])
    assert tracker.flush(LIMIT_S)
    assert tracker.counts.delivered == 3


# -- streams


def test_a_stream_passes_through_untouched_and_is_recorded_at_its_end(
    tracker: Tracker, ledger_url: str, user_id: str
) -> None:
    events = events_of(1, output_tokens=77)
    stream = tracker.tracked(iter(events))
    seen = [next(stream), *stream]
    assert [id(event) for event in seen] == [id(event) for event in events]
    assert tracker.flush(LIMIT_S)
    assert output_tokens_of(ledger_url, user_id) == {key_of(1): 77}


def leave_early(stream: Iterator[Any]) -> None:
    for _ in stream:
        break


def close_early(stream: Any) -> None:
    with stream as entered:
        next(entered)


@pytest.mark.parametrize("leave", [leave_early, close_early])
def test_a_stream_that_is_left_is_recorded_as_far_as_it_came(
    leave: Callable[[Any], None], tracker: Tracker, ledger_url: str
) -> None:
    leave(tracker.tracked(event for event in events_of(1, output_tokens=77)))
    assert tracker.flush(LIMIT_S)
    event = event_of(ledger_url, key_of(1))
    assert (event["input_tokens"], event["output_tokens"], event["flags"]) == (1000, 1, ["not_final"])


def test_a_stream_that_raises_is_recorded_and_raises(tracker: Tracker, ledger_url: str) -> None:
    def broken() -> Iterator[dict[str, Any]]:
        yield from events_of(1, output_tokens=77)[:2]
        raise ConnectionResetError("gone")

    stream = tracker.tracked(broken())
    with pytest.raises(ConnectionResetError, match="gone"):
        list(stream)
    assert tracker.flush(LIMIT_S)
    assert event_of(ledger_url, key_of(1))["flags"] == ["not_final"]


def test_an_async_stream_is_recorded_at_its_end_and_when_it_is_left(
    tracker: Tracker, ledger_url: str, user_id: str
) -> None:
    async def streamed(number: int) -> AsyncIterator[dict[str, Any]]:
        for event in events_of(number, output_tokens=77):
            yield event

    async def consume() -> None:
        assert len([event async for event in tracker.tracked(streamed(1))]) == 4
        left: Any = tracker.tracked(streamed(2))
        async with left:
            await anext(left)

    asyncio.run(consume())
    assert tracker.flush(LIMIT_S)
    assert output_tokens_of(ledger_url, user_id) == {key_of(1): 77, key_of(2): 1}


def test_the_makers_streams_keep_all_that_they_can_do(
    tracker: Tracker, ledger_url: str, user_id: str, model_api: Any
) -> None:
    events = events_of(1, output_tokens=77)
    events.insert(1, {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}})
    events[0]["message"] |= {"role": "assistant", "content": [], "stop_sequence": None}
    question: dict[str, Any] = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hello"}]}
    model_api.answers = [events, events]
    with model_api.anthropic() as client:
        with tracker.tracked(client.messages.create(**question, stream=True)) as stream:
            assert stream.response.status_code == 200
            assert [event.type for event in stream] == [event["type"] for event in events]
        with client.messages.stream(**question) as helper:
            assert len(list(tracker.tracked(helper))) > len(events)
            assert helper.get_final_message().usage.output_tokens == 77
    assert tracker.flush(LIMIT_S)
    assert output_tokens_of(ledger_url, user_id) == {key_of(1): 77}
    assert (tracker.counts.delivered, tracker.counts.duplicates) == (1, 1)
    assert event_of(ledger_url, key_of(1))["flags"] == []


def test_what_is_no_stream_comes_back_and_is_recorded(tracker: Tracker, ledger_url: str, user_id: str) -> None:
    whole = answer(1)
    assert tracker.tracked(whole) is whole
    assert tracker.flush(LIMIT_S)
    assert output_tokens_of(ledger_url, user_id) == {key_of(1): 11}


def test_a_stream_that_is_still_open_at_the_end_is_recorded(
    make_tracker: Callable[..., Tracker], ledger_url: str
) -> None:
    tracker = make_tracker()
    stream = tracker.tracked(iter(events_of(1, output_tokens=77)))
    next(stream)
    assert tracker.close(LIMIT_S)
    assert event_of(ledger_url, key_of(1))["flags"] == ["not_final"]
    assert len(list(stream)) == 3
