"""What Claude Code's status line was told of the plan's limits, handed on to the ledger.

The line itself asks no ledger: it leaves the figures in a file (tallystick.statusline), and whatever takes in what is
new hands them on, once to each user's books.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tallystick.collector.account import make_account
from tallystick.config import Settings
from tallystick.model import LedgerState
from tallystick.statusline import LIMITS_NAME

if TYPE_CHECKING:
    from tallystick.ledger import Ledger

SOURCE = "claude-code"
STAMP_NAME = "statusline-limits.stamp"
WINDOW_MINUTES = {"five_hour": 300, "seven_day": 10080}


def hand_on_limits(ledger: Ledger, settings: Settings, state: LedgerState) -> None:
    """Send what the line has left, unless these books have it; raises what the ledger raises."""
    left = _content_of(settings.state_dir / LIMITS_NAME)
    stamp_file = settings.state_dir / STAMP_NAME
    stamp = f"{state.ledger_id} {state.user_id} {left}"
    if not left or _content_of(stamp_file) == stamp:
        return
    limits = _limits_in(left, device=settings.device)
    if limits:
        if state.time_zone is None:
            make_account(ledger, settings.time_zone)
        from json import dumps  # most runs have nothing to hand on

        ledger.observe_usage_limits(dumps(limits))
    stamp_file.write_text(stamp, encoding="utf-8")


def _content_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _limits_in(left: str, *, device: str) -> list[dict[str, Any]]:
    """The figures as observe_usage_limits takes them; none where the file is not as the line writes it."""
    from json import loads  # as above

    try:
        told = loads(left)
        return [
            {
                "source": SOURCE,
                "limit_name": name,
                "used_percent": window["used_percentage"],
                "window_minutes": WINDOW_MINUTES[name],
                "resets_at": _time(window["resets_at"]) if window["resets_at"] else None,
                "observed_at": _time(told["observed_at"]),
                "device": device,
            }
            for name, window in told["limits"].items()
        ]
    except (ValueError, TypeError, AttributeError, KeyError, OverflowError, OSError):
        return []


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()
