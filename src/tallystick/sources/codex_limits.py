"""What a token_count of Codex says of its plan's limits."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from typing import Final

from tallystick.observation import LimitObservation
from tallystick.sources.members import part_of, text_of
from tallystick.sources.times import time_of_number

# the limit of the plan itself, as against those of single models
_OWN_ID: Final = "codex"
# versions of 2025 wrote a minute too little
_MINUTES: Final = {299: 300, 10079: 10080}
_NAMES: Final = {300: "five_hour", 10080: "seven_day"}


def read_limits(
    rate_limits: dict[str, object], *, source: str, observed_at: str, device: str
) -> Iterator[LimitObservation]:
    """Both windows of one block, named by their length: which of them stands first differs from plan to plan."""
    limit_id = text_of(rate_limits, "limit_id") or _OWN_ID
    for slot in ("primary", "secondary"):
        window = part_of(rate_limits, slot) or {}
        used_percent, minutes = _number(window, "used_percent"), window.get("window_minutes")
        if used_percent is None:
            continue
        is_known = isinstance(minutes, int) and not isinstance(minutes, bool) and minutes > 0
        minutes = _MINUTES.get(minutes, minutes) if isinstance(minutes, int) and is_known else 0
        name = _NAMES.get(minutes, f"{minutes}_minutes") if minutes else slot
        yield LimitObservation(
            source=source,
            limit_name=name if limit_id == _OWN_ID else f"{limit_id}:{name}",
            used_percent=float(used_percent),
            window_minutes=minutes,
            resets_at=_end_of(window, observed_at),
            observed_at=observed_at,
            device=device,
        )


def _end_of(window: dict[str, object], observed_at: str) -> str:
    """When the window ends; older versions tell how long that is from the record's own time. '' where unknown."""
    resets_in_seconds = _number(window, "resets_in_seconds")
    if resets_in_seconds is None:
        return time_of_number(window.get("resets_at"), per_second=1)
    observed = Decimal(datetime.fromisoformat(observed_at).timestamp())
    return time_of_number(observed + Decimal(resets_in_seconds), per_second=1)


def _number(window: dict[str, object], name: str) -> int | float | Decimal | None:
    value = window.get(name)
    return value if isinstance(value, (int, float, Decimal)) and not isinstance(value, bool) else None
