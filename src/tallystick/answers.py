"""The answers of HTTP and MCP: pages of the reports, as `tally daily --json` and its siblings print them.

Every answer is a JSON object ready to be encoded: money is text, dates and times are text.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from tallystick.ledger import Ledger, page_key
from tallystick.model import Page, UsageFilter
from tallystick.questions import FilterQuery, PageQuery, ReportQuery, usage_of
from tallystick.reports import Plain, plain_row, report_document, unpriced_models
from tallystick.totals import ReportRow, Totals, add_up

Document = dict[str, Plain]


class Report(NamedTuple):
    """A report: what its rows are called, how one page of them is asked for, and its period where it has one."""

    list_name: str
    fetch: Callable[[Ledger, UsageFilter, ReportQuery, Page], Sequence[ReportRow]]
    period: str = ""


DAILY = Report("days", lambda ledger, usage, query, page: ledger.usage_daily(usage, by=query.by, page=page), "day")
WEEKLY = Report(
    "weeks",
    lambda ledger, usage, query, page: ledger.usage_weekly(
        usage, by=query.by, week_start=query.first_week_day, page=page
    ),
    "week",
)
MONTHLY = Report(
    "months", lambda ledger, usage, query, page: ledger.usage_monthly(usage, by=query.by, page=page), "month"
)
MODELS = Report("models", lambda ledger, usage, query, page: ledger.usage_models(usage, by=query.by, page=page))
PROJECTS = Report("projects", lambda ledger, usage, query, page: ledger.usage_projects(usage, by=query.by, page=page))
SESSIONS = Report("sessions", lambda ledger, usage, query, page: ledger.usage_sessions(usage, by=query.by, page=page))
BLOCKS = Report("blocks", lambda ledger, usage, query, page: ledger.usage_blocks(usage, by=query.by, page=page))


def answer_report(ledger: Ledger, report: Report, query: ReportQuery) -> Document:
    """One page of a report; raises LedgerError."""
    page = query.page
    usage = usage_of(ledger, query, period=report.period, week_start=query.first_week_day)
    return _page_of(
        report.list_name,
        ledger,
        report.fetch(ledger, usage, query, page),
        usage=usage,
        page=page,
        by=query.by,
        totals_of_all=lambda: _summed_up(ledger, usage),
    )


def answer_session(ledger: Ledger, session_id: str, query: PageQuery) -> Document:
    """One page of the calls of a session; raises LedgerError."""
    page = query.page
    usage = usage_of(ledger, query)
    return _page_of(
        "events",
        ledger,
        ledger.usage_session(session_id, usage, page=page),
        usage=usage,
        page=page,
        by=None,
        totals_of_all=lambda: add_up(ledger.usage_session(session_id, usage)),
    )


def answer_summary(ledger: Ledger, query: FilterQuery) -> Document:
    """Everything that the filter lets through, added up; raises LedgerError."""
    return plain_row(ledger.usage_summary(usage_of(ledger, query)))


def answer_recent(ledger: Ledger, *, limit: int) -> Document:
    """The latest calls, the latest first."""
    return {"events": [plain_row(row) for row in ledger.usage_recent(limit=limit)]}


def answer_limits(ledger: Ledger) -> Document:
    """What providers said last of the limits of their plans, as far as the windows still run; raises LedgerError."""
    return {"limits": [plain_row(row) for row in ledger.usage_limits()]}


def answer_verification(ledger: Ledger) -> Document:
    """Every rule of the books with the number of rows that break it; raises LedgerError."""
    return {"checks": [plain_row(check) for check in ledger.verify_token_usage()]}


def _page_of(
    list_name: str,
    ledger: Ledger,
    rows: Sequence[ReportRow],
    *,
    usage: UsageFilter,
    page: Page,
    by: str | None,
    totals_of_all: Callable[[], Totals],
) -> Document:
    """A page of a report; its totals are of the whole report."""
    is_last = len(rows) < page.limit
    totals = add_up(rows) if is_last and page.after is None else totals_of_all()
    unpriced = unpriced_models(ledger, usage, rows) if totals.unpriced_event_count else []
    document = report_document(list_name, rows, totals=totals, unpriced=unpriced, usage=usage, by=by)
    following: Plain = None if is_last else {**page_key(rows[-1])}
    return {**document, "next": following}


def _summed_up(ledger: Ledger, usage: UsageFilter) -> Totals:
    row = ledger.usage_summary(usage)
    return Totals(**{name: getattr(row, name) for name in Totals._fields})
