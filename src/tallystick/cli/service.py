"""`tally service`: have the machine itself run `tally watch`, from the user's login on."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import click

from tallystick.background import Platform, Service, environment_of_service, make_service
from tallystick.cli.options import CommonOptions, common_options
from tallystick.cli.terminal import look_at_output, write_lines
from tallystick.config import load_settings
from tallystick.errors import ConfigError
from tallystick.private_files import make_folder, write_private, writing
from tallystick.redaction import without_passwords

PLATFORMS: dict[str, Platform] = {"linux": "linux", "darwin": "macos", "win32": "windows"}
EXIT_NOT_RUNNING = 3
OTHERWISE_HINT = "Have `tally watch` run by whatever starts programs here; `tally service install --print` shows how."
WRITING_HINT = f"Make that possible (TALLYSTICK_HOME names another folder for our own files). {OTHERWISE_HINT}"


@click.group()
@common_options
def service() -> None:
    """Have the machine itself follow the transcripts: systemd on Linux, launchd on macOS, Task Scheduler on Windows."""


@service.command()
@click.option("--print", "only_print", is_flag=True, help="Print the files and commands; change nothing.")
@click.option("--platform", type=click.Choice(sorted(PLATFORMS.values())), help="With --print: for another platform.")
@common_options
@click.pass_obj
def install(common: CommonOptions, only_print: bool, platform: Platform | None) -> None:
    """Start following now, and at every login; again after a change of the settings in the environment.

    What of the environment names the ledger and the agents' folders is kept for the service, in files that only you may
    read.
    """
    if platform and not only_print:
        raise click.UsageError("--platform goes with --print: a service is installed where it runs.")
    made = _service(common, platform, is_shown=only_print)
    if only_print:
        lines = [line for file in made.files for line in (f"# {file.path}", *file.text.splitlines(), "")]
        lines += [f"$ {' '.join(command)}" for command in made.start]
        write_lines(lines, terminal=look_at_output())
        return
    _require(made.start[0][0])
    new: list[Path] = []
    try:
        for file in made.files:
            with writing(file.path, hint=WRITING_HINT):
                if not file.path.exists():
                    new.append(file.path)
                make_folder(file.path.parent)
                write_private(file.path, file.text)
        for command in made.start:
            _run(command)
    except ConfigError:
        for path in new:
            with suppress(OSError):  # the one that could not be made
                path.unlink()
        raise
    write_lines(
        [
            f"Following from now on, and from each login on ({made.files[-1].path}).",
            "`tally status` says how far it is, `tally service logs` what it did.",
            *(["Without a login: loginctl enable-linger"] if sys.platform == "linux" else []),
        ],
        terminal=look_at_output(),
    )


@service.command()
@common_options
@click.pass_obj
def uninstall(common: CommonOptions) -> None:
    """Stop following and remove the service; the ledger and the transcripts stay."""
    made = _service(common)
    found = [file.path for file in made.files if file.path.exists()]
    if not found:
        write_lines(["No service is installed."], terminal=look_at_output())
        return
    _require(made.stop[0][0])
    for command in made.stop[:1]:
        _run(command)
    for path in found:
        path.unlink()
    for command in made.stop[1:]:
        _run(command)
    write_lines(["The service is stopped and removed."], terminal=look_at_output())


@service.command()
@common_options
@click.pass_obj
def status(common: CommonOptions) -> int:
    """Show whether the service is installed and running; exit status 3 where it is not."""
    made = _service(common)
    if not made.files[-1].path.exists():
        write_lines(["No service is installed: `tally service install` does that."], terminal=look_at_output())
        return EXIT_NOT_RUNNING
    _require(made.ask[0])
    is_running = subprocess.run(made.ask, capture_output=True, check=False).returncode == 0
    state = "running" if is_running else "not running; `tally service logs` may say why"
    write_lines([f"The service is installed and {state}."], terminal=look_at_output())
    return 0 if is_running else EXIT_NOT_RUNNING


@service.command()
@common_options
@click.pass_obj
def logs(common: CommonOptions) -> int:
    """Show what the service has logged."""
    made = _service(common)
    _require(made.logs[0])
    sys.stdout.flush()
    return subprocess.run(made.logs, check=False).returncode


def _service(common: CommonOptions, platform: Platform | None = None, *, is_shown: bool = False) -> Service:
    settings = load_settings(database_url=common.database_url)
    environ = environment_of_service(os.environ)
    if common.database_url:
        environ["TALLYSTICK_DATABASE_URL"] = common.database_url
    if is_shown:
        environ = {name: _shown(name, value) for name, value in environ.items()}
    return make_service(
        platform or PLATFORMS.get(sys.platform, "linux"),
        [sys.executable, "-P", "-m", "tallystick", "watch"],
        home=Path.home(),
        config_dir=settings.config_dir,
        state_dir=settings.state_dir,
        environ=environ,
        uid=os.getuid(),
    )


def _shown(name: str, value: str) -> str:
    return "***" if name.endswith(("KEY", "SECRET")) else without_passwords(value)


def _require(program: str) -> None:
    if shutil.which(program) is None:
        raise ConfigError(
            f"there is no {program} on this machine to run a service with",
            hint=OTHERWISE_HINT,
        )


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise ConfigError(
            f"{' '.join(command)} failed: {said[-1] if said else f'exit status {done.returncode}'}",
            hint="Is this a login of yours, and no sudo? `tally watch` runs anywhere.",
        )
