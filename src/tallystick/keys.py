"""The keys of the HTTP API: how one is made, and what the ledger keeps of it.

A key is `tly_`, eight characters that tell it from others, and 256 random bits. The ledger keeps the HMAC-SHA256 of the
whole under the server's own secret, so that whoever reads the database can neither use a key nor try guesses.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from typing import NamedTuple

from tallystick.addresses import SERVER_KEY_PREFIX

KEY_BYTES = 32
PREFIX_LENGTH = len(SERVER_KEY_PREFIX) + 8
SCOPES = ("ingest", "read", "admin")
_KEY = re.compile(SERVER_KEY_PREFIX + r"[0-9a-z]{8}_[A-Za-z0-9_-]{43}")
_PREFIX_SIGNS = "0123456789abcdefghijklmnopqrstuvwxyz"


class NewKey(NamedTuple):
    """A key that was just made: the only moment in which anybody sees it whole."""

    key: str
    prefix: str


def make_key() -> NewKey:
    """A new random key."""
    prefix = SERVER_KEY_PREFIX + "".join(secrets.choice(_PREFIX_SIGNS) for _ in range(8))
    return NewKey(f"{prefix}_{secrets.token_urlsafe(KEY_BYTES)}", prefix)


def is_key(text: str) -> bool:
    """Whether a text has the form of a key of ours."""
    return _KEY.fullmatch(text) is not None


def digest_of(key: str, *, secret: str) -> str:
    """What the ledger knows a key by, 64 hex digits."""
    return hmac.new(secret.encode(), key.encode(), hashlib.sha256).hexdigest()
