"""Mistral Vibe's running totals."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest

from tallystick.sources import mistral_vibe
from tests.corpus.mistral_vibe import session
from tests.corpus.reading_documents import Outcome, read_document

META = json.loads(session(1, 4).content)
PATH = session(1, 4).path


def read(path: str = PATH, **members: object) -> Outcome:
    return read_document(mistral_vibe, json.dumps(META | members).encode(), path)


def test_a_session_has_its_model_its_folder_and_the_day_of_its_end() -> None:
    snapshot = read().only_snapshot
    assert (snapshot.session_id, snapshot.source) == (META["session_id"], "mistral-vibe")
    assert (snapshot.model_used, snapshot.project) == ("devstral-2", "at /home/ann/shop")
    calls = session(1, 4).calls
    assert (snapshot.session_started_at, snapshot.last_activity_at) == (calls[0].at_text, calls[-1].at_text)
    assert snapshot.estimated_cost_usd == Decimal("2.0")


def test_the_prompt_contains_what_was_cached() -> None:
    stats = {"session_prompt_tokens": 15_000, "session_completion_tokens": 1200, "session_cached_tokens": 5000}
    snapshot = read(stats=stats).only_snapshot
    assert (snapshot.input_tokens, snapshot.cache_read_tokens, snapshot.output_tokens) == (10_000, 5000, 1200)


def test_a_session_that_has_not_ended_was_last_active_when_it_began() -> None:
    assert read(end_time=None).only_snapshot.last_activity_at == session(1, 4).calls[0].at_text


def test_a_time_without_an_offset_is_none() -> None:
    snapshot = read(start_time="2026-09-01T08:00:00", end_time="2026-09-01T09:00:00").only_snapshot
    assert (snapshot.session_started_at, snapshot.last_activity_at) == ("", "")


def test_before_2_0_the_record_was_a_part_of_the_messages_file() -> None:
    content = json.dumps({"metadata": META | {"session_id": None, "config": None, "active_model": "x"}, "messages": []})
    path = "/home/ann/.vibe/logs/session/session_20260801_010203.json"
    snapshot = read_document(mistral_vibe, content.encode(), path).only_snapshot
    assert (snapshot.session_id, snapshot.model_used) == ("session_20260801_010203", "x")


def test_a_session_without_an_id_is_named_as_its_folder() -> None:
    assert read(session_id=None).only_snapshot.session_id == "session_20260901_080000_00000001"


@pytest.mark.parametrize("count", [1.5, "many", True])
def test_totals_that_are_none_are_rejected(count: object) -> None:
    assert read(stats={"session_prompt_tokens": count}).rejects == [
        (f"mistral-vibe:{META['session_id']}", "not_an_integer")
    ]
