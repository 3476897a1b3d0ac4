"""Every address of the HTTP API in one router, to be served by `tally serve` or mounted in an application's own app."""

from tallystick.api import writes  # isort: skip
from tallystick.api import reports, upkeep
from tallystick.api.router import API_PREFIX, router

# to import a module is to add its addresses; the first are found first, and events come in most often
MODULES = (writes, reports, upkeep)

__all__ = ["API_PREFIX", "MODULES", "router"]
