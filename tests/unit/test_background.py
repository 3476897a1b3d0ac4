"""The files that have a machine run `tally watch`, read by those who will read them, or by their formats."""

from __future__ import annotations

import plistlib
import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from tallystick.background import Platform, Service, environment_of_service, make_service

ODD = {"TALLYSTICK_HOME": '/home/ann/100% "my" $books\\x', "USER_ID": "u", "TALLYSTICK_API_KEY": "tly_x"}
COMMAND = ["/home/ann/my tools/100%/python", "-m", "tallystick", "watch"]


def service(platform: Platform, home: Path, environ: dict[str, str] | None = None) -> Service:
    return make_service(
        platform,
        COMMAND,
        home=home,
        config_dir=home / "config",
        state_dir=home / "state",
        environ=ODD if environ is None else environ,
        uid=501,
    )


def test_what_names_the_ledger_and_the_agents_goes_along_and_nothing_else() -> None:
    given = {
        "TALLYSTICK_DATABASE_URL": "postgresql://db/x",
        "SUPABASE_URL": "https://p.supabase.co",
        "SUPABASE_SERVICE_KEY": "sb_secret_x",
        "CLAUDE_CONFIG_DIR": "/c",
        "USER_ID": "u",
        "TZ": "Europe/Berlin",
    }
    others = {"PATH": "/bin", "AWS_SECRET_ACCESS_KEY": "x", "SUPABASE_JWT": "x", "MY_USER_ID": "x"}
    odd = {"TALLYSTICK_HOME": " ", "TALLYSTICK_POOL_SIZE": "1\nRestart=no"}
    assert environment_of_service({**given, **others, **odd}) == given


def test_systemd_finds_nothing_wrong_with_the_unit_and_reads_the_command_as_it_was(tmp_path: Path) -> None:
    made = service("linux", tmp_path)
    environment, unit = made.files
    unit.path.parent.mkdir(parents=True)
    # one that is there, because systemd looks for it
    unit.path.write_text(unit.text.replace('"/home/ann/my tools/100%%/python"', '"/bin/true"'))
    checked = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", str(unit.path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (checked.returncode, checked.stderr) == (0, "")
    assert 'ExecStart="/home/ann/my tools/100%%/python" "-m" "tallystick" "watch"' in unit.text
    # its rules for quotes in such a file are a shell's
    environment.path.parent.mkdir()
    environment.path.write_text(environment.text)
    read = subprocess.run(
        ["env", "-i", "sh", "-ac", '. "$0" && /usr/bin/env -0', str(environment.path)], capture_output=True, check=True
    )
    assert ODD.items() <= dict(word.decode().split("=", 1) for word in read.stdout.split(b"\0") if word).items()
    assert "tly_x" not in unit.text
    assert made.start[-1] == ("systemctl", "--user", "enable", "--now", "tallystick.service")


def test_launchd_reads_command_and_environment_as_they_were(tmp_path: Path) -> None:
    made = service("macos", tmp_path)
    (file,) = made.files
    plist = plistlib.loads(file.text.encode())
    assert (plist["ProgramArguments"], plist["EnvironmentVariables"]) == (COMMAND, ODD)
    assert plist["Label"] == file.path.stem
    assert made.start == (("launchctl", "bootstrap", "gui/501", str(file.path)),)


def test_the_task_of_windows_is_xml_that_names_the_script(tmp_path: Path) -> None:
    script, task = service("windows", tmp_path).files
    space = "{http://schemas.microsoft.com/windows/2004/02/mit/task}"
    assert ET.fromstring(task.text).findtext(f"{space}Actions/{space}Exec/{space}Command") == str(script.path)
    assert 'set "TALLYSTICK_HOME=/home/ann/100%% "my" $books\\x"' in script.text
    assert '"/home/ann/my tools/100%/python" "-m" "tallystick" "watch"' in script.text


@pytest.mark.parametrize("platform", ["linux", "macos", "windows"])
def test_what_is_started_can_be_stopped_by_the_same_program(tmp_path: Path, platform: Platform) -> None:
    made = service(platform, tmp_path, {})
    assert {command[0] for command in (*made.start, *made.stop)} == {made.ask[0]}
