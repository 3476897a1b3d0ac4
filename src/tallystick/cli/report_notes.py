"""The words around a table: its title, what its costs mean, what is unpriced, and what to do where it is empty."""

from __future__ import annotations

from collections.abc import Sequence

from tallystick.cli.cells import grouped, label, wrapped
from tallystick.cli.options import ReportOptions
from tallystick.cli.report_tables import PARTLY_UNPRICED
from tallystick.cli.terminal import Palette, Terminal
from tallystick.model import UsageFilter
from tallystick.reports import Unpriced

MOST_UNPRICED = 10


def title_over(title: str, usage: UsageFilter, *, terminal: Terminal) -> list[str]:
    """What the table shows, of when, in which zone, and of which projects, models, sources and devices."""
    labels = [*(usage.projects or ()), *(usage.models or ()), *(usage.sources or ()), *(usage.devices or ())]
    words = f"{title}{_range_words(usage)}"
    words += "".join(f", {label(name or None)}" for name in labels)
    palette = terminal.palette
    lines = wrapped(f"{words} ({usage.time_zone})", width=terminal.width)
    return [*(f"{palette.strong}{line}{palette.reset}" for line in lines), ""]


def _range_words(usage: UsageFilter) -> str:
    if usage.since and usage.until:
        return f" of {usage.since}" if usage.since == usage.until else f" from {usage.since} to {usage.until}"
    if usage.since:
        return f" since {usage.since}"
    return f" until {usage.until}" if usage.until else ""


def notes_under(
    unpriced: Sequence[Unpriced], *, left_out: Sequence[str], is_partly_unpriced: bool, terminal: Terminal
) -> list[str]:
    """The lines under a table."""
    palette = terminal.palette
    cost = "Cost is the API-equivalent price: what the calls cost at list prices."
    lines = ["", *_styled(cost, palette.faint, terminal)]
    if unpriced:
        lines += _styled(_unpriced_words(unpriced, is_partly_unpriced), palette.warning, terminal)
    if left_out:
        columns = ", ".join(left_out)
        lines += _styled(
            f"No room for: {columns}. A wider terminal, --json or --csv shows all.", palette.faint, terminal
        )
    return lines


def _unpriced_words(unpriced: Sequence[Unpriced], is_partly_unpriced: bool) -> str:
    named = [
        f"{label(model)} ({grouped(count)} {'event' if count == 1 else 'events'})"
        for model, count in unpriced[:MOST_UNPRICED]
    ]
    if len(unpriced) > MOST_UNPRICED:
        named.append(f"and {len(unpriced) - MOST_UNPRICED} more models")
    mark = f"{PARTLY_UNPRICED} " if is_partly_unpriced else ""
    return f"{mark}Unpriced, its tokens counted but not its cost: {', '.join(named)}."


def empty_lines(usage: UsageFilter, options: ReportOptions, *, known_sources: Sequence[str]) -> list[str]:
    """What a report without a line says instead; no known source is a ledger without usage."""
    unknown_sources = [source for source in usage.sources or () if source not in known_sources]
    if known_sources and unknown_sources:
        named, known = (", ".join(label(name or None) for name in names) for names in (unknown_sources, known_sources))
        return [f"No usage is recorded from {named}. There is some from: {known}."]
    if known_sources:
        return [f"No usage{_range_words(usage)} that fits these options."]
    if options.no_import:
        return ["No usage recorded yet. Leave out --no-import, or run `tally import`."]
    return ["No usage recorded yet. `tally doctor` shows where transcripts are looked for."]


def _styled(text: str, style: str, terminal: Terminal) -> list[str]:
    palette: Palette = terminal.palette
    return [f"{style}{line}{palette.reset}" for line in wrapped(text, width=terminal.width, indent="  ")]
