"""How the rows of each report become the lines of a table."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from datetime import tzinfo
from decimal import Decimal
from typing import NamedTuple, TypeVar

from tallystick.cli.cells import dollars, duration, grouped, label, moment, short_ids, short_models, short_paths
from tallystick.cli.render import ONLY_WHEN_WIDE, Column, Kind, Line, Look
from tallystick.model import BlockRow, SessionEventRow, SessionRow, UsageRow
from tallystick.totals import ReportRow, Totals, add_up

Row = TypeVar("Row", bound=UsageRow | SessionRow | BlockRow)

INDENT = "  "
PARTLY_UNPRICED = "*"
LONGEST_SHORT_ID = 16

USAGE_COLUMNS = (
    Column("Sessions", rank=ONLY_WHEN_WIDE + 3),
    Column("Messages", rank=ONLY_WHEN_WIDE),
    Column("Input", rank=3),
    Column("Output", rank=1),
    Column("Thinking", rank=ONLY_WHEN_WIDE + 1),
    Column("Cache write", rank=4),
    Column("Cache read", rank=2),
    Column("Searches", rank=ONLY_WHEN_WIDE + 2),
    Column("Cost"),
)


class Shape(NamedTuple):
    """What a report is asked to look like: the breakdown and the zone of its times."""

    by: str | None
    zone: tzinfo


class Sheet(NamedTuple):
    """A table before it is set."""

    columns: list[Column]
    lines: list[Line]


def day_sheet(rows: Sequence[UsageRow], shape: Shape) -> Sheet:
    """One line per day."""
    return _period_sheet(rows, shape, title="Date")


def week_sheet(rows: Sequence[UsageRow], shape: Shape) -> Sheet:
    """One line per week, by its first day."""
    return _period_sheet(rows, shape, title="Week from")


def month_sheet(rows: Sequence[UsageRow], shape: Shape) -> Sheet:
    """One line per month: 2026-11."""
    return _period_sheet(rows, shape, title="Month", signs=len("2026-11"))


def _period_sheet(rows: Sequence[UsageRow], shape: Shape, *, title: str, signs: int = len("2026-11-22")) -> Sheet:
    def cells(row: UsageRow) -> tuple[str, ...]:
        return (str(row.period_start)[:signs],)

    lines = _tree(rows, shape, key=lambda row: row.period_start, cells=cells)
    return _finished([Column(title, Kind.LABEL)], lines, rows, shape)


def model_sheet(rows: Sequence[UsageRow], shape: Shape) -> Sheet:
    """One line per model."""
    names = short_models([row.model for row in rows if row.model])
    heads = [Column("Model", Kind.LABEL, least_width=20)]
    lines = _tree(rows, shape, key=lambda row: row.model, cells=lambda row: (label(names.get(row.model or "")),))
    return _finished(heads, lines, rows, shape)


def project_sheet(rows: Sequence[UsageRow], shape: Shape) -> Sheet:
    """One line per project, of which the end tells most."""
    heads = [Column("Project", Kind.PATH, least_width=20)]
    lines = _tree(rows, shape, key=lambda row: row.project, cells=lambda row: (label(row.project),))
    return _finished(heads, lines, rows, shape)


def session_sheet(rows: Sequence[SessionRow], shape: Shape) -> Sheet:
    """One line per session: its short id, its last call and its project."""
    ids = short_ids([row.session_id for row in rows if row.session_id])
    projects = short_paths([row.project for row in rows if row.project])
    models = short_models([row.model for row in rows if row.model])
    longest = max((len(name) for name in ids.values()), default=0)
    heads = [
        # Ids that all begin alike differ at their ends, and need not take the place of every figure.
        Column("Session", Kind.WHOLE) if longest <= LONGEST_SHORT_ID else Column("Session", Kind.PATH),
        Column("Last activity", Kind.WHOLE),
        Column("Project", Kind.PATH, least_width=12),
        Column("Model", Kind.LABEL, rank=ONLY_WHEN_WIDE + 4),
    ]

    def cells(row: SessionRow) -> tuple[str, ...]:
        name = ids[row.session_id] if row.session_id else None
        time = moment(row.last_activity_at, zone=shape.zone)
        return label(name), time, label(projects.get(row.project or "")), label(models.get(row.model or ""))

    lines = _tree(rows, shape, key=lambda row: (row.source, row.session_id), cells=cells)
    return _finished(heads, lines, rows, shape)


def block_sheet(rows: Sequence[BlockRow], shape: Shape) -> Sheet:
    """One line per five-hour block; a pause between two is a faint line without figures."""
    heads = [Column("Block from", Kind.LABEL, least_width=20)]

    def cells(row: BlockRow) -> tuple[str, ...]:
        if row.is_gap:
            return (f"{INDENT}pause of {duration(row.block_end - row.block_start)}",)
        return (moment(row.block_start, zone=shape.zone) + (" now" if row.is_active else ""),)

    lines = _tree(rows, shape, key=lambda row: row.block_start, cells=cells)
    return _finished(heads, lines, [row for row in rows if not row.is_gap], shape)


def event_sheet(rows: Sequence[SessionEventRow], shape: Shape) -> Sheet:
    """One line per model call, under one heading per label where a breakdown is asked for."""
    heads = [
        Column("Time", Kind.LABEL, least_width=19),
        Column("Model", Kind.LABEL, least_width=16),
        Column("Notes", Kind.LABEL, rank=ONLY_WHEN_WIDE + 4),
    ]
    models = short_models([row.model for row in rows if row.model])
    groups: dict[str, list[SessionEventRow]] = {}
    for row in rows:
        groups.setdefault(event_label(row, shape.by), []).append(row)
    lines = []
    for name, members in groups.items():
        if shape.by:
            lines.append(Line((name, "", "", *usage_cells(add_up(members))), Look.HEADING))
        for row in members:
            time = row.occurred_at.astimezone(shape.zone).strftime("%Y-%m-%d %H:%M:%S")
            notes = ", ".join([*(["sub-agent"] if row.is_sidechain else []), *row.flags])
            indent = INDENT if shape.by else ""
            lines.append(Line((indent + time, label(models.get(row.model or "")), label(notes), *usage_cells(row))))
    return _finished(heads, lines, rows, Shape(None, shape.zone))


def event_label(row: SessionEventRow, by: str | None) -> str:
    """What a call is grouped under; the calls of one session share its id."""
    return {
        "model": label(row.model),
        "project": label(row.project),
        "source": row.source,
        "device": label(row.device),
    }.get(by or "", "")


def usage_cells(row: ReportRow | Totals) -> tuple[str, ...]:
    """The cells of USAGE_COLUMNS; a pause has none, and sessions are not summed, because one may be in many lines."""
    if isinstance(row, BlockRow) and row.is_gap:
        return ("",) * len(USAGE_COLUMNS)
    return (
        grouped(row.session_count) if isinstance(row, UsageRow) else "",
        grouped(row.message_count),
        grouped(row.input_tokens),
        grouped(row.output_tokens),
        grouped(row.thinking_tokens),
        grouped(row.cache_creation_tokens),
        grouped(row.cache_read_tokens),
        grouped(row.web_search_requests),
        marked_cost(row.cost_usd, unpriced=row.unpriced_event_count),
    )


def marked_cost(cost_usd: Decimal | None, *, unpriced: int) -> str:
    """A cost, marked where it is not the whole."""
    return dollars(cost_usd) + (PARTLY_UNPRICED if unpriced and cost_usd is not None else "")


def _tree(
    rows: Sequence[Row], shape: Shape, *, key: Callable[[Row], Hashable], cells: Callable[[Row], tuple[str, ...]]
) -> list[Line]:
    """A line per row; with a breakdown, a heading with the sum of each group and its rows indented below."""
    if shape.by is None:
        return [Line((*cells(row), *usage_cells(row)), _look(row)) for row in rows]
    names = _breakdown_names([breakdown_of(row, shape.by) for row in rows], by=shape.by)
    groups: dict[Hashable, list[Row]] = {}
    for row in rows:
        groups.setdefault(key(row), []).append(row)
    lines = []
    for members in groups.values():
        first, *blank = cells(members[0])
        if _look(members[0]) is Look.FAINT:
            lines.append(Line((first, *blank, *usage_cells(members[0])), Look.FAINT))
            continue
        lines.append(Line((first, *blank, *usage_cells(add_up(members))), Look.HEADING))
        for row in members:
            lines.append(Line((INDENT + names[breakdown_of(row, shape.by)], *[""] * len(blank), *usage_cells(row))))
    return lines


def _look(row: ReportRow) -> Look:
    return Look.FAINT if isinstance(row, BlockRow) and row.is_gap else Look.ROW


def breakdown_of(row: UsageRow | SessionRow | BlockRow, by: str) -> str | None:
    """The label that a breakdown gives this row."""
    return {
        "model": row.model,
        "project": row.project,
        "source": row.source,
        "session": row.session_id,
        "device": row.device,
    }[by]


def _breakdown_names(labels: Sequence[str | None], *, by: str) -> dict[str | None, str]:
    """What each label of a breakdown is called in the table, as short as the others allow."""
    known = [name for name in labels if name]
    shorten = {"model": short_models, "project": short_paths, "session": short_ids}.get(by)
    short = shorten(known) if shorten else {name: name for name in known}
    return {name: label(short[name] if name else None) for name in labels}


def _finished(heads: list[Column], lines: list[Line], rows: Sequence[ReportRow], shape: Shape) -> Sheet:
    """Add the totals, widen the first column's rules to the breakdown, and leave out what is zero throughout."""
    if shape.by == "project":
        heads = [heads[0]._replace(kind=Kind.PATH, least_width=20), *heads[1:]]
    elif shape.by:
        heads = [heads[0]._replace(kind=Kind.LABEL, least_width=20), *heads[1:]]
    total = Line(("Total", *[""] * (len(heads) - 1), *usage_cells(add_up(rows))), Look.TOTAL)
    columns = [*heads, *USAGE_COLUMNS]
    lines = marks_aligned([*lines, total], at=len(columns) - 1)
    kept = [
        at
        for at, column in enumerate(columns)
        if column.rank < ONLY_WHEN_WIDE or any(line.cells[at] not in ("", "0") for line in lines)
    ]
    return Sheet(
        [columns[at] for at in kept],
        [Line(tuple(line.cells[at] for at in kept), line.look) for line in lines],
    )


def marks_aligned(lines: list[Line], *, at: int) -> list[Line]:
    """Keep the digits of the costs in a column in line where some of them carry a mark."""
    if not any(line.cells[at].endswith(PARTLY_UNPRICED) for line in lines):
        return lines
    return [
        line
        if line.cells[at].endswith(PARTLY_UNPRICED)
        else Line((*line.cells[:at], line.cells[at] + " ", *line.cells[at + 1 :]), line.look)
        for line in lines
    ]
