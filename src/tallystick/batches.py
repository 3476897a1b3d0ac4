"""Cutting a batch of observations in two, for the one batch in a million that Postgres cannot parse."""

from __future__ import annotations

import hashlib
import re

import msgspec

from tallystick.errors import InvalidRequest

_SIGNS = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[\[\]{},]', re.DOTALL)
_BLANKS = b" \t\r\n"
# a place has no blanks, so that no text can be taken for one
_PLACE = re.compile(rb'"position"\s*:\s*"([!#-\[\]-~]{1,200})"')
_SOURCE = re.compile(rb'"source"\s*:\s*"([!#-\[\]-~]{1,50})"')


def split_batch(events: bytes) -> list[bytes]:
    """Both halves of a JSON list as JSON lists; the list itself, alone, where it holds one record."""
    records = split_records(events)
    if len(records) < 2:
        return [events]
    middle = len(records) // 2
    return [b"[" + b",".join(half) + b"]" for half in (records[:middle], records[middle:])]


def split_records(events: bytes) -> list[bytes]:
    """The records of a JSON list as they are written, told apart by brackets and quotes alone.

    What stands between those may be anything, such as what no JSON parser takes. Raises InvalidRequest for what is no
    list, where nobody can tell one record from the next.
    """
    text = events.strip(_BLANKS)
    if text[:1] != b"[" or text[-1:] != b"]":
        raise no_list()
    cuts = [0]
    depth = 0
    for sign in _SIGNS.finditer(text, 1, len(text) - 1):
        if sign[0] == b"," and depth == 0:
            cuts.append(sign.start())
        elif sign[0] in (b"[", b"{"):
            depth += 1
        elif sign[0] in (b"]", b"}"):
            depth -= 1
            if depth < 0:
                raise no_list()
    if depth > 0:
        raise no_list()
    return [text[start + 1 : end].strip(_BLANKS) for start, end in zip(cuts, [*cuts[1:], len(text) - 1], strict=True)]


def reject_unreadable(events: bytes) -> str:
    """The batch that stands for a list of one record that nobody can read: its place and a reason, no content.

    The place, or the digest of a record that names none, is what the ledger itself gives a record that it cannot read,
    so that either way it is kept once.
    """
    (record,) = split_records(events)
    place, source = _PLACE.search(record), _SOURCE.search(record)
    position = place[1].decode() if place else "sha256:" + hashlib.sha256(record).hexdigest()
    origin = source[1].decode() if source else "unknown"
    return f'[{{"source":"{origin}","position":"{position}","reject_reason":"unreadable"}}]'


def split_snapshots(session_data: str, daily_data: str | None) -> list[tuple[str, str | None]]:
    """Both halves of session_data, each with the days that the ledger finds for it in the whole.

    Of two lists of one length each session has the day at its place; else one that is empty keeps a half from being as
    long as the list of days by chance.
    """
    sessions, days = _listed(session_data), _listed(daily_data or "null")
    middle = len(sessions) // 2
    if len(sessions) < 2:
        return [(session_data, daily_data)]
    parts = (sessions[:middle], days[:middle]), (sessions[middle:], days[middle:])
    if len(sessions) == len(days):
        return [(_joined(half), _joined(its_days)) for half, its_days in parts]
    return [(_joined(half), _joined([*days, *[b"{}"] * (len(half) == len(days))])) for half, _ in parts]


def reject_unreadable_snapshot(session_data: str) -> str:
    """The session_data that stands for one record that nobody can read: whose it is, its session, and a reason."""
    (record,) = _listed(session_data)
    members = {
        name: found[1].decode() for name in ("user_id", "source", "session_id") if (found := _label_in(record, name))
    }
    members["position"] = "sha256:" + hashlib.sha256(record).hexdigest()
    return _joined([msgspec.json.encode({**members, "reject_reason": "unreadable"})])


def _label_in(record: bytes, name: str) -> re.Match[bytes] | None:
    return re.search(rb'"%s"\s*:\s*"([!#-\[\]-~]{1,200})"' % name.encode(), record)


def _listed(data: str) -> list[bytes]:
    """The objects of a list, or the one that stands alone."""
    text = data.encode().strip(_BLANKS)
    return split_records(text if text[:1] == b"[" else b"[" + text + b"]")


def _joined(records: list[bytes]) -> str:
    return (b"[" + b",".join(records) + b"]").decode()


def no_list() -> InvalidRequest:
    """The error for a batch that is no JSON list."""
    return InvalidRequest(
        "the batch is no JSON list", hint="Pass a list of observations.", constraint="events_are_a_list"
    )
