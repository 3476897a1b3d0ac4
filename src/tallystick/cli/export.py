"""Reports for programs: JSON and CSV, with the names of the ledger's columns and every digit.

In a file or a pipe a name is what the ledger holds, sign by sign. On a terminal none may move the cursor: JSON escapes
what does not print, and CSV, which has no escapes, shows it as a question mark, as tables do.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence

from tallystick.cli.cells import label
from tallystick.cli.terminal import Terminal
from tallystick.reports import Plain, plain_row
from tallystick.totals import ReportRow


def json_text(document: dict[str, Plain], *, terminal: Terminal) -> str:
    """The document, indented."""
    text = json.dumps(document, indent=2, ensure_ascii=not terminal.has_unicode)
    if terminal.is_interactive and not all(line.isprintable() for line in text.split("\n")):
        return json.dumps(document, indent=2)
    return text


def csv_text(columns: Sequence[str], rows: Sequence[ReportRow], *, terminal: Terminal) -> str:
    """One line of names and one line per row; a missing value is empty, a list is joined by blanks."""
    buffer = io.StringIO()
    out = csv.writer(buffer, lineterminator="\n")
    out.writerow(columns)
    for row in rows:
        cells = [_csv_cell(value) for value in plain_row(row).values()]
        out.writerow(map(label, cells) if terminal.is_interactive else cells)
    return buffer.getvalue().rstrip("\n")


def _csv_cell(value: Plain) -> str:
    if isinstance(value, list):
        return " ".join(str(item) for item in value)
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)
