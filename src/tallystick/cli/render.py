"""Tables as lines of text that fit a width: numbers to the right, labels cut before columns are left out."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import NamedTuple

from tallystick.cli.cells import cut_end, cut_start, width_of
from tallystick.cli.terminal import Palette

GAP = "  "
RULE = "─"

# Ranks: what is always there, what goes last, and (from here on) what is only for wide terminals.
ALWAYS = 0
ONLY_WHEN_WIDE = 10


class Kind(Enum):
    """How a column's cells are set: numbers to the right, labels cut at the end, paths at the start, others whole."""

    NUMBER = "number"
    LABEL = "label"
    PATH = "path"
    WHOLE = "whole"


class Look(Enum):
    """What a line of a table is."""

    ROW = "row"
    HEADING = "heading"
    FAINT = "faint"
    TOTAL = "total"


class Column(NamedTuple):
    """One column; the higher its rank, the sooner it is left out; a label may be cut to `least_width`."""

    title: str
    kind: Kind = Kind.NUMBER
    rank: int = ALWAYS
    least_width: int = 12


class Line(NamedTuple):
    """One line of cells, as many as there are columns."""

    cells: tuple[str, ...]
    look: Look = Look.ROW


class Table(NamedTuple):
    """The finished lines, and the titles of the columns that an 80-column reader would expect and that did not fit."""

    lines: list[str]
    left_out: list[str]


def render_table(columns: Sequence[Column], lines: Sequence[Line], *, width: int, palette: Palette) -> Table:
    """Set `lines` under their titles within `width` columns."""
    natural = [
        max([width_of(column.title), *(width_of(line.cells[at]) for line in lines)])
        for at, column in enumerate(columns)
    ]
    widths = fit_columns(columns, natural, width=width)
    titles = Line(tuple(column.title for column in columns), Look.HEADING)
    rule = GAP.join(RULE * widths[at] for at in sorted(widths))
    set_lines = [_set_line(titles, columns, widths, palette), f"{palette.faint}{rule}{palette.reset}"]
    for line in lines:
        if line.look is Look.TOTAL:
            set_lines.append(f"{palette.faint}{rule}{palette.reset}")
        set_lines.append(_set_line(line, columns, widths, palette))
    left_out = [column.title for at, column in enumerate(columns) if at not in widths and column.rank < ONLY_WHEN_WIDE]
    return Table(set_lines, left_out)


def fit_columns(columns: Sequence[Column], natural: Sequence[int], *, width: int) -> dict[int, int]:
    """The columns to show and the width of each.

    First the columns for wide terminals go, then labels are cut, then the others go by rank, never those of rank 0.
    """
    least = [
        min(wide, column.least_width) if column.kind in (Kind.LABEL, Kind.PATH) else wide
        for column, wide in zip(columns, natural, strict=True)
    ]
    shown = list(range(len(columns)))
    for at in sorted(shown, key=lambda at: -columns[at].rank):
        needed = natural if columns[at].rank >= ONLY_WHEN_WIDE else least
        if columns[at].rank == ALWAYS or _total_width(needed, shown) <= width:
            break
        shown.remove(at)
    widths = {at: least[at] for at in shown}
    spare = width - _total_width(least, shown)
    for at in shown:
        more = min(natural[at] - least[at], max(spare, 0))
        widths[at] += more
        spare -= more
    return widths


def _total_width(widths: Sequence[int], shown: Sequence[int]) -> int:
    return sum(widths[at] for at in shown) + len(GAP) * (len(shown) - 1)


def _set_line(line: Line, columns: Sequence[Column], widths: dict[int, int], palette: Palette) -> str:
    text = set_cells(line.cells, columns, widths).rstrip()
    start = {
        Look.ROW: "",
        Look.HEADING: palette.strong,
        Look.FAINT: palette.faint,
        Look.TOTAL: palette.strong,
    }[line.look]
    return f"{start}{text}{palette.reset}" if start else text


def set_cells(cells: Sequence[str], columns: Sequence[Column], widths: dict[int, int]) -> str:
    """The cells of the columns to show, each in its width."""
    return GAP.join(_set_cell(cells[at], columns[at], widths[at]) for at in sorted(widths))


def _set_cell(text: str, column: Column, width: int) -> str:
    if column.kind is Kind.NUMBER:
        return " " * (width - width_of(text)) + text
    cut = cut_start(text, width) if column.kind is Kind.PATH else cut_end(text, width)
    return cut + " " * (width - width_of(cut))
