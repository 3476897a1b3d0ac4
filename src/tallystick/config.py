"""Where things are and whose they are: the environment and config.toml become one frozen Settings.

No other module takes a setting from os.environ. An argument beats the environment, the environment beats config.toml,
and that beats the default; an empty variable counts as unset. The folders are those that platformdirs names, worked out
here because it answers for os.environ only and takes 4 ms to import, on a road where a command has some 70.
"""

from __future__ import annotations

import os
import pwd
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from tallystick.addresses import is_http
from tallystick.catalog import CATALOG, Root, claude_code_roots, expand
from tallystick.config_file import PROJECT_NAMES, Written, checked_uuid, read_config, write_user_id
from tallystick.errors import ConfigError
from tallystick.machine_zone import machine_time_zone
from tallystick.private_files import locked, make_folder, write_private
from tallystick.redaction import redacted_url

_TRUE_WORDS = ("1", "true", "yes", "on")
_FALSE_WORDS = ("0", "false", "no", "off")
_LOCK_WAIT_SECONDS = 10.0


class Settings(NamedTuple):
    """What the surroundings decide; `user_id` is "" until known, `database_url` None means the embedded ledger.

    `database_url` may lead to any Postgres, to a Supabase project or to a Tallystick server; the latter two take a key.
    """

    user_id: str
    database_url: str | None
    ledger_key: str
    device: str
    time_zone: str
    config_dir: Path
    data_dir: Path
    state_dir: Path
    config_file: Path
    prices_file: Path
    checkpoint_file: Path
    embedded_dir: Path
    claude_config_dirs: tuple[Path, ...]
    agent_roots: tuple[Root, ...]
    project_names: str
    token_tracking_enabled: bool

    @property
    def roots(self) -> tuple[Root, ...]:
        """Every folder in which transcripts are looked for."""
        return (*claude_code_roots(self.claude_config_dirs), *self.agent_roots)

    @property
    def redacted_url(self) -> str | None:
        """The database URL, fit for a screen or a log: whatever could be a password is ***."""
        return None if self.database_url is None else redacted_url(self.database_url)

    def shown(self) -> Settings:
        """The same, fit for a screen or a log."""
        return self._replace(database_url=self.redacted_url, ledger_key="***" if self.ledger_key else "")

    def __repr__(self) -> str:
        shown = self.shown()
        return f"Settings({', '.join(f'{name}={value!r}' for name, value in zip(self._fields, shown, strict=True))})"


class ServerSettings(NamedTuple):
    """What the HTTP API needs to know; `supabase_url` '' means that it knows no users' tokens.

    `pool_size` is each process's. `metrics_folder` is where several processes keep their figures together, '' for one.
    """

    database_url: str
    key_secret: str
    supabase_url: str = ""
    jwt_secret: str = ""
    requests_per_minute: int = 6000
    cors_origins: tuple[str, ...] = ()
    pool_size: int = 10
    metrics_folder: str = ""

    def __repr__(self) -> str:
        return f"ServerSettings(database_url={redacted_url(self.database_url)!r})"


def load_settings(environ: Mapping[str, str] | None = None, *, database_url: str | None = None) -> Settings:
    """The settings of this process; a ConfigError names the variable, or the file and its line, that is wrong."""
    given = os.environ if environ is None else environ
    env = {name: value for name, value in given.items() if value.strip()}
    home = _home(env)
    config_dir, data_dir, state_dir = _folders(env, home)
    config_file = config_dir / "config.toml"
    written = read_config(config_file)
    ledger_url, ledger_key = _ledger_place(env, written, option=database_url)
    return Settings(
        user_id=checked_uuid(env["USER_ID"], origin="USER_ID") if "USER_ID" in env else written.user_id,
        database_url=ledger_url,
        ledger_key=ledger_key,
        device=written.device or os.uname().nodename,
        time_zone=written.time_zone or machine_time_zone(env),
        config_dir=config_dir,
        data_dir=data_dir,
        state_dir=state_dir,
        config_file=config_file,
        prices_file=config_dir / "prices.json",
        checkpoint_file=state_dir / "checkpoints.sqlite3",
        embedded_dir=data_dir / "postgres",
        claude_config_dirs=_claude_config_dirs(env, home=home, written=written.claude_config_dirs),
        agent_roots=_agent_roots(env, home=home),
        project_names=written.project_names or PROJECT_NAMES[0],
        token_tracking_enabled=_is_true(env.get("TOKEN_TRACKING_ENABLED", "true"), origin="TOKEN_TRACKING_ENABLED"),
    )


def named_user(environ: Mapping[str, str] | None = None) -> str:
    """The user that the environment names outright, '' where it names none: config.toml's may have been made up."""
    text = (os.environ if environ is None else environ).get("USER_ID", "").strip()
    return checked_uuid(text, origin="USER_ID") if text else ""


def load_server_settings(
    environ: Mapping[str, str] | None = None, *, settings: Settings | None = None, database_url: str | None = None
) -> ServerSettings:
    """The settings of the HTTP API on the ledger at `database_url`, else on the one that the settings name."""
    given = os.environ if environ is None else environ
    env = {name: value.strip() for name, value in given.items() if value.strip()}
    settings = settings or load_settings(environ)
    url = database_url or settings.database_url
    if url is None or is_http(url):
        raise ConfigError(
            "the HTTP API needs a Postgres to serve",
            hint="Set TALLYSTICK_DATABASE_URL=postgresql://..., or run `tally up` for the embedded ledger.",
        )
    supabase_url = env.get("SUPABASE_URL", "")
    if supabase_url and not is_http(supabase_url):
        raise ConfigError("SUPABASE_URL is no address", hint="Write https://PROJECT.supabase.co, or unset it.")
    return ServerSettings(
        database_url=url,
        key_secret=load_key_secret(settings, environ),
        supabase_url=supabase_url,
        jwt_secret=env.get("SUPABASE_JWT_SECRET", ""),
        requests_per_minute=_whole_number(env, "TALLYSTICK_REQUESTS_PER_MINUTE", 6000),
        cors_origins=tuple(part.strip() for part in env.get("TALLYSTICK_CORS_ORIGINS", "").split(",") if part.strip()),
        pool_size=_whole_number(env, "TALLYSTICK_POOL_SIZE", 10),
    )


def _whole_number(env: Mapping[str, str], name: str, default: int) -> int:
    text = env.get(name, str(default))
    if not text.isdecimal() or int(text) == 0:
        raise ConfigError(f"{name} is no whole number above 0: {text!r}", hint=f"Write one, such as {default}.")
    return int(text)


def load_key_secret(settings: Settings, environ: Mapping[str, str] | None = None) -> str:
    """The secret under which the ledger knows the API's keys: given, or made at first use and kept beside config.toml.

    Every server of one ledger, and whoever makes keys for it, needs the same.
    """
    given = (os.environ if environ is None else environ).get("TALLYSTICK_KEY_SECRET", "").strip()
    hints = "Make its folder writable, or set TALLYSTICK_KEY_SECRET.", "delete it and make the keys anew"
    return given or _kept_secret(settings.config_dir / "key_secret", hints=hints)


def load_project_secret(settings: Settings) -> str:
    """The secret under which projects are named where project_names is hash; one file for all of a user's machines."""
    hints = "Make its folder writable.", "delete it: projects will have other names from then on"
    return _kept_secret(settings.config_dir / "project_secret", hints=hints)


def _kept_secret(file: Path, *, hints: tuple[str, str]) -> str:
    try:
        make_folder(file.parent)
        with locked(file.with_suffix(".lock"), limit_seconds=_LOCK_WAIT_SECONDS):
            if not file.exists():
                write_private(file, f"{os.urandom(32).hex()}\n", is_synced=True)
            secret = file.read_text(encoding="ascii", errors="replace").strip()
    except OSError as error:
        raise ConfigError(f"cannot read or make {file}: {error.strerror}", hint=hints[0]) from error
    # with an empty one, say of a disk that was full, whoever reads the ledger could try guesses
    if not re.fullmatch("[0-9a-f]{64}", secret):
        raise ConfigError(f"{file} holds no secret", hint=f"Restore it from a backup, or {hints[1]}.")
    return secret


def save_user_id(settings: Settings, user_id: str) -> Settings:
    """Write the user id into config.toml (0600, atomically, the rest of it kept) and return the settings that now hold.

    Two commands may both be the first: the one that comes second finds an id it did not know, and adopts it.
    """
    wanted = checked_uuid(user_id, origin="the user id")
    try:
        make_folder(settings.config_dir)
        with locked(settings.config_dir / "config.lock", limit_seconds=_LOCK_WAIT_SECONDS):
            saved = read_config(settings.config_file).user_id
            if saved and not settings.user_id:
                return settings._replace(user_id=saved)
            write_user_id(settings.config_file, user_id=wanted)
    except OSError as error:
        raise ConfigError(
            f"cannot write {settings.config_file}: {error.strerror}", hint="make its folder writable, or set USER_ID"
        ) from error
    return settings._replace(user_id=wanted)


def _ledger_place(env: Mapping[str, str], written: Written, *, option: str | None) -> tuple[str | None, str]:
    """Where the ledger is, and the key to it: what names it outright, then the Supabase project of the environment.

    The project's key goes to the project's address and to no other.
    """
    project, project_key = env.get("SUPABASE_URL", "").strip(), env.get("SUPABASE_SERVICE_KEY", "").strip()
    url = option or env.get("TALLYSTICK_DATABASE_URL", "").strip() or written.database_url
    if not url and project and project_key:
        return project, project_key
    if not is_http(url):
        return url or None, ""
    key = env.get("TALLYSTICK_API_KEY", "").strip() or written.api_key
    return url, project_key if url.rstrip("/") == project.rstrip("/") and project_key else key


def _home(env: Mapping[str, str]) -> Path | None:
    if env.get("HOME", "").startswith("/"):
        return Path(env["HOME"])
    try:
        return Path(pwd.getpwuid(os.getuid()).pw_dir)
    except KeyError:
        return None  # a container may run as a uid that no account has


def _folders(env: Mapping[str, str], home: Path | None) -> tuple[Path, Path, Path]:
    """The folders for configuration, data and state."""
    if "TALLYSTICK_HOME" in env:
        top = _path(env["TALLYSTICK_HOME"], home=home)
        return top / "config", top / "data", top / "state"
    return (
        _folder(env.get("XDG_CONFIG_HOME", ""), home=home, below_home=".config"),
        _folder(env.get("XDG_DATA_HOME", ""), home=home, below_home=".local/share"),
        _folder(env.get("XDG_STATE_HOME", ""), home=home, below_home=".local/state"),
    )


def _folder(xdg: str, *, home: Path | None, below_home: str) -> Path:
    if xdg.startswith("/"):
        return Path(xdg) / "tallystick"
    if home is None:
        raise ConfigError("HOME is not set and this user has no account", hint="set HOME or TALLYSTICK_HOME")
    return home / ("Library/Application Support" if sys.platform == "darwin" else below_home) / "tallystick"


def _path(text: str, *, home: Path | None) -> Path:
    text = text.strip()
    if home is not None and (text == "~" or text.startswith("~/")):
        return home / text[2:]
    return Path(text).absolute()


def _claude_config_dirs(env: Mapping[str, str], *, home: Path | None, written: tuple[str, ...]) -> tuple[Path, ...]:
    value = env.get("CLAUDE_CONFIG_DIR", "")
    # To Claude Code itself the variable is one folder, so a folder that has a comma in its name is not a list.
    parts = [value] if _is_folder(Path(value)) else value.split(",")
    chosen = [part for part in parts if part.strip()] or list(written)
    if chosen:
        return tuple(dict.fromkeys(_without_projects(_path(part, home=home)) for part in chosen))
    if home is None:
        return ()
    xdg = env.get("XDG_CONFIG_HOME", "")
    return tuple(dict.fromkeys((home / ".claude", (Path(xdg) if xdg.startswith("/") else home / ".config") / "claude")))


def _agent_roots(env: Mapping[str, str], *, home: Path | None) -> tuple[Root, ...]:
    """Where every other agent keeps its files, each folder once for a layout."""
    roots = [
        Root(Path(path), layout)
        for layout in CATALOG
        for root in layout.roots
        if sys.platform == "darwin" or not root.startswith("~/Library/")
        if (path := expand(root, variables=env, home=str(home or "")))
    ]
    return tuple(dict.fromkeys(roots))


def _without_projects(folder: Path) -> Path:
    """People name the folder that holds `projects`, or `projects` itself; one so called that holds another stays."""
    return folder.parent if folder.name == "projects" and not _is_folder(folder / "projects") else folder


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:
        return False  # too long for a path, or behind a folder that is closed to us


def _is_true(text: str, *, origin: str) -> bool:
    word = text.strip().lower()
    if word not in _TRUE_WORDS + _FALSE_WORDS:
        raise ConfigError(f"{origin} is neither true nor false: {text!r}", hint="write true or false")
    return word in _TRUE_WORDS
