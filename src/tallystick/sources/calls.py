"""What the calls of all agents have in common that write plain JSON: when, how much money, and whether it counts."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final

import msgspec

from tallystick.observation import Observation
from tallystick.sources.formats import FileState, reject
from tallystick.sources.members import CountReader
from tallystick.sources.times import time_of_number, utc_time

# Our names for what reports no call; the parentheses keep them apart from types.
NO_USAGE: Final = "(no usage)"
MESSAGE: Final = "(message)"

# What the ledger takes for a sum of money.
_MAX_COST_USD: Final = 10**12
_MAX_COST_DECIMALS: Final = 30
_COUNTS: Final = (
    *("input_tokens", "cache_creation_5m_tokens", "cache_creation_1h_tokens", "cache_read_tokens", "output_tokens"),
    *("thinking_tokens", "web_search_requests"),
)


def time_of(value: object, *, per_second: int) -> str:
    """A time as the text or the number that it is written as; '' where it is none, as 0 is."""
    if isinstance(value, str):
        return utc_time(value)
    return time_of_number(value, per_second=per_second) if value else ""


def cost_of(part: dict[str, object], name: str) -> Decimal | None:
    """A sum of money that the agent worked out; None where there is none, or one that no ledger could hold."""
    value = part.get(name)
    if isinstance(value, bool) or not isinstance(value, (int, Decimal)):
        return None
    cost = Decimal(value)
    exponent = cost.as_tuple().exponent
    is_usable = isinstance(exponent, int) and exponent >= -_MAX_COST_DECIMALS and 0 <= cost <= _MAX_COST_USD
    return cost if is_usable else None


def has_usage(call: Observation) -> bool:
    """Whether anything was used, or paid."""
    return any(getattr(call, name) for name in _COUNTS) or bool(call.reported_cost_usd)


def uncached(prompt_tokens: int, cached_tokens: int) -> int:
    """What of a prompt is not from the cache, where the prompt is written with it.

    One that is smaller than what it would contain was written without it, as some versions of an agent do.
    """
    return prompt_tokens - cached_tokens if prompt_tokens >= cached_tokens else prompt_tokens


def settle(call: Observation, reader: CountReader, *, last_time: str, state: FileState) -> list[Observation]:
    """The observation that may go to the ledger; none where nothing was used, a rejected one where it cannot count.

    A call without a time takes the last one that was read. Thinking is a part of the output and cut to it.
    """
    if not reader.fault and not has_usage(call):
        state.count_lines(NO_USAGE)
        return []
    if fault := reader.fault or ("" if last_time else "no_time"):
        return [reject(state, source=call.source, position=call.position, reason=fault)]
    flags = call.flags
    flags += ("coerced",) if reader.is_coerced else ()
    flags += () if call.occurred_at else ("time_inherited",)
    return [
        msgspec.structs.replace(
            call,
            occurred_at=last_time,
            thinking_tokens=min(call.thinking_tokens, max(call.output_tokens, 0)),
            is_final=True,
            flags=flags,
        )
    ]


class Calls:
    """The calls of a file, in its order.

    `labels` is the observation without a key, a time and counts. A call without a time takes that of the last record
    that had one; `occurred_at` is that time, also of what was read of the file before.
    """

    def __init__(self, labels: Observation, state: FileState, *, occurred_at: str = "") -> None:
        self.observations: list[Observation] = []
        self.occurred_at = occurred_at
        self._labels = labels
        self._state = state

    def see_time(self, occurred_at: str) -> None:
        """Remember the time of a record for those behind it."""
        self.occurred_at = occurred_at or self.occurred_at

    def add(self, event_key: str, *, occurred_at: str, reader: CountReader, **members: Any) -> None:
        """Take a call in; one that used nothing is counted as (no usage), one that cannot count is rejected."""
        self.see_time(occurred_at)
        told = {"event_key": event_key, "position": event_key, "occurred_at": occurred_at, **members}
        call: Observation = msgspec.structs.replace(self._labels, **told)
        self.observations += settle(call, reader, last_time=self.occurred_at, state=self._state)

    def reject(self, position: str, reason: str) -> None:
        """Name a record that cannot be used."""
        self.observations.append(reject(self._state, source=self._labels.source, position=position, reason=reason))
