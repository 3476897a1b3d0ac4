"""Tallystick keeps the books on AI tokens: an exact, permanent, private ledger of usage and cost in Postgres.

track(client.messages.create(...), user_id="...")  # in an application: records what a call used

with Ledger.connect("postgresql://...", user_id="...") as ledger:
    for day in ledger.usage_daily(UsageFilter()):
        print(day.period_start, day.output_tokens, day.cost_usd)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tallystick.errors import LedgerError, LedgerUnavailable, TallystickError
    from tallystick.ledger import Ledger
    from tallystick.model import Receipt, UsageFilter
    from tallystick.observation import Observation
    from tallystick.schema import install_or_migrate
    from tallystick.tracking import Tracker, default_tracker, track, tracked

__version__ = "0.1.0"
__all__ = [
    "Ledger",
    "LedgerError",
    "LedgerUnavailable",
    "Observation",
    "Receipt",
    "TallystickError",
    "Tracker",
    "UsageFilter",
    "__version__",
    "default_tracker",
    "install_or_migrate",
    "track",
    "tracked",
]

_HOMES = {
    "Ledger": "ledger",
    "LedgerError": "errors",
    "LedgerUnavailable": "errors",
    "Observation": "observation",
    "Receipt": "model",
    "TallystickError": "errors",
    "Tracker": "tracking",
    "UsageFilter": "model",
    "default_tracker": "tracking",
    "install_or_migrate": "schema",
    "track": "tracking",
    "tracked": "tracking",
}


def __getattr__(name: str) -> object:
    # the ledger's libraries take 150 ms to import, and `tally --help` needs none of them
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
