"""Time zones by name, and what day it is in one."""

from __future__ import annotations

from datetime import UTC, date, datetime, tzinfo
from zoneinfo import ZoneInfo

from tallystick.errors import ConfigError


def find_zone(name: str) -> tzinfo:
    """The zone of an IANA name; raises ConfigError where this machine does not know it."""
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (OSError, ValueError, KeyError) as error:
        raise ConfigError(
            f"this machine knows no time zone {name!r}",
            hint="Use an exact IANA name such as Europe/Berlin; where even that fails, install the package tzdata.",
        ) from error


def today_in(zone: tzinfo) -> date:
    """The day that it is now."""
    return datetime.now(zone).date()
