"""One user's books, kept and looked at through SQL."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import date
from typing import Any

import psycopg
from psycopg.rows import dict_row

from tests.sql.books import COUNTS, price_rows, totals

Db = psycopg.Connection[Any]
Row = dict[str, Any]

ZONE = "Europe/Berlin"
DAY_SUMS = (
    *("daily_event_count", "daily_input_tokens", "daily_output_tokens", "daily_cache_creation_tokens"),
    *("daily_cache_read_tokens", "daily_thinking_tokens", "daily_web_search_requests"),
    *("daily_unpriced_event_count", "daily_cost_usd"),
)


def observation(number: int = 1, **members: Any) -> Row:
    """A record with all that tests.sql.books asks for; noon UTC on the 12th of March 2026."""
    return {
        "event_key": f"test:{number}",
        "occurred_at": "2026-03-12T12:00:00.000Z",
        "source": "one",
        "provider": "test",
        "model": "model-a",
        "session_id": "s1",
        "project": "p",
        "device": "desk",
        "git_branch": "main",
        "agent_version": "1",
        "is_sidechain": False,
        "speed": "",
        "inference_geo": "",
        "place_order": "b",
        "is_final": True,
        "origin_rank": 2,
        "position": f"file:{number}",
        **dict.fromkeys(COUNTS, 0),
        "input_tokens": 1000,
        "output_tokens": 100,
        **members,
    }


class Keeper:
    """A user, new unless named, whose days are Berlin's, in a ledger that knows the prices of tests.sql.books."""

    def __init__(self, db: Db, *, user_id: str | None = None) -> None:
        self.db = db
        self.user_id = user_id or str(uuid.uuid4())
        self.add_prices(price_rows())
        self.call("make_account", self.user_id, ZONE)

    @contextmanager
    def undone(self) -> Iterator[None]:
        """What happens inside leaves nothing."""
        with self.db.transaction(force_rollback=True):
            yield

    def set_now(self, now: str) -> None:
        self.db.execute("select set_config('tallystick.now', %s, true)", [now])

    def call(self, name: str, *arguments: object) -> Any:
        """The only value that a function of `public` answers with."""
        (row,) = self.table(name, *arguments)
        (value,) = row.values()
        return value

    def table(self, name: str, *arguments: object) -> list[Row]:
        """The rows that a function of `public` answers with."""
        places = ", ".join("%s" for _ in arguments)
        with self.db.cursor(row_factory=dict_row) as cursor:
            return cursor.execute(f"select * from public.{name}({places})".encode(), arguments).fetchall()

    def ingest(self, *records: Row | str) -> Row:
        """The receipt for a batch, each record as its members or as the text of its JSON."""
        texts = (record if isinstance(record, str) else json.dumps(record) for record in records)
        receipt: Row = self.call("ingest_token_usage", self.user_id, f"[{','.join(texts)}]")
        return receipt

    def rows(self, table: str, *, order: str = "1, 2") -> list[Row]:
        """Every row that the user has in a table."""
        query = f"select * from public.token_usage_{table} where user_id = %s order by {order}"
        with self.db.cursor(row_factory=dict_row) as cursor:
            return cursor.execute(query.encode(), [self.user_id]).fetchall()

    def event(self, number: int = 1) -> Row:
        (row,) = [row for row in self.rows("events") if row["event_key"] == f"test:{number}"]
        return row

    def days(self) -> dict[date, Row]:
        return {row["usage_date"]: row for row in self.rows("daily")}

    def session(self, session_id: str = "s1") -> Row:
        (row,) = [row for row in self.rows("sessions") if row["session_id"] == session_id]
        return row

    def versions(self, number: int = 1) -> list[Row]:
        rows = self.rows("event_versions", order="version")
        return [row for row in rows if row["event_key"] == f"test:{number}"]

    def digest(self) -> str:
        return str(self.call("ledger_digest", self.user_id))

    def bad_rows(self) -> dict[str, int]:
        """What verify_token_usage finds, by the name of the check; nothing where the books are right."""
        checks = self.table("verify_token_usage", self.user_id)
        return {row["check_name"]: row["bad_rows"] for row in checks if row["bad_rows"]}

    def add_prices(self, rows: Iterable[Row], *, own: bool = False) -> None:
        self.call("add_token_prices", json.dumps(list(rows)), self.user_id if own else None)


def assert_day(keeper: Keeper, day: date, *events: Row) -> None:
    """The day holds exactly these events, added up without the ledger."""
    assert tuple(keeper.days()[day][name] for name in DAY_SUMS) == totals(events)


def other_price(input_usd_per_mtok: str, *, model: str = "model-a") -> Row:
    """A price for model-a from the same moment as the first one in tests.sql.books, or for a model that has none."""
    return {**price_rows()[0], "model": model, "input_usd_per_mtok": input_usd_per_mtok}
