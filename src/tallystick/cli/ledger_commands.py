"""Upkeep of the books: verify, rerate, forget."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from datetime import date
from decimal import Decimal

import click

from tallystick.cli.books import open_books
from tallystick.cli.cells import dollars, label, plural
from tallystick.cli.import_new import forget_own_prices_stamp, take_in_own_prices
from tallystick.cli.lookups import find_projects
from tallystick.cli.options import CommonOptions, check_range, common_options, parse_day
from tallystick.cli.terminal import look_at_output, write_lines
from tallystick.errors import Conflict
from tallystick.model import ForgetReceipt, LedgerCheck, RerateReceipt, UsageFilter
from tallystick.totals import add_exactly

EXIT_BAD = 1


@click.command()
@common_options
@click.pass_obj
def verify(common: CommonOptions) -> int:
    """Prove that every total equals its rows and every cost its price; exit code 1 if one does not."""
    with open_books(common) as books:
        checks = books.ledger.verify_token_usage()
        _print(*verify_lines(checks))
    return EXIT_BAD if any(check.bad_rows for check in checks) else 0


def verify_lines(checks: list[LedgerCheck]) -> list[str]:
    """One line per rule, and one that sums them up."""
    width = max(len(check.check_name) for check in checks)
    lines = [f"{check.check_name.replace('_', ' '):<{width}}  {_verdict(check.bad_rows)}" for check in checks]
    bad = [check for check in checks if check.bad_rows]
    if not bad:
        return [*lines, "", f"All {len(checks)} checks hold: every total equals its rows."]
    return [*lines, "", f"{plural(len(bad), 'check')} of {len(checks)} failed. Back up the ledger and report this."]


def _verdict(bad_rows: int) -> str:
    return f"WRONG in {plural(bad_rows, 'row')}" if bad_rows else "ok"


@click.command()
@click.option("--since", type=parse_day, metavar="YYYY-MM-DD", help="First day, inclusive.")
@click.option("--until", type=parse_day, metavar="YYYY-MM-DD", help="Last day, inclusive.")
@common_options
@click.pass_obj
def rerate(common: CommonOptions, since: date | None, until: date | None) -> None:
    """Price recorded usage anew at the dated prices known today; old costs are kept as versions."""
    check_range(since, until)
    with open_books(common) as books:
        prices = take_in_own_prices(books)
        if prices is not None and prices.added:
            _print(f"Took in {plural(prices.added, 'price')} of yours from {books.settings.prices_file}.")
        _print(*rerate_lines(books.ledger.rerate_token_usage(since=since, until=until)))


def rerate_lines(receipts: Iterable[RerateReceipt]) -> list[str]:
    """What moved, from which sum to which."""
    examined = changed = unpriced = 0
    old_cost, new_cost = Decimal(0), Decimal(0)
    for receipt in receipts:
        examined += receipt.examined
        changed += receipt.changed
        unpriced += receipt.unpriced
        old_cost = add_exactly(old_cost, receipt.old_cost_usd)
        new_cost = add_exactly(new_cost, receipt.new_cost_usd)
    lines = [f"{plural(examined, 'call')} looked at, {plural(changed, 'cost')} changed."]
    if changed:
        lines.append(f"Those cost {dollars(old_cost)} before and {dollars(new_cost)} now; the old costs are kept.")
    if unpriced:
        lines.append(f"{plural(unpriced, 'call')} still without a price; `tally models` names the models.")
    return lines


@click.command()
@click.option("--project", metavar="NAME", help="Forget this project: its path or the last part of it.")
@click.option("--everything", is_flag=True, help="Forget all of your usage.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@common_options
@click.pass_obj
def forget(common: CommonOptions, project: str | None, everything: bool, yes: bool) -> None:
    """Erase usage from the ledger, for good: one project's, or everything."""
    if everything is (project is not None):
        raise click.UsageError("say what to forget: either --project NAME or --everything.")
    with open_books(common) as books:
        found = find_projects(books.ledger, [project], settings=books.settings)[0] if project is not None else None
        rows = books.ledger.usage_projects(UsageFilter(projects=None if found is None else [found]))
        count = sum(row.event_count for row in rows)
        what = f"the project {label(found or None)}" if found is not None else "everything"
        if not yes and not _is_confirmed(f"Erase {what} ({plural(count, 'call')}) from the ledger for good?"):
            raise Conflict("nothing was erased", hint="Answer y, or give --yes.")
        _print(*forget_lines(books.ledger.forget_token_usage(project=found)))
        if found is None:
            forget_own_prices_stamp(books.settings)


def _is_confirmed(question: str) -> bool:
    """Whether somebody says yes; the end of the input is a no."""
    sys.stderr.write(f"{question} [y/N] ")
    sys.stderr.flush()
    answer = sys.stdin.readline()
    if not answer.endswith("\n"):
        # nobody pressed Enter, so that what is said next would stand behind the question
        sys.stderr.write("\n")
    return answer.strip().lower() in ("y", "yes")


def forget_lines(receipts: Iterable[ForgetReceipt]) -> list[str]:
    """What went."""
    events = versions = sessions = days = 0
    for receipt in receipts:
        events += receipt.events
        versions += receipt.versions
        sessions += receipt.sessions
        days += receipt.days
    return [
        f"Erased {plural(events, 'call')} and {plural(versions, 'earlier version')} of them; "
        f"{plural(sessions, 'session')} and {plural(days, 'day')} are gone with them.",
        "The transcripts are left alone: delete them too, or a moved copy of them brings the calls back.",
    ]


def _print(*lines: str) -> None:
    write_lines(lines, terminal=look_at_output())
