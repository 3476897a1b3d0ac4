"""Members of JSON objects of any type, read as what a source needs and never trusted."""

from __future__ import annotations

import math
from decimal import Decimal

from tallystick.sources.json_lines import INT64_MAX, INT64_MIN, storable_text


class CountReader:
    """Reads counts and remembers what it had to bend (`is_coerced`) and why it had to refuse (`fault`, '' if not)."""

    def __init__(self) -> None:
        self.is_coerced = False
        self.fault = ""

    def count(self, part: dict[str, object], name: str) -> int:
        """The member as an integer of 64 bits; 0 and a fault if it is none."""
        value = part.get(name)
        if value is None:
            return 0
        if isinstance(value, str) and value.isascii() and value.isdigit():
            value = Decimal(value)
        if isinstance(value, float) and math.isfinite(value):
            value = Decimal(value)
        if isinstance(value, Decimal):
            if INT64_MIN <= value <= INT64_MAX and value == int(value):
                self.is_coerced = True
                return int(value)
            self.fault = "not_an_integer" if INT64_MIN <= value <= INT64_MAX else "too_large"
        elif isinstance(value, bool) or not isinstance(value, int):
            self.fault = "not_an_integer"
        elif not INT64_MIN <= value <= INT64_MAX:
            self.fault = "too_large"
        else:
            return value
        return 0


def part_of(record: dict[str, object], name: str) -> dict[str, object] | None:
    value = record.get(name)
    return value if isinstance(value, dict) else None


def text_of(record: dict[str, object], name: str) -> str | None:
    value = record.get(name)
    return storable_text(value) if isinstance(value, str) else None


def items_of(record: dict[str, object], name: str) -> list[dict[str, object]]:
    """The objects in a list; whatever else is in it is left out."""
    value = record.get(name)
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
