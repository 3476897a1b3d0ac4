"""One value of the ledger as a person reads it: tokens, money, labels and times as short text."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta, tzinfo
from decimal import ROUND_HALF_UP, Decimal

UNKNOWN = "(unknown)"
UNPRICED = "unpriced"
ELLIPSIS = "…"

_CENT = Decimal("0.01")
_LEAST_SHOWN = Decimal("0.0001")


def grouped(number: int) -> str:
    """1234567 -> 1,234,567, in every locale."""
    return f"{number:,}"


def dollars(cost_usd: Decimal | None) -> str:
    """Two decimals; four below a cent, so that little does not look like nothing; no price is not $0.00."""
    if cost_usd is None:
        return UNPRICED
    if cost_usd < 0:
        return f"-{dollars(-cost_usd)}"
    if cost_usd == 0 or cost_usd >= _CENT:
        return f"${cost_usd.quantize(_CENT, rounding=ROUND_HALF_UP):,f}"
    if cost_usd < _LEAST_SHOWN:
        return f"<${_LEAST_SHOWN:f}"
    return f"${cost_usd.quantize(_LEAST_SHOWN, rounding=ROUND_HALF_UP):f}"


def label(text: str | None) -> str:
    """A label that cannot move the cursor or break the line; what is unknown says so."""
    if text is None:
        return UNKNOWN
    return text if text.isprintable() else "".join(sign if sign.isprintable() else "?" for sign in text)


def moment(time: datetime, *, zone: tzinfo) -> str:
    """2026-11-22 18:06, in the zone of the report."""
    return time.astimezone(zone).strftime("%Y-%m-%d %H:%M")


def duration(span: timedelta) -> str:
    """2 d 19 h, 19 h, 3 h 30 min, or 25 min."""
    minutes = int(span.total_seconds()) // 60
    days, hours = minutes // 1440, minutes // 60 % 24
    if days:
        return f"{days} d {hours} h"
    if not hours:
        return f"{minutes} min"
    return f"{hours} h {minutes % 60} min" if minutes % 60 else f"{hours} h"


def byte_size(count: int) -> str:
    """1536 -> 1.5 KiB."""
    size, unit = float(count), "B"
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if size < 1024 or unit == "TiB":
            break
        size /= 1024
    return f"{count} B" if unit == "B" else f"{size:,.1f} {unit}"


def plural(count: int, noun: str, *, many: str = "") -> str:
    """1 file, 2,597 files."""
    return f"{grouped(count)} {noun if count == 1 else many or noun + 's'}"


def width_of(text: str) -> int:
    """How many columns a terminal needs for `text`: two for East Asian wide signs, none for combining ones."""
    if text.isascii():
        return len(text)
    return sum(_sign_width(sign) for sign in text)


def _sign_width(sign: str) -> int:
    if unicodedata.combining(sign):
        return 0
    return 2 if unicodedata.east_asian_width(sign) in "WF" else 1


def cut_end(text: str, width: int) -> str:
    """The beginning of `text` in at most `width` columns."""
    if width_of(text) <= width:
        return text
    kept = ""
    for sign in text:
        if width_of(kept) + _sign_width(sign) + 1 > width:
            break
        kept += sign
    return kept + ELLIPSIS


def cut_start(text: str, width: int) -> str:
    """The end of `text` in at most `width` columns, its indent kept: of a path, the end is the part that tells."""
    if width_of(text) <= width:
        return text
    bare = text.lstrip(" ")
    indent = text[: len(text) - len(bare)]
    return indent + cut_end(bare[::-1], width - len(indent))[::-1]


def wrapped(text: str, *, width: int, indent: str = "") -> list[str]:
    """`text` in lines of at most `width` columns, later ones indented; a word too long for a line is cut."""
    lines: list[str] = []
    line = ""
    for word in text.split(" "):
        start = indent if lines else ""
        if line and width_of(line) + 1 + width_of(word) > width:
            lines.append(line)
            line = indent + cut_end(word, width - len(indent))
        else:
            line = f"{line} {word}" if line else start + cut_end(word, width - len(start))
    return [*lines, line]


def short_ids(ids: Sequence[str], *, least: int = 8) -> dict[str, str]:
    """Each id's shortest beginning, of at least `least` signs, that no other of them has."""
    distinct = sorted(set(ids))
    shortened = {}
    for at, name in enumerate(distinct):
        neighbours = distinct[max(at - 1, 0) : at] + distinct[at + 1 : at + 2]
        shared = max((_shared_signs(name, other) for other in neighbours), default=0)
        shortened[name] = name[: max(least, shared + 1)]
    return shortened


def short_paths(paths: Sequence[str]) -> dict[str, str]:
    """Each path's shortest end, in whole parts, that no other of them has."""
    distinct = sorted(set(paths), key=_parts_from_end)
    shortened = {}
    for at, path in enumerate(distinct):
        parts = _parts_from_end(path)
        neighbours = distinct[max(at - 1, 0) : at] + distinct[at + 1 : at + 2]
        shared = max((_shared_signs(parts, _parts_from_end(other)) for other in neighbours), default=0)
        shortened[path] = "/".join(reversed(parts[: shared + 1])) if shared + 1 < len(parts) else path
    return shortened


def undated(model: str) -> str:
    """claude-haiku-4-5-20251001 -> claude-haiku-4-5."""
    return re.sub(r"-20\d{6}$|-20\d{2}-\d{2}-\d{2}$", "", model)


def short_models(models: Sequence[str]) -> dict[str, str]:
    """Each model without the date in its name, where no other of them would be called the same."""
    called = Counter(undated(model) for model in set(models))
    return {model: undated(model) if called[undated(model)] == 1 else model for model in models}


def _parts_from_end(path: str) -> list[str]:
    return path.split("/")[::-1]


def _shared_signs(one: Sequence[str], other: Sequence[str]) -> int:
    count = 0
    for mine, theirs in zip(one, other, strict=False):
        if mine != theirs:
            break
        count += 1
    return count
