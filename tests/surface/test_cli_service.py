"""`tally service`: what it writes, calls and leaves behind. systemctl is a stand-in that takes notes."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest


class Machine:
    """A home, and a PATH on which systemctl notes what it is told and ends with the status that a file says."""

    def __init__(self, folder: Path) -> None:
        self.home = folder / "home"
        self.home.mkdir()
        self.notes, self.verdict = folder / "notes", folder / "verdict"
        self.verdict.write_text("0")
        programs = folder / "bin"
        programs.mkdir()
        systemctl = programs / "systemctl"
        systemctl.write_text(f'#!/bin/sh\necho "$@" >> {self.notes}\necho "no bus" >&2\nexit $(cat {self.verdict})\n')
        systemctl.chmod(0o755)
        self.unit = self.home / ".config" / "systemd" / "user" / "tallystick.service"
        self.environ = {
            "PATH": f"{programs}:/usr/bin:/bin",
            "HOME": str(self.home),
            "TALLYSTICK_HOME": str(self.home / "tallystick"),
            "TALLYSTICK_DATABASE_URL": "postgresql://ann:s3cret@db/books",
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
            "LANG": "C.UTF-8",
        }

    def tally(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "tallystick", "service", *arguments],
            env=self.environ,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    def told(self) -> list[str]:
        return self.notes.read_text().splitlines() if self.notes.exists() else []


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_install_status_and_uninstall(machine: Machine) -> None:
    assert machine.tally("status").returncode == 3
    installed = machine.tally("install")
    assert installed.returncode == 0, installed.stderr
    assert machine.told() == ["--user daemon-reload", "--user enable --now tallystick.service"]
    environment = machine.home / "tallystick" / "config" / "service.env"
    assert "s3cret" in environment.read_text()
    assert stat.S_IMODE(environment.stat().st_mode) == 0o600
    assert f'"{sys.executable}" "-P" "-m" "tallystick" "watch"' in machine.unit.read_text()
    assert "s3cret" not in installed.stdout + machine.unit.read_text()
    assert (machine.tally("status").returncode, machine.told()[-1]) == (0, "--user is-active tallystick.service")
    machine.verdict.write_text("3")
    stopped = machine.tally("status")
    assert stopped.returncode == 3
    assert "installed and not running" in stopped.stdout
    machine.verdict.write_text("0")
    assert machine.tally("uninstall").stdout == "The service is stopped and removed.\n"
    assert machine.told()[-2:] == ["--user disable --now tallystick.service", "--user daemon-reload"]
    assert not machine.unit.exists()
    assert not environment.exists()
    assert machine.tally("uninstall").stdout == "No service is installed.\n"


def test_an_install_that_fails_leaves_nothing_behind(machine: Machine) -> None:
    machine.verdict.write_text("1")
    failed = machine.tally("install")
    assert failed.returncode == 1
    assert failed.stderr.startswith("tally: systemctl --user daemon-reload failed: no bus.")
    assert len(failed.stderr.splitlines()) == 1
    assert not machine.unit.exists()


@pytest.mark.parametrize("home", ["/sys", "a home whose folder for units is a file"])
def test_a_home_that_cannot_be_written_is_told_in_one_line_and_nothing_is_left(machine: Machine, home: str) -> None:
    (machine.home / ".config").mkdir()
    (machine.home / ".config" / "systemd").touch()
    machine.environ["HOME"] = home if home == "/sys" else str(machine.home)
    failed = machine.tally("install")
    assert failed.returncode == 1
    (line,) = failed.stderr.splitlines()
    assert line.startswith(f"tally: cannot write {machine.environ['HOME']}/.config")
    assert "Make that possible" in line
    assert "`tally service install --print` shows how" in line
    assert not list((machine.home / "tallystick" / "config").iterdir())
    assert machine.told() == []


def test_without_systemd_it_says_what_to_do_instead(machine: Machine) -> None:
    machine.environ["PATH"] = "/nowhere"
    failed = machine.tally("install")
    assert failed.returncode == 1
    assert failed.stderr.startswith("tally: there is no systemctl on this machine to run a service with.")


@pytest.mark.parametrize("platform", ["linux", "macos", "windows"])
def test_printing_changes_nothing_and_shows_no_secret(machine: Machine, platform: str) -> None:
    machine.environ["TALLYSTICK_API_KEY"] = "tly_s3cret"
    printed = machine.tally("install", "--print", "--platform", platform)
    assert printed.returncode == 0
    assert "TALLYSTICK_API_KEY" in printed.stdout
    assert "s3cret" not in printed.stdout
    assert "postgresql://ann:***@db/books" in printed.stdout
    assert list(machine.home.iterdir()) == []
    assert machine.told() == []
    refused = machine.tally("install", "--platform", platform)
    assert (refused.returncode, machine.told()) == (2, [])
