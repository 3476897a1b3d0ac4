"""How the figures are worded: each panel's title and lines of a given width, without a screen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta, tzinfo
from decimal import Decimal
from typing import NamedTuple

from tallystick.cli.cells import cut_end, dollars, duration, grouped, label, plural, short_models, short_paths, width_of
from tallystick.cli.limits import age, agent, window
from tallystick.cli.render import GAP, ONLY_WHEN_WIDE, Column, Kind, fit_columns, set_cells
from tallystick.cli.report_tables import PARTLY_UNPRICED, USAGE_COLUMNS, usage_cells
from tallystick.live.figures import RUNS_FOR, Figures
from tallystick.live.follower import Away
from tallystick.model import BlockRow, SessionEventRow, SessionRow
from tallystick.pace import pace_of
from tallystick.redaction import one_line
from tallystick.reports import exact
from tallystick.totals import all_tokens

LEAST_WIDTH = 20
WIDTH_WITH_AGE = 52
MAX_LIMITS = 4
NOTHING_YET = (
    "No usage recorded yet.",
    "It appears here as soon as an agent makes a call.",
    "`tally doctor` shows where transcripts are looked for.",
)

# the buckets of a list, beside its tokens in all
BUCKETS = tuple(
    column._replace(rank=ONLY_WHEN_WIDE + at)
    for at, column in enumerate(USAGE_COLUMNS)
    if column.title in ("Input", "Output", "Cache write", "Cache read")
)
BUCKET_PLACES = tuple(at for at, column in enumerate(USAGE_COLUMNS) if column.title in {one.title for one in BUCKETS})


SESSIONS = "Running sessions"
SORTED = "↓"


class Words(NamedTuple):
    """A panel: its title, which stays, and its lines; `notes` stand in the place of figures that there are none of."""

    title: str
    lines: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


class Order(NamedTuple):
    """An order of the running sessions, and the column that it is marked at."""

    column: str
    key: Callable[[SessionRow], tuple[object, ...]]


# the list comes by time already
ORDERS = (
    Order("Last", lambda _: ()),
    Order("Cost", lambda row: (-(row.cost_usd or Decimal(0)),)),
    Order("Tokens", lambda row: (-all_tokens(row),)),
    Order(SESSIONS, lambda row: (row.project or "",)),
)


def today_words(figures: Figures, *, width: int, is_brief: bool) -> Words:
    """What today used, by bucket where there is room for it, beside all of yesterday."""
    columns = (Column("Today", Kind.LABEL), Column("so far"), Column("yesterday"))
    names = {column.title: at for at, column in enumerate(USAGE_COLUMNS)}
    both = [usage_cells(totals) for totals in (figures.today, figures.yesterday)]
    shown = ("Cost", "Messages") if is_brief else ("Cost", "Messages", *(column.title for column in BUCKETS))
    rows = [(name, *(cells[names[name]] for cells in both)) for name in shown]
    if is_brief:
        rows.append(("Tokens", *(grouped(all_tokens(totals)) for totals in (figures.today, figures.yesterday))))
    unpriced = [totals.unpriced_event_count for totals in (figures.today, figures.yesterday)]
    if any(unpriced):
        rows.append((f"{PARTLY_UNPRICED} unpriced", *(plural(count, "event") for count in unpriced)))
    return _list(columns, rows, width=width)


def block_words(figures: Figures, *, width: int, now: datetime) -> Words:
    """What is known of the plan's windows: the providers' own word, and the five-hour block as our model of one.

    The block has its pace and what it comes to by its end; its time stands aside where a provider says its own.
    """
    block, official = figures.block, tuple(official_lines(figures, width=width, now=now))
    if block is None or block.block_end <= now:
        return Words("Block", (*official, "No block runs: the next call opens one."))
    start, end = (at.astimezone(figures.zone).strftime("%H:%M") for at in (block.block_start, block.block_end))
    columns = (Column(f"Block {start}", Kind.LABEL), Column("so far"), Column(f"by {end}"))
    pace = pace_of(block, now=now)
    at_end = (_cost(pace.usd_at_end, block), grouped(pace.tokens_at_end)) if pace else ("", "")
    rows = [
        ("Cost", usage_cells(block)[-1], at_end[0]),
        ("Tokens", grouped(all_tokens(block)), at_end[1]),
    ]
    words = _list(columns, rows, width=width)
    left = f"{duration(block.block_end - now)} left"
    time = () if official else (_bar(block, now=now, width=width - len(left) - len(GAP)) + GAP + left,)
    rate = "one call alone has none"
    if pace:
        cost = "unpriced" if pace.usd_per_hour is None else f"{_cost(pace.usd_per_hour, block)}/h"
        rate = f"{cost}, {grouped(pace.tokens_per_minute)} tokens/min"
    return Words(words.title, (*official, *time, *words.lines, _apart("Burn rate", rate, width=width)))


def official_lines(figures: Figures, *, width: int, now: datetime) -> list[str]:
    """What the providers say of their plans' windows; of which agent, where there are several, and when, if wide."""
    are_several = len({row.source for row in figures.limits}) > 1
    lines = []
    for row in figures.limits[:MAX_LIMITS]:
        left = f", {duration(row.resets_at - now)}" if row.resets_at else ""
        told = f" ({age(row, now=now)})" if width >= WIDTH_WITH_AGE else ""
        name = f"Official {window(row)}" + (f", {agent(row)}" if are_several else "")
        if row.resets_at is None or row.resets_at > now:
            lines.append(_apart(name, f"{exact(row.used_percent)}%{told}{left}", width=width))
    return lines


def _cost(cost_usd: Decimal | None, block: BlockRow) -> str:
    mark = PARTLY_UNPRICED if block.unpriced_event_count and cost_usd is not None else ""
    return dollars(cost_usd) + mark


def _bar(block: BlockRow, *, now: datetime, width: int) -> str:
    """How much of the block's time is over."""
    width = max(width, 0)
    done = round(width * ((now - block.block_start) / (block.block_end - block.block_start)))
    return "━" * min(max(done, 0), width) + "─" * (width - min(max(done, 0), width))


def _apart(left: str, right: str, *, width: int) -> str:
    """Two texts at both ends of a line; the left one gives way."""
    right = cut_end(right, width)
    left = cut_end(left, max(width - width_of(right) - 1, 0)) if width > width_of(right) + 1 else ""
    return left + " " * (width - width_of(left) - width_of(right)) + right


def model_words(figures: Figures, *, width: int) -> Words:
    """What each model used today, the dearest first."""
    names = short_models([row.model for row in figures.models if row.model])
    columns = (Column("Models today", Kind.LABEL, least_width=16), *USAGE_COLUMNS)
    rows = [(label(names.get(row.model or "")), *usage_cells(row)) for row in figures.models]
    return _list(columns, rows, width=width, none="Nothing was used today.")


def session_words(figures: Figures, *, width: int, order: Order) -> Words:
    """The sessions that run, each with all that it used."""
    rows = sorted(figures.sessions, key=order.key)
    projects = short_paths([row.project for row in rows if row.project])
    models = short_models([row.model for row in rows if row.model])
    columns = (
        Column(SESSIONS, Kind.PATH, least_width=12),
        Column("Agent", Kind.LABEL, rank=3, least_width=6),
        Column("Model", Kind.LABEL, rank=4, least_width=8),
        Column("Last", Kind.WHOLE, rank=2),
        Column("Messages", rank=ONLY_WHEN_WIDE),
        *BUCKETS,
        Column("Tokens", rank=1),
        Column("Cost"),
    )
    columns = tuple(
        column._replace(title=f"{column.title} {SORTED}") if column.title == order.column else column
        for column in columns
    )
    cells = [
        (
            label(projects.get(row.project or "")),
            label(row.source),
            label(models.get(row.model or "")),
            _clock(row.last_activity_at, figures.zone, figures.read_at),
            grouped(row.message_count),
            *_tokens_and_cost(row),
        )
        for row in rows
    ]
    return _list(columns, cells, width=width, none=f"No call in the last {RUNS_FOR // timedelta(minutes=1)} minutes.")


def call_words(figures: Figures, *, width: int) -> Words:
    """The latest calls."""
    projects = short_paths([row.project for row in figures.calls if row.project])
    models = short_models([row.model for row in figures.calls if row.model])
    columns = (
        Column("Last calls", Kind.WHOLE),
        Column("Agent", Kind.LABEL, rank=3, least_width=6),
        Column("Model", Kind.LABEL, rank=4, least_width=8),
        Column("Project", Kind.PATH, rank=2, least_width=8),
        Column("", Kind.WHOLE, rank=ONLY_WHEN_WIDE),
        *BUCKETS,
        Column("Tokens", rank=1),
        Column("Cost"),
    )
    cells = [
        (
            _clock(row.occurred_at, figures.zone, figures.read_at),
            label(row.source),
            label(models.get(row.model or "")),
            label(projects.get(row.project or "")),
            "sub-agent" if row.is_sidechain else "",
            *_tokens_and_cost(row),
        )
        for row in figures.calls
    ]
    return _list(columns, cells, width=width, spread_at=3)


def _tokens_and_cost(row: SessionRow | SessionEventRow) -> tuple[str, ...]:
    cells = usage_cells(row)
    return (*(cells[at] for at in BUCKET_PLACES), grouped(all_tokens(row)), cells[-1])


def _clock(at: datetime, zone: tzinfo, now: datetime) -> str:
    """The time of today, the day and the time of any other."""
    local = at.astimezone(zone)
    is_today = local.date() == now.astimezone(zone).date()
    return local.strftime("%H:%M:%S" if is_today else "%m-%d %H:%M")


def _list(
    columns: Sequence[Column], rows: Sequence[tuple[str, ...]], *, width: int, none: str = "", spread_at: int = 0
) -> Words:
    """Rows under their titles over the whole width: what is to spare goes to one of the columns."""
    width = max(width, LEAST_WIDTH)
    natural = [
        max(width_of(column.title), *(width_of(row[at]) for row in rows), 0) for at, column in enumerate(columns)
    ]
    kept = [at for at in range(len(columns)) if any(row[at] not in ("", "0") for row in rows) or not rows]
    columns, natural = [columns[at] for at in kept], [natural[at] for at in kept]
    widths = _fitted(columns, natural, width=width)
    spread_at = kept.index(spread_at) if spread_at in kept else 0
    spread_at = spread_at if spread_at in widths else 0
    widths[spread_at] += max(width - sum(widths.values()) - len(GAP) * (len(widths) - 1), 0)
    title = set_cells([column.title for column in columns], columns, widths)
    lines = tuple(set_cells([row[at] for at in kept], columns, widths) for row in rows)
    return Words(title, lines, () if rows else (none,))


def _fitted(columns: Sequence[Column], natural: Sequence[int], *, width: int) -> dict[int, int]:
    """The width of each column that fits; some buckets without the others would be taken for all of them."""
    widths = fit_columns(columns, natural, width=width)
    buckets = [at for at, column in enumerate(columns) if column in BUCKETS]
    if all(at in widths for at in buckets):
        return widths
    others = [at for at in range(len(columns)) if at not in buckets]
    fitted = fit_columns([columns[at] for at in others], [natural[at] for at in others], width=width)
    return {others[at]: wide for at, wide in fitted.items()}


def head_words(figures: Figures | None, *, now: datetime, status: str, width: int) -> str:
    """The time of the books' zone, and how things stand."""
    clock = ""
    if figures is not None:
        local = now.astimezone(figures.zone)
        clock = f"{GAP}{local.strftime('%Y-%m-%d %H:%M:%S')} {figures.zone_name}"
    return _apart(f"tally live{clock}", status, width=width)


def away_words(away: Away, figures: Figures | None, *, now: datetime) -> str:
    """Since when the ledger does not answer, why, and when it is asked again."""
    at = figures.read_at.astimezone(figures.zone) if figures else away.since.astimezone()
    shown = f"{'Figures of' if figures else 'No answer since'} {at.strftime('%H:%M:%S')}"
    left_s = max((away.next_try_at - now) // timedelta(seconds=1), 0)
    return f"{shown}; the next try in {left_s} s: {label(one_line(away.reason))}"


def trouble_words(trouble: str) -> str:
    """What keeps new usage from being taken in, '' where nothing does."""
    return f"Nothing new is taken in: {label(one_line(trouble))}" if trouble else ""
