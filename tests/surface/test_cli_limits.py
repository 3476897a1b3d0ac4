"""Official limits on the command line: from the status line's input to the ledger, and shown by each report of them."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pytest

from tallystick.ledger import Ledger
from tests.processes import until

if TYPE_CHECKING:
    from tests.surface.cli_home import Tally

pytest_plugins = "tests.surface.cli_home"

HOUR_S = 3600
NOTHING_KNOWN = "No official limit is known of a window that still runs."


def told(used_percentage: float = 42.5, *, ends_in_s: int = 9000, **windows: Any) -> dict[str, Any]:
    """What Claude Code gives its status line; a window's end is a number of seconds since 1970."""
    five_hour = {"used_percentage": used_percentage, "resets_at": int(time.time()) + ends_in_s}
    return {"cost": {"total_cost_usd": 0.376}, "rate_limits": {"five_hour": five_hour, **windows}}


def show_line(tally: Tally, said: Any, *, is_renewing: bool = False) -> str:
    """The line as Claude Code has it printed, without the program that renews unless that is asked for."""
    tally.lines("statusline", "install")
    command = json.loads((tally.claude / "settings.json").read_text())["statusLine"]["command"]
    *_, renewal = shlex.split(command)
    # whatever the line leaves to be done behind it has the end of this pipe until it is done
    end, held = os.pipe()
    try:
        done = subprocess.run(
            ["sh", "-c", command if is_renewing else command.removesuffix(shlex.quote(renewal)) + "''"],
            env=tally.environ,
            input=json.dumps(said),
            capture_output=True,
            pass_fds=[held],
            text=True,
            check=True,
            timeout=60,
        )
    finally:
        os.close(held)
    with os.fdopen(end, "rb") as behind:
        behind.read()
    assert done.stderr == ""
    return done.stdout


def left_file(tally: Tally) -> Path:
    return tally.home / "state" / "statusline-limits.json"


def test_the_line_leaves_what_it_was_told_where_that_changed(fresh: Tally) -> None:
    week = {"used_percentage": 7, "resets_at": int(time.time()) + 50 * HOUR_S + 1800}
    said = told(42.5, seven_day=week)
    before = time.time()
    show_line(fresh, said)
    left = json.loads(left_file(fresh).read_text())
    assert left["limits"] == said["rate_limits"]
    assert before <= left["observed_at"] <= time.time()
    assert left_file(fresh).stat().st_mode & 0o777 == 0o600
    written = left_file(fresh).stat()
    show_line(fresh, said)
    assert left_file(fresh).stat() == written
    changed = {"seven_day": {**week, "used_percentage": 8}}
    show_line(fresh, {**said, "rate_limits": changed})
    assert json.loads(left_file(fresh).read_text())["limits"] == changed
    assert [file.name for file in left_file(fresh).parent.glob("statusline-limits*")] == ["statusline-limits.json"]


@pytest.mark.parametrize(
    "rate_limits",
    [
        None,
        "x",
        {},
        {"five_hour": None},
        {"five_hour": {"used_percentage": "42", "resets_at": 4e9}},
        {"five_hour": {"used_percentage": -1, "resets_at": 4e9}},
        {"five_hour": {"used_percentage": 1e9, "resets_at": 4e9}},
        {"five_hour": {"used_percentage": float("nan"), "resets_at": 4e9}},
        {"five_hour": {"used_percentage": 4, "resets_at": 1e99}},
        {"five_hour": {"used_percentage": 4, "resets_at": "2026-11-23T12:00:00Z"}},
        # the window of a session that was left open
        {"five_hour": {"used_percentage": 4, "resets_at": 1_790_000_000}},
    ],
)
def test_what_tells_of_no_window_that_runs_leaves_nothing(fresh: Tally, rate_limits: Any) -> None:
    assert "\n" in show_line(fresh, {"rate_limits": rate_limits})
    assert not left_file(fresh).exists()


def test_what_the_line_was_told_is_shown_by_the_reports_and_by_the_next_line(own: Tally) -> None:
    assert own.lines("limits")[0].startswith(NOTHING_KNOWN)
    assert own.json("limits") == {"limits": []}
    said = told(42.5, seven_day={"used_percentage": 7, "resets_at": int(time.time()) + 50 * HOUR_S + 1800})
    show_line(own, said)
    assert own.json("limits", "--no-import") == {"limits": []}
    document = own.json("limits")
    five_hour, seven_day = document["limits"]
    ends_here = datetime.fromisoformat(five_hour["resets_at"]).astimezone(ZoneInfo("Europe/Berlin"))
    left = json.loads(left_file(own).read_text())
    told_at = datetime.fromtimestamp(left["observed_at"], UTC)
    ends = datetime.fromtimestamp(said["rate_limits"]["five_hour"]["resets_at"], UTC)
    assert abs(datetime.fromisoformat(five_hour.pop("resets_at")) - ends) <= timedelta(seconds=30)
    assert abs(datetime.fromisoformat(five_hour.pop("observed_at")) - told_at) < timedelta(milliseconds=1)
    assert five_hour == {
        "source": "claude-code",
        "limit_name": "five_hour",
        "used_percent": "42.5",
        "window_minutes": 300,
    }
    assert (seven_day["limit_name"], seven_day["used_percent"], seven_day["window_minutes"]) == (
        "seven_day",
        "7",
        10080,
    )
    title, _, *rows = own.lines("limits", "--no-import")
    assert title.split() == ["Agent", "Window", "Used", "Ends", "In", "Told"]
    assert [row.split()[:5] for row in rows] == [
        ["Claude", "Code", "5", "hours", "42.5%"],
        ["Claude", "Code", "7", "days", "7%"],
    ]
    assert f" {ends_here:%Y-%m-%d %H:%M} " in rows[0]
    assert " 2 h " in rows[0]
    assert " 2 d 2 h " in rows[1]
    assert all(row.endswith("just now") or row.endswith(" ago") for row in rows)
    blocks = own.lines("blocks", "--no-import")
    assert blocks[2].startswith("Official, Claude Code, 5 hours: 42.5% used, ends in ")
    assert blocks[3].startswith("Official, Claude Code, 7 days: 7% used, ends in 2 d 2 h (told ")
    assert blocks[4] == ""
    for others in (["--source", "codex"], ["--until", "2026-11-02"]):
        assert "Official" not in "".join(own.lines("blocks", "--no-import", *others))
    # the next session has not been told anything yet, and a program in the background has the ledger's figures by then
    show_line(own, {}, is_renewing=True)
    until(lambda: "| 5h 42% used, 2h " in show_line(own, {}))


def test_the_same_is_handed_on_once_to_each_users_books(own: Tally) -> None:
    show_line(own, told())
    own.lines("import")

    def receipts(user_id: str) -> int:
        with own.server() as url, Ledger.connect(url, user_id=user_id) as ledger:
            assert [limit.used_percent for limit in ledger.usage_limits()] == [42.5]
            return ledger.ledger_state().receipt_count

    user_id = _user_of(own)
    before = receipts(user_id)
    own.lines("daily")
    assert receipts(user_id) == before
    other = "bbbbbbbb-0000-4000-8000-000000000001"
    own.run("daily", environ={"USER_ID": other})
    assert receipts(other) > 0
    left_file(own).write_text("no JSON")
    own.lines("daily", environ={"USER_ID": other})
    left_file(own).write_text('{"limits":[],"observed_at":"x"}')
    own.lines("daily", environ={"USER_ID": other})


def _user_of(tally: Tally) -> str:
    text = (tally.home / "config" / "config.toml").read_text(encoding="utf-8")
    return next(line.split('"')[1] for line in text.splitlines() if line.startswith("user_id"))
