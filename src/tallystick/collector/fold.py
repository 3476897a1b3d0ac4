"""Copies of one call made one before they are sent, where the ledger would surely decide the same.

The ledger's two orders (DESIGN.md, "Which observation wins") are its own. Here stands only the plainest case, which is
nearly every copy within a file: all labels are the same, the first members of how-much or all of them tell which counts
hold, and the time tells the rest. Whatever is not as plain as that is sent as it is. This takes half of the records off
the ledger, which needs several times as long for one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from operator import attrgetter

import msgspec

from tallystick.observation import (
    ORIGIN_MAIN_LINE,
    ORIGIN_PROGRESS_MIRROR,
    ORIGIN_SIDECHAIN_LINE,
    LimitObservation,
    Observation,
)

MAX_COUNT = 10**12
# the least of the ledger's limits for a label, so that a longer one is left to the ledger
MAX_LABEL_BYTES = 200
# neither belongs to when-and-where
PLAIN_FLAGS = frozenset({(), ("not_final",)})
GRAINS = frozenset({"call", "turn", "session_delta", "import"})
ORIGIN_RANKS = frozenset({ORIGIN_MAIN_LINE, ORIGIN_SIDECHAIN_LINE, ORIGIN_PROGRESS_MIRROR})

TEXTS = (
    "event_key",
    "source",
    "provider",
    "model",
    "session_id",
    "project",
    "device",
    "git_branch",
    "agent_version",
    "request_id",
    "service_tier",
    "speed",
    "inference_geo",
    "place_order",
)
# how much begins with these three, in this order
RANK = ("is_final", "output_tokens", "origin_rank")
COUNTS = (
    "output_tokens",
    "message_count",
    "input_tokens",
    "cache_creation_5m_tokens",
    "cache_creation_1h_tokens",
    "cache_read_tokens",
    "thinking_tokens",
    "web_search_requests",
)

_texts = attrgetter(*TEXTS)
_labels = attrgetter(*TEXTS, "grain", "is_sidechain", "reported_cost_usd", "reject_reason")
_amount = attrgetter(*RANK, *COUNTS, "flags")
# a time that compares as text as it does as a time: 2023 or later, on a day that there is
_is_plain_time = re.compile(
    r"20(?:2[3-9]|[3-9][0-9])-"
    r"(?:(?:0[1-9]|1[0-2])-(?:0[1-9]|1[0-9]|2[0-8])|(?:0[13-9]|1[0-2])-(?:29|30)|(?:0[13578]|1[02])-31)"
    r"T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]\.[0-9]{3}Z"
).fullmatch


class Fold:
    """Observations on their way out, one per call where the copies leave no doubt; `folded` counts the copies saved."""

    def __init__(self) -> None:
        self.folded = 0
        self._calls: dict[str, _Call] = {}
        self._doubtful: list[Observation] = []

    def __len__(self) -> int:
        return len(self._calls) + len(self._doubtful)

    def add(self, observations: Iterable[Observation]) -> None:
        """Take observations in, each into the call that is held under its key if that is certain."""
        calls = self._calls
        for observation in observations:
            call = calls.get(observation.event_key)
            if call is None:
                calls[observation.event_key] = _Call(observation)
            elif call.take(observation):
                self.folded += 1
            else:
                self._doubtful.append(observation)

    def take_all(self) -> list[Observation]:
        """Everything held, and start anew; `folded` starts from 0 too."""
        observations = [call.as_one() for call in self._calls.values()]
        observations += self._doubtful
        self.folded, self._calls, self._doubtful = 0, {}, []
        return observations


class LimitFold:
    """Tellings of limits on their way out: of those that say the same, the first and the last."""

    def __init__(self) -> None:
        self._tellings: dict[tuple[object, ...], tuple[LimitObservation, LimitObservation]] = {}

    def __len__(self) -> int:
        return len(self._tellings)

    def add(self, limits: Iterable[LimitObservation]) -> None:
        for limit in limits:
            said = _said(limit)
            first, last = self._tellings.get(said, (limit, limit))
            self._tellings[said] = (min(first, limit, key=_told_at), max(last, limit, key=_told_at))

    def take_all(self) -> list[LimitObservation]:
        """Everything held, and start anew."""
        tellings = [limit for first, last in self._tellings.values() for limit in dict.fromkeys((first, last))]
        self._tellings = {}
        return tellings


def _told_at(limit: LimitObservation) -> str:
    """The time as a text that compares as it does, with or without microseconds."""
    return limit.observed_at.removesuffix("Z")


_said = attrgetter("source", "limit_name", "used_percent", "window_minutes", "resets_at", "device")


class _Call:
    """What is known of one call: the observation with the most telling counts, and the earliest time."""

    __slots__ = ("_amount", "_is_sure", "_labels", "_observation", "_occurred_at")

    def __init__(self, observation: Observation) -> None:
        self._observation = observation
        self._occurred_at = observation.occurred_at
        # looked at when a copy comes, because many calls have none
        self._is_sure: bool | None = None

    def take(self, copy: Observation) -> bool:
        """Decide between what is held and a copy; False, with nothing changed, where only the ledger can."""
        if self._is_sure is None:
            self._is_sure = _is_surely_valid(self._observation)
            self._labels, self._amount = _labels(self._observation), _amount(self._observation)
        amount = _amount(copy)
        if not self._is_sure or _labels(copy) != self._labels:
            return False
        if amount != self._amount and (amount[:3] == self._amount[:3] or not _is_amount_valid(copy)):
            return False
        if copy.occurred_at != self._occurred_at:
            if _is_plain_time(copy.occurred_at) is None:
                return False
            self._occurred_at = min(self._occurred_at, copy.occurred_at)
        if amount[:3] > self._amount[:3]:
            self._observation, self._amount = copy, amount
        return True

    def as_one(self) -> Observation:
        if self._observation.occurred_at == self._occurred_at:
            return self._observation
        return msgspec.structs.replace(self._observation, occurred_at=self._occurred_at)


def _is_surely_valid(observation: Observation) -> bool:
    """Whether the ledger will take it for certain; a doubt is no fault, it only keeps the record as it is."""
    texts = _texts(observation)
    text = "".join(texts)
    return (
        _is_amount_valid(observation)
        and _is_plain_time(observation.occurred_at) is not None
        # neither NUL nor half a surrogate pair is printable, and Postgres reads neither
        and text.isprintable()
        and max(map(len, texts if text.isascii() else [label.encode() for label in texts])) <= MAX_LABEL_BYTES
        and "" not in (observation.event_key, observation.source)
        and observation.grain in GRAINS
        and observation.reported_cost_usd is None
        and observation.reject_reason == ""
    )


def _is_amount_valid(observation: Observation) -> bool:
    amount = _amount(observation)
    counts = amount[3:-1]
    return (
        min(counts) >= 0
        and max(counts) <= MAX_COUNT
        and observation.thinking_tokens <= observation.output_tokens
        and observation.origin_rank in ORIGIN_RANKS
        and observation.flags in PLAIN_FLAGS
    )
