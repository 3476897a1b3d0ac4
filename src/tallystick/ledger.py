"""The ledger as Python sees it: one short method per database function, under the same name.

The methods, their results and their errors are the same whichever road leads to the functions (tallystick.road): SQL,
Supabase's REST, or the HTTP API of a Tallystick server.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from datetime import date, datetime
from typing import TYPE_CHECKING, Any, TypeVar

from tallystick.addresses import is_http, is_server_key
from tallystick.errors import (
    Busy,
    ConfigError,
    InvalidRequest,
    LedgerUnavailable,
    RateLimited,
    TooMuch,
    UnreadableBatch,
)
from tallystick.model import (
    ApiKeyRow,
    BlockRow,
    DoubleSessionRow,
    EventCostRow,
    ForgetReceipt,
    LedgerCheck,
    LedgerState,
    LimitReceipt,
    Page,
    PriceReceipt,
    Receipt,
    RejectedRecord,
    RejectRow,
    RerateReceipt,
    SessionEventRow,
    SessionRow,
    SnapshotReceipt,
    SnapshotReject,
    UsageFilter,
    UsageLimitRow,
    UsageRow,
)
from tallystick.retrying import ask_again, passes
from tallystick.road import JsonText, Road
from tallystick.waiting import Waiting

if TYPE_CHECKING:
    from types import TracebackType

Row = TypeVar("Row")
Answer = TypeVar("Answer")

PAGE_ROWS = 1000
SLICE_EVENTS = 20_000
# as many rows as Supabase's REST gives at a time
KEYS_PER_CALL = 1000
# every question may be put again, because the same again changes nothing
ATTEMPTS = 8

# which columns tell a row of a report from every other one
PAGE_KEYS: dict[type, tuple[str, ...]] = {
    UsageRow: ("period_start", "source", "session_id", "project", "model", "device"),
    SessionRow: ("last_activity_at", "source", "session_id", "project", "model", "device"),
    BlockRow: ("block_start", "source", "session_id", "project", "model", "device"),
    SessionEventRow: ("occurred_at", "event_key"),
}


class Ledger:
    """One user's books on one road. Not safe for use by two threads at once.

    Every question that may be put again is put inside `waiting()`, with all its tries and pauses: tallystick.waiting.
    """

    def __init__(self, road: Road, *, user_id: str | None, attempts: int = ATTEMPTS) -> None:
        self._road = road
        self.waiting: Waiting = nullcontext
        self.attempts = attempts
        self.user_id = user_id

    @classmethod
    def connect(
        cls,
        url: str,
        *,
        user_id: str | None = None,
        key: str = "",
        token: str = "",
        as_service_role: bool = True,
        attempts: int = ATTEMPTS,
    ) -> Ledger:
        """Open the ledger at a URL; raises LedgerUnavailable, or ConfigError for a URL that no road leads to.

        `postgresql://...` is any Postgres; `https://PROJECT.supabase.co` with a `key` of the project (sb_secret_...,
        or sb_publishable_... and the `token` of a signed-in user) is its REST; any other http(s) URL with a `key`
        tly_... is a Tallystick server. What passes (no connection, a lock) is tried `attempts` times, 30 s at most.
        """
        if not is_http(url):
            from tallystick.db import Database  # psycopg takes 100 ms to import, and the other roads do without

            return cls(Database.connect(url, as_service_role=as_service_role), user_id=user_id, attempts=attempts)
        if not key:
            raise ConfigError(
                "there is no key for the ledger at an http address",
                hint="Set SUPABASE_SERVICE_KEY for a Supabase project, or TALLYSTICK_API_KEY for a Tallystick server.",
            )
        if not is_server_key(key) and not key.startswith(("sb_", "eyJ")):
            raise ConfigError(
                "the key of the ledger is none that a Tallystick server or a Supabase project gives out",
                hint="A server's begins with tly_, a project's with sb_secret_ or sb_publishable_: copy it once more.",
            )
        if is_server_key(key):
            from tallystick.roads.server import ServerRoad

            return cls(ServerRoad(url, key=key), user_id=user_id, attempts=attempts)
        from tallystick.roads.supabase import SupabaseRoad

        return cls(SupabaseRoad(url, key=key, token=token), user_id=user_id, attempts=attempts)

    def close(self) -> None:
        self._road.close()

    def wait_at_most(self, seconds: float | None) -> None:
        """From now on an answer that takes longer is LedgerUnavailable; None, the default, is the road's own limit.

        That is a minute over HTTP; over SQL there is none, as proving or pricing a large ledger anew takes its time.
        """
        self._road.wait_at_most(seconds)

    def __enter__(self) -> Ledger:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # -- the books themselves

    def ledger_state(self) -> LedgerState:
        """Which ledger this is and how far this user's books have come; receipt_count 0 where there are none yet."""
        (state,) = self._rows(LedgerState, "ledger_state")
        return state

    def only_account(self) -> str | None:
        """The user id of the only account of this ledger, None where there is none or more than one."""
        only: str | None = self._ask(lambda: self._road.call("only_account", {}))
        return only

    def make_account(self, *, time_zone: str) -> None:
        """Make this user's account, in a zone; does nothing where it stands."""
        self._value("make_account", p_time_zone=time_zone)

    def set_time_zone(self, time_zone: str) -> None:
        """Set the zone whose days this user's books are kept in, and rebuild the days. Raises InvalidRequest."""
        self._value("set_time_zone", p_time_zone=time_zone)

    def renew_ledger_id(self) -> None:
        """Give the ledger a new identity, as after a restore: every checkpoint that named the old one is void."""
        self._ask(lambda: self._road.call("renew_ledger_id", {}))

    def changes(self, *, timeout_s: float) -> bool | None:
        """Whether these books may have changed since the last call: as soon as they do, or after `timeout_s`.

        The first call says so at once. None, also at once, where the road tells nobody (HTTP, a pooler): there
        receipt_count of ledger_state() does. Raises LedgerUnavailable, Busy; it never asks again by itself.
        """
        return self._road.changes(self.user_id, timeout_s)

    # -- in

    def ingest_token_usage(self, events: bytes) -> Receipt:
        """Take in a JSON list of observations (at most 20,000) in one transaction; the same again changes nothing.

        A batch that Postgres cannot even parse is halved until the record at fault stands alone and is rejected; one
        that takes too long, or is too large for the road, is halved too. Raises InvalidRequest for what is no list,
        which a server would take for one event, and for what is no text at all.
        """
        if not isinstance(events, bytes):
            raise InvalidRequest("the batch is no bytes", hint="Pass a JSON list, encoded: msgspec.json.encode([...]).")
        if events.lstrip()[:1] != b"[":
            from tallystick.batches import no_list  # as below

            raise no_list()
        try:
            return self._ingest(JsonText(events.decode()))
        except (UnreadableBatch, UnicodeDecodeError, TooMuch) as error:
            return self._ingest_in_halves(events, error)

    def _ingest(self, events: JsonText) -> Receipt:
        answer = self._value("ingest_token_usage", p_events=events)
        return _receipt_of(answer)

    def _ingest_in_halves(self, events: bytes, error: Exception) -> Receipt:
        from tallystick.batches import reject_unreadable, split_batch  # almost no run comes here, and none pays for it

        halves = split_batch(events)
        if len(halves) == 1:
            if isinstance(error, TooMuch):
                raise error
            return self._ingest(JsonText(reject_unreadable(halves[0])))
        first, second = halves
        return self.ingest_token_usage(first).plus(self.ingest_token_usage(second))

    def upsert_token_usage(self, session_data: str, daily_data: str | None = None) -> SnapshotReceipt:
        """Take in running totals of sessions (JSON, at most 1,000); the same again does nothing.

        Those that name no user are of this ledger's.
        What they grew by goes to the usage_date that daily_data (JSON) has for them, else to today.
        One that Postgres cannot even parse is found by halving, and rejected by itself.
        """
        try:
            return self._upsert(session_data, daily_data)
        except UnreadableBatch:
            self._upsert("[]", daily_data)  # days that cannot be read could be anybody's: that is told, and not halved
            return self._upsert_in_halves(session_data, daily_data)

    def _upsert_in_halves(self, session_data: str, daily_data: str | None) -> SnapshotReceipt:
        from tallystick.batches import reject_unreadable_snapshot, split_snapshots  # as below

        try:
            return self._upsert(session_data, daily_data)
        except UnreadableBatch:
            halves = split_snapshots(session_data, daily_data)
        if len(halves) == 1:
            return self._upsert(reject_unreadable_snapshot(session_data), daily_data)
        first, second = (self._upsert_in_halves(*half) for half in halves)
        return first.plus(second)

    def _upsert(self, session_data: str, daily_data: str | None) -> SnapshotReceipt:
        arguments = {
            "session_data": JsonText(session_data),
            "daily_data": None if daily_data is None else JsonText(daily_data),
            "p_user_id": self.user_id,
        }
        answer = self._ask(lambda: self._road.call("upsert_token_usage", arguments))
        return SnapshotReceipt(**{**answer, "rejects": [SnapshotReject(**reject) for reject in answer["rejects"]]})

    def observe_usage_limits(self, limits: str) -> LimitReceipt:
        """Take in what providers said of their limits (JSON, at most 1,000); the same again changes nothing."""
        answer = self._value("observe_usage_limits", p_limits=JsonText(limits))
        return LimitReceipt(**{**answer, "rejects": _rejects_of(answer)})

    def add_token_prices(self, prices: str, *, for_everybody: bool = False) -> PriceReceipt:
        """Append dated rates, given as a JSON list; this user's own unless they are for everybody."""
        owner = None if for_everybody else self.user_id
        arguments = {"p_prices": JsonText(prices), "p_user_id": owner}
        return PriceReceipt(**self._ask(lambda: self._road.call("add_token_prices", arguments)))

    def correct_token_usage(self, corrections: str) -> Receipt:
        """Set members of events by hand, given as a JSON list of {event_key, ...}; outranks every observation.

        It is the one call that is never made again by itself, because each one keeps a version of what stood before.
        """
        arguments = {"p_user_id": self.user_id, "p_corrections": JsonText(corrections)}
        return _receipt_of(self._road.call("correct_token_usage", arguments))

    # -- out

    def usage_daily(self, usage: UsageFilter, *, by: str | None = None, page: Page | None = None) -> list[UsageRow]:
        return self._report(UsageRow, "usage_daily", usage, by=by, page=page)

    def usage_weekly(
        self, usage: UsageFilter, *, by: str | None = None, week_start: int = 1, page: Page | None = None
    ) -> list[UsageRow]:
        """Weeks start on `week_start`: 1 is Monday, 7 is Sunday."""
        return self._report(UsageRow, "usage_weekly", usage, by=by, page=page, p_week_start=week_start)

    def usage_monthly(self, usage: UsageFilter, *, by: str | None = None, page: Page | None = None) -> list[UsageRow]:
        return self._report(UsageRow, "usage_monthly", usage, by=by, page=page)

    def usage_models(self, usage: UsageFilter, *, by: str | None = None, page: Page | None = None) -> list[UsageRow]:
        return self._report(UsageRow, "usage_models", usage, by=by, page=page)

    def usage_projects(self, usage: UsageFilter, *, by: str | None = None, page: Page | None = None) -> list[UsageRow]:
        return self._report(UsageRow, "usage_projects", usage, by=by, page=page)

    def usage_summary(self, usage: UsageFilter) -> UsageRow:
        """All of it in one row: zeros where there is nothing, and a session counts once whatever its days."""
        (row,) = self._rows(UsageRow, "usage_summary", **self._filters(usage))
        return row

    def usage_sessions(
        self, usage: UsageFilter, *, by: str | None = None, page: Page | None = None
    ) -> list[SessionRow]:
        return self._report(SessionRow, "usage_sessions", usage, by=by, page=page)

    def usage_blocks(self, usage: UsageFilter, *, by: str | None = None, page: Page | None = None) -> list[BlockRow]:
        return self._report(BlockRow, "usage_blocks", usage, by=by, page=page)

    def usage_session(self, session_id: str, usage: UsageFilter, *, page: Page | None = None) -> list[SessionEventRow]:
        """Every event of one session, named whole or by a unique beginning. Raises NotFound, Conflict."""
        filters = self._filters(usage, but="sessions")
        return self._pages(SessionEventRow, "usage_session", {"p_session_id": session_id, **filters}, page=page)

    def usage_limits(self) -> list[UsageLimitRow]:
        """What providers said last of the limits of their plans; a window that has ended is left out."""
        return self._rows(UsageLimitRow, "usage_limits")

    def usage_recent(self, *, limit: int = 100) -> list[SessionEventRow]:
        """The latest calls until now, the latest first; at most `limit` (1 to 10,000) of them."""
        return self._rows(SessionEventRow, "usage_recent", p_limit=limit)

    def usage_events(self, event_keys: Sequence[str]) -> list[EventCostRow]:
        """What the ledger holds for these event keys; the ones it does not know are left out."""
        rows: list[EventCostRow] = []
        for start in range(0, len(event_keys), KEYS_PER_CALL):
            keys = list(event_keys[start : start + KEYS_PER_CALL])
            rows += self._rows(EventCostRow, "usage_events", p_event_keys=keys)
        return rows

    def rejects(self) -> list[RejectRow]:
        """How many records could not be counted, by source and reason."""
        return self._rows(RejectRow, "usage_rejects")

    def double_sessions(self) -> list[DoubleSessionRow]:
        """Sessions that are known by snapshots and from another source too."""
        return self._rows(DoubleSessionRow, "usage_double_sessions")

    # -- upkeep

    def verify_token_usage(self) -> list[LedgerCheck]:
        """Every rule of the books with the number of rows that break it."""
        return self._rows(LedgerCheck, "verify_token_usage")

    def ledger_digest(self) -> str:
        """One sha256 over events, sessions and days: equal digests are equal books."""
        return str(self._value("ledger_digest"))

    def rerate_token_usage(self, *, since: date | None = None, until: date | None = None) -> Iterator[RerateReceipt]:
        """Price again what was used on these days (inclusive), one committed slice per step."""
        after: str | None = ""
        while after is not None:
            receipt = self.rerate_slice(since=since, until=until, after=after)
            yield receipt
            after = receipt.next_key

    def rerate_slice(
        self, *, since: date | None = None, until: date | None = None, after: str = "", limit: int = SLICE_EVENTS
    ) -> RerateReceipt:
        """One step of it: at most `limit` events behind the key `after`; next_key None says that it was the last."""
        (receipt,) = self._rows(
            RerateReceipt, "rerate_token_usage", p_from=since, p_to=until, p_after=after, p_limit=limit
        )
        return receipt

    def forget_token_usage(self, *, project: str | None = None) -> Iterator[ForgetReceipt]:
        """Erase this user's books, or one project's, one committed slice per step."""
        while True:
            receipt = self.forget_slice(project=project)
            yield receipt
            if not receipt.more:
                return

    def forget_slice(self, *, project: str | None = None, limit: int = SLICE_EVENTS) -> ForgetReceipt:
        """One step of it, of at most `limit` events."""
        (receipt,) = self._rows(ForgetReceipt, "forget_token_usage", p_project=project, p_limit=limit)
        return receipt

    # -- the keys of the HTTP API, which only the service role sees

    def create_api_key(
        self,
        *,
        user_id: str | None,
        name: str,
        prefix: str,
        digest: str,
        scopes: Sequence[str],
        expires_at: datetime | None = None,
        requests_per_minute: int | None = None,
    ) -> str:
        """Note a key (tallystick.keys) by its digest; answers its id. user_id None is a service key."""
        arguments = {
            "p_user_id": user_id,
            "p_name": name,
            "p_prefix": prefix,
            "p_digest": digest,
            "p_scopes": list(scopes),
            "p_expires_at": expires_at,
            "p_requests_per_minute": requests_per_minute,
        }
        return str(self._road.call("create_api_key", arguments))

    def api_keys(self, *, user_id: str | None = None) -> list[ApiKeyRow]:
        """All keys, or one user's; none of them shows more than its prefix."""
        return self._ask(lambda: self._road.call_rows(ApiKeyRow, "api_keys", {"p_user_id": user_id}))

    def revoke_api_key(self, key: str) -> str:
        """End a key, named by its id or its prefix; answers its id. Raises NotFound."""
        return str(self._ask(lambda: self._road.call("revoke_api_key", {"p_key": key})))

    # -- how

    def _value(self, function: str, **arguments: object) -> Any:
        return self._ask(lambda: self._road.call(function, {"p_user_id": self.user_id, **arguments}))

    def _filters(self, usage: UsageFilter, *, but: str = "") -> dict[str, object]:
        """A filter as named arguments. An empty list would be nothing here and everything over HTTP: it is refused."""
        for name, value in usage._asdict().items():
            if value == []:
                raise InvalidRequest(f"{name} is an empty list", hint="Name one or more, or None for all of them.")
        return {f"p_{name}": value for name, value in usage._asdict().items() if name != but}

    def _rows(self, row_class: Callable[..., Row], function: str, **arguments: object) -> list[Row]:
        return self._ask(lambda: self._road.call_rows(row_class, function, {"p_user_id": self.user_id, **arguments}))

    def _report(
        self,
        row_class: Callable[..., Row],
        function: str,
        usage: UsageFilter,
        *,
        by: str | None,
        page: Page | None,
        **more: object,
    ) -> list[Row]:
        return self._pages(row_class, function, {**self._filters(usage), "p_by": by, **more}, page=page)

    def _pages(
        self, row_class: Callable[..., Row], function: str, arguments: dict[str, object], *, page: Page | None
    ) -> list[Row]:
        """One page of a report, or every page, all of one moment where the road has such a thing."""
        asked = {"p_user_id": self.user_id, **arguments}

        def read(after: dict[str, str] | None, limit: int) -> list[Row]:
            key = None if after is None else JsonText(_json_object(after))
            return self._road.call_rows(row_class, function, {**asked, "p_after": key, "p_limit": limit})

        def read_all() -> list[Row]:
            rows: list[Row] = []
            after: dict[str, str] | None = None
            with self._road.moment():
                while True:
                    found = read(after, PAGE_ROWS)
                    rows += found
                    if len(found) < PAGE_ROWS:
                        return rows
                    after = page_key(found[-1])

        return self._ask(read_all if page is None else lambda: read(page.after, page.limit))

    def _ask(self, ask: Callable[[], Answer]) -> Answer:
        """Ask again where the reason passes: no connection, a lock, too many requests in this minute."""
        with self.waiting():
            try:
                return ask()
            except (LedgerUnavailable, Busy, RateLimited) as error:
                if self.attempts <= 1 or not passes(error):
                    raise
                return ask_again(ask, error, attempts=self.attempts)


def _receipt_of(answer: dict[str, Any]) -> Receipt:
    unknown = tuple(answer.get("unknown_members", ()))
    return Receipt(**{**answer, "rejects": _rejects_of(answer), "unknown_members": unknown})


def _rejects_of(answer: dict[str, Any]) -> tuple[RejectedRecord, ...]:
    return tuple(RejectedRecord(**told) for told in answer.get("rejects", ()))


def page_key(row: object) -> dict[str, str]:
    """The place of a row in its report, behind which the next page starts."""
    return {name: _text(getattr(row, name)) for name in PAGE_KEYS[type(row)]}


def _text(value: str | date | datetime | None) -> str:
    return value.isoformat() if isinstance(value, date) else value or ""


def _json_object(members: dict[str, str]) -> str:
    from json import dumps  # only a report of more than one page comes here; saves 5 ms of start-up

    return dumps(members)
