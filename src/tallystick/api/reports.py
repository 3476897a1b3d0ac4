"""The reports over HTTP: what `tally daily --json` and its siblings print, page by page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any

from fastapi import Path, Query, Response

from tallystick.api.caller import Asking, Caller
from tallystick.api.queries import FilterQuery, PageQuery, ReportQuery, Text, WeekQuery, usage_of
from tallystick.api.queries import Query as UserQuery
from tallystick.api.route import json_answer
from tallystick.api.router import router
from tallystick.api.schemas import (
    BlockRowObject,
    SessionEventObject,
    SessionRowObject,
    UsageLimitObject,
    UsageRowObject,
    list_of,
    report_of,
)
from tallystick.ledger import Ledger, page_key
from tallystick.model import Page, UsageFilter
from tallystick.reports import plain_row, report_document, unpriced_models
from tallystick.totals import ReportRow, Totals, add_up


def _answer(
    list_name: str,
    ledger: Ledger,
    rows: Sequence[ReportRow],
    *,
    usage: UsageFilter,
    page: Page,
    by: str | None,
    totals_of_all: Callable[[], Totals],
) -> Response:
    """A page of a report; its totals are of the whole report."""
    is_last = len(rows) < page.limit
    totals = add_up(rows) if is_last and page.after is None else totals_of_all()
    unpriced = unpriced_models(ledger, usage, rows) if totals.unpriced_message_count else []
    document: dict[str, Any] = report_document(list_name, rows, totals=totals, unpriced=unpriced, usage=usage, by=by)
    document["next"] = None if is_last else page_key(rows[-1])
    return json_answer(document)


def _summed_up(ledger: Ledger, usage: UsageFilter) -> Totals:
    row = ledger.usage_summary(usage)
    return Totals(**{name: getattr(row, name) for name in Totals._fields})


def _report(
    fetch: Callable[[Ledger, UsageFilter, Page], Sequence[ReportRow]],
    list_name: str,
    caller: Caller,
    query: ReportQuery,
    *,
    period: str = "",
    week_start: int = 1,
) -> Response:
    with caller.ledger("read", user_id=query.user) as ledger:
        page = query.page
        usage = usage_of(ledger, query, period=period, week_start=week_start)
        return _answer(
            list_name,
            ledger,
            fetch(ledger, usage, page),
            usage=usage,
            page=page,
            by=query.by,
            totals_of_all=lambda: _summed_up(ledger, usage),
        )


@router.get("/daily", tags=["reports"], response_model=report_of("DailyReport", "days", UsageRowObject))
def read_daily(caller: Asking, query: Annotated[ReportQuery, Query()]) -> Response:
    """Usage by day."""
    return _report(
        lambda ledger, usage, page: ledger.usage_daily(usage, by=query.by, page=page),
        "days",
        caller,
        query,
        period="day",
    )


@router.get("/weekly", tags=["reports"], response_model=report_of("WeeklyReport", "weeks", UsageRowObject))
def read_weekly(caller: Asking, query: Annotated[WeekQuery, Query()]) -> Response:
    """Usage by week."""
    return _report(
        lambda ledger, usage, page: ledger.usage_weekly(usage, by=query.by, week_start=query.week_start, page=page),
        "weeks",
        caller,
        query,
        period="week",
        week_start=query.week_start,
    )


@router.get("/monthly", tags=["reports"], response_model=report_of("MonthlyReport", "months", UsageRowObject))
def read_monthly(caller: Asking, query: Annotated[ReportQuery, Query()]) -> Response:
    """Usage by month."""
    return _report(
        lambda ledger, usage, page: ledger.usage_monthly(usage, by=query.by, page=page),
        "months",
        caller,
        query,
        period="month",
    )


@router.get("/models", tags=["reports"], response_model=report_of("ModelsReport", "models", UsageRowObject))
def read_models(caller: Asking, query: Annotated[ReportQuery, Query()]) -> Response:
    """Usage by model."""
    return _report(
        lambda ledger, usage, page: ledger.usage_models(usage, by=query.by, page=page), "models", caller, query
    )


@router.get("/projects", tags=["reports"], response_model=report_of("ProjectsReport", "projects", UsageRowObject))
def read_projects(caller: Asking, query: Annotated[ReportQuery, Query()]) -> Response:
    """Usage by project."""
    return _report(
        lambda ledger, usage, page: ledger.usage_projects(usage, by=query.by, page=page), "projects", caller, query
    )


@router.get("/sessions", tags=["reports"], response_model=report_of("SessionsReport", "sessions", SessionRowObject))
def read_sessions(caller: Asking, query: Annotated[ReportQuery, Query()]) -> Response:
    """Usage by session, the one that was quiet longest first."""
    return _report(
        lambda ledger, usage, page: ledger.usage_sessions(usage, by=query.by, page=page), "sessions", caller, query
    )


@router.get("/blocks", tags=["reports"], response_model=report_of("BlocksReport", "blocks", BlockRowObject))
def read_blocks(caller: Asking, query: Annotated[ReportQuery, Query()]) -> Response:
    """Usage by five-hour block, with the pauses between."""
    return _report(
        lambda ledger, usage, page: ledger.usage_blocks(usage, by=query.by, page=page), "blocks", caller, query
    )


# an id may hold a stroke, and be empty: what no session has is for the ledger to say
@router.get(
    "/session/{session_id:path}",
    tags=["reports"],
    response_model=report_of("SessionReport", "events", SessionEventObject),
)
def read_session(
    caller: Asking,
    session_id: Annotated[Text, Path(description="Its id, or a unique beginning of it.", examples=["conversation-17"])],
    query: Annotated[PageQuery, Query()],
) -> Response:
    """The model calls of one session."""
    with caller.ledger("read", user_id=query.user) as ledger:
        page = query.page
        usage = usage_of(ledger, query)
        rows = ledger.usage_session(session_id, usage, page=page)
        return _answer(
            "events",
            ledger,
            rows,
            usage=usage,
            page=page,
            by=None,
            totals_of_all=lambda: add_up(ledger.usage_session(session_id, usage)),
        )


@router.get("/summary", tags=["reports"], response_model=UsageRowObject)
def read_summary(caller: Asking, query: Annotated[FilterQuery, Query()]) -> Response:
    """Everything that the filter lets through, added up."""
    with caller.ledger("read", user_id=query.user) as ledger:
        return json_answer(plain_row(ledger.usage_summary(usage_of(ledger, query))))


@router.get("/limits", tags=["reports"], response_model=list_of("UsageLimits", "limits", UsageLimitObject))
def read_limits(caller: Asking, query: Annotated[UserQuery, Query()]) -> Response:
    """What providers said last of the limits of their plans, as far as the windows still run."""
    with caller.ledger("read", user_id=query.user) as ledger:
        return json_answer({"limits": [plain_row(row) for row in ledger.usage_limits()]})
