"""The time zone of this machine."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path


def machine_time_zone(environ: Mapping[str, str], *, etc: Path = Path("/etc")) -> str:
    """The IANA name of this machine's zone, else "UTC".

    TZ comes first, then the link that every clock on the machine obeys, then the name that Debian keeps beside it for
    where localtime is a plain copy. A TZ that is a POSIX rule ("CET-1CEST") names no IANA zone and is passed over.
    """
    candidates = [environ.get("TZ", "").strip().lstrip(":")]
    try:
        candidates.append(str((etc / "localtime").readlink()))
    except OSError:
        candidates.append("")  # no link: a copy, or a machine that never set a zone
    try:
        candidates.append((etc / "timezone").read_text(encoding="ascii").strip())
    except (OSError, UnicodeDecodeError):
        candidates.append("")
    for candidate in candidates:
        name = re.sub(r"^.*/zoneinfo[^/]*/((posix|right)/)?", "", candidate)
        if is_zone(name):
            return name
    return "UTC"


def is_zone(name: str) -> bool:
    """Whether the machine knows this zone; where it has no zone files the ledger alone judges the name."""
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*", name) or name in ("localtime", "posixrules"):
        return False
    zones = Path("/usr/share/zoneinfo")
    return (zones / name).is_file() if zones.is_dir() else "/" in name or name == "UTC"
