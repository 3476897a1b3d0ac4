"""The reports: usage by day, week, month, session, model, project and block, and the calls of one session."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import tzinfo
from typing import Generic, NamedTuple, TypeVar

import click

from tallystick.cli.books import Books, open_books
from tallystick.cli.export import csv_text, json_text
from tallystick.cli.import_new import take_in_what_is_new
from tallystick.cli.limits import official_lines
from tallystick.cli.lookups import find_devices, find_models, find_projects
from tallystick.cli.options import CommonOptions, ReportOptions, parse_text, report_options
from tallystick.cli.render import render_table
from tallystick.cli.report_notes import empty_lines, notes_under, title_over
from tallystick.cli.report_tables import (
    Shape,
    Sheet,
    block_sheet,
    day_sheet,
    event_sheet,
    model_sheet,
    month_sheet,
    project_sheet,
    session_sheet,
    week_sheet,
)
from tallystick.cli.terminal import Terminal, look_at_output, write_lines
from tallystick.ledger import Ledger
from tallystick.model import BlockRow, SessionEventRow, SessionRow, UsageFilter, UsageLimitRow, UsageRow
from tallystick.ranges import since_of
from tallystick.reports import Unpriced, report_document, unpriced_models
from tallystick.totals import ReportRow, Totals, add_up
from tallystick.zones import find_zone, today_in

Row = TypeVar("Row", bound=ReportRow)


class Report(NamedTuple, Generic[Row]):
    """What a report asks of the ledger, and how the answer is shown and called."""

    title: str
    list_name: str
    columns: tuple[str, ...]
    fetch: Callable[[Ledger, UsageFilter, ReportOptions], list[Row]]
    sheet: Callable[[Sequence[Row], Shape], Sheet]
    period: str = ""
    has_limits: bool = False


class Answer(NamedTuple):
    """What the ledger answered, and what it was asked."""

    rows: Sequence[ReportRow]
    totals: Totals
    unpriced: list[Unpriced]
    usage: UsageFilter
    known_sources: list[str]
    limits: list[UsageLimitRow]


def show_report(report: Report[Row], common: CommonOptions, options: ReportOptions) -> None:
    """Take in what is new and print; before the ledger is closed, because that may take a while."""
    with open_books(common) as opened:
        books = opened if options.no_import else take_in_what_is_new(opened, common)
        print_report(report, books, options)


def print_report(report: Report[Row], books: Books, options: ReportOptions) -> None:
    """Ask the ledger and print its answer as a table, JSON or CSV."""
    usage = _usage_filter(books, options, period=report.period)
    rows = report.fetch(books.ledger, usage, options)
    totals = add_up(rows)
    answer = Answer(
        rows=rows,
        totals=totals,
        unpriced=unpriced_models(books.ledger, usage, rows) if totals.unpriced_event_count else [],
        usage=usage,
        known_sources=[] if rows else _known_sources(books.ledger),
        limits=_limits(books.ledger, usage) if report.has_limits else [],
    )
    terminal = look_at_output()
    if options.as_json:
        document = report_document(
            report.list_name, rows, totals=totals, unpriced=answer.unpriced, usage=usage, by=options.by
        )
        write_lines([json_text(document, terminal=terminal)], terminal=terminal)
    elif options.as_csv:
        write_lines([csv_text(report.columns, rows, terminal=terminal)], terminal=terminal)
    else:
        write_lines(_table_lines(report, rows, answer, options, terminal), terminal=terminal)


def _known_sources(ledger: Ledger) -> list[str]:
    """Every source with usage in the ledger."""
    return sorted({row.source or "" for row in ledger.usage_models(UsageFilter(), by="source")})


def _limits(ledger: Ledger, usage: UsageFilter) -> list[UsageLimitRow]:
    """What the providers say of the windows that run now, where the report is about now and about their agents."""
    if usage.until and usage.until < today_in(zone_of(usage)):
        return []
    return [limit for limit in ledger.usage_limits() if usage.sources is None or limit.source in usage.sources]


def _usage_filter(books: Books, options: ReportOptions, *, period: str) -> UsageFilter:
    since, until = options.since, options.until
    time_zone = options.time_zone or books.time_zone
    if options.last:
        until = today_in(find_zone(time_zone))
        since = since_of(options.last, today=until, period=period, week_start=options.week_start)
    return UsageFilter(
        since=since,
        until=until,
        time_zone=time_zone,
        sources=list(options.sources) or None,
        projects=find_projects(books.ledger, options.projects, settings=books.settings) if options.projects else None,
        models=find_models(books.ledger, options.models) if options.models else None,
        devices=find_devices(options.devices) or None,
    )


def zone_of(usage: UsageFilter) -> tzinfo:
    """The zone that a report is about."""
    assert usage.time_zone is not None
    return find_zone(usage.time_zone)


def _table_lines(
    report: Report[Row], rows: Sequence[Row], answer: Answer, options: ReportOptions, terminal: Terminal
) -> list[str]:
    if not rows:
        return empty_lines(answer.usage, options, known_sources=answer.known_sources)
    sheet = report.sheet(rows, Shape(options.by, zone_of(answer.usage)))
    table = render_table(sheet.columns, sheet.lines, width=terminal.width, palette=terminal.palette)
    return [
        *title_over(report.title, answer.usage, terminal=terminal),
        *official_lines(answer.limits, terminal=terminal),
        *table.lines,
        *notes_under(
            answer.unpriced,
            left_out=table.left_out,
            is_partly_unpriced=any(row.unpriced_event_count and row.cost_usd is not None for row in rows),
            terminal=terminal,
        ),
    ]


DAILY: Report[UsageRow] = Report(
    title="Daily usage",
    list_name="days",
    columns=UsageRow._fields,
    fetch=lambda ledger, usage, options: ledger.usage_daily(usage, by=options.by),
    sheet=day_sheet,
    period="day",
)
WEEKLY: Report[UsageRow] = Report(
    title="Weekly usage",
    list_name="weeks",
    columns=UsageRow._fields,
    fetch=lambda ledger, usage, options: ledger.usage_weekly(usage, by=options.by, week_start=options.week_start),
    sheet=week_sheet,
    period="week",
)
MONTHLY: Report[UsageRow] = Report(
    title="Monthly usage",
    list_name="months",
    columns=UsageRow._fields,
    fetch=lambda ledger, usage, options: ledger.usage_monthly(usage, by=options.by),
    sheet=month_sheet,
    period="month",
)
SESSIONS: Report[SessionRow] = Report(
    title="Usage by session",
    list_name="sessions",
    columns=SessionRow._fields,
    fetch=lambda ledger, usage, options: ledger.usage_sessions(usage, by=options.by),
    sheet=session_sheet,
)
MODELS: Report[UsageRow] = Report(
    title="Usage by model",
    list_name="models",
    columns=UsageRow._fields,
    fetch=lambda ledger, usage, options: ledger.usage_models(usage, by=options.by),
    sheet=model_sheet,
)
PROJECTS: Report[UsageRow] = Report(
    title="Usage by project",
    list_name="projects",
    columns=UsageRow._fields,
    fetch=lambda ledger, usage, options: ledger.usage_projects(usage, by=options.by),
    sheet=project_sheet,
)
BLOCKS: Report[BlockRow] = Report(
    title="Usage by five-hour block",
    list_name="blocks",
    columns=BlockRow._fields,
    fetch=lambda ledger, usage, options: ledger.usage_blocks(usage, by=options.by),
    sheet=block_sheet,
    has_limits=True,
)


@click.command()
@report_options
def daily(common: CommonOptions, options: ReportOptions) -> None:
    """Usage by day."""
    show_report(DAILY, common, options)


@click.command()
@report_options
def weekly(common: CommonOptions, options: ReportOptions) -> None:
    """Usage by week. --last 4w is this week and the three before it."""
    show_report(WEEKLY, common, options)


@click.command()
@report_options
def monthly(common: CommonOptions, options: ReportOptions) -> None:
    """Usage by month. --last 3m is this month and the two before it."""
    show_report(MONTHLY, common, options)


@click.command()
@report_options
def sessions(common: CommonOptions, options: ReportOptions) -> None:
    """Usage by session. `tally session ID` shows the calls of one."""
    show_report(SESSIONS, common, options)


@click.command()
@click.argument("session_id", type=parse_text, metavar="ID")
@report_options
def session(common: CommonOptions, options: ReportOptions, *, session_id: str) -> None:
    """The model calls of one session; four characters from the beginning of its ID will do."""
    report: Report[SessionEventRow] = Report(
        title=f"Session {session_id}",
        list_name="events",
        columns=SessionEventRow._fields,
        fetch=lambda ledger, usage, _: ledger.usage_session(session_id, usage),
        sheet=event_sheet,
    )
    show_report(report, common, options)


@click.command()
@report_options
def models(common: CommonOptions, options: ReportOptions) -> None:
    """Usage by model."""
    show_report(MODELS, common, options)


@click.command()
@report_options
def projects(common: CommonOptions, options: ReportOptions) -> None:
    """Usage by project: the repository that a call was made in, or the folder where there is none."""
    show_report(PROJECTS, common, options)


@click.command()
@report_options
def blocks(common: CommonOptions, options: ReportOptions) -> None:
    """Usage by five-hour block: from the full hour (UTC) of its first call, with the pauses between.

    A block is only a model of a plan's window. Where the provider has told how much of it is used, that stands above.
    """
    show_report(BLOCKS, common, options)
