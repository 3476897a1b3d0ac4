"""What a measurement found beside what it must be, and the table of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from bench.timing import MIB

HEADINGS = ("what", "figure", "must", "met")


class Result(NamedTuple):
    """One row of the table; is_met is None where a figure is given for information."""

    what: str
    figure: str
    must: str = ""
    is_met: bool | None = None


def at_most(what: str, value: float, limit: float, *, unit: str = "x", note: str = "") -> Result:
    """A figure that must not pass a limit."""
    return Result(what, f"{value:.2f} {unit}{note}", f"<= {limit:g} {unit}", value <= limit)


def at_least(what: str, value: float, limit: float, *, unit: str = "x", note: str = "") -> Result:
    """A figure that must reach a limit."""
    return Result(what, f"{value:.2f} {unit}{note}", f">= {limit:g} {unit}", value >= limit)


def memory_at_most(what: str, peak_bytes: int, limit_mib: float) -> Result:
    return Result(what, f"{peak_bytes / MIB:.0f} MiB", f"<= {limit_mib:g} MiB", peak_bytes <= limit_mib * MIB)


def equal(what: str, found: object, expected: object) -> Result:
    """Two figures that must be the same; both are shown where they are not."""
    if found == expected:
        return Result(what, "equal", "equal", True)
    return Result(what, f"{found}, not {expected}", "equal", False)


def render_table(results: Iterable[Result]) -> str:
    """The results as a Markdown table with aligned columns."""
    rows = [HEADINGS, *(row_of(result) for result in results)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def row_of(result: Result) -> tuple[str, str, str, str]:
    met = "" if result.is_met is None else "yes" if result.is_met else "NO"
    return (result.what, result.figure, result.must, met)
