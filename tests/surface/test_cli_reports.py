"""Reports, as processes print them, against figures computed by hand."""

from __future__ import annotations

import csv
import io
import json
import os
import pty
import re
import subprocess
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pytest

from tallystick.model import BlockRow, SessionEventRow, SessionRow, UsageRow

if TYPE_CHECKING:
    from tests.surface.cli_home import Tally

pytest_plugins = "tests.surface.cli_home"

LISTS = {
    "daily": ("days", UsageRow),
    "weekly": ("weeks", UsageRow),
    "monthly": ("months", UsageRow),
    "sessions": ("sessions", SessionRow),
    "session 1a000000": ("events", SessionEventRow),
    "models": ("models", UsageRow),
    "projects": ("projects", UsageRow),
    "blocks": ("blocks", BlockRow),
}
OTHER_BREAKDOWNS = (
    *("daily --by project", "weekly --by session", "models --by source", "sessions --by project"),
    *("daily --by device", "sessions --by device", "blocks --by device", "session 1a000000 --by device"),
)


def local_day(time: str, zone: str = "Europe/Berlin") -> str:
    return str(datetime.fromisoformat(time).astimezone(ZoneInfo(zone)).date())


def test_daily_figures_are_those_of_the_transcripts(books: Tally, truth: Any) -> None:
    document = books.json("daily")
    assert document["totals"] == truth.expected(truth.CALLS)
    days = {day["period_start"]: day for day in document["days"]}
    assert list(days) == ["2026-11-02", "2026-11-03", "2026-11-08", "2026-11-20"]
    for name, day in days.items():
        calls = [call for call in truth.CALLS if local_day(call.time) == name]
        assert truth.expected(calls).items() <= day.items()
        assert (day["session_count"], day["event_count"]) == (1, len(calls))


def test_a_cost_is_a_decimal_string_to_the_last_digit(books: Tally, truth: Any) -> None:
    (event, *_) = books.json("session", "1a000000")["events"]
    assert event["cost_usd"] == "0.041375"
    assert Decimal(event["cost_usd"]) == truth.CALLS[0].cost_usd


@pytest.mark.parametrize("label", ["model", "project", "source", "session", "device"])
def test_the_parts_of_a_breakdown_sum_to_the_whole(label: str, books: Tally, truth: Any) -> None:
    document = books.json("monthly", "--by", label)
    column = "session_id" if label == "session" else label
    assert document["by"] == label
    assert document["totals"] == truth.expected(truth.CALLS)
    assert len({row[column] for row in document["months"]}) == {"source": 1, "device": 1}.get(label, 3)


@pytest.mark.parametrize("command", LISTS)
def test_json_and_csv_have_the_columns_of_the_ledger(command: str, books: Tally) -> None:
    name, row_class = LISTS[command]
    document = books.json(*command.split(), "--no-import")
    assert set(document) == {name, "totals", "unpriced_models", "range", "time_zone", "by"}
    assert document["range"] == {"since": None, "until": None}
    assert document["time_zone"] == "Europe/Berlin"
    rows = document[name]
    assert rows
    assert all(tuple(row) == row_class._fields for row in rows)
    table = list(csv.DictReader(io.StringIO("\n".join(books.lines(*command.split(), "--csv", "--no-import")))))
    assert [row["cost_usd"] for row in table] == [row["cost_usd"] or "" for row in rows]
    assert [row["output_tokens"] for row in table] == [str(row["output_tokens"]) for row in rows]


@pytest.mark.parametrize("arguments", [*LISTS, *(f"{command} --by model" for command in LISTS), *OTHER_BREAKDOWNS])
def test_no_line_of_a_report_is_wider_than_80_columns(arguments: str, books: Tally) -> None:
    lines = books.lines(*arguments.split(), "--no-import")
    assert max(map(len, lines)) <= 80
    assert any("API-equivalent" in line for line in lines)
    assert not any("\x1b" in line for line in lines)


def test_the_daily_table_reads_as_it_should(books: Tally) -> None:
    lines = books.lines("daily", "--no-import", "--until", "2026-11-08", environ={"COLUMNS": "100"})
    assert [line.rstrip() for line in lines] == [
        "Daily usage until 2026-11-08 (Europe/Berlin)",
        "",
        "Date        Sessions  Messages  Input  Output  Thinking  Cache write  Cache read  Searches      Cost",
        "──────────  ────────  ────────  ─────  ──────  ────────  ───────────  ──────────  ────────  ────────",
        "2026-11-02         1         2  1,207   2,850       740        2,500     101,000         2    $0.16",
        "2026-11-03         1         1     30      80         0            0       1,000         0  $0.0005",
        "2026-11-08         1         3  1,021   2,242         0          499       3,333         0  $0.0021*",
        "──────────  ────────  ────────  ─────  ──────  ────────  ───────────  ──────────  ────────  ────────",
        "Total                        6  2,258   5,172       740        2,999     105,333         2    $0.17*",
        "",
        "Cost is the API-equivalent price: what the calls cost at list prices.",
        "* Unpriced, its tokens counted but not its cost: acme-large-1 (2 events).",
    ]


def test_a_breakdown_shows_each_group_with_its_parts_below(books: Tally) -> None:
    lines = books.lines("projects", "--no-import", "--by", "model")
    assert [line.split()[0] for line in lines if re.match(r" *[/ac]", line)] == [
        "/nowhere/ann/shop",
        "claude-haiku-4-5",
        "claude-opus-4-8",
        "/nowhere/ann/shop-api",
        "acme-large-1",
        "claude-haiku-4-5",
        "/nowhere/ben/notes",
        "claude-opus-4-8",
    ]
    (heading,) = [line for line in lines if line.startswith("/nowhere/ann/shop ")]
    assert heading.split()[1:] == ["1,237", "2,930", "2,500", "102,000", "$0.16"]


def test_an_unpriced_model_is_named_with_its_events_and_is_not_zero(books: Tally) -> None:
    lines = books.lines("daily", "--no-import")
    assert any("acme-large-1 (2 events)" in line for line in lines)
    document = books.json("models", "--no-import")
    (unpriced,) = [row for row in document["models"] if row["model"] == "acme-large-1"]
    assert unpriced["cost_usd"] is None
    assert unpriced["output_tokens"] == 2020
    assert document["unpriced_models"] == [{"model": "acme-large-1", "unpriced_event_count": 2}]
    assert books.json("daily", "--no-import", "--model", "acme-large-1")["totals"]["cost_usd"] is None
    (line,) = [line for line in books.lines("models", "--no-import") if line.startswith("acme-large-1")]
    assert line.rstrip().endswith("unpriced")


def test_a_range_takes_both_of_its_days(books: Tally, truth: Any) -> None:
    document = books.json("daily", "--no-import", "--since", "2026-11-03", "--until", "2026-11-08")
    assert document["range"] == {"since": "2026-11-03", "until": "2026-11-08"}
    assert document["totals"] == truth.expected(truth.CALLS[2:6])


def test_last_ends_today_in_the_zone_of_the_report(books: Tally) -> None:
    zone = ZoneInfo("Pacific/Auckland")
    before = datetime.now(zone).date()
    document = books.json("daily", "--no-import", "--last", "7d", "--timezone", "Pacific/Auckland")
    assert document["range"]["until"] in {str(before), str(datetime.now(zone).date())}
    since, until = (datetime.fromisoformat(document["range"][end]) for end in ("since", "until"))
    assert (until - since).days == 6


def test_the_day_is_that_of_the_zone_asked_for(books: Tally) -> None:
    days = books.json("daily", "--no-import", "--timezone", "UTC", "--until", "2026-11-02")["days"]
    assert [day["event_count"] for day in days] == [3]
    events = books.lines("session", "1a000000", "--no-import", "--timezone", "Asia/Tokyo")
    assert any(line.startswith("2026-11-03 08:30:00") for line in events)
    assert len(books.json("session", "1a000000", "--no-import", "--until", "2026-11-02")["events"]) == 2


def test_a_week_starts_on_the_day_asked_for(books: Tally) -> None:
    mondays = books.json("weekly", "--no-import")["weeks"]
    sundays = books.json("weekly", "--no-import", "--week-start", "Sunday")["weeks"]
    assert [week["period_start"] for week in mondays] == ["2026-11-02", "2026-11-16"]
    assert [week["period_start"] for week in sundays] == ["2026-11-01", "2026-11-08", "2026-11-15"]


def test_a_project_is_named_by_its_path_or_its_last_part(books: Tally, truth: Any) -> None:
    for name in ("shop", truth.SHOP):
        assert books.json("daily", "--no-import", "--project", name)["totals"] == truth.expected(truth.CALLS[:3])
    both = books.json("daily", "--no-import", "--project", "shop", "--project", "notes")["totals"]
    assert both == truth.expected([*truth.CALLS[:3], truth.CALLS[6]])
    assert books.fail("daily", "--no-import", "--project", "nothing") == (
        "tally: the ledger has no project nothing. `tally projects` lists the ones it has."
    )


def test_a_model_is_named_with_or_without_its_date(books: Tally, truth: Any) -> None:
    calls = [call for call in truth.CALLS if call.model == truth.HAIKU]
    for name in (truth.HAIKU, "claude-haiku-4-5"):
        assert books.json("daily", "--no-import", "--model", name)["totals"] == truth.expected(calls)
    assert "no model gpt" in books.fail("daily", "--no-import", "--model", "gpt")


def test_two_machines_on_one_ledger_are_told_apart_by_device(own: Tally, truth: Any) -> None:
    here = own.json("daily", "--by", "device", "--no-import")["days"][0]["device"]
    own.claude.rename(own.folder / "of-the-laptop")
    call = truth.Call("6a000000-1", truth.SHOP, truth.HAIKU, "2026-11-02T10:00:00Z", 1000, 20, 0)
    truth.write_transcripts(own.claude, [call], first_number=100)
    with (own.home / "config" / "config.toml").open("a", encoding="utf-8") as settings:
        settings.write('device = "desk"\n')
    own.run("import")
    of_day = own.json("daily", "--by", "device", "--no-import", "--until", "2026-11-02")["days"]
    assert [(row["device"], row["message_count"]) for row in of_day] == sorted([("desk", 1), (here, 2)])
    only = own.json("models", "--device", "desk", "--no-import")
    assert only["totals"] == truth.expected([call])
    both = own.json("sessions", "--device", "desk", "--device", here, "--no-import")
    assert both["totals"] == truth.expected([*truth.CALLS, call])
    assert own.lines("daily", "--device", "(unknown)", "--no-import") == ["No usage that fits these options."]
    headings = own.lines("daily", "--device", "desk", "--by", "device", "--no-import")
    assert headings[0] == "Daily usage, desk (Europe/Berlin)"
    assert any(line.split()[0] == "desk" for line in headings[3:] if line)


def test_a_session_is_named_by_its_beginning(books: Tally, truth: Any) -> None:
    assert books.json("session", "2a000000", "--no-import")["totals"] == truth.expected(truth.CALLS[3:6])
    assert "no session 'ffff'" in books.fail("session", "ffff", "--no-import")


def test_the_block_that_still_runs_says_so(own: Tally, truth: Any) -> None:
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    truth.write_transcripts(
        own.claude, [truth.Call("8a000000-1", truth.SHOP, truth.OPUS, now, 1, 2, 3)], first_number=100
    )
    lines = [line for line in own.lines("blocks") if re.match(r" *(\d{4}|pause)", line)]
    assert [" now " in line for line in lines] == [False] * (len(lines) - 1) + [True]
    assert lines[1].strip().startswith("pause of ")
    blocks = own.json("blocks", "--no-import")["blocks"]
    assert [block["is_active"] for block in blocks][-1] is True
    assert sum(block["event_count"] for block in blocks if block["is_gap"]) == 0


def test_a_report_takes_in_what_is_new_unless_told_not_to(own: Tally, truth: Any) -> None:
    more = truth.Call(truth.THIRD, truth.NOTES, truth.OPUS, "2026-11-21T10:00:00Z", 5, 6, 7)
    before = own.json("daily")["totals"]
    truth.add_line(
        own.claude,
        truth.THIRD,
        {
            "type": "assistant",
            "timestamp": more.time,
            "sessionId": more.session_id,
            "requestId": "req_new",
            "cwd": more.project,
            "message": {
                "id": "msg_01CliTestNew00001",
                "model": more.model,
                "stop_reason": "end_turn",
                "usage": {"input_tokens": 5, "output_tokens": 6, "cache_read_input_tokens": 7},
            },
        },
    )
    assert own.json("daily", "--no-import")["totals"] == before
    assert own.json("daily")["totals"] == truth.expected([*truth.CALLS, more])


def test_a_problem_of_the_import_is_one_line_and_the_report_still_comes(own: Tally) -> None:
    broken = own.claude / "projects" / "-nowhere" / "gone.jsonl"
    broken.symlink_to("gone.jsonl")
    checkpoints = own.home / "state" / "checkpoints.sqlite3"
    checkpoints.unlink(missing_ok=True)
    checkpoints.mkdir(parents=True)
    done = own.run("daily")
    assert "2026-11-02" in done.stdout
    (line,) = done.stderr.splitlines()
    assert line.startswith("tally: what is new was not taken in: ")


def test_a_ledger_without_usage_says_so(empty: Tally) -> None:
    assert empty.lines("daily") == ["No usage recorded yet. `tally doctor` shows where transcripts are looked for."]
    document = empty.json("daily")
    assert document["days"] == []
    assert document["totals"]["cost_usd"] == "0"
    assert document["totals"]["message_count"] == 0


def test_a_range_without_usage_says_so(books: Tally) -> None:
    assert books.lines("daily", "--no-import", "--until", "2026-01-01") == [
        "No usage until 2026-01-01 that fits these options."
    ]


def test_a_source_that_nobody_has_used_is_told_with_those_that_somebody_has(own: Tally) -> None:
    (line,) = own.lines("daily", "--source", "nope", "--no-import")
    assert line == "No usage is recorded from nope. There is some from: claude-code."


def on_a_terminal(tally: Tally, *arguments: str, environ: dict[str, str]) -> str:
    """What `tally` writes to a terminal of 100 columns."""
    leader, follower = pty.openpty()
    subprocess.run(["stty", "cols", "100", "rows", "50"], stdin=follower, check=True)
    process = tally.start(*arguments, environ={"COLUMNS": "", "TERM": "xterm", **environ}, stdout=follower)
    os.close(follower)
    written = b""
    try:
        while data := os.read(leader, 65536):
            written += data
    except OSError:  # how Linux says that the other end is closed
        pass
    process.communicate()
    assert process.returncode == 0
    return written.decode()


@pytest.mark.parametrize(("environ", "has_colour"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)])
def test_colour_shows_on_a_terminal_that_wants_it(books: Tally, environ: dict[str, str], has_colour: bool) -> None:
    text = on_a_terminal(books, "daily", "--no-import", environ=environ)
    assert ("\x1b[1m" in text) is has_colour
    # a terminal of 100 columns has room for one that 80 have not
    assert "Thinking" in text


def test_output_that_is_not_unicode_gets_plain_signs(books: Tally) -> None:
    lines = books.lines("daily", "--no-import", environ={"PYTHONIOENCODING": "ascii"})
    assert "----------" in lines[3]
    assert all(line.isascii() for line in lines)


def test_labels_cannot_move_the_cursor_and_are_exact_in_a_file(own: Tally, truth: Any) -> None:
    names = {"project": "/nowhere/\x1b[2Jevil\nproject", "model": "\x1b[31mred"}
    evil = truth.Call("4a000000-1", *names.values(), "2026-11-21T10:00:00Z", 1, 2, 3)
    # what a terminal of old takes for ESC [, and what a spreadsheet takes for a formula
    odd = {"project": "\x9b2J\x7f\u202e", "model": "=1+1"}
    other = truth.Call("4a000000-1", *odd.values(), "2026-11-21T10:00:01Z", 1, 2, 3)
    truth.write_transcripts(own.claude, [evil, other], first_number=100)
    lines = own.lines("projects", "--by", "model", environ={"COLUMNS": "100"})
    assert any(line.startswith("/nowhere/?[2Jevil?project") for line in lines)
    assert any("?[31mred" in line for line in lines)
    assert not any("\x1b" in line for line in lines)
    question = ("projects", "--by", "model", "--no-import")
    table = list(csv.DictReader(io.StringIO(own.run(*question, "--csv").stdout)))
    shown = {
        kind: on_a_terminal(own, *question, kind, environ={}).replace("\r\n", "\n") for kind in ("--csv", "--json")
    }
    for label in (names, odd):
        for rows in (table, own.json(*question)["projects"], json.loads(shown["--json"])["projects"]):
            assert any(label.items() <= row.items() for row in rows)
        assert not any(sign in text for text in shown.values() for sign in ("\x1b", "\x9b", "\x7f", "\u202e"))
    assert "/nowhere/?[2Jevil?project" in shown["--csv"]
    assert len(shown["--csv"].splitlines()) == 1 + len(table)


def test_here_is_the_repository_that_one_stands_in(own: Tally, truth: Any) -> None:
    repository = own.folder / "repo"
    inside = repository / "deep" / "inside"
    inside.mkdir(parents=True)
    (repository / ".git").mkdir()
    (repository / ".git" / "HEAD").write_text("ref: refs/heads/main\n")
    call = truth.Call("5a000000-1", str(inside), truth.OPUS, "2026-11-21T10:00:00Z", 1, 2, 3)
    own.claude.rename(own.folder / "elsewhere")
    truth.write_transcripts(own.claude, [call], first_number=100)
    own.run("import")
    assert own.json("daily", "--project", ".", cwd=inside)["totals"]["message_count"] == 1
    assert own.json("daily", "--project", str(Path("repo") / "deep"))["totals"]["message_count"] == 1
