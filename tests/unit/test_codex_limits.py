"""What Codex writes of its plan's limits, version by version, and how tellings of the same are folded."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick.collector.fold import LimitFold
from tallystick.observation import LimitObservation
from tallystick.sources.codex import ParserState, new_state, parse
from tests.corpus.codex_rollouts import ERA, Call, Thread
from tests.corpus.reading import cut_at

HOUR_S = 3600


def telling(thread: Thread, *, limit_id: str | None = None, **windows: Any) -> None:
    """A token_count with these windows, each as {used_percent, window_minutes, ...}."""
    limits = {**windows, "plan_type": "plus", **({"limit_id": limit_id} if limit_id else {})}
    thread.write("event_msg", {"type": "token_count", "info": None, "rate_limits": limits})


def window(used_percent: Any = 12.0, window_minutes: Any = 300, **members: Any) -> dict[str, Any]:
    return {"used_percent": used_percent, "window_minutes": window_minutes, **members}


def limits_of(content: bytes, *, cuts: list[int] | None = None) -> list[list[LimitObservation]]:
    """The tellings in a file, those of each part of it that is read at a time."""
    state = new_state("/home/ann/.codex/sessions/rollout.jsonl")
    parts = []
    for start, end in cut_at(content, cuts or ()):
        state = msgspec.json.decode(msgspec.json.encode(state), type=ParserState)
        lines = memoryview(content)[start:end]
        parsed = parse(lines, offset=start, state=state, project_of="at {}".format, device="laptop")
        parts.append(list(parsed.limits))
    return parts


def told(thread: Thread) -> list[tuple[str, float, int, str]]:
    (found,) = limits_of(thread.content)
    return [(limit.limit_name, limit.used_percent, limit.window_minutes, limit.resets_at) for limit in found]


def test_both_windows_are_told_with_their_ends_at_the_time_of_the_record() -> None:
    thread = Thread(ERA["0.169.0"])
    telling(thread, limit_id="codex", primary=window(12.5, resets_at=1795380000), secondary=window(41, 10080))
    (found,) = limits_of(thread.content)
    told_at = thread.lines[-1]["timestamp"]
    assert found == [
        LimitObservation(
            source="codex",
            limit_name="five_hour",
            used_percent=12.5,
            window_minutes=300,
            # 1795380000 s since 1970
            resets_at="2026-11-22T20:40:00.000Z",
            observed_at=told_at,
            device="laptop",
        ),
        LimitObservation(
            source="codex",
            limit_name="seven_day",
            used_percent=41.0,
            window_minutes=10080,
            observed_at=told_at,
            device="laptop",
        ),
    ]


def test_a_version_that_tells_how_long_a_window_lasts_is_read_from_the_records_own_time() -> None:
    thread = Thread(ERA["0.42.0"])
    # it wrote a minute too little, and a time in seconds
    telling(thread, primary=window(0.0, 299, resets_in_seconds=2 * HOUR_S), secondary=window(7, 10079, resets_at=None))
    told_at = thread.lines[-1]["timestamp"]
    hour = int(told_at[11:13])
    ends = f"{told_at[:11]}{hour + 2:02}{told_at[13:]}"
    assert told(thread) == [("five_hour", 0.0, 300, ends), ("seven_day", 7.0, 10080, "")]


@pytest.mark.parametrize(
    ("limit_id", "slot", "minutes", "name"),
    [
        (None, "primary", 300, "five_hour"),
        ("codex", "primary", 10080, "seven_day"),
        ("codex", "secondary", 300, "five_hour"),
        ("codex", "primary", 43800, "43800_minutes"),
        ("codex_spark", "primary", 300, "codex_spark:five_hour"),
        ("codex_spark", "secondary", 60, "codex_spark:60_minutes"),
        ("codex", "primary", None, "primary"),
        ("codex", "secondary", 0, "secondary"),
        *(("codex", "secondary", no_length, "secondary") for no_length in ("300", -300, True, 300.0)),
    ],
)
def test_a_limit_is_named_by_its_length_and_not_by_its_place(
    limit_id: str | None, slot: str, minutes: Any, name: str
) -> None:
    thread = Thread(ERA["0.169.0"])
    telling(thread, limit_id=limit_id, **{slot: window(window_minutes=minutes)})
    assert [limit[0] for limit in told(thread)] == [name]


@pytest.mark.parametrize("rate_limits", [None, [], "x", {}, {"primary": None}, {"primary": []}, {"primary": {}}])
def test_what_tells_of_no_limit_is_passed_over(rate_limits: Any) -> None:
    thread = Thread(ERA["0.169.0"])
    thread.write("event_msg", {"type": "token_count", "info": None, "rate_limits": rate_limits})
    assert told(thread) == []


@pytest.mark.parametrize("used_percent", [None, "12", True, []])
def test_a_percentage_that_is_no_number_is_passed_over(used_percent: Any) -> None:
    thread = Thread(ERA["0.169.0"])
    telling(thread, primary=window(used_percent), secondary=window(5, 10080))
    assert [limit[:2] for limit in told(thread)] == [("seven_day", 5.0)]


@pytest.mark.parametrize("seconds", [10**300, -(10**300), "soon", True])
def test_an_end_that_is_no_time_is_unknown(seconds: Any) -> None:
    thread = Thread(ERA["0.169.0"])
    telling(thread, primary=window(resets_at=seconds), secondary=window(5, 10080, resets_in_seconds=seconds))
    assert [limit[3] for limit in told(thread)] == ["", ""]


def test_what_a_fork_copies_of_its_parent_is_not_told_again() -> None:
    parent = Thread(ERA["0.145.0"])
    parent.begin_turn()
    telling(parent, primary=window(90))
    parent.call(Call(10_004))
    child = parent.fork(number=2)
    child.begin_turn()
    telling(child, primary=window(3))
    assert [limit[1] for limit in told(child)] == [3.0]


@given(
    percents=st.lists(st.sampled_from([1, 2, 3]), min_size=1, max_size=12),
    cuts=st.lists(st.integers(0, 30), max_size=4),
)
def test_of_tellings_of_the_same_the_first_and_the_last_are_sent_however_the_file_is_cut(
    percents: list[int], cuts: list[int]
) -> None:
    thread = Thread(ERA["0.169.0"])
    for percent in percents:
        telling(thread, limit_id="codex", primary=window(percent, resets_at=1795380000))
    times = {percent: [] for percent in percents}
    for line, percent in zip(thread.lines[1:], percents, strict=True):
        times[percent].append(line["timestamp"])
    whole, sent = LimitFold(), LimitFold()
    for part in limits_of(thread.content, cuts=cuts):
        in_part = LimitFold()
        in_part.add(part)
        sent.add(in_part.take_all())
        whole.add(part)
    found = whole.take_all()
    assert sent.take_all() == found
    assert sorted((limit.used_percent, limit.observed_at) for limit in found) == sorted(
        (float(percent), time) for percent, told_at in times.items() for time in {told_at[0], told_at[-1]}
    )


def test_times_with_and_without_microseconds_are_told_apart() -> None:
    times = ("2026-11-22T10:00:00.001Z", "2026-11-22T10:00:00.001500Z", "2026-11-22T10:00:00.002Z")
    fold = LimitFold()
    fold.add(LimitObservation(source="x", limit_name="y", used_percent=1.0, observed_at=time) for time in times[1:])
    fold.add([LimitObservation(source="x", limit_name="y", used_percent=1.0, observed_at=times[0])])
    assert [limit.observed_at for limit in fold.take_all()] == [times[0], times[2]]
    assert len(fold) == 0
