"""The rows that the ledger answers with: frozen, typed, no I/O.

Tokens are integers, money is Decimal in US dollars, times are aware datetimes. Named tuples, because a command that
only reports must not pay for anything slower to import.
"""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import NamedTuple

MAX_TOLD_REJECTS = 20


class RejectedRecord(NamedTuple):
    """A record that could not be counted: which of those sent, from 0, its key where it has one, its place, and why.

    `position` is the digest of the record where it names no place. A ledger of an older version names no such index.
    """

    position: str
    reason: str
    record_index: int | None = None
    event_key: str | None = None

    def behind(self, count: int) -> RejectedRecord:
        """The same of a batch that stands behind so many other records."""
        return self if self.record_index is None else self._replace(record_index=self.record_index + count)


class Receipt(NamedTuple):
    """What ingesting a batch did: received = new + revised + duplicate + rejected; unpriced counts among the new.

    `rejects` are the first 20 that were rejected; the ledger keeps all of them. `unknown_members` are names that no
    event has, which were passed over; a server looks for them in the first event of a request.
    """

    received: int = 0
    new: int = 0
    revised: int = 0
    duplicate: int = 0
    rejected: int = 0
    unpriced: int = 0
    rejects: tuple[RejectedRecord, ...] = ()
    unknown_members: tuple[str, ...] = ()

    def plus(self, other: Receipt) -> Receipt:
        """The receipt of both batches together."""
        return Receipt(
            **_added_up(self, other),
            rejects=(*self.rejects, *(told.behind(self.received) for told in other.rejects))[:MAX_TOLD_REJECTS],
            unknown_members=tuple(sorted({*self.unknown_members, *other.unknown_members})),
        )


class SnapshotReject(NamedTuple):
    """One session whose running totals could not be counted, and why; None where the record named no such thing."""

    user_id: str | None
    session_id: str | None
    reason: str


class SnapshotReceipt(NamedTuple):
    """What running totals of sessions did: a receipt, and which of them were rejected, in the order they came in."""

    received: int
    new: int
    revised: int
    duplicate: int
    rejected: int
    unpriced: int
    rejects: list[SnapshotReject]

    def plus(self, other: SnapshotReceipt) -> SnapshotReceipt:
        """The receipt of both lists together."""
        return SnapshotReceipt(**_added_up(self, other), rejects=[*self.rejects, *other.rejects])


def _added_up(one: Receipt | SnapshotReceipt, other: Receipt | SnapshotReceipt) -> dict[str, int]:
    names = ("received", "new", "revised", "duplicate", "rejected", "unpriced")
    return {name: getattr(one, name) + getattr(other, name) for name in names}


class DoubleSessionRow(NamedTuple):
    """A session that the ledger holds from snapshots and from another source as well: its usage counts twice."""

    session_id: str
    other_source: str


class UsageFilter(NamedTuple):
    """Which usage a report is about: inclusive dates in `time_zone`; None is no bound, or the account's own zone."""

    since: date | None = None
    until: date | None = None
    time_zone: str | None = None
    sources: list[str] | None = None
    projects: list[str] | None = None
    models: list[str] | None = None
    sessions: list[str] | None = None
    devices: list[str] | None = None


class Page(NamedTuple):
    """Which rows of a report: at most `limit` (1 to 10,000) behind the row whose key columns `after` gives."""

    after: dict[str, str] | None = None
    limit: int = 1000


class UsageRow(NamedTuple):
    """One line of a report by day, week, month, model or project.

    `period_start` is the day, or the first day of the week or month (None in reports without periods). A label is None
    where the report does not break down by it, and where it is unknown.
    """

    period_start: date | None
    source: str | None
    session_id: str | None
    project: str | None
    model: str | None
    device: str | None
    session_count: int
    event_count: int
    message_count: int
    unpriced_event_count: int
    input_tokens: int
    output_tokens: int
    thinking_tokens: int
    cache_creation_tokens: int
    cache_read_tokens: int
    web_search_requests: int
    cost_usd: Decimal | None


class SessionRow(NamedTuple):
    """One session within the range asked for; model, project and device are those of its latest call.

    In a breakdown, the label that is broken down by is the row's own.
    """

    source: str
    session_id: str | None
    session_started_at: datetime
    last_activity_at: datetime
    project: str | None
    device: str | None
    model: str | None
    event_count: int
    message_count: int
    unpriced_event_count: int
    input_tokens: int
    output_tokens: int
    thinking_tokens: int
    cache_creation_tokens: int
    cache_read_tokens: int
    web_search_requests: int
    cost_usd: Decimal | None


class SessionEventRow(NamedTuple):
    """One model call."""

    event_key: str
    occurred_at: datetime
    source: str
    project: str | None
    model: str | None
    device: str | None
    is_sidechain: bool
    input_tokens: int
    output_tokens: int
    thinking_tokens: int
    cache_creation_tokens: int
    cache_read_tokens: int
    web_search_requests: int
    message_count: int
    unpriced_event_count: int
    cost_usd: Decimal | None
    cost_basis: str
    flags: list[str]


class BlockRow(NamedTuple):
    """One five-hour block, half open: block_start <= occurred_at < block_end; a gap has no usage."""

    block_start: datetime
    block_end: datetime
    is_gap: bool
    is_active: bool
    first_activity_at: datetime | None
    last_activity_at: datetime | None
    source: str | None
    session_id: str | None
    project: str | None
    model: str | None
    device: str | None
    models: list[str]
    event_count: int
    message_count: int
    unpriced_event_count: int
    input_tokens: int
    output_tokens: int
    thinking_tokens: int
    cache_creation_tokens: int
    cache_read_tokens: int
    web_search_requests: int
    cost_usd: Decimal | None


class UsageLimitRow(NamedTuple):
    """What a provider said last of one limit of its plan: `used_percent` of a window that ends at `resets_at`.

    `observed_at` is when it said so. window_minutes and resets_at are None where it said neither.
    """

    source: str
    limit_name: str
    used_percent: Decimal
    window_minutes: int | None
    resets_at: datetime | None
    observed_at: datetime


class LimitReceipt(NamedTuple):
    """What tellings of limits did: received = new + duplicate + rejected; `rejects` are the first 20 rejected."""

    received: int
    new: int
    duplicate: int
    rejected: int
    rejects: tuple[RejectedRecord, ...]


class EventCostRow(NamedTuple):
    """The cost that the ledger holds for one event key; None where it is unpriced."""

    event_key: str
    session_id: str | None
    model: str | None
    cost_usd: Decimal | None


class LedgerCheck(NamedTuple):
    """One rule that verify_token_usage proves, and how many rows break it (0 means it holds)."""

    check_name: str
    bad_rows: int


class RejectRow(NamedTuple):
    """How many records of a source could not be counted for one reason, and where one of them stands."""

    source: str
    reason: str
    record_count: int
    first_seen_at: datetime
    last_seen_at: datetime
    position: str


class RerateReceipt(NamedTuple):
    """What pricing again did to one slice of events; next_key is where the next slice starts, None when done."""

    examined: int
    changed: int
    old_cost_usd: Decimal
    new_cost_usd: Decimal
    unpriced: int
    next_key: str | None


class ApiKeyRow(NamedTuple):
    """A key of the HTTP API as people see it; user_id None is a service key, which acts for the user it names."""

    key_id: str
    user_id: str | None
    name: str
    prefix: str
    scopes: list[str]
    requests_per_minute: int | None
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None


class PriceReceipt(NamedTuple):
    """What appending prices did: a row equal to the one in force adds nothing."""

    received: int
    added: int
    unchanged: int


class ForgetReceipt(NamedTuple):
    """How many rows one slice of forgetting erased, and whether more remain."""

    events: int
    versions: int
    rejects: int
    sessions: int
    days: int
    more: bool


class LedgerState(NamedTuple):
    """Which ledger this is and how far this user's books have come: what a checkpoint must agree with.

    receipt_count is 0 and time_zone None where the user has no account yet; last_migration names the schema's version.
    user_id is whose books they are, which a key of a Tallystick server decides.
    """

    ledger_id: str
    receipt_count: int
    time_zone: str | None
    last_migration: str
    user_id: str
