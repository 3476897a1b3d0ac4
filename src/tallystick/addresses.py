"""What the address of a ledger and a key for it say of themselves, before anybody is asked."""

from __future__ import annotations

SERVER_KEY_PREFIX = "tly_"


def is_http(url: str) -> bool:
    """Whether a ledger lies behind HTTP, a Supabase project or a Tallystick server; else it is a Postgres."""
    return url.startswith(("http://", "https://"))


def is_server_key(key: str) -> bool:
    """Whether a key is a Tallystick server's; one of a Supabase project begins otherwise."""
    return key.startswith(SERVER_KEY_PREFIX)
