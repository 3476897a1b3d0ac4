"""When a call happened: times as agents write them, and what stands in for a missing one."""

from __future__ import annotations

import pytest

from tests.corpus.claude_lines import line, only, read, written


def user(timestamp: object, **more: object) -> dict[str, object]:
    return {"type": "user", "message": {"content": 'x "timestamp":"y"'}, "timestamp": timestamp, **more}


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("2026-11-22T18:06:42Z", "2026-11-22T18:06:42.000Z"),
        ("2026-11-22T20:06:42.000+02:00", "2026-11-22T18:06:42.000Z"),
        ("2026-11-22T18:06:42.123456Z", "2026-11-22T18:06:42.123456Z"),
        ("2026-11-22T18:06:42.123000Z", "2026-11-22T18:06:42.123Z"),
        ("2026-11-22t18:06:42.5z", "2026-11-22T18:06:42.500Z"),
        ("2026-11-30T18:06:42.758Z", "2026-11-30T18:06:42.758Z"),
        ("2026-01-31T23:59:59.999Z", "2026-01-31T23:59:59.999Z"),
        ("2028-02-29T00:30:00.000Z", "2028-02-29T00:30:00.000Z"),
        ("2028-02-29T00:30:00.000+01:00", "2028-02-28T23:30:00.000Z"),
        ("1999-01-01T00:00:00.000Z", "1999-01-01T00:00:00.000Z"),
    ],
)
def test_a_time_is_kept_as_the_same_instant_in_utc(text: str, kept: str) -> None:
    observation = only(line(timestamp=text))
    assert (observation.occurred_at, observation.flags) == (kept, ())


@pytest.mark.parametrize(
    "timestamp",
    [
        None,
        1795370803802,
        "",
        "soon",
        "2026-02-30T00:00:00.000Z",
        "2027-02-29T00:00:00.000Z",
        "2026-04-31T00:00:00.000Z",
        "2026-11-22T25:06:42.000Z",
        "2026-11-22T18:06:42.000",
        "2026-11-22",
        "0001-01-01T00:00:00+05:00",
    ],
)
def test_an_unusable_time_is_replaced_by_the_one_of_the_record_before(timestamp: object) -> None:
    _, second = read(written(line(), line(timestamp=timestamp)))[0].observations
    assert (second.occurred_at, second.flags) == ("2026-11-22T18:06:44.758Z", ("time_inherited",))


@pytest.mark.parametrize("cuts", [[], [1], [2], [3], [4], [5], [1, 3, 5], range(7)])
def test_the_record_before_may_be_of_any_type_and_without_a_time_itself(cuts: list[int]) -> None:
    content = written(
        user("2026-11-22T10:00:00.000Z"),
        {"type": "summary", "summary": "x"},
        line(timestamp=None),
        line(timestamp=None),
        user("2026-11-22T10:00:05+00:00", toolUseResult={"timestamp": "2000-01-01T00:00:00Z"}),
        line(timestamp=None),
    )
    times = [observation.occurred_at for observation in read(content, cuts=cuts)[0].observations]
    assert times == ["2026-11-22T10:00:00.000Z"] * 2 + ["2026-11-22T10:00:05.000Z"]


def test_a_glued_record_takes_its_time_from_the_one_glued_in_front_of_it() -> None:
    glued = written(
        line(timestamp="2026-11-22T10:00:01.000Z"),
        line(timestamp="2026-11-22T10:00:02.000Z"),
        line(timestamp=None),
        line(timestamp=None),
    ).replace(b"\n", b"")
    content = written(user("2026-11-22T10:00:00.000Z")) + glued + b"\n" + written(line(timestamp=None))
    times = [observation.occurred_at[-6:] for observation in read(content)[0].observations]
    assert times == ["1.000Z", "2.000Z", "2.000Z", "2.000Z", "2.000Z"]


def test_a_record_without_any_time_before_it_is_rejected() -> None:
    content = written(line(timestamp=0), line(), line(timestamp=0))
    first, _, third = read(content)[0].observations
    assert (first.reject_reason, third.occurred_at) == ("no_time", "2026-11-22T18:06:44.758Z")
    assert read(content, cuts=[1]) == read(content)


def test_one_of_the_longest_lines_is_not_asked_for_its_time() -> None:
    content = written(user("2026-11-22T10:00:00.000Z"), user("2026-11-22T11:00:00.000Z", x="x" * 40_000))
    content += written(line(timestamp=None))
    assert read(content)[0].observations[0].occurred_at == "2026-11-22T10:00:00.000Z"
    assert read(content, cuts=[2]) == read(content)
