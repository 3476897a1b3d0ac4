"""What Codex's running totals grew by, and which of them a fork's file only repeats of its parent.

Up to 0.145 a thread's `token_count` events are all that tells of its calls. Each holds the totals of the thread and the
usage of the last call, and many come again; a file that a fork begins repeats its parent's first, stamped anew.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Final, NamedTuple, TypeAlias

import msgspec

from tallystick.sources.members import CountReader, part_of

# Input, of it read from the cache, of it written to the cache; output, of it reasoning.
Counts: TypeAlias = tuple[int, int, int, int, int]

NOTHING: Final[Counts] = (0, 0, 0, 0, 0)

_NAMES: Final = (
    "input_tokens",
    "cached_input_tokens",
    "cache_write_input_tokens",
    "output_tokens",
    "reasoning_output_tokens",
)
# What a fork repeats is written in one go, and no call is answered so fast.
_MAX_PAUSE: Final = timedelta(seconds=1)
_is_uuid_7 = re.compile(r"([0-9a-f]{8})-([0-9a-f]{4})-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}").fullmatch


def read_counts(usage: dict[str, object], reader: CountReader) -> Counts:
    """A usage object of Codex's; `total_tokens` is left out, because a compaction changes it and nothing else."""
    sent, cached, written, received, thought = (reader.count(usage, name) for name in _NAMES)
    return sent, cached, written, received, thought


def buckets(counts: Counts) -> dict[str, int]:
    """The counts as an observation has them, apart from each other; what is below zero is for the ledger to reject."""
    sent, cached, written, received, thought = counts
    return {
        "input_tokens": sent - cached - written,
        "cache_creation_5m_tokens": written,
        "cache_read_tokens": cached,
        "output_tokens": received,
        "thinking_tokens": min(thought, max(received, 0)),
    }


class Replay(msgspec.Struct, kw_only=True):
    """What a file repeats of another thread's, before anything of its own.

    The ids of its turns tell: they begin with their time, and those of the parent are older than the thread. Before
    0.131 turns have no ids, and the clock must do: what was copied goes on without a pause.
    """

    is_named: bool = False
    is_spawned: bool = False
    # of the turn: '' unknown, 'parent' or 'own'; from the first of its own on everything is
    turn: str = ""
    last_time: str = ""
    has_paused: bool = False

    def take_turn(self, turn_id: str, *, thread_id: str) -> None:
        """Look at the id of the turn that begins; one without a time says nothing."""
        turn_ms, born_ms = _time_of_uuid(turn_id), _time_of_uuid(thread_id)
        if turn_ms is not None and born_ms is not None and self.turn != "own":
            self.turn = "own" if turn_ms >= born_ms else "parent"

    def take_time(self, time: str) -> None:
        """Look at the time of a record, which may be the end of what was copied."""
        if not self.has_paused and time:
            self.has_paused = self.last_time != "" and _pause(self.last_time, time) >= _MAX_PAUSE
            self.last_time = time

    @property
    def is_told_by_time(self) -> bool:
        """Whether nothing better than the clock tells what is the thread's own."""
        return self.is_named and not self.turn

    @property
    def goes_on(self) -> bool:
        """Whether what comes now is the parent's."""
        if self.is_told_by_time:
            return not self.has_paused
        return self.turn == "parent" and (self.is_named or self.is_spawned)


class Growth(NamedTuple):
    """What the totals grew by; one call's usage, unless events between are missing."""

    counts: Counts
    is_one_call: bool


class Totals(msgspec.Struct, kw_only=True):
    """A thread's running totals so far; `restarts` tells totals apart that were reached twice."""

    reached: Counts | None = None
    restarts: int = 0
    # of the event counted last: its growth and turn, for the first token_usage_record behind it
    growth: Counts = NOTHING
    turn_id: str = ""

    def advance(self, totals: Counts, last: Counts, *, is_inherited: bool, begins_elsewhere: bool) -> Growth | None:
        """Move on to other totals; None where they tell of no call of this thread's.

        `begins_elsewhere` says that totals may hold more than this file's calls when they are met first.
        """
        reached, self.reached = self.reached, totals
        if reached is None:
            counts = last if begins_elsewhere else totals
        elif min(_minus(totals, reached)) < 0:
            self.restarts += 1
            counts = last
        else:
            counts = _minus(totals, reached)
        if is_inherited or counts == NOTHING:
            return None
        return Growth(counts, counts == last)

    def have_counted(self, usage: Counts, *, thread_totals: Counts | None, turn_id: str) -> bool:
        """Whether a token_usage_record tells of the call that the last counted event told of already."""
        if self.growth == NOTHING or self.reached is None or (turn_id and self.turn_id and turn_id != self.turn_id):
            return False
        if thread_totals == self.reached:
            return True
        return usage == self.growth and (thread_totals is None or _minus(thread_totals, usage) != self.reached)


def last_usage(info: dict[str, object]) -> Counts:
    """The usage of the last call; nothing where it cannot be read, because the totals matter more."""
    part, reader = part_of(info, "last_token_usage"), CountReader()
    counts = NOTHING if part is None else read_counts(part, reader)
    return NOTHING if reader.fault or min(counts) < 0 else counts


def thread_totals_of(payload: dict[str, object]) -> Counts | None:
    """The totals of the thread that a token_usage_record names beside its own usage."""
    part, reader = part_of(payload, "thread_token_usage"), CountReader()
    counts = None if part is None else read_counts(part, reader)
    return None if reader.fault else counts


def _minus(counts: Counts, less: Counts) -> Counts:
    return (
        counts[0] - less[0],
        counts[1] - less[1],
        counts[2] - less[2],
        counts[3] - less[3],
        counts[4] - less[4],
    )


def _time_of_uuid(text: str) -> int | None:
    """The milliseconds since 1970 that a UUID of version 7 begins with."""
    found = _is_uuid_7(text.lower())
    return None if found is None else int(found[1] + found[2], 16)


def _pause(earlier: str, later: str) -> timedelta:
    return abs(datetime.fromisoformat(later) - datetime.fromisoformat(earlier))
