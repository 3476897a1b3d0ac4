"""What the reports must answer, worked out in Python from the calls themselves: no SQL, no rollup."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import psycopg
import pytest
from psycopg import sql
from psycopg.rows import dict_row

Row = dict[str, Any]
Labels = tuple[str, ...]

LABELS = ("source", "session_id", "project", "model", "device")
COUNTS = ("input_tokens", "output_tokens", "thinking_tokens", "cache_read_tokens", "web_search_requests")


class Call(NamedTuple):
    """One invented model call; no price list knows its model, so its cost is what it reports, None being unpriced."""

    at: datetime
    source: str = "claude-code"
    session_id: str = "s1"
    project: str = "/p"
    model: str = "m1"
    cost_usd: Decimal | None = Decimal("0.01")
    message_count: int = 1
    input_tokens: int = 1
    cache_creation_5m_tokens: int = 2
    cache_creation_1h_tokens: int = 4
    cache_read_tokens: int = 8
    output_tokens: int = 16
    thinking_tokens: int = 3
    web_search_requests: int = 0
    device: str = "laptop"
    is_sidechain: bool = False


class Asked(NamedTuple):
    """The parameters that choose usage; they have the names that the functions give them."""

    since: date | None = None
    until: date | None = None
    time_zone: str | None = None
    sources: list[str] | None = None
    projects: list[str] | None = None
    models: list[str] | None = None
    sessions: list[str] | None = None
    devices: list[str] | None = None


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def key_of(index: int) -> str:
    return f"invented:{index:05}"


def ingest(db: psycopg.Connection[Any], calls: Sequence[Call], *, time_zone: str = "UTC") -> uuid.UUID:
    """The books of a new user with these calls, their keys numbered in the order given."""
    user_id = uuid.uuid4()
    db.execute("select public.make_account(%s, %s)", [user_id, time_zone])
    observations = [
        {
            **{name: value for name, value in call._asdict().items() if name not in ("at", "cost_usd")},
            "event_key": key_of(index),
            "occurred_at": call.at.isoformat(),
            "reported_cost_usd": None if call.cost_usd is None else str(call.cost_usd),
            "grain": "turn",
            "is_final": True,
        }
        for index, call in enumerate(calls)
    ]
    row = db.execute("select public.ingest_token_usage(%s, %s::json)", [user_id, json.dumps(observations)]).fetchone()
    assert row is not None
    assert row[0]["new"] == len(calls)
    return user_id


def report(db: psycopg.Connection[Any], name: str, user_id: uuid.UUID | None, **parameters: Any) -> list[Row]:
    """One page of a report."""
    arguments = {"p_user_id": user_id, **{f"p_{key}": value for key, value in parameters.items()}}
    call = sql.SQL("select * from {}({})").format(
        sql.Identifier("public", name),
        sql.SQL(", ").join(sql.SQL("{} => {}").format(sql.Identifier(key), sql.Placeholder(key)) for key in arguments),
    )
    with db.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(call, arguments).fetchall()


def paged_report(db: psycopg.Connection[Any], name: str, user_id: uuid.UUID, *, limit: int, **asked: Any) -> list[Row]:
    """All pages of a report, the last row of each one given back as it came."""
    rows: list[Row] = []
    after = None
    while True:
        page = report(db, name, user_id, **asked, after=after, limit=limit)
        assert len(page) <= limit
        rows += page
        if len(page) < limit:
            return rows
        assert len(rows) < 1000, "the pages do not end"
        after = json.dumps(page[-1], default=lambda time: time.isoformat())


def refusal(
    db: psycopg.Connection[Any], name: str, user_id: uuid.UUID | None, **parameters: Any
) -> tuple[str | None, str | None]:
    """The code and the name of the rule with which a report is refused."""
    with pytest.raises(psycopg.Error) as caught, db.transaction():
        report(db, name, user_id, **parameters)
    assert caught.value.diag.message_hint or caught.value.sqlstate == "42501"
    return caught.value.sqlstate, caught.value.diag.constraint_name


def local_date(call: Call, zone: str) -> date:
    return call.at.astimezone(ZoneInfo(zone)).date()


def chosen(calls: Iterable[Call], asked: Asked, *, account_zone: str) -> list[Call]:
    def wanted(call: Call) -> bool:
        day = local_date(call, asked.time_zone or account_zone)
        return (
            (asked.since is None or day >= asked.since)
            and (asked.until is None or day <= asked.until)
            and (asked.sources is None or call.source in asked.sources)
            and (asked.projects is None or call.project in asked.projects)
            and (asked.models is None or call.model in asked.models)
            and (asked.sessions is None or call.session_id in asked.sessions)
            and (asked.devices is None or call.device in asked.devices)
        )

    return [call for call in calls if wanted(call)]


def sums(calls: Sequence[Call]) -> Row:
    """The columns that every report adds up, in the order of the row classes."""
    unpriced = sum(call.cost_usd is None for call in calls)
    cost = sum((call.cost_usd for call in calls if call.cost_usd is not None), Decimal(0))
    totals = {name: sum(getattr(call, name) for call in calls) for name in COUNTS}
    return {
        "event_count": len(calls),
        "message_count": sum(call.message_count for call in calls),
        "unpriced_event_count": unpriced,
        "input_tokens": totals["input_tokens"],
        "output_tokens": totals["output_tokens"],
        "thinking_tokens": totals["thinking_tokens"],
        "cache_creation_tokens": sum(c.cache_creation_5m_tokens + c.cache_creation_1h_tokens for c in calls),
        "cache_read_tokens": totals["cache_read_tokens"],
        "web_search_requests": totals["web_search_requests"],
        "cost_usd": money(cost) if len(calls) != unpriced else None,
    }


def money(cost: Decimal) -> str:
    text = format(cost, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def period_start(day: date, period: str, week_start: int) -> date | None:
    match period:
        case "day":
            return day
        case "week":
            return day - timedelta(days=(day.isoweekday() - week_start) % 7)
        case "month":
            return day.replace(day=1)
        case _:
            return None


def labels_of(own: str | None, by: str | None) -> frozenset[str]:
    broken_down = {"source", "session_id"} if by == "session" else {by} if by else set()
    return frozenset(({own} if own else set()) | broken_down)


def grouped(calls: Iterable[Call], key: Callable[[Call], tuple[Any, ...]]) -> list[tuple[tuple[Any, ...], list[Call]]]:
    groups: dict[tuple[Any, ...], list[Call]] = {}
    for call in calls:
        groups.setdefault(key(call), []).append(call)
    return sorted(groups.items())


def expected_usage(
    calls: Sequence[Call],
    asked: Asked,
    *,
    account_zone: str,
    period: str,
    by: str | None,
    week_start: int = 1,
) -> list[Row]:
    """Rows of usage_daily, usage_weekly, usage_monthly, usage_models or usage_projects."""
    zone = asked.time_zone or account_zone
    shown = labels_of(period if period in ("model", "project") else None, by)

    def key(call: Call) -> tuple[Any, ...]:
        start = period_start(local_date(call, zone), period, week_start) or date.min
        return (
            start,
            *(getattr(call, name) if name in shown else "" for name in LABELS),
        )

    return [
        {
            "period_start": start if period in ("day", "week", "month") else None,
            "source": source or None,
            "session_id": session_id or None,
            "project": project or None,
            "model": model or None,
            "device": device or None,
            "session_count": len({(call.source, call.session_id) for call in group}),
            **sums(group),
        }
        for (start, source, session_id, project, model, device), group in grouped(
            chosen(calls, asked, account_zone=account_zone), key
        )
    ]


def expected_sessions(calls: Sequence[Call], asked: Asked, *, account_zone: str, by: str | None) -> list[Row]:
    """Rows of usage_sessions; a session's times and labels are those of all its calls."""
    whole: dict[tuple[str, str], list[tuple[datetime, str, Call]]] = {}
    for index, call in enumerate(calls):
        whole.setdefault((call.source, call.session_id), []).append((call.at, key_of(index), call))

    def key(call: Call) -> tuple[Any, ...]:
        last_at = max(whole[call.source, call.session_id])[0]
        project = call.project if by == "project" else ""
        model = call.model if by == "model" else ""
        return last_at, call.source, call.session_id, project, model, call.device if by == "device" else ""

    rows = []
    for (last_at, source, session_id, project, model, device), group in grouped(
        chosen(calls, asked, account_zone=account_zone), key
    ):
        latest = max(whole[source, session_id])[2]
        rows.append(
            {
                "source": source,
                "session_id": session_id or None,
                "session_started_at": min(whole[source, session_id])[0],
                "last_activity_at": last_at,
                "project": (project if by == "project" else latest.project) or None,
                "device": (device if by == "device" else latest.device) or None,
                "model": (model if by == "model" else latest.model) or None,
                **sums(group),
            }
        )
    return rows


def expected_blocks(
    calls: Sequence[Call], asked: Asked, *, account_zone: str, by: str | None, now: datetime
) -> list[Row]:
    """Rows of usage_blocks, by walking over the calls one by one."""
    shown = labels_of(None, by)
    taken = set(map(id, chosen(calls, asked, account_zone=account_zone)))
    blocks: list[list[Call]] = []
    for call in sorted((c for c in calls if asked.sources is None or c.source in asked.sources), key=lambda c: c.at):
        if not blocks or call.at >= block_start(blocks[-1]) + timedelta(hours=5):
            blocks.append([])
        blocks[-1].append(call)
    rows: list[Row] = []
    for block in blocks:
        picked = [call for call in block if id(call) in taken]
        start = block_start(block)
        if not picked:
            continue
        if rows and rows[-1]["block_end"] < start:
            rows.append(gap_row(rows[-1]["block_end"], start))
        for labels, group in grouped(
            picked,
            lambda call: tuple(getattr(call, name) if name in shown else "" for name in LABELS),
        ):
            rows.append(
                {
                    "block_start": start,
                    "block_end": start + timedelta(hours=5),
                    "is_gap": False,
                    "is_active": start <= now < start + timedelta(hours=5),
                    "first_activity_at": block[0].at,
                    "last_activity_at": block[-1].at,
                    "source": labels[0] or None,
                    "session_id": labels[1] or None,
                    "project": labels[2] or None,
                    "model": labels[3] or None,
                    "device": labels[4] or None,
                    "models": sorted({call.model for call in group} - {""}),
                    **sums(group),
                }
            )
    return rows


def block_start(block: Sequence[Call]) -> datetime:
    return block[0].at.replace(minute=0, second=0, microsecond=0)


def gap_row(start: datetime, end: datetime) -> Row:
    nothing: dict[str, None] = dict.fromkeys(("first_activity_at", "last_activity_at", *LABELS))
    return {
        "block_start": start,
        "block_end": end,
        "is_gap": True,
        "is_active": False,
        **nothing,
        "models": [],
        **sums([]),
    }
