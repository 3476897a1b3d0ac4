"""What has `tally watch` started by the machine itself: the files that systemd, launchd and Windows want, as text.

Nothing here touches the machine. A service is started without a shell, so what the settings are taken from today goes
along: into a file of its own on Linux, because a unit may be read by others.
"""

from __future__ import annotations

import plistlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple
from xml.sax.saxutils import escape

from tallystick.catalog import variables_of_catalog

Platform = Literal["linux", "macos", "windows"]

UNIT = "tallystick.service"
LABEL = "dev.tallystick.watch"
TASK = "Tallystick"
RESTART_S = 10
# names that tallystick.config and the agents' folders are read from
_OURS = re.compile(r"TALLYSTICK_\w+|SUPABASE_(?:URL|SERVICE_KEY)|USER_ID|TOKEN_TRACKING_ENABLED|CLAUDE_CONFIG_DIR|TZ")


class ServiceFile(NamedTuple):
    """A file to be written, readable by its owner alone."""

    path: Path
    text: str


class Service(NamedTuple):
    """Everything that one platform wants: files, and the commands that make them count and undo that."""

    files: tuple[ServiceFile, ...]
    start: tuple[tuple[str, ...], ...]
    stop: tuple[tuple[str, ...], ...]
    ask: tuple[str, ...]
    logs: tuple[str, ...]


def environment_of_service(environ: Mapping[str, str]) -> dict[str, str]:
    """What of this environment decides where the ledger is, whose it is and where the agents keep their files."""
    wanted = variables_of_catalog()
    return {
        name: value
        for name, value in sorted(environ.items())
        if value.strip() and (_OURS.fullmatch(name) or name in wanted) and "\n" not in value
    }


def make_service(
    platform: Platform,
    command: Sequence[str],
    *,
    home: Path,
    config_dir: Path,
    state_dir: Path,
    environ: Mapping[str, str],
    uid: int,
) -> Service:
    """What has this command run in the background of a user from his next login on, and from now on."""
    if platform == "linux":
        return _systemd(command, home=home, config_dir=config_dir, environ=environ)
    if platform == "macos":
        return _launchd(command, home=home, state_dir=state_dir, environ=environ, uid=uid)
    return _task_scheduler(command, config_dir=config_dir, environ=environ)


def _systemd(command: Sequence[str], *, home: Path, config_dir: Path, environ: Mapping[str, str]) -> Service:
    environment_file = config_dir / "service.env"
    unit = "\n".join(
        (
            "[Unit]",
            "Description=Tallystick: follow the transcripts of coding agents into the ledger",
            "StartLimitIntervalSec=0",
            "",
            "[Service]",
            f"ExecStart={' '.join(map(_quoted_for_systemd, command))}",
            f"EnvironmentFile=-{_escaped_for_systemd(str(environment_file))}",
            "Restart=on-failure",
            f"RestartSec={RESTART_S}",
            "Nice=10",
            "NoNewPrivileges=true",
            "",
            "[Install]",
            "WantedBy=default.target",
            "",
        )
    )
    lines = [f'{name}="{_escaped_for_shell(value)}"' for name, value in environ.items()]
    return Service(
        files=(
            ServiceFile(environment_file, "".join(f"{line}\n" for line in lines)),
            ServiceFile(home / ".config" / "systemd" / "user" / UNIT, unit),
        ),
        start=(("systemctl", "--user", "daemon-reload"), ("systemctl", "--user", "enable", "--now", UNIT)),
        stop=(("systemctl", "--user", "disable", "--now", UNIT), ("systemctl", "--user", "daemon-reload")),
        ask=("systemctl", "--user", "is-active", UNIT),
        logs=("journalctl", f"--user-unit={UNIT}", "--no-pager", "--output=cat"),
    )


def _launchd(command: Sequence[str], *, home: Path, state_dir: Path, environ: Mapping[str, str], uid: int) -> Service:
    log_file = str(state_dir / "watch.log")
    path = home / "Library" / "LaunchAgents" / f"{LABEL}.plist"
    plist = {
        "Label": LABEL,
        "ProgramArguments": list(command),
        "EnvironmentVariables": dict(environ),
        "RunAtLoad": True,
        "KeepAlive": {"SuccessfulExit": False},
        "ThrottleInterval": RESTART_S,
        "ProcessType": "Background",
        "StandardErrorPath": log_file,
    }
    domain = f"gui/{uid}"
    return Service(
        files=(ServiceFile(path, plistlib.dumps(plist, sort_keys=False).decode()),),
        start=(("launchctl", "bootstrap", domain, str(path)),),
        stop=(("launchctl", "bootout", f"{domain}/{LABEL}"),),
        ask=("launchctl", "print", f"{domain}/{LABEL}"),
        logs=("tail", "-n", "1000", log_file),
    )


def _task_scheduler(command: Sequence[str], *, config_dir: Path, environ: Mapping[str, str]) -> Service:
    program, *arguments = command
    script = config_dir / "tallystick-watch.cmd"
    lines = [f'set "{name}={value.replace("%", "%%")}"' for name, value in environ.items()]
    call = " ".join(f'"{part}"' for part in (program, *arguments))
    task = f"""\
<?xml version="1.0"?>
<Task version="1.2" xmlns="http://schemas.microsoft.com/windows/2004/02/mit/task">
  <RegistrationInfo>
    <Description>Follow the transcripts of coding agents into the ledger</Description>
  </RegistrationInfo>
  <Triggers><LogonTrigger><Enabled>true</Enabled></LogonTrigger></Triggers>
  <Settings>
    <MultipleInstancesPolicy>IgnoreNew</MultipleInstancesPolicy>
    <DisallowStartIfOnBatteries>false</DisallowStartIfOnBatteries>
    <StopIfGoingOnBatteries>false</StopIfGoingOnBatteries>
    <ExecutionTimeLimit>PT0S</ExecutionTimeLimit>
    <RestartOnFailure><Interval>PT1M</Interval><Count>999</Count></RestartOnFailure>
    <Hidden>true</Hidden>
  </Settings>
  <Actions><Exec><Command>{escape(str(script))}</Command></Exec></Actions>
</Task>
"""
    xml = config_dir / "tallystick-watch.xml"
    return Service(
        files=(
            ServiceFile(script, "\r\n".join(["@echo off", *lines, call, ""])),
            ServiceFile(xml, task),
        ),
        start=(
            ("schtasks", "/Create", "/TN", TASK, "/XML", str(xml), "/F"),
            ("schtasks", "/Run", "/TN", TASK),
        ),
        stop=(("schtasks", "/End", "/TN", TASK), ("schtasks", "/Delete", "/TN", TASK, "/F")),
        ask=("schtasks", "/Query", "/TN", TASK),
        logs=("schtasks", "/Query", "/TN", TASK, "/V", "/FO", "LIST"),
    )


def _quoted_for_systemd(part: str) -> str:
    """One word of ExecStart: systemd takes backslashes, quotes, percents and dollars for its own."""
    return '"' + _escaped_for_systemd(part).replace("\\", "\\\\").replace('"', '\\"').replace("$", "$$") + '"'


def _escaped_for_systemd(text: str) -> str:
    return text.replace("%", "%%")


def _escaped_for_shell(value: str) -> str:
    """A value between double quotes in an EnvironmentFile."""
    return re.sub(r'([\\"`$])', r"\\\1", value)
