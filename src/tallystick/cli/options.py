"""Options that commands share, and what they mean."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date
from typing import NamedTuple

import click

from tallystick.errors import ConfigError, InvalidRequest
from tallystick.ranges import BREAKDOWNS, WEEK_DAYS, Last, read_last

Command = Callable[..., int | None]


class CommonOptions:
    """What every command knows: filled in while the command line is read."""

    __slots__ = ("database_url", "verbose")

    def __init__(self) -> None:
        self.database_url: str | None = None
        self.verbose = False


class ReportOptions(NamedTuple):
    """What a report was asked for."""

    since: date | None = None
    until: date | None = None
    last: Last | None = None
    time_zone: str | None = None
    week_start: int = 1
    projects: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    devices: tuple[str, ...] = ()
    by: str | None = None
    as_json: bool = False
    as_csv: bool = False
    no_import: bool = False


def parse_day(text: str) -> date:
    """A day written YYYY-MM-DD and in no other way."""
    if re.fullmatch(r"\d{4}-\d{2}-\d{2}", text, re.ASCII):
        try:
            return date.fromisoformat(text)
        except ValueError as error:
            raise click.BadParameter(f"{text!r} is not a day of the calendar.") from error
    raise click.BadParameter(f"{text!r} is not a day; write it as YYYY-MM-DD, such as 2026-11-30.")


def parse_last(text: str) -> Last:
    """A number of days, weeks or months: 7d, 4w, 3m."""
    try:
        return read_last(text)
    except InvalidRequest as error:
        raise click.BadParameter(f"{error.message}; {error.hint}") from error


def parse_week_day(text: str) -> int:
    """The ISO number of a day of the week: 1 is Monday, 7 is Sunday."""
    if text.lower() not in WEEK_DAYS:
        raise click.BadParameter(f"{text!r} is no day of the week; write monday, ..., sunday.")
    return WEEK_DAYS.index(text.lower()) + 1


def parse_zone(name: str) -> str:
    """A time zone that this machine knows."""
    # zones take a while to import, and hardly a command is asked for one
    from tallystick.zones import find_zone

    try:
        find_zone(name)
    except ConfigError as error:
        raise click.BadParameter(f"{error.message}. {error.hint}") from error
    return name


def parse_text(text: str) -> str:
    """Text that the ledger may be asked for; a shell can pass any bytes."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise click.BadParameter("that is not UTF-8.") from error
    return text


def _remember_verbose(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        ctx.ensure_object(CommonOptions).verbose = True


def _remember_database(ctx: click.Context, _: click.Parameter, value: str | None) -> None:
    if value is None:
        return
    if not value.startswith(("postgres://", "postgresql://", "http://", "https://")):
        raise click.BadParameter(
            "that is no URL of a ledger; write postgresql://user@host:5432/database, or the https:// address of a "
            "Supabase project or of a Tallystick server."
        )
    ctx.ensure_object(CommonOptions).database_url = value


_COMMON_OPTIONS = (
    click.option(
        "--database",
        metavar="URL",
        expose_value=False,
        callback=_remember_database,
        help="Use the ledger at this address: a Postgres, a Supabase project or a Tallystick server.",
    ),
    click.option(
        "--verbose",
        is_flag=True,
        expose_value=False,
        callback=_remember_verbose,
        help="Say more, and show the trace of an error.",
    ),
)

_REPORT_OPTIONS = (
    click.option("--since", type=parse_day, metavar="YYYY-MM-DD", help="First day, inclusive."),
    click.option("--until", type=parse_day, metavar="YYYY-MM-DD", help="Last day, inclusive."),
    click.option("--last", type=parse_last, metavar="7d|4w|3m", help="So many days, weeks or months up to today."),
    click.option(
        "--timezone", "time_zone", type=parse_zone, metavar="ZONE", help="Days of this zone, such as Europe/Berlin."
    ),
    click.option(
        "--week-start",
        type=parse_week_day,
        metavar="DAY",
        default=WEEK_DAYS[0],
        help="First day of a week: monday (the default) to sunday.",
    ),
    click.option(
        "--project",
        "projects",
        multiple=True,
        metavar="NAME",
        help="Only this project: its path, or the last part of it; may be repeated.",
    ),
    click.option("--model", "models", multiple=True, metavar="NAME", help="Only this model; may be repeated."),
    click.option(
        "--source",
        "sources",
        multiple=True,
        metavar="NAME",
        help="Only this source: claude-code, ...; may be repeated.",
    ),
    click.option("--device", "devices", multiple=True, metavar="NAME", help="Only this device; may be repeated."),
    click.option(
        "--by", type=click.Choice(BREAKDOWNS, case_sensitive=False), help="Break every line of the report down by this."
    ),
    click.option("--json", "as_json", is_flag=True, help="Print JSON, with costs as exact decimal strings."),
    click.option("--csv", "as_csv", is_flag=True, help="Print CSV."),
    click.option("--no-import", is_flag=True, help="Do not take in what is new first."),
)


def common_options(command: Command) -> Command:
    """Add what every command takes, before its name or after it."""
    for option in reversed(_COMMON_OPTIONS):
        command = option(command)
    return command


def report_options(command: Command) -> Command:
    """Add the options of every report; the command gets them as one ReportOptions, after the common ones."""

    def read(common: CommonOptions, /, **values: object) -> None:
        asked = {name: values.pop(name) for name in ReportOptions._fields}
        command(common, read_report_options(asked), **values)

    read.__name__, read.__doc__ = command.__name__, command.__doc__
    wrapped: Command = common_options(click.pass_obj(read))
    for option in reversed(_REPORT_OPTIONS):
        wrapped = option(wrapped)
    return wrapped


def read_report_options(values: dict[str, object]) -> ReportOptions:
    """What was asked for; options that contradict each other are a usage error."""
    options = ReportOptions(**values)  # type: ignore[arg-type]  # click has checked each
    if options.last and (options.since or options.until):
        raise click.UsageError("--last says both ends of the range; leave out --since and --until, or --last.")
    check_range(options.since, options.until)
    if options.as_json and options.as_csv:
        raise click.UsageError("--json and --csv exclude each other; leave one out.")
    return options


def check_range(since: date | None, until: date | None) -> None:
    """A range that ends before it begins is a usage error."""
    if since and until and since > until:
        raise click.UsageError(f"--since {since} is after --until {until}; exchange them.")
