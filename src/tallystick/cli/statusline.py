"""`tally statusline`: one line for Claude Code's status bar, put into its settings and taken out again."""

from __future__ import annotations

import errno
import json
import os
import shlex
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import click

from tallystick import statusline as statusline_files
from tallystick.cli.books import Books
from tallystick.cli.import_new import take_in_changed_prices
from tallystick.cli.json_member import member_of, with_member, without_member
from tallystick.cli.options import CommonOptions, common_options
from tallystick.cli.terminal import look_at_output, write_lines
from tallystick.collector.plan_limits import SOURCE
from tallystick.collector.run import import_new
from tallystick.config import Settings, load_settings
from tallystick.embedded import EmbeddedServer
from tallystick.errors import ConfigError, TallystickError
from tallystick.ledger import Ledger
from tallystick.model import BlockRow, UsageFilter, UsageLimitRow
from tallystick.pace import active_block, pace_of
from tallystick.private_files import locked, make_folder, write_private, writing
from tallystick.redaction import without_passwords
from tallystick.zones import find_zone, today_in

RENEWAL_LIMIT_S = 30
CENT = Decimal("0.01")
SETTING = "statusLine"
MAX_INPUT_BYTES = 1 << 17
FORMER_NAME = "statusline-before.json"
LOCK_NAME = "statusline-settings.lock"
LOCK_LIMIT_S = 10.0
NO_SETTINGS = "{}\n"


def _read_parts(_: click.Context, __: click.Parameter, text: str) -> str:
    parts = [part.strip() for part in text.split(",")]
    for part in parts:
        if part not in statusline_files.PARTS:
            raise click.BadParameter(f"there is no part {part!r}; write some of {','.join(statusline_files.PARTS)}.")
    return ",".join(parts)


_PARTS_OPTION = click.option(
    "--parts",
    default=",".join(statusline_files.PARTS),
    show_default=True,
    callback=_read_parts,
    metavar="LIST",
    help="What the line shows, in this order.",
)


@click.group(invoke_without_command=True)
@_PARTS_OPTION
@common_options
@click.pass_context
def statusline(ctx: click.Context, parts: str) -> None:
    """Print one line for Claude Code's status bar from the JSON on standard input; `install` puts it there.

    It shows what the session, today and the current five-hour block have cost, how long the block lasts, what it costs
    per hour, and how full the context is; the plan's own window where Claude Code told of it; n/a for what is unknown
    or cannot be. It never starts a database: figures come while the ledger is up, as `tally watch` keeps it.
    """
    if ctx.invoked_subcommand is None:
        if sys.stdin is None or sys.stdin.isatty():
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.set_inheritable(0, True)  # where there was none, it is what open() gave
        try:
            command = _command(_settings(ctx.obj), parts, common=ctx.obj)
        except TallystickError:
            command = _line_of("/dev/null", parts)  # every other command says what is wrong with the settings
        os.execv("/bin/sh", ["sh", "-c", command])


@statusline.command()
@_PARTS_OPTION
@click.option("--replace", is_flag=True, help="Also in place of another; `uninstall` brings that one back.")
@common_options
@click.pass_obj
def install(common: CommonOptions, parts: str, replace: bool) -> None:
    """Put the line into Claude Code's settings.json, whose other settings stay as they are."""
    settings = _settings(common)
    if common.database_url and without_passwords(common.database_url) != common.database_url:
        raise ConfigError(
            "the password of the ledger would be in Claude Code's settings, and in every list of processes",
            hint=f"Write the URL as database_url into {settings.config_file}, and leave --database out.",
        )
    if shutil.which("awk") is None:
        raise ConfigError("there is no awk, which prints the line", hint="Install one: any will do.")
    file = _settings_file(settings)
    with _alone(settings):
        text, former = _read_settings(file)
        is_theirs = former is not None and not _is_ours(former)
        if is_theirs and former != "null" and not replace:
            raise ConfigError(
                f"another program has the status line in {file}",
                hint="Run `tally statusline install --replace`; `uninstall` brings the other one back.",
            )
        former_file = settings.state_dir / FORMER_NAME
        with writing(settings.state_dir):
            if former is None:
                former_file.unlink(missing_ok=True)
            elif is_theirs:
                write_private(former_file, former)
        ours = {"type": "command", "command": _command(settings, parts, common=common), "padding": 0}
        _write_settings(file, with_member(text, SETTING, json.dumps(ours)))
    write_lines([f"The status line is in {file}, and shown from the next message on."], terminal=look_at_output())


@statusline.command()
@common_options
@click.pass_obj
def uninstall(common: CommonOptions) -> None:
    """Take the line out of Claude Code's settings.json, and bring back what was there before."""
    settings = _settings(common)
    file = _settings_file(settings)
    with _alone(settings):
        text, setting = _read_settings(file)
        if not _is_ours(setting):
            write_lines([f"No status line of ours is in {file}."], terminal=look_at_output())
            return
        former_file = settings.state_dir / FORMER_NAME
        if former_file.exists():
            _write_settings(file, with_member(text, SETTING, former_file.read_bytes().decode()))
            former_file.unlink()
        else:
            _write_settings(file, without_member(text, SETTING))
    write_lines([f"The status line is out of {file}."], terminal=look_at_output())


@statusline.command(hidden=True)
@common_options
@click.pass_obj
def renew(common: CommonOptions) -> None:
    """Write the figures that the line shows; run by it in the background, and ended after half a minute."""
    signal.alarm(RENEWAL_LIMIT_S)
    settings = _settings(common)
    figures: dict[str, Any] = {"at": int(datetime.now(UTC).timestamp())}
    with suppress(TallystickError):  # the line says n/a, and `tally status` says why
        url = _url_of_running_ledger(settings)
        if url is not None and settings.user_id:
            with Ledger.connect(url, user_id=settings.user_id, key=settings.ledger_key, attempts=1) as ledger:
                figures |= _figures(ledger, settings)
    make_folder(settings.state_dir)
    write_private(settings.state_dir / statusline_files.CACHE_NAME, json.dumps(figures))


def _figures(ledger: Ledger, settings: Settings) -> dict[str, Any]:
    state = ledger.ledger_state()
    if settings.token_tracking_enabled:
        take_in_changed_prices(Books(ledger, settings, state))
        import_new(ledger, settings, state=state)
    zone = find_zone(state.time_zone or settings.time_zone)
    today = today_in(zone)
    usage = ledger.usage_summary(UsageFilter(since=today, until=today))
    active = active_block(ledger, today=today)
    return {
        "today_usd": _cents(usage.cost_usd or Decimal(0)),
        "day_ends_at": datetime.combine(today + timedelta(days=1), time(), tzinfo=zone).timestamp(),
        "block": _block(active) if active else {},
        "official": _official(ledger.usage_limits()),
    }


def _official(limits: list[UsageLimitRow]) -> dict[str, float]:
    """What Claude Code itself was told last of its five-hour window, where that still runs."""
    for limit in limits:
        if (limit.source, limit.limit_name) == (SOURCE, "five_hour") and limit.resets_at:
            return {"used_percentage": float(limit.used_percent), "resets_at": limit.resets_at.timestamp()}
    return {}


def _block(block: BlockRow) -> dict[str, Any]:
    pace = pace_of(block, now=datetime.now(UTC))
    rate = {"usd_per_hour": _cents(pace.usd_per_hour)} if pace and pace.usd_per_hour is not None else {}
    return {"cost_usd": _cents(block.cost_usd or Decimal(0)), "ends_at": block.block_end.timestamp(), **rate}


def _cents(cost: Decimal) -> str:
    return format(cost.quantize(CENT), "f")


def _url_of_running_ledger(settings: Settings) -> str | None:
    """Where the ledger is, None where it is the embedded one and that is down."""
    if settings.database_url is not None:
        return settings.database_url
    status = EmbeddedServer(settings.embedded_dir).status()
    return status.url if status.is_running else None


def _settings(common: CommonOptions) -> Settings:
    return load_settings(database_url=common.database_url)


def _command(settings: Settings, parts: str, *, common: CommonOptions) -> str:
    """The line as a shell runs it: in awk, and behind it a Python that looks for no packages, from the module."""
    ledger = ["--database", common.database_url] if common.database_url else []
    # -P: an agent runs it in folders that are not ours, whose files must not pass for modules
    renewal = shlex.join([sys.executable, "-P", "-m", "tallystick", "statusline", "renew", *ledger])
    folder = str(Path(statusline_files.__file__).parent)
    script = f"import sys; sys.path.append({folder!r}); import statusline; statusline.main(sys.argv[1:])"
    launcher = shlex.join([sys.executable, "-I", "-S", "-c", script, str(settings.state_dir)])
    return _line_of(str(settings.state_dir), parts, launcher, renewal)


def _line_of(folder: str, parts: str, *programs: str) -> str:
    program = str(Path(statusline_files.__file__).with_suffix(".awk"))
    # awk reads a line however long it is
    return f"head -c {MAX_INPUT_BYTES} | LC_ALL=C awk -f {shlex.join([program, folder, parts, *programs])}"


@contextmanager
def _alone(settings: Settings) -> Iterator[None]:
    """Nobody else puts the line in or out meanwhile: two at once would lose what the other one has read."""
    with writing(settings.state_dir):
        make_folder(settings.state_dir)
        with locked(settings.state_dir / LOCK_NAME, limit_seconds=LOCK_LIMIT_S):
            yield


def _settings_file(settings: Settings) -> Path:
    if not settings.claude_config_dirs:
        raise ConfigError("there is no folder of Claude Code", hint="Set CLAUDE_CONFIG_DIR.")
    return settings.claude_config_dirs[0] / "settings.json"


def _read_settings(file: Path) -> tuple[str, str | None]:
    """The text of the settings, and what it says of the status line, both as they are written."""
    try:
        if file.is_fifo():
            raise OSError(errno.EINVAL, "it is a pipe")  # whose reader waits for a writer
        text = file.read_bytes().decode()
    except (FileNotFoundError, NotADirectoryError):
        text = NO_SETTINGS
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ConfigError(f"cannot read {file}: {reason}", hint="Correct it; nothing was changed.") from error
    try:
        text = text if text.strip() else NO_SETTINGS
        return text, member_of(text, SETTING)
    except ValueError as error:
        raise ConfigError(f"{file} is no settings: {error}", hint="Correct it; nothing was changed.") from error


def _write_settings(file: Path, text: str) -> None:
    """Replace the file whole, a linked one where it really is, with the rights that it had."""
    with writing(
        file, hint="Make that possible, or set CLAUDE_CONFIG_DIR to the folder of Claude Code in which it is."
    ):
        real_file = file.resolve()
        mode = real_file.stat().st_mode & 0o777 if real_file.exists() else 0o600
        make_folder(real_file.parent)
        write_private(real_file, text, is_synced=True)
        real_file.chmod(mode)


def _is_ours(setting: str | None) -> bool:
    told = json.loads(setting) if setting else None
    command = told.get("command") if isinstance(told, dict) else None
    return isinstance(command, str) and "statusline.main(sys.argv[1:])" in command and "awk -f" in command
