"""Droid's running totals: what is told of a session, and on which day."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tallystick.sources import droid
from tests.corpus.reading_documents import Outcome, read_document

PATH = "/home/ann/.factory/sessions/-home-ann-shop/0b9d1f5e-1111-4222-8333-444455556666.settings.json"
LOCKED_AT = "2026-09-01T08:00:00.000Z"
USAGE = {
    "inputTokens": 1234,
    "outputTokens": 567,
    "cacheCreationTokens": 89,
    "cacheReadTokens": 12,
    "thinkingTokens": 900,
    "factoryCredits": 77,
}


def read(usage: object = None, *, state: Any = None, **members: object) -> Outcome:
    settings = {"model": "claude-opus-5-5", "providerLockTimestamp": LOCKED_AT, "tokenUsage": usage or USAGE, **members}
    return read_document(droid, json.dumps(settings).encode(), PATH, state)


def test_a_session_has_the_name_of_its_file_and_its_own_totals() -> None:
    snapshot = read(inclusiveTokenUsage={name: count * 9 for name, count in USAGE.items()}).only_snapshot
    assert snapshot.session_id == "0b9d1f5e-1111-4222-8333-444455556666"
    assert (snapshot.source, snapshot.device, snapshot.project) == ("droid", "laptop", "")
    assert (snapshot.input_tokens, snapshot.output_tokens) == (1234, 567)
    assert (snapshot.cache_creation_tokens, snapshot.cache_read_tokens) == (89, 12)


def test_thinking_is_not_told_because_the_output_may_or_may_not_contain_it() -> None:
    assert read().only_snapshot.thinking_tokens == 0


def test_what_a_session_had_when_it_was_first_read_is_of_the_day_of_its_beginning() -> None:
    first = read()
    assert (first.only_snapshot.session_started_at, first.only_snapshot.last_activity_at) == (LOCKED_AT, LOCKED_AT)
    later = read({"inputTokens": 9999}, state=first.state).only_snapshot
    assert (later.session_started_at, later.last_activity_at, later.input_tokens) == (LOCKED_AT, "", 9999)


def test_a_session_that_had_used_nothing_yet_was_not_read_before() -> None:
    empty = read({"inputTokens": 0, "outputTokens": 0})
    assert (empty.snapshots, empty.state.line_counts) == ([], {"(no usage)": 1})
    assert read(state=empty.state).only_snapshot.last_activity_at == LOCKED_AT


@pytest.mark.parametrize(
    ("written", "model"),
    [
        (" claude-opus-5-5 ", "claude-opus-5-5"),
        ("custom:GLM-4.6-[Z.AI]-0", "GLM-4.6"),
        ("custom:Kimi-K3-(free)-12", "Kimi-K3-(free)"),
        ("custom:gpt-5.2-3", "gpt-5.2"),
        ("custom:Claude-Sonnet-4-[Anthropic]", "Claude-Sonnet-4"),
        (None, ""),
        (7, ""),
    ],
)
def test_a_model_of_the_users_own_has_the_name_that_it_was_given(written: object, model: str) -> None:
    assert read(model=written).only_snapshot.model_used == model


@pytest.mark.parametrize("timestamp", [None, "yesterday", "2026-09-01T08:00:00"])
def test_a_session_may_not_say_when_it_began(timestamp: object) -> None:
    snapshot = read(providerLockTimestamp=timestamp).only_snapshot
    assert (snapshot.session_started_at, snapshot.last_activity_at) == ("", "")


@pytest.mark.parametrize(("count", "reason"), [(1.5, "not_an_integer"), ([], "not_an_integer"), (10**20, "too_large")])
def test_totals_that_are_none_are_rejected(count: object, reason: str) -> None:
    outcome = read({"inputTokens": count})
    assert outcome.rejects == [("droid:0b9d1f5e-1111-4222-8333-444455556666", reason)]
    assert outcome.snapshots == []


def test_settings_without_usage_give_nothing() -> None:
    # version 0.56.3 wrote none
    assert read({"thinkingTokens": 5}).snapshots == []
