"""The usage that Cursor's dashboard exports as CSV, of which a user names the file: nothing on the disk holds it.

Its headers differ by the kind of account and by year, so columns are known by name. A row has no id. Its key is the
digest of what every header has, with a number among the rows of the file that are equal in that, so that a call in two
exports is one, in whatever order they list it.
"""

from __future__ import annotations

import csv
import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterator
from decimal import Decimal, InvalidOperation
from io import StringIO
from typing import Final

from tallystick.observation import Observation
from tallystick.sources.calls import NO_USAGE, cost_of
from tallystick.sources.formats import NotWhole, Parsed, reject
from tallystick.sources.json_documents import DocumentState as ParserState
from tallystick.sources.json_documents import new_state
from tallystick.sources.json_lines import storable_text
from tallystick.sources.members import CountReader
from tallystick.sources.times import utc_time

__all__ = ["KNOWN_LINE_TYPES", "SOURCE", "ParserState", "new_state", "parse_document"]

SOURCE: Final = "cursor"
NOT_CHARGED: Final = "(not charged)"
KNOWN_LINE_TYPES: Final = frozenset[str]()

_COUNTS: Final = ("Input (w/ Cache Write)", "Input (w/o Cache Write)", "Cache Read", "Output Tokens")
_TOTAL: Final = "Total Tokens"
_NEEDED: Final = ("Date", "Model", *_COUNTS)
_COSTS: Final = ("Cost", "Cost ($)")
# no count is longer, and int() takes the square of the length
_MAX_DIGITS: Final = 40
_is_grouped = re.compile(r"\d{1,3}(?:,\d{3})+").fullmatch
_is_not_charged = re.compile(r"no charge|not charged", re.IGNORECASE).search

Row = dict[str, str]


def parse_document(content: bytes, *, state: ParserState, project_of: Callable[[str], str], device: str) -> Parsed:
    """Every call of an export that was charged; `project_of` is not asked, because none names a folder.

    Raises NotWhole where the header is none of Cursor's, or the last row ends too early.
    """
    del project_of
    state.line_counts, state.reject_counts = {}, {}
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise NotWhole("not UTF-8 but UTF-16")
    numbers: Counter[str] = Counter()
    observations: list[Observation] = []
    for line, row in _rows(content.decode("utf-8", "replace")):
        if row is None:
            observations.append(reject(state, source=SOURCE, position=f"{SOURCE}:{line}", reason="short_row"))
            continue
        if _is_not_charged(row.get("Kind", "")):
            state.count_lines(NOT_CHARGED)
            continue
        occurred_at, reader = utc_time(row["Date"].strip()), CountReader()
        counts = [reader.count(_numbers(row), name) for name in _COUNTS]
        digest = hashlib.sha256(repr([occurred_at, row["Model"].strip(), counts]).encode()).hexdigest()
        position = f"{SOURCE}:{digest}:{numbers[digest]}"
        numbers[digest] += 1
        if reason := reader.fault or ("" if occurred_at else "no_time"):
            observations.append(reject(state, source=SOURCE, position=position, reason=reason))
        elif any(counts):
            observations.append(_observe(row, counts, event_key=position, occurred_at=occurred_at, device=device))
        else:
            state.count_lines(NO_USAGE)
    return Parsed(observations)


def _rows(text: str) -> Iterator[tuple[int, Row | None]]:
    """The number of each row's line, and the row by the names of its columns; None for one that ends too early."""
    lines = csv.reader(StringIO(text.replace("\x00", "").lstrip("\ufeff"), newline=""), strict=True)
    try:
        names = [name.strip() for name in next(lines, [])]
        if missing := [name for name in _NEEDED if name not in names]:
            raise NotWhole(f"no export of Cursor's usage: the header has no column {missing[0]!r}")
        is_whole = True
        for fields in lines:
            if any(field.strip() for field in fields):
                is_whole = len(fields) >= len(names)
                yield lines.line_num, dict(zip(names, fields, strict=False)) if is_whole else None
    except csv.Error as error:
        raise NotWhole(f"not CSV: {error}") from error
    if not is_whole and not text.endswith(("\n", "\r")):
        raise NotWhole("the last row ends too early")


def _observe(row: Row, counts: list[int], *, event_key: str, occurred_at: str, device: str) -> Observation:
    input_tokens, written, read, output_tokens = _buckets(row, counts)
    return Observation(
        event_key=event_key,
        occurred_at=occurred_at,
        source=SOURCE,
        model=storable_text(row["Model"].strip()),
        session_id=storable_text(row.get("Cloud Agent ID", "").strip()),
        device=device,
        grain="import",
        input_tokens=input_tokens,
        cache_creation_5m_tokens=written,
        cache_read_tokens=read,
        output_tokens=output_tokens,
        reported_cost_usd=_cost(row),
        is_final=True,
        flags=("no_cwd",),
        position=event_key,
    )


def _buckets(row: Row, counts: list[int]) -> tuple[int, int, int, int]:
    """Input, cache write, cache read and output.

    The two columns of the input stand side by side. Where the row's total leaves no room for the second, it is a part
    of the first.
    """
    with_write, without_write, read, output_tokens = counts
    total_tokens = CountReader().count(_numbers(row), _TOTAL)
    written = with_write
    if total_tokens == with_write + read + output_tokens and with_write >= without_write:
        written = with_write - without_write
    return without_write, written, read, output_tokens


def _numbers(row: Row) -> dict[str, object]:
    """The counts of a row, as numbers where they are some."""
    return {name: _number(row.get(name, "")) for name in (*_COUNTS, _TOTAL)}


def _number(text: str) -> int | str:
    text = text.strip()
    digits = text.replace(",", "") if _is_grouped(text) else text
    if digits in ("", "-"):
        return 0
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) <= _MAX_DIGITS else digits


def _cost(row: Row) -> Decimal | None:
    """What the call cost; `Included`, `Free` and `-` say nothing of that."""
    text = next((row[name] for name in _COSTS if name in row), "").strip().lstrip("$").replace(",", "")
    try:
        return cost_of({"cost": Decimal(text)}, "cost")
    except InvalidOperation:
        return None
