"""Cutting a batch of observations in two, for the one batch in a million that Postgres cannot parse."""

from __future__ import annotations

import hashlib

import msgspec

_LIST_OF_RECORDS = msgspec.json.Decoder(list[msgspec.Raw])


def split_batch(events: bytes) -> list[bytes]:
    """Both halves of a JSON list as JSON lists; the list itself, alone, where it holds one record or cannot be cut."""
    try:
        records = _LIST_OF_RECORDS.decode(events)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return [events]
    if len(records) < 2:
        return [events]
    middle = len(records) // 2
    return [_join(records[:middle]), _join(records[middle:])]


def _join(records: list[msgspec.Raw]) -> bytes:
    return b"[" + b",".join(bytes(record) for record in records) + b"]"


def reject_unreadable(events: bytes) -> str:
    """The batch that stands for a record nobody can read: its digest and a reason, nothing of its content."""
    position = "sha256:" + hashlib.sha256(events).hexdigest()
    reject = {"source": "unknown", "position": position, "reject_reason": "unreadable"}
    return msgspec.json.encode([reject]).decode()
