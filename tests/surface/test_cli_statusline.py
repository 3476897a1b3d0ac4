"""`tally statusline`: what the line says, that it never fails nor starts a database, and its place in settings.json."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import pytest

from tallystick import statusline
from tests.processes import until

if TYPE_CHECKING:
    from tests.surface.cli_home import Tally

pytest_plugins = "tests.surface.cli_home"

NOW = 1_790_000_000
PARTS = list(statusline.PARTS)
TOLD: dict[str, Any] = {
    "cost": {"total_cost_usd": 0.376},
    "context_window": {"used_percentage": 26},
    "model": {"display_name": "a model"},
}
KNOWN: dict[str, Any] = {
    "at": NOW - 5,
    "today_usd": "12.30",
    "day_ends_at": NOW + 3600,
    "block": {"cost_usd": "5.10", "ends_at": NOW + 8040, "usd_per_hour": "3.20"},
}
UNKNOWN = "n/a session | n/a today | n/a block | n/a per hour | context n/a"


def line(told: Any = TOLD, known: Any = KNOWN, *, parts: list[str] = PARTS, now: float = NOW) -> str:
    """The line by itself, with what the agent says (its bytes, or a document) and what the file has."""
    program = Path(statusline.__file__).with_suffix(".awk")
    with TemporaryDirectory() as folder:
        (Path(folder) / statusline.CACHE_NAME).write_text(json.dumps(known))
        done = subprocess.run(
            ["awk", "-f", program, folder, ",".join(parts), "", "", str(now)],
            env={"LC_ALL": "C", "PATH": os.environ["PATH"]},
            input=told if isinstance(told, bytes) else json.dumps(told).encode(),
            capture_output=True,
            timeout=60,
            check=True,
        )
    assert done.stderr == b""
    return done.stdout.decode().removesuffix("\n")


def test_the_line_says_what_agent_and_ledger_know() -> None:
    assert line() == "$0.38 session | $12.30 today | $5.10 block, 2h 14m left | $3.20/h | context 26%"
    assert line(parts=["context", "today"]) == "context 26% | $12.30 today"


def test_the_plans_own_window_goes_before_our_model_of_it() -> None:
    limits = {"five_hour": {"used_percentage": 42.4, "resets_at": NOW + 1500}}
    assert line({**TOLD, "rate_limits": limits}, parts=["block"]) == "5h 42% used, 25m left"


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ({}, "5h 17% used, 20m left"),
        ({"rate_limits": {"five_hour": {"used_percentage": 42, "resets_at": NOW + 1500}}}, "5h 42% used, 25m left"),
        # what a session was told of that was left open until its window had ended
        ({"rate_limits": {"five_hour": {"used_percentage": 42, "resets_at": NOW}}}, "5h 17% used, 20m left"),
        ({"rate_limits": {"five_hour": {"used_percentage": None}}}, "5h 17% used, 20m left"),
    ],
)
def test_what_the_ledger_knows_of_the_plans_own_window_goes_before_our_model_of_it(told: Any, expected: str) -> None:
    known = {**KNOWN, "official": {"used_percentage": 17.0, "resets_at": NOW + 1200}}
    assert line(told, known, parts=["block"]) == expected
    ended = {**KNOWN, "official": {"used_percentage": 17.0, "resets_at": NOW}}
    assert line({}, ended, parts=["block"]) == "$5.10 block, 2h 14m left"


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        ({}, "n/a today | n/a block | n/a per hour"),
        ({**KNOWN, "at": NOW - 3601}, "n/a today | n/a block | n/a per hour"),
        # written by a clock that was ahead
        ({**KNOWN, "at": NOW + 60}, "n/a today | n/a block | n/a per hour"),
        ({**KNOWN, "day_ends_at": NOW - 1}, "n/a today | $5.10 block, 2h 14m left | $3.20/h"),
        ({**KNOWN, "block": {**KNOWN["block"], "ends_at": NOW - 1}}, "$12.30 today | n/a block | n/a per hour"),
        ({**KNOWN, "block": {}}, "$12.30 today | n/a block | n/a per hour"),
        (
            {**KNOWN, "block": {"cost_usd": "5.10", "ends_at": NOW + 60}},
            "$12.30 today | $5.10 block, 1m left | n/a per hour",
        ),
    ],
)
def test_what_is_old_or_over_is_not_shown(known: dict[str, Any], expected: str) -> None:
    assert line(known=known, parts=["today", "block", "burn"]) == expected


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"[]",
        b"5",
        b'"x"',
        b"\xff\xfe",
        b"{} x",
        b"[" * 100_000,
        b'{"cost":5,"context_window":[],"rate_limits":"x"}',
        b'{"a":"\\","cost":{"total_cost_usd":true}}',
        b'{"cost.total_cost_usd":5,"cost":{"total_cost_usd":"5',
        b'{"cost":{"total_cost_usd":1}',
        b'{"cost":{"total_cost_usd":1},}',
        b'{"cost":{"total_cost_usd":01}}',
        b'{"cost":{"total_cost_usd":1.}}',
        b'{"name":"' + b"x" * 70_000 + b'","cost":{"total_cost_usd":1}}',
    ],
)
def test_whatever_the_agent_says_there_is_a_line(text: bytes) -> None:
    assert line(text, {}) == UNKNOWN


@pytest.mark.parametrize(
    "text",
    [
        b'{"cost":{"total_cost_usd":0.376}}',
        b' {\n "cost" :\t{ "x": [1, -2.5e-3, {"a": []}], "total_cost_usd" : 376E-3 , "y": null } }\r\n',
        b'{"name":"\\"cost\\":{\\"total_cost_usd\\":9}","cost":{"total_cost_usd":0.376},"\xff\xfe":false}',
        b'{"total_cost_usd":9,"other":{"cost":{"total_cost_usd":9}},"cost":{"total_cost_usd":0.376},"z":{}}',
    ],
)
def test_the_agents_json_is_read_however_it_is_spelled(text: bytes) -> None:
    assert line(text, {}, parts=["session"]) == "$0.38 session"


@pytest.mark.parametrize("cost", ["-5", "-0.001", "1e6", "1e308", '"NaN"', '"5e9"', '"-1.00"', '""', '"1.00 "'])
def test_a_cost_that_nobody_can_have_is_not_shown(cost: str) -> None:
    assert line(b'{"cost":{"total_cost_usd":1e400}}', parts=["session"]) == "n/a session"
    told = b'{"cost":{"total_cost_usd":%b}}' % cost.encode()
    known = {**KNOWN, "today_usd": json.loads(cost), "block": {**KNOWN["block"], "usd_per_hour": json.loads(cost)}}
    assert line(told, known, parts=["session", "today", "block", "burn"]) == (
        "n/a session | n/a today | $5.10 block, 2h 14m left | n/a per hour"
    )


@pytest.mark.parametrize("used", ["900", "101", "-1", "-0.7", "1e308", "1e400", '"NaN"', '"50"', "true", "[5]"])
def test_a_context_that_is_fuller_than_full_or_emptier_than_empty_is_not_shown(used: str) -> None:
    told = b'{"cost":{"total_cost_usd":1},"context_window":{"used_percentage":%b}}' % used.encode()
    assert line(told, parts=["session", "context"]) == "$1.00 session | context n/a"


@pytest.mark.parametrize(
    "limit",
    [
        {"used_percentage": -1, "resets_at": NOW + 60},
        {"used_percentage": 1001, "resets_at": NOW + 60},
        {"used_percentage": 1e308, "resets_at": NOW + 60},
        {"used_percentage": "NaN", "resets_at": NOW + 60},
        {"used_percentage": 5, "resets_at": NOW + 7 * 3600},
        {"used_percentage": 5, "resets_at": 1e300},
        {"used_percentage": 5, "resets_at": -1},
    ],
)
def test_a_window_of_the_plan_that_cannot_be_is_not_shown(limit: dict[str, Any]) -> None:
    told = {"rate_limits": {"five_hour": limit}}
    assert line(told, parts=["block"]) == "$5.10 block, 2h 14m left"
    assert line({}, {**KNOWN, "official": limit}, parts=["block"]) == "$5.10 block, 2h 14m left"
    endless = {**KNOWN, "block": {**KNOWN["block"], "ends_at": 1e300}}
    assert line(told, endless, parts=["block", "burn"]) == "n/a block | n/a per hour"


# -- as the agent runs it


def install(tally: Tally, *arguments: str) -> str:
    tally.lines("statusline", "install", *arguments)
    return str(json.loads((tally.claude / "settings.json").read_text("utf-8-sig"))["statusLine"]["command"])


def run(tally: Tally, command: str, told: Any = TOLD) -> str:
    done = subprocess.run(
        ["sh", "-c", command],
        env=tally.environ,
        input=json.dumps(told),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout


def renewing(tally: Tally) -> list[int]:
    """The processes of this home that renew the figures."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                command = (folder / "cmdline").read_bytes().split(b"\0")
                environ = (folder / "environ").read_bytes()
            except OSError:
                continue
            # the line itself names the program too, within longer words
            if (
                command[0] != b"sh"
                and b"renew" in command
                and b"-I" not in command
                and str(tally.home).encode() in environ
            ):
                found.append(int(folder.name))
    return found


def test_without_a_ledger_it_says_so_and_starts_none(fresh: Tally) -> None:
    command = install(fresh)
    assert run(fresh, command) == "$0.38 session | n/a today | n/a block | n/a per hour | context 26%\n"
    cache = fresh.home / "state" / "statusline.json"
    until(lambda: cache.exists() and not renewing(fresh))
    assert not fresh.server().status().is_running
    assert not (fresh.home / "data").exists()


def test_while_the_ledger_is_up_its_figures_come_with_the_next_line(own: Tally) -> None:
    command = install(own)
    with own.server():
        run(own, command)
        until(lambda: "n/a today" not in run(own, command, {}))
        until(lambda: not renewing(own))
    assert run(own, command, {}).split(" | ")[1].startswith("$")


def test_a_hundred_at_once_start_one_renewal_and_leave_nothing_behind(fresh: Tally) -> None:
    command = install(fresh)
    started = [
        subprocess.Popen(["sh", "-c", command], env=fresh.environ, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        for _ in range(100)
    ]
    most = 0
    while any(process.poll() is None for process in started):
        most = max(most, len(renewing(fresh)))
    assert {process.communicate()[0].decode().strip() for process in started} == {UNKNOWN}
    assert most <= 1
    until(lambda: not renewing(fresh))


def test_a_file_of_the_folder_that_the_agent_works_in_is_no_module_of_ours(fresh: Tally, tmp_path: Path) -> None:
    for name in ("click", "psycopg", "json", "tallystick"):
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'was run')!r}, 'w')")
    command = install(fresh)
    done = subprocess.run(["sh", "-c", command], env=fresh.environ, input="{}", cwd=tmp_path, text=True, check=True)
    assert done.returncode == 0
    until((fresh.home / "state" / "statusline.json").exists)
    assert not (tmp_path / "was run").exists()


def test_without_standard_input_there_is_a_line(fresh: Tally) -> None:
    command = [sys.executable, "-m", "tallystick", "statusline"]
    done = subprocess.run(
        ["sh", "-c", f"{shlex.join(command)} <&-"], env=fresh.environ, capture_output=True, text=True, check=True
    )
    assert (done.stdout, done.stderr) == (UNKNOWN + "\n", "")


def test_settings_that_cannot_be_read_hide_no_more_than_the_figures_of_the_ledger(fresh: Tally) -> None:
    config = fresh.home / "config" / "config.toml"
    config.parent.mkdir(parents=True)
    config.write_text("user_id = 5\n")
    (line,) = fresh.lines("statusline", answer=json.dumps(TOLD))
    assert line == "$0.38 session | n/a today | n/a block | n/a per hour | context 26%"
    assert [path.name for path in fresh.home.iterdir()] == ["config"]
    for command in (["doctor"], ["statusline", "install"]):
        assert str(config) in fresh.fail(*command)


# -- settings.json


def test_a_password_never_goes_into_the_settings(fresh: Tally) -> None:
    told = fresh.fail("statusline", "install", "--database", "postgresql://ann:s3cr3t@127.0.0.1:1/ledger")
    assert "config.toml" in told
    assert "s3cr3t" not in told
    assert not (fresh.claude / "settings.json").exists()


def test_installing_keeps_what_is_there_and_uninstalling_brings_it_back(fresh: Tally) -> None:
    file = fresh.claude / "settings.json"
    file.parent.mkdir(parents=True)
    before = {"model": "opus", "statusLine": {"type": "command", "command": "theirs"}, "ü": [1, {"a": None}]}
    file.write_text(json.dumps(before, ensure_ascii=False))
    file.chmod(0o640)
    assert "another program has the status line" in fresh.fail("statusline", "install")
    assert json.loads(file.read_text()) == before
    install(fresh, "--replace")
    install(fresh, "--parts", "today,burn")
    after = json.loads(file.read_text())
    assert "today,burn" in after["statusLine"]["command"]
    assert {**after, "statusLine": None} == {**before, "statusLine": None}
    assert list(after) == list(before)
    assert file.stat().st_mode & 0o777 == 0o640
    fresh.lines("statusline", "uninstall")
    assert file.read_text() == json.dumps(before, ensure_ascii=False)
    assert fresh.lines("statusline", "uninstall") == [f"No status line of ours is in {file}."]


def test_what_no_reader_of_json_keeps_is_kept_too(fresh: Tally) -> None:
    file = fresh.claude / "settings.json"
    file.parent.mkdir(parents=True)
    before = b'\xef\xbb\xbf{\r\n\t"a": 1e400 ,\r\n\t"a": 12345678901234567890.10, "b": "\\ud800\xc3\xbc\\/"\r\n}\r\n'
    file.write_bytes(before)
    install(fresh)
    assert file.read_bytes().startswith(before.removesuffix(b"\r\n}\r\n"))
    fresh.lines("statusline", "uninstall")
    assert file.read_bytes() == before


@pytest.mark.parametrize("content", [b"", b"\n"])
def test_a_file_without_a_word_is_as_good_as_none(fresh: Tally, content: bytes) -> None:
    file = fresh.claude / "settings.json"
    file.parent.mkdir(parents=True)
    file.write_bytes(content)
    install(fresh)
    assert list(json.loads(file.read_text())) == ["statusLine"]
    fresh.lines("statusline", "uninstall")
    assert json.loads(file.read_text()) == {}


@pytest.mark.parametrize("content", [b"// a comment\n{}", b'{"a": NaN}', '{"a": 1}'.encode("utf-16")])
def test_settings_that_cannot_be_read_are_left_alone(fresh: Tally, content: bytes) -> None:
    file = fresh.claude / "settings.json"
    file.parent.mkdir(parents=True)
    file.write_bytes(content)
    for command in ("install", "uninstall"):
        assert str(file) in fresh.fail("statusline", command)
        assert file.read_bytes() == content


def test_putting_it_in_and_out_at_once_loses_nothing(fresh: Tally) -> None:
    file = fresh.claude / "settings.json"
    file.parent.mkdir(parents=True)
    before = '{"a": 1.10, "statusLine": {"type": "command", "command": "theirs"}, "b": 2}'
    file.write_text(before)
    for _ in range(2):
        processes = [
            fresh.start("statusline", *arguments) for arguments in (["install", "--replace"], ["uninstall"]) * 4
        ]
        assert [(process.communicate()[1], process.returncode) for process in processes] == [("", 0)] * 8
        fresh.run("statusline", "uninstall")
        assert file.read_text() == before


def test_a_pipe_in_place_of_the_settings_is_not_waited_for(fresh: Tally) -> None:
    file = fresh.claude / "settings.json"
    file.parent.mkdir(parents=True)
    os.mkfifo(file)
    for command in ("install", "uninstall"):
        assert f"cannot read {file}: it is a pipe" in fresh.fail("statusline", command)


def test_a_part_that_there_is_not_is_named(fresh: Tally) -> None:
    assert "there is no part 'weather'" in fresh.fail("statusline", "--parts", "weather", exit_code=2)
