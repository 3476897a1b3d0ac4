"""Reports for programs: JSON and CSV, with the names of the ledger's columns and every digit."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence

from tallystick.reports import Plain, plain_row
from tallystick.totals import ReportRow


def json_text(document: dict[str, Plain], *, is_ascii: bool) -> str:
    """The document, indented."""
    return json.dumps(document, indent=2, ensure_ascii=is_ascii)


def csv_text(columns: Sequence[str], rows: Sequence[ReportRow]) -> str:
    """One line of names and one line per row; a missing value is empty, a list is joined by blanks."""
    buffer = io.StringIO()
    out = csv.writer(buffer, lineterminator="\n")
    out.writerow(columns)
    for row in rows:
        out.writerow(_csv_cell(value) for value in plain_row(row).values())
    return buffer.getvalue().rstrip("\n")


def _csv_cell(value: Plain) -> str:
    if isinstance(value, list):
        return " ".join(str(item) for item in value)
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)
