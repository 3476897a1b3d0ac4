"""The reports over HTTP: what `tally daily --json` and its siblings print, page by page."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path, Query, Response

from tallystick.answers import (
    BLOCKS,
    DAILY,
    MODELS,
    MONTHLY,
    PROJECTS,
    SESSIONS,
    WEEKLY,
    Report,
    answer_limits,
    answer_recent,
    answer_report,
    answer_session,
    answer_summary,
)
from tallystick.api.caller import Asking, Caller
from tallystick.api.queries import FilterQuery, PageQuery, RecentQuery, ReportQuery, WeekQuery
from tallystick.api.queries import Query as UserQuery
from tallystick.api.route import json_answer
from tallystick.api.router import router
from tallystick.objects import (
    BlockRowObject,
    SessionEventObject,
    SessionRowObject,
    UsageLimitObject,
    UsageRowObject,
    list_of,
    report_of,
)
from tallystick.questions import Text


def _answer(report: Report, caller: Caller, query: ReportQuery | WeekQuery) -> Response:
    with caller.ledger("read", user_id=query.user) as ledger:
        return json_answer(answer_report(ledger, report, query))


@router.get("/daily", tags=["reports"], response_model=report_of("DailyReport", "days", UsageRowObject))
def read_daily(caller: Asking, query: Annotated[ReportQuery, Query()]) -> Response:
    """Usage by day."""
    return _answer(DAILY, caller, query)


@router.get("/weekly", tags=["reports"], response_model=report_of("WeeklyReport", "weeks", UsageRowObject))
def read_weekly(caller: Asking, query: Annotated[WeekQuery, Query()]) -> Response:
    """Usage by week."""
    return _answer(WEEKLY, caller, query)


@router.get("/monthly", tags=["reports"], response_model=report_of("MonthlyReport", "months", UsageRowObject))
def read_monthly(caller: Asking, query: Annotated[ReportQuery, Query()]) -> Response:
    """Usage by month."""
    return _answer(MONTHLY, caller, query)


@router.get("/models", tags=["reports"], response_model=report_of("ModelsReport", "models", UsageRowObject))
def read_models(caller: Asking, query: Annotated[ReportQuery, Query()]) -> Response:
    """Usage by model."""
    return _answer(MODELS, caller, query)


@router.get("/projects", tags=["reports"], response_model=report_of("ProjectsReport", "projects", UsageRowObject))
def read_projects(caller: Asking, query: Annotated[ReportQuery, Query()]) -> Response:
    """Usage by project."""
    return _answer(PROJECTS, caller, query)


@router.get("/sessions", tags=["reports"], response_model=report_of("SessionsReport", "sessions", SessionRowObject))
def read_sessions(caller: Asking, query: Annotated[ReportQuery, Query()]) -> Response:
    """Usage by session, the one that was quiet longest first."""
    return _answer(SESSIONS, caller, query)


@router.get("/blocks", tags=["reports"], response_model=report_of("BlocksReport", "blocks", BlockRowObject))
def read_blocks(caller: Asking, query: Annotated[ReportQuery, Query()]) -> Response:
    """Usage by five-hour block, with the pauses between."""
    return _answer(BLOCKS, caller, query)


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
        return json_answer(answer_session(ledger, session_id, query))


@router.get("/recent", tags=["reports"], response_model=list_of("RecentCalls", "events", SessionEventObject))
def read_recent(caller: Asking, query: Annotated[RecentQuery, Query()]) -> Response:
    """The latest model calls, the latest first."""
    with caller.ledger("read", user_id=query.user) as ledger:
        return json_answer(answer_recent(ledger, limit=query.limit))


@router.get("/summary", tags=["reports"], response_model=UsageRowObject)
def read_summary(caller: Asking, query: Annotated[FilterQuery, Query()]) -> Response:
    """Everything that the filter lets through, added up."""
    with caller.ledger("read", user_id=query.user) as ledger:
        return json_answer(answer_summary(ledger, query))


@router.get("/limits", tags=["reports"], response_model=list_of("UsageLimits", "limits", UsageLimitObject))
def read_limits(caller: Asking, query: Annotated[UserQuery, Query()]) -> Response:
    """What providers said last of the limits of their plans, as far as the windows still run."""
    with caller.ledger("read", user_id=query.user) as ledger:
        return json_answer(answer_limits(ledger))
