"""Lines of JSON as agents leave them behind: what a strict decoder refuses is mended here, or named as damaged.

Slow on purpose and seldom run: a source decodes with msgspec and comes here only with the lines that it refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Final, NamedTuple

INT64_MIN: Final = -(2**63)
INT64_MAX: Final = 2**63 - 1

# Deeper than usage lies in any format, and far above the depth at which Python's decoder gives up.
_MAX_DEPTH: Final = 100
# No count is longer, and int() takes the square of the length.
_MAX_INTEGER_DIGITS: Final = 40
# A torn record fails once for each object that it left open, so more failures than this come from something else.
_MAX_FAILED_RESTARTS: Final = 100

_BLANK: Final = "\ufeff\x00 \t\r\n"
_STRING_OR_BRACKET = re.compile(r'"(?:[^"\\]|\\.)*+"|[\[{\]}]', re.DOTALL)


class Damaged(NamedTuple):
    """A stretch of a line that is no JSON, even after mending."""

    text: str


class NotFinite(NamedTuple):
    """A number that no Decimal can hold: NaN, an infinity, an absurd exponent."""

    literal: str


def decode_records(line: bytes, *, is_record: Callable[[dict[str, object]], bool]) -> list[object]:
    """Every record of one physical line, in order; a Damaged stands where there is no JSON.

    Mends a byte order mark, NULs between records, invalid UTF-8, raw control characters, NaN, any nesting, and records
    glued together for want of a newline. Behind a torn record it takes up again at the first object for which
    `is_record` holds. Numbers come as int or Decimal, never as float; a name that occurs twice has its last value.
    """
    text, start, is_pruned = line.decode("utf-8", "replace"), 0, False
    records: list[object] = []
    while (start := _skip_blank(text, start)) < len(text):
        try:
            record, start = _DECODER.raw_decode(text, start)
        except RecursionError:
            if is_pruned:
                records.append(Damaged(text[start:]))
                break
            text, start, is_pruned = _without_deep_parts(text[start:]), 0, True
            continue
        except ValueError:
            restart = _find_record(text, start + 1, is_record=is_record)
            record, start = Damaged(text[start:restart]), restart
        records.append(record)
    return records


def is_whole(line: bytes) -> bool:
    """Whether a line without its newline is complete: an object at the end of a torn one is a part of it."""
    records = decode_records(line, is_record=lambda _: False)
    return bool(records) and isinstance(records[-1], dict)


def storable_text(text: str) -> str:
    """The text without what Postgres cannot store: a lone surrogate becomes U+FFFD, a NUL goes."""
    text = text.replace("\x00", "")
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _skip_blank(text: str, start: int) -> int:
    while start < len(text) and text[start] in _BLANK:
        start += 1
    return start


def _find_record(text: str, start: int, *, is_record: Callable[[dict[str, object]], bool]) -> int:
    """Where the first whole record at or behind `start` begins; the length of the text if there is none."""
    failures = 0
    while failures < _MAX_FAILED_RESTARTS and (start := text.find('{"', start)) >= 0:
        try:
            record, end = _DECODER.raw_decode(text, start)
        except (ValueError, RecursionError):
            failures += 1
            start += 1
            continue
        if isinstance(record, dict) and is_record(record):
            return start
        start = end
    return len(text)


def _without_deep_parts(text: str) -> str:
    """The text with null for every closed object or list that lies deeper than any usage can."""
    pieces: list[str] = []
    depth = kept_until = deep_from = 0
    for found in _STRING_OR_BRACKET.finditer(text):
        token = found.group()
        if token in "[{":
            depth += 1
            if depth == _MAX_DEPTH:
                deep_from = found.start()
        elif token in "]}":
            if depth == _MAX_DEPTH:
                pieces += text[kept_until:deep_from], "null"
                kept_until = found.end()
            depth = max(0, depth - 1)
    pieces.append(text[kept_until:])
    return "".join(pieces)


def _decode_integer(literal: str) -> int | Decimal:
    return int(literal) if len(literal) <= _MAX_INTEGER_DIGITS else Decimal(literal)


def _decode_decimal(literal: str) -> Decimal | NotFinite:
    try:
        return Decimal(literal)
    except ArithmeticError:
        return NotFinite(literal)


_DECODER = json.JSONDecoder(
    strict=False, parse_int=_decode_integer, parse_float=_decode_decimal, parse_constant=NotFinite
)
