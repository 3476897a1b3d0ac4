"""config.toml: what it may say, reading it, and writing the one setting that we make ourselves."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from tallystick.errors import ConfigError
from tallystick.machine_zone import is_zone
from tallystick.private_files import write_private

PROJECT_NAMES = ("path", "name", "hash")
# what the ledger takes; it would reject every call of a machine with a longer name
MAX_DEVICE_BYTES = 200
_HEX_DIGITS = frozenset("0123456789abcdef")


class Written(NamedTuple):
    """What config.toml says; "" and () where it is silent."""

    user_id: str = ""
    database_url: str = ""
    api_key: str = ""
    device: str = ""
    time_zone: str = ""
    claude_config_dirs: tuple[str, ...] = ()
    project_names: str = ""


def read_config(config_file: Path) -> Written:
    """What the file says, nothing where there is none; a ConfigError names the line that is wrong."""
    try:
        data = config_file.read_bytes()
    except FileNotFoundError:
        return Written()
    except OSError as error:
        raise ConfigError(
            f"cannot read {config_file}: {error.strerror}",
            hint="make it readable, or set TALLYSTICK_HOME to another folder",
        ) from error
    return _parse(data, file=config_file)


def _parse(data: bytes, *, file: Path) -> Written:
    import tomllib  # 3 ms, of no use to whoever has no config.toml

    try:
        text = data.decode()
        table = tomllib.loads(text)
    except UnicodeDecodeError as error:
        raise _bad_file(file, line=data.count(b"\n", 0, error.start) + 1, what="this is not UTF-8") from error
    except tomllib.TOMLDecodeError as error:
        at_line = re.search(r"^(.*) \(at line (\d+)", str(error))
        what, line = (at_line[1], int(at_line[2])) if at_line else (str(error), data.count(b"\n") + 1)
        raise _bad_file(file, line=line, what=what) from error
    for key, value in table.items():
        line = _line_of(key, text)
        if key not in Written._fields:
            raise _bad_file(file, line=line, what=f"there is no setting {key!r}")
        if key == "claude_config_dirs":
            if not isinstance(value, list) or not all(isinstance(folder, str) for folder in value):
                raise _bad_file(file, line=line, what="claude_config_dirs is not a list of strings")
            table[key] = tuple(folder for folder in value if folder.strip())
        elif not isinstance(value, str):
            raise _bad_file(file, line=line, what=f"{key} is not a string in quotes")
        elif key == "project_names" and value and value not in PROJECT_NAMES:
            raise _bad_file(file, line=line, what=f"project_names is none of {', '.join(PROJECT_NAMES)}: {value!r}")
        elif key == "time_zone" and value and not is_zone(value):
            raise _bad_file(file, line=line, what=f"there is no time zone {value!r}")
        elif key == "device" and not _is_name(value):
            what = f"device is no name of up to {MAX_DEVICE_BYTES} bytes that print, with no blank around it"
            raise _bad_file(file, line=line, what=f"{what}: {value!r:.60}")
        elif key == "user_id" and value:
            table[key] = checked_uuid(value, origin=f"{file}, line {line}: user_id")
    return Written(**table)


def _is_name(text: str) -> bool:
    return text.isprintable() and text == text.strip() and len(text.encode()) <= MAX_DEVICE_BYTES


def _bad_file(file: Path, *, line: int, what: str) -> ConfigError:
    return ConfigError(
        f"{file}, line {line}: {what}", hint=f"correct it; the settings are {', '.join(Written._fields)}"
    )


def _line_of(key: str, text: str) -> int:
    """The number of the line that sets a key or opens its table."""
    for number, line in enumerate(text.splitlines(), start=1):
        if re.split(r"[=.\]]", line.strip(" \t["), maxsplit=1)[0].strip(" \t\"'") == key:
            return number
    return 1


def write_user_id(config_file: Path, *, user_id: str) -> None:
    """Put the user id on its line, or on top where no table has begun; a linked file is written where it really is."""
    old = config_file.read_text(encoding="utf-8") if config_file.exists() else ""
    line = f'user_id = "{user_id}"'
    new, count = re.subn(r"(?m)^[ \t]*user_id[ \t]*=.*$", line, old, count=1)
    if not count:
        new = f"{line}\n{old}"
    if _parse(new.encode(), file=config_file) != _parse(old.encode(), file=config_file)._replace(user_id=user_id):
        raise ConfigError(f"cannot find the place of user_id in {config_file}", hint=f"write it by hand: {line}")
    write_private(config_file.resolve(), new if new.endswith("\n") else new + "\n", is_synced=True)


def checked_uuid(text: str, *, origin: str) -> str:
    """The uuid in lower case; written out, since the uuid module takes 1 ms to import."""
    uuid = text.strip().lower()
    parts = uuid.split("-")
    if [len(part) for part in parts] != [8, 4, 4, 4, 12] or not _HEX_DIGITS.issuperset("".join(parts)):
        raise ConfigError(
            f"{origin} is not a uuid: {text!r}", hint="it looks like 123e4567-e89b-42d3-a456-426614174000"
        )
    return uuid
