"""The ledger as Python sees it: one short method per database function, under the same name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import date
from typing import TYPE_CHECKING, Any, LiteralString, TypeVar

from tallystick.db import Database
from tallystick.errors import UnreadableBatch
from tallystick.model import (
    BlockRow,
    DoubleSessionRow,
    EventCostRow,
    ForgetReceipt,
    LedgerCheck,
    LedgerState,
    PriceReceipt,
    Receipt,
    RejectRow,
    RerateReceipt,
    SessionEventRow,
    SessionRow,
    SnapshotReceipt,
    SnapshotReject,
    UsageFilter,
    UsageRow,
)

if TYPE_CHECKING:
    from types import TracebackType

Row = TypeVar("Row")

PAGE_ROWS = 1000
SLICE_EVENTS = 20_000
KEYS_PER_CALL = 10_000


class Ledger:
    """One user's books in one database. Not safe for use by two threads at once."""

    def __init__(self, database: Database, *, user_id: str) -> None:
        self._database = database
        self.user_id = user_id

    @classmethod
    def connect(cls, url: str, *, user_id: str, as_service_role: bool = True) -> Ledger:
        """Open the ledger at a Postgres URL; raises LedgerUnavailable."""
        return cls(Database.connect(url, as_service_role=as_service_role), user_id=user_id)

    def close(self) -> None:
        self._database.close()

    def __enter__(self) -> Ledger:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # -- the books themselves

    def ledger_state(self) -> LedgerState:
        """Which ledger this is and how far this user's books have come; receipt_count 0 where there are none yet."""
        with self._database.transaction():
            (state,) = self._database.rows(LedgerState, "select * from public.ledger_state(%s)", [self.user_id])
        return state

    def only_account(self) -> str | None:
        """The user id of the only account of this ledger, None where there is none or more than one."""
        with self._database.transaction():
            accounts = self._database.rows(str, "select user_id from public.token_usage_accounts limit 2")
        return accounts[0] if len(accounts) == 1 else None

    def make_account(self, *, time_zone: str) -> None:
        """Make this user's account, in a zone; does nothing where it stands."""
        self._value("select public.make_account(%s, %s)", [self.user_id, time_zone])

    def set_time_zone(self, time_zone: str) -> None:
        """Set the zone whose days this user's books are kept in, and rebuild the days. Raises InvalidRequest."""
        self._value("select public.set_time_zone(%s, %s)", [self.user_id, time_zone])

    def renew_ledger_id(self) -> None:
        """Give the ledger a new identity, as after a restore: every checkpoint that named the old one is void."""
        self._value("select public.renew_ledger_id()", [])

    # -- in

    def ingest_token_usage(self, events: bytes) -> Receipt:
        """Take in a JSON list of observations (at most 20,000) in one transaction; the same again changes nothing.

        A batch that Postgres cannot even parse is halved until the record at fault stands alone and is rejected.
        """
        try:
            answer = self._value("select public.ingest_token_usage(%s, %s::json)", [self.user_id, events.decode()])
        except (UnreadableBatch, UnicodeDecodeError):
            return self._ingest_in_halves(events)
        return Receipt(**answer)

    def _ingest_in_halves(self, events: bytes) -> Receipt:
        from tallystick.batches import reject_unreadable, split_batch  # almost no run comes here, and none pays for it

        halves = split_batch(events)
        if len(halves) == 1:
            answer = self._value(
                "select public.ingest_token_usage(%s, %s::json)", [self.user_id, reject_unreadable(halves[0])]
            )
            return Receipt(**answer)
        first, second = halves
        return self.ingest_token_usage(first).plus(self.ingest_token_usage(second))

    def upsert_token_usage(self, session_data: str, daily_data: str | None = None) -> SnapshotReceipt:
        """Take in running totals of sessions (JSON, at most 1,000), each naming its user; the same again does nothing.

        What they grew by goes to the usage_date that daily_data (JSON) has for them, else to today.
        """
        query: LiteralString = "select public.upsert_token_usage(%s::jsonb, %s::jsonb)"
        answer = self._value(query, [session_data, daily_data])
        return SnapshotReceipt(**{**answer, "rejects": [SnapshotReject(**reject) for reject in answer["rejects"]]})

    def add_token_prices(self, prices: str, *, for_everybody: bool = False) -> PriceReceipt:
        """Append dated rates, given as a JSON list; this user's own unless they are for everybody."""
        owner = None if for_everybody else self.user_id
        return PriceReceipt(**self._value("select public.add_token_prices(%s::jsonb, %s)", [prices, owner]))

    def correct_token_usage(self, corrections: str) -> Receipt:
        """Set members of events by hand, given as a JSON list of {event_key, ...}; outranks every observation."""
        return Receipt(**self._value("select public.correct_token_usage(%s, %s::jsonb)", [self.user_id, corrections]))

    # -- out

    def usage_daily(self, usage: UsageFilter, *, by: str | None = None) -> list[UsageRow]:
        return self._periods("select * from public.usage_daily(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)", usage, by)

    def usage_weekly(self, usage: UsageFilter, *, by: str | None = None, week_start: int = 1) -> list[UsageRow]:
        """Weeks start on `week_start`: 1 is Monday, 7 is Sunday."""
        query: LiteralString = (
            "select * from public.usage_weekly(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, p_week_start => %s)"
        )
        return self._periods(query, usage, by, more=[week_start])

    def usage_monthly(self, usage: UsageFilter, *, by: str | None = None) -> list[UsageRow]:
        query: LiteralString = "select * from public.usage_monthly(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"
        return self._periods(query, usage, by)

    def usage_models(self, usage: UsageFilter, *, by: str | None = None) -> list[UsageRow]:
        query: LiteralString = "select * from public.usage_models(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"
        return self._periods(query, usage, by)

    def usage_projects(self, usage: UsageFilter, *, by: str | None = None) -> list[UsageRow]:
        query: LiteralString = "select * from public.usage_projects(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"
        return self._periods(query, usage, by)

    def usage_sessions(self, usage: UsageFilter, *, by: str | None = None) -> list[SessionRow]:
        return self._pages(
            SessionRow,
            "select * from public.usage_sessions(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
            [self.user_id, *usage, by],
            lambda row: {
                "last_activity_at": row.last_activity_at.isoformat(),
                "source": row.source,
                "session_id": row.session_id or "",
                "project": row.project or "",
                "model": row.model or "",
            },
        )

    def usage_blocks(self, usage: UsageFilter, *, by: str | None = None) -> list[BlockRow]:
        return self._pages(
            BlockRow,
            "select * from public.usage_blocks(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
            [self.user_id, *usage, by],
            lambda row: {
                "block_start": row.block_start.isoformat(),
                "source": row.source or "",
                "session_id": row.session_id or "",
                "project": row.project or "",
                "model": row.model or "",
            },
        )

    def _periods(
        self, query: LiteralString, usage: UsageFilter, by: str | None, *, more: Sequence[object] = ()
    ) -> list[UsageRow]:
        return self._pages(UsageRow, query, [self.user_id, *usage, by], _usage_row_key, more=more)

    def usage_session(self, session_id: str, usage: UsageFilter) -> list[SessionEventRow]:
        """Every event of one session, named whole or by a unique beginning. Raises NotFound, Conflict."""
        query: LiteralString = "select * from public.usage_session(%s, %s, %s, p_after => %s::jsonb, p_limit => %s)"
        return self._pages(
            SessionEventRow,
            query,
            [self.user_id, session_id, usage.sources],
            lambda row: {"occurred_at": row.occurred_at.isoformat(), "event_key": row.event_key},
        )

    def usage_events(self, event_keys: Sequence[str]) -> list[EventCostRow]:
        """What the ledger holds for these event keys; the ones it does not know are left out."""
        rows: list[EventCostRow] = []
        for start in range(0, len(event_keys), KEYS_PER_CALL):
            keys = list(event_keys[start : start + KEYS_PER_CALL])
            with self._database.transaction():
                rows += self._database.rows(
                    EventCostRow, "select * from public.usage_events(%s, %s)", [self.user_id, keys]
                )
        return rows

    def rejects(self) -> list[RejectRow]:
        """How many records could not be counted, by source and reason."""
        query: LiteralString = (
            "select source, reason, count(*), min(first_seen_at), max(last_seen_at), min(position) "
            "from public.token_usage_rejects where user_id = %s group by source, reason order by 1, 2"
        )
        with self._database.transaction():
            return self._database.rows(RejectRow, query, [self.user_id])

    def double_sessions(self) -> list[DoubleSessionRow]:
        """Sessions that are known by snapshots and from another source too."""
        query: LiteralString = (
            "select s.session_id, o.source from public.token_usage_sessions as s "
            "join public.token_usage_sessions as o using (user_id, session_id) "
            "where s.user_id = %s and s.source = 'snapshot' and o.source <> 'snapshot' order by 1, 2"
        )
        with self._database.transaction():
            return self._database.rows(DoubleSessionRow, query, [self.user_id])

    # -- upkeep

    def verify_token_usage(self) -> list[LedgerCheck]:
        """Every rule of the books with the number of rows that break it."""
        with self._database.transaction():
            return self._database.rows(LedgerCheck, "select * from public.verify_token_usage(%s)", [self.user_id])

    def ledger_digest(self) -> str:
        """One sha256 over events, sessions and days: equal digests are equal books."""
        return str(self._value("select public.ledger_digest(%s)", [self.user_id]))

    def rerate_token_usage(self, *, since: date | None = None, until: date | None = None) -> Iterator[RerateReceipt]:
        """Price again what was used on these days (inclusive), one committed slice per step."""
        after = ""
        while True:
            arguments = [self.user_id, since, until, after, SLICE_EVENTS]
            with self._database.transaction():
                (receipt,) = self._database.rows(
                    RerateReceipt, "select * from public.rerate_token_usage(%s, %s, %s, %s, %s)", arguments
                )
            yield receipt
            if receipt.next_key is None:
                return
            after = receipt.next_key

    def forget_token_usage(self, *, project: str | None = None) -> Iterator[ForgetReceipt]:
        """Erase this user's books, or one project's, one committed slice per step."""
        while True:
            with self._database.transaction():
                (receipt,) = self._database.rows(
                    ForgetReceipt,
                    "select * from public.forget_token_usage(%s, %s, %s)",
                    [self.user_id, project, SLICE_EVENTS],
                )
            yield receipt
            if not receipt.more:
                return

    # -- how

    def _value(self, query: LiteralString, arguments: Sequence[object]) -> Any:
        with self._database.transaction():
            return self._database.value(query, arguments)

    def _pages(
        self,
        row_class: Callable[..., Row],
        query: LiteralString,
        arguments: Sequence[object],
        key_of: Callable[[Row], dict[str, str]],
        *,
        more: Sequence[object] = (),
    ) -> list[Row]:
        """Every page of a report, all of one moment."""
        rows: list[Row] = []
        after: str | None = None
        with self._database.transaction(is_snapshot=True):
            while True:
                page = self._database.rows(row_class, query, [*arguments, after, PAGE_ROWS, *more])
                rows += page
                if len(page) < PAGE_ROWS:
                    return rows
                after = _json_object(key_of(page[-1]))


def _usage_row_key(row: UsageRow) -> dict[str, str]:
    return {
        "period_start": row.period_start.isoformat() if row.period_start else "",
        "source": row.source or "",
        "session_id": row.session_id or "",
        "project": row.project or "",
        "model": row.model or "",
    }


def _json_object(members: dict[str, str]) -> str:
    from json import dumps  # only a report of more than one page comes here; saves 5 ms of start-up

    return dumps(members)
