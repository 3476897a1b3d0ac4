"""Making the account of whose books are kept from this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tallystick.errors import InvalidRequest

if TYPE_CHECKING:
    from tallystick.ledger import Ledger


def make_account(ledger: Ledger, time_zone: str) -> None:
    """Make the account in the machine's zone, or in UTC where Postgres does not know that; one that stands stays."""
    try:
        ledger.make_account(time_zone=time_zone)
    except InvalidRequest:
        ledger.make_account(time_zone="UTC")
