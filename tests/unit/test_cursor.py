"""Cursor's exports: headers of every kind, columns that lie beside each other, and a call that is in two files."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick.catalog import layout_of
from tallystick.sources import cursor
from tallystick.sources.formats import NotWhole
from tests.corpus.cursor import FIRST_HEADER, HEADER, TEAM_HEADER, export, row
from tests.corpus.histories import make_calls
from tests.corpus.reading_documents import Outcome, read_document, tokens_of

CALL = make_calls(1, 1)[0]


def read(*rows: str, header: str = HEADER) -> Outcome:
    return read_document(cursor, export(rows, header), "/home/ann/usage-events.csv")


def test_a_row_is_a_call() -> None:
    call = read(row(CALL)).only
    assert (call.occurred_at, call.model) == (CALL.at_text, "claude-4.5-sonnet-thinking")
    assert (call.grain, call.provider, call.session_id, call.flags) == ("import", "", "", ("no_cwd",))
    assert call.reported_cost_usd == Decimal("0.25")
    assert tokens_of(call) == CALL.tokens


@pytest.mark.parametrize("header", [FIRST_HEADER, HEADER, TEAM_HEADER, TEAM_HEADER.replace("Cost", "Requests")])
def test_a_call_is_the_same_under_every_header(header: str) -> None:
    call = read(row(CALL, header), header=header).only
    assert (call.event_key, tokens_of(call)) == (read(row(CALL)).only.event_key, CALL.tokens)


def test_columns_are_known_by_name_in_any_order() -> None:
    header = ",".join(reversed(HEADER.split(",")))
    assert read(row(CALL, header), header=header).only == read(row(CALL)).only


def test_an_agent_in_the_cloud_is_the_session() -> None:
    changes = {"Cloud Agent ID": "bc-7", "User": "ann@example.com"}
    call = read(row(CALL, TEAM_HEADER, **changes), header=TEAM_HEADER).only
    assert (call.session_id, call.event_key) == ("bc-7", read(row(CALL)).only.event_key)


# by hand: the two columns and the rest are the total, or the first column and the rest are
@pytest.mark.parametrize(
    ("with_write", "without_write", "total", "input_tokens", "written"),
    [
        pytest.param("55747", "14237", "1614758", 14237, 55747, id="side by side"),
        pytest.param("0", "14237", "1559011", 14237, 0, id="nothing written, as by models of OpenAI"),
        pytest.param("55747", "14237", "1600521", 14237, 41510, id="one within the other, as the total says"),
        pytest.param("14237", "14237", "1559011", 14237, 0, id="one within the other and the same"),
        pytest.param("22006", "0", "1566780", 0, 22006, id="all written"),
        pytest.param("55747", "14237", "", 14237, 55747, id="no total"),
    ],
)
def test_the_total_says_whether_one_input_contains_the_other(
    with_write: str, without_write: str, total: str, input_tokens: int, written: int
) -> None:
    columns = {"Input (w/ Cache Write)": with_write, "Input (w/o Cache Write)": without_write, "Total Tokens": total}
    call = read(row(CALL, **columns, **{"Cache Read": "1529932", "Output Tokens": "14842"})).only
    assert tokens_of(call) == (input_tokens, written, 1529932, 14842)


@pytest.mark.parametrize(
    ("text", "cost"),
    [
        ("Included", None),
        ("Free", None),
        ("-", None),
        ("", None),
        ("NaN", None),
        ("Infinity", None),
        ("-3", None),
        ("0", Decimal(0)),
        ("$0.00", Decimal("0.00")),
        ("1.78", Decimal("1.78")),
        ("$1,234.50", Decimal("1234.50")),
    ],
)
def test_a_cost_that_is_no_money_is_unknown(text: str, cost: Decimal | None) -> None:
    assert read(row(CALL, Cost=text)).only.reported_cost_usd == cost


@pytest.mark.parametrize(
    ("text", "count"), [("8000", 8000), ("8,000", 8000), ("1,529,932", 1529932), ("", 0), ("-", 0), (" 7 ", 7)]
)
def test_a_count_may_be_grouped_or_left_out(text: str, count: int) -> None:
    call = read(row(CALL, **{"Cache Read": text, "Total Tokens": ""})).only
    assert (call.cache_read_tokens, call.flags) == (count, ("no_cwd",))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("1.5", "not_an_integer"),
        ("8,00", "not_an_integer"),
        ("many", "not_an_integer"),
        ("9" * 20, "too_large"),
        ("9" * 9999, "too_large"),
    ],
)
def test_a_count_that_is_none_rejects_its_row_and_no_other(text: str, reason: str) -> None:
    outcome = read(row(CALL, **{"Output Tokens": text}), row(CALL))
    assert [why for _, why in outcome.rejects] == [reason]
    assert tokens_of(outcome.calls[0]) == CALL.tokens


@pytest.mark.parametrize(
    ("date", "kept"),
    [
        ("2026-09-01T10:00:00.5+02:00", "2026-09-01T08:00:00.500Z"),
        ("2026-09-01T08:00:00Z", "2026-09-01T08:00:00.000Z"),
        ("2026-09-01 08:00:00", None),
        ("2026-09-01", None),
        ("Sep 1, 2026", None),
        ("", None),
    ],
)
def test_a_date_that_is_no_instant_rejects_its_row(date: str, kept: str | None) -> None:
    outcome = read(row(CALL, Date=date))
    assert [call.occurred_at for call in outcome.calls] == ([kept] if kept else [])
    assert [why for _, why in outcome.rejects] == ([] if kept else ["no_time"])


@pytest.mark.parametrize("kind", ["Errored, No Charge", "Aborted, Not Charged", "errored, no charge"])
def test_what_was_not_charged_is_no_call(kind: str) -> None:
    outcome = read(row(CALL, Kind=kind), row(CALL, Kind="User API Key"))
    assert (len(outcome.calls), outcome.state.line_counts) == (1, {"(not charged)": 1})


def test_a_row_without_tokens_is_no_call() -> None:
    names = ("Input (w/ Cache Write)", "Input (w/o Cache Write)", "Cache Read", "Output Tokens")
    outcome = read(row(CALL, **dict.fromkeys(names, "0")))
    assert (outcome.calls, outcome.state.line_counts) == ([], {"(no usage)": 1})


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"\xef\xbb\xbf" + export([row(CALL)]), id="byte order mark"),
        pytest.param(export([row(CALL)]).replace(b"\n", b"\r\n") + b"\r\n", id="crlf"),
        pytest.param(export([row(CALL), "", " , "]) + b"\n\n", id="blank rows"),
        pytest.param(export([row(CALL).replace('"', "")]), id="no quotes"),
        pytest.param(export([row(CALL)], HEADER.replace("Max Mode", '"Max\nMode\xff"')), id="a header of two lines"),
        pytest.param(export([row(CALL)]).replace(b'"No"', b'"N\xffo"'), id="invalid UTF-8"),
        pytest.param(export([row(CALL)]) + bytes(512), id="NULs behind it"),
    ],
)
def test_an_export_may_be_written_in_many_ways(content: bytes) -> None:
    assert tokens_of(read_document(cursor, content, "/home/ann/usage.csv").only) == CALL.tokens


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "no column 'Date'"),
        (b"name;tokens\nann;5\n", "no column 'Date'"),
        (b"Date,Model,Tokens\n2026-09-01,x,5\n", r"no column 'Input \(w/ Cache Write\)'"),
        (export([row(CALL)]).decode().encode("utf-16"), "UTF-16"),
        (export([row(CALL)])[:-3], "not CSV"),
    ],
)
def test_a_file_that_is_no_export_is_one_clear_problem(content: bytes, why: str) -> None:
    with pytest.raises(NotWhole, match=why):
        read_document(cursor, content, "/home/ann/usage.csv")


@pytest.mark.parametrize("behind", [[""], [row(CALL)]])
def test_a_row_that_ends_too_early_is_rejected(behind: list[str]) -> None:
    whole = row(CALL).replace('"', "")
    outcome = read(whole, whole[: whole.rindex(",")], *behind)
    assert (len(outcome.calls), outcome.rejects) == (1 + behind.count(row(CALL)), [("cursor:3", "short_row")])


def test_an_export_whose_last_row_ends_too_early_is_not_read() -> None:
    whole = row(CALL).replace('"', "")
    with pytest.raises(NotWhole, match="the last row ends too early"):
        read(whole, whole[: whole.rindex(",")])


@given(st.data())
def test_a_call_in_two_exports_is_one_in_whatever_order_they_list_it(data: st.DataObject) -> None:
    """Equal rows are of one moment, so that an export has all of them or none."""
    calls = make_calls(2, 8)
    times = {call.number: data.draw(st.integers(1, 3)) for call in calls}
    everything = {seen.event_key: seen for seen in read(*(row(c) for c in calls for _ in range(times[c.number]))).calls}
    assert len(everything) == sum(times.values())
    met: dict[str, object] = {}
    for start, end in ((0, 5), (3, 8)):
        part = [row(call) for call in calls[start:end] for _ in range(times[call.number])]
        met |= {seen.event_key: seen for seen in read(*data.draw(st.permutations(part))).calls}
    assert met == everything


@pytest.mark.parametrize("name", ["usage-events-2026-09-30.csv", "Usage.csv", "team-usage-events-1-2026.csv"])
def test_an_export_is_known_by_its_name(name: str) -> None:
    assert layout_of(f"/home/ann/Downloads/{name}").source == "cursor"
    assert layout_of("/home/ann/Downloads/mine.csv", "cursor").source == "cursor"


@pytest.mark.parametrize(
    "changes", [{"Date": "2026-09-09T08:00:00Z"}, {"Model": "auto"}, {"Output Tokens": "1"}, {"Cache Read": "1"}]
)
def test_calls_that_differ_in_what_every_header_has_are_two(changes: dict[str, str]) -> None:
    keys = {
        key.rpartition(":")[0] for key in (read(row(CALL)).only.event_key, read(row(CALL, **changes)).only.event_key)
    }
    assert len(keys) == 2


def test_a_cost_in_dollars_is_read_under_its_other_name() -> None:
    header = HEADER.replace("Cost", "Cost ($)")
    assert read(row(CALL, header, **{"Cost ($)": "3"}), header=header).only.reported_cost_usd == 3
