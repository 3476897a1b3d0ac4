"""The pure parts of the command line: numbers, money, labels, tables, ranges and sums as text."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick.cli.cells import (
    byte_size,
    cut_end,
    cut_start,
    dollars,
    grouped,
    label,
    short_ids,
    short_models,
    short_paths,
    width_of,
    wrapped,
)
from tallystick.cli.limits import age, window
from tallystick.cli.lookups import find_project
from tallystick.cli.options import parse_day, parse_last
from tallystick.cli.render import ONLY_WHEN_WIDE, Column, Kind, Line, Look, render_table
from tallystick.cli.report_notes import title_over
from tallystick.cli.report_tables import duration
from tallystick.cli.sample import write_sample
from tallystick.cli.terminal import COLOUR, PLAIN, Terminal
from tallystick.errors import InvalidRequest, NotFound
from tallystick.model import UsageFilter, UsageLimitRow, UsageRow
from tallystick.ranges import Last, since_of
from tallystick.redaction import one_line
from tallystick.reports import exact
from tallystick.totals import add_exactly, add_up


def usage_row(*, cost_usd: Decimal | None, unpriced_event_count: int = 0) -> UsageRow:
    return UsageRow(None, None, None, None, "m", None, 1, 1, 1, unpriced_event_count, 1, 2, 0, 3, 4, 0, cost_usd)


@pytest.mark.parametrize(
    ("cost_usd", "text"),
    [
        (None, "unpriced"),
        (Decimal(0), "$0.00"),
        (Decimal("0.00000001"), "<$0.0001"),
        (Decimal("0.0042"), "$0.0042"),
        (Decimal("0.00999"), "$0.0100"),
        (Decimal("0.01"), "$0.01"),
        (Decimal("0.125"), "$0.13"),
        (Decimal("1234567.891"), "$1,234,567.89"),
        (Decimal("-0.5"), "-$0.50"),
        (Decimal("1E+3"), "$1,000.00"),
    ],
)
def test_money_has_two_decimals_and_little_does_not_look_like_nothing(cost_usd: Decimal | None, text: str) -> None:
    assert dollars(cost_usd) == text


@given(st.decimals(min_value=0, max_value=10**9, allow_nan=False, places=12))
def test_exact_money_is_the_same_number_without_exponent_or_idle_zeros(amount: Decimal) -> None:
    text = exact(amount)
    assert Decimal(text) == amount
    assert "E" not in text
    assert "." not in text or not text.endswith("0")


@given(st.lists(st.decimals(min_value=0, max_value=10**15, allow_nan=False, places=18), max_size=30))
def test_sums_of_costs_keep_every_digit(costs: list[Decimal]) -> None:
    assert Fraction(add_exactly(*costs)) == sum(Fraction(cost) for cost in costs)


def test_totals_are_unpriced_only_where_nothing_is_priced() -> None:
    unpriced = usage_row(cost_usd=None, unpriced_event_count=1)
    assert add_up([unpriced, unpriced]).cost_usd is None
    assert add_up([unpriced, usage_row(cost_usd=Decimal("0.10"))]).cost_usd == Decimal("0.1")
    assert add_up([]).cost_usd == 0


def test_small_things_read_as_people_write_them() -> None:
    assert grouped(1234567) == "1,234,567"
    assert [byte_size(count) for count in (0, 1023, 1536, 1 << 30)] == ["0 B", "1023 B", "1.5 KiB", "1.0 GiB"]
    assert [duration(timedelta(minutes=minutes)) for minutes in (60, 90, 24 * 60 + 61)] == [
        "1 h",
        "1 h 30 min",
        "1 d 1 h",
    ]
    assert label(None) == "(unknown)"
    assert label("a\x1b[31mb\nc") == "a?[31mb?c"


def test_ids_are_as_short_as_they_can_be_told_apart() -> None:
    ids = ["aaaaaaaa-1", "aaaaaaaa-2", "bbbbbbbb-1", "bbbbbbbb-1"]
    assert short_ids(ids) == {"aaaaaaaa-1": "aaaaaaaa-1", "aaaaaaaa-2": "aaaaaaaa-2", "bbbbbbbb-1": "bbbbbbbb"}
    assert short_paths(["/a/shop", "/b/shop", "/b/web"]) == {"/a/shop": "a/shop", "/b/shop": "b/shop", "/b/web": "web"}
    assert short_models(["m-1-20250101", "n-2-20250101", "n-2"]) == {
        "m-1-20250101": "m-1",
        "n-2-20250101": "n-2-20250101",
        "n-2": "n-2",
    }


@given(st.lists(st.text("ab", min_size=1, max_size=12), min_size=1, max_size=12))
def test_a_shortened_id_names_no_other(ids: list[str]) -> None:
    for whole, short in short_ids(ids, least=2).items():
        assert whole.startswith(short)
        assert short == whole or [other for other in set(ids) if other.startswith(short)] == [whole]


@given(st.text(max_size=40), st.integers(2, 40))
def test_cut_text_fits(text: str, width: int) -> None:
    for cut in (cut_end(text, width), cut_start(text, width)):
        assert width_of(cut) <= width


def test_wide_signs_count_twice_and_a_path_is_cut_at_its_start() -> None:
    assert width_of("日本語ab") == 8
    assert cut_end("日本語ab", 6) == "日本…"
    assert cut_start("/home/ann/shop", 9) == "…ann/shop"
    assert cut_start("  /home/ann/shop", 9) == "  …n/shop"


@given(st.text("ab ", max_size=200), st.integers(20, 60))
def test_wrapped_lines_fit_and_lose_nothing_that_fits(text: str, width: int) -> None:
    lines = wrapped(text, width=width, indent="  ")
    assert all(width_of(line) <= width for line in lines)
    if all(len(word) < width - 2 for word in text.split()):
        assert " ".join(" ".join(lines).split()) == " ".join(text.split())


COLUMNS = [
    Column("Date", Kind.LABEL),
    Column("Extra", rank=ONLY_WHEN_WIDE),
    Column("Input", rank=2),
    Column("Output", rank=1),
    Column("Cost"),
]


@given(
    st.lists(st.tuples(st.text(max_size=60), *[st.integers(0, 10**15).map(grouped)] * 4), max_size=6),
    st.integers(40, 200),
)
def test_a_table_fits_whatever_stands_in_it(rows: list[tuple[str, ...]], width: int) -> None:
    lines = [Line((label(row[0]), *row[1:])) for row in rows]
    table = render_table(COLUMNS, [*lines, Line(("Total", "", "1", "2", "3"), Look.TOTAL)], width=width, palette=PLAIN)
    assert all(width_of(line) <= width for line in table.lines)
    assert "Extra" not in table.left_out
    assert "Cost" in table.lines[0]


def test_numbers_stand_to_the_right_and_columns_go_by_their_rank() -> None:
    lines = [Line(("a long label of a row", "1", "22", "333", "4,444"))]
    assert render_table(COLUMNS, lines, width=80, palette=PLAIN).lines[2] == (
        "a long label of a row      1     22     333  4,444"
    )
    narrow = render_table(COLUMNS, lines, width=28, palette=PLAIN)
    assert narrow.lines[0] == "Date           Output   Cost"
    assert narrow.lines[2] == "a long label…     333  4,444"
    assert narrow.left_out == ["Input"]


def test_colour_is_closed_on_every_line() -> None:
    lines = [Line(("a", "1", "2", "3", "4"), Look.HEADING), Line(("b", "1", "2", "3", "4"), Look.TOTAL)]
    for line in render_table(COLUMNS, lines, width=80, palette=COLOUR).lines:
        assert ("\x1b[" in line) is line.endswith("\x1b[0m")


@pytest.mark.parametrize(
    ("last", "period", "since"),
    [
        ("1d", "day", date(2026, 11, 22)),
        ("7d", "day", date(2026, 11, 16)),
        ("4w", "day", date(2026, 10, 26)),
        ("1m", "day", date(2026, 10, 23)),
        ("3m", "day", date(2026, 8, 23)),
        # whole periods in the reports by week and month: 22 November 2026 is a Sunday
        ("1w", "week", date(2026, 11, 16)),
        ("4w", "week", date(2026, 10, 26)),
        ("1m", "month", date(2026, 11, 1)),
        ("12m", "month", date(2025, 12, 1)),
        ("10d", "month", date(2026, 11, 13)),
        ("9999m", "day", date(1193, 8, 23)),
    ],
)
def test_last_goes_back_from_today(last: str, period: str, since: date) -> None:
    assert since_of(parse_last(last), today=date(2026, 11, 22), period=period, week_start=1) == since


def test_last_weeks_start_on_the_day_asked_for_and_short_months_are_whole() -> None:
    today = date(2026, 11, 22)
    assert since_of(Last(1, "w"), today=today, period="week", week_start=7) == today
    assert since_of(Last(2, "w"), today=today, period="week", week_start=3) == date(2026, 11, 11)
    assert since_of(Last(1, "m"), today=date(2026, 3, 31), period="day", week_start=1) == date(2026, 3, 1)
    assert since_of(Last(1, "m"), today=date(2026, 1, 15), period="day", week_start=1) == date(2025, 12, 16)
    assert since_of(Last(9999, "w"), today=date(100, 1, 1), period="day", week_start=1) == date.min


@pytest.mark.parametrize("text", ["2026-1-1", "20261101", "2026-W01-1", "٢٠٢٦-11-01", "2026-02-30", "", "today"])
def test_a_day_is_written_in_one_way_only(text: str) -> None:
    with pytest.raises(click.BadParameter):
        parse_day(text)


def test_errors_are_one_line_without_passwords() -> None:
    assert one_line("it broke.\nbadly", "mend it") == "it broke. badly. Mend it"
    assert one_line("what now?", "This.") == "what now? This."
    assert one_line("no postgresql://me:s3cret@h/d") == "no postgresql://me:***@h/d"


def test_a_title_names_what_is_unknown_too() -> None:
    terminal = Terminal(width=80, palette=PLAIN, has_unicode=True, is_interactive=False)
    usage = UsageFilter(time_zone="UTC", models=["", "opus"])
    assert title_over("Usage by model", usage, terminal=terminal)[0] == "Usage by model, (unknown), opus (UTC)"


def test_a_project_is_found_by_path_name_or_not_at_all() -> None:
    known = ["/a/shop", "/b/shop", "/b/web", ""]
    roots = {"/b/web/src": "/b/web"}

    def find(wanted: str) -> str:
        return find_project(wanted, known=known, root_of=lambda path: roots.get(path, path))

    assert find("web") == find("/b/web/src") == find("/b/web") == "/b/web"
    assert find("(unknown)") == ""
    with pytest.raises(InvalidRequest, match="/a/shop, /b/shop"):
        find("shop")
    with pytest.raises(NotFound):
        find("/a")


def test_the_sample_is_small_recent_and_the_same_every_time(tmp_path_factory: pytest.TempPathFactory) -> None:
    today = date(2026, 11, 22)
    folders = [tmp_path_factory.mktemp("sample") for _ in range(2)]
    counts = [write_sample(folder, today=today) for folder in folders]
    texts = [
        {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*.jsonl")} for folder in folders
    ]
    assert texts[0] == texts[1]
    assert len(texts[0]) == counts[0] > 10
    assert sum(map(len, texts[0].values())) < 1 << 20
    assert '"timestamp":"2026-11-21T' in "".join(texts[0].values())
    assert '"timestamp":"2026-11-22T' not in "".join(texts[0].values())


NOW = datetime(2026, 11, 22, 18, 6, tzinfo=UTC)


@pytest.mark.parametrize(
    ("limit_name", "window_minutes", "text"),
    [
        ("five_hour", 300, "5 hours"),
        ("seven_day", 10080, "7 days"),
        ("43800_minutes", 43800, "30 d 10 h"),
        ("7_minutes", None, "7_minutes"),
        ("primary", 60, "primary"),
        ("codex_spark:five_hour", 300, "codex_spark: 5 hours"),
        ("codex_spark:60_minutes", 60, "codex_spark: 1 h"),
        ("codex_spark:primary", None, "codex_spark: primary"),
    ],
)
def test_a_window_is_named_by_its_length(limit_name: str, window_minutes: int | None, text: str) -> None:
    assert window(UsageLimitRow("codex", limit_name, Decimal(1), window_minutes, None, NOW)) == text


@pytest.mark.parametrize(("seconds", "text"), [(0, "just now"), (59, "just now"), (60, "1 min ago"), (3600, "1 h ago")])
def test_how_long_ago_a_limit_was_told_is_said_from_a_minute_on(seconds: int, text: str) -> None:
    row = UsageLimitRow("codex", "five_hour", Decimal(1), 300, None, NOW - timedelta(seconds=seconds))
    assert age(row, now=NOW) == text
