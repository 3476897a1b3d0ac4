"""`tally config`: every setting and where it comes from."""

from __future__ import annotations

import os
import tomllib
from typing import NamedTuple

import click

from tallystick.catalog import Root
from tallystick.cli.cells import wrapped
from tallystick.cli.options import CommonOptions, common_options
from tallystick.cli.render import Column, Kind, Line, render_table
from tallystick.cli.terminal import look_at_output, write_lines
from tallystick.config import Settings, load_settings


class Origin(NamedTuple):
    """The names under which a setting may be given: variables of the environment, and a key of config.toml."""

    variables: tuple[str, ...] = ()
    file_key: str = ""


# As tallystick.config reads them: what comes first wins.
ORIGINS: dict[str, Origin] = {
    "user_id": Origin(("USER_ID",), "user_id"),
    "database_url": Origin(("TALLYSTICK_DATABASE_URL",), "database_url"),
    "ledger_key": Origin(("TALLYSTICK_API_KEY",), "api_key"),
    "device": Origin((), "device"),
    "time_zone": Origin((), "time_zone"),
    "config_dir": Origin(("TALLYSTICK_HOME", "XDG_CONFIG_HOME")),
    "data_dir": Origin(("TALLYSTICK_HOME", "XDG_DATA_HOME")),
    "state_dir": Origin(("TALLYSTICK_HOME", "XDG_STATE_HOME")),
    "config_file": Origin(),
    "prices_file": Origin(),
    "checkpoint_file": Origin(),
    "embedded_dir": Origin(),
    "claude_config_dirs": Origin(("CLAUDE_CONFIG_DIR",), "claude_config_dirs"),
    "agent_roots": Origin(),
    "project_names": Origin((), "project_names"),
    "token_tracking_enabled": Origin(("TOKEN_TRACKING_ENABLED",)),
}
# they count where nothing names a ledger outright, and together only
SUPABASE_VARIABLES = {"database_url": ("SUPABASE_URL",), "ledger_key": ("SUPABASE_SERVICE_KEY",)}
TIME_ZONE_NOTE = (
    "A new ledger takes time_zone. One that stands keeps its own, which `tally doctor` names; --timezone asks a report "
    "for another."
)
UNSET = {"user_id": "(made at first use)", "database_url": "(the embedded ledger)", "ledger_key": "(none)"}


@click.command()
@click.option("--path", is_flag=True, help="Print only where config.toml is.")
@common_options
@click.pass_obj
def config(common: CommonOptions, path: bool) -> None:
    """Show every setting and where it comes from: an option, the environment, config.toml, or nowhere."""
    settings = load_settings(database_url=common.database_url)
    terminal = look_at_output()
    if path:
        write_lines([str(settings.config_file)], terminal=terminal)
        return
    written = _keys_of_file(settings)
    lines = [
        Line((name, _origin(name, settings, written, is_option=common.database_url is not None), value))
        for name, value in shown_settings(settings)
    ]
    # A path that is cut is of no use, so the last column takes what it needs.
    columns = [Column("Setting", Kind.WHOLE), Column("From", Kind.WHOLE), Column("Value", Kind.WHOLE)]
    table = render_table(columns, lines, width=terminal.width, palette=terminal.palette)
    write_lines([*table.lines, "", *wrapped(TIME_ZONE_NOTE, width=terminal.width)], terminal=terminal)


def shown_settings(settings: Settings) -> list[tuple[str, str]]:
    """Each setting as text without a password, one line per folder of a list."""
    shown: list[tuple[str, str]] = []
    for name, value in zip(settings._fields, settings.shown(), strict=True):
        if isinstance(value, tuple):
            # agents have some 80 places by now, of which a machine has few
            parts = [part.path if isinstance(part, Root) else part for part in value]
            parts = [part for part in parts if name != "agent_roots" or part.exists()]
            shown += [(name, text) for text in dict.fromkeys(map(str, parts))] or [(name, "(none)")]
        elif isinstance(value, bool):
            shown.append((name, str(value).lower()))
        else:
            shown.append((name, str(value or UNSET.get(name, ""))))
    return shown


def _origin(name: str, settings: Settings, written: set[str], *, is_option: bool) -> str:
    if name == "database_url" and is_option:
        return "--database"
    origin = ORIGINS[name]
    for variable in origin.variables + SUPABASE_VARIABLES.get(name, ()):
        value = os.environ.get(variable, "").strip()
        if value and (variable in origin.variables or value in settings):
            return variable
    return "config.toml" if origin.file_key in written else "default"


def _keys_of_file(settings: Settings) -> set[str]:
    """What config.toml sets; load_settings has already refused one that cannot be read."""
    if not settings.config_file.exists():
        return set()
    return {key for key, value in tomllib.loads(settings.config_file.read_text(encoding="utf-8")).items() if value}
