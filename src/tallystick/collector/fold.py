"""Copies of one call made one before they are sent, where the ledger would surely decide the same.

The ledger's two orders (DESIGN.md, "Which observation wins") are its own; here stand only the cases that their first
members decide. Whatever is not as plain as that is sent as it is. Most copies are adjacent lines of one file, so this
takes more than half of the records off the ledger.
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
    Observation,
)

MAX_COUNT = 10**12
# the least of the ledger's limits for a label, so that a longer one is left to the ledger
MAX_LABEL_BYTES = 200
PLACE_FLAGS = ("time_inherited", "clock_skew")
GRAINS = frozenset({"call", "turn", "session_delta", "import"})
ORIGIN_RANKS = frozenset({ORIGIN_MAIN_LINE, ORIGIN_SIDECHAIN_LINE, ORIGIN_PROGRESS_MIRROR})

PRICE_LABELS = ("provider", "model", "service_tier", "speed", "inference_geo", "grain")
PLACE_LABELS = (
    "place_order",
    "source",
    "session_id",
    "project",
    "device",
    "git_branch",
    "agent_version",
)
COUNTS = (
    "message_count",
    "input_tokens",
    "cache_creation_5m_tokens",
    "cache_creation_1h_tokens",
    "cache_read_tokens",
    "output_tokens",
    "thinking_tokens",
    "web_search_requests",
)

_labels = attrgetter(*PRICE_LABELS, *PLACE_LABELS)
_price_labels = attrgetter(*PRICE_LABELS)
_place_labels = attrgetter(*PLACE_LABELS)
_counts = attrgetter(*COUNTS)
_rank = attrgetter("is_final", "output_tokens", "origin_rank")
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
        self._good_labels: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self._calls) + len(self._doubtful)

    def add(self, observations: Iterable[Observation]) -> None:
        """Take observations in, each into the call that is held under its key if that is certain."""
        calls = self._calls
        for observation in observations:
            call = calls.get(observation.event_key)
            if call is None:
                calls[observation.event_key] = _Call(observation)
            elif self._is_sure(call, observation) and call.take(observation):
                self.folded += 1
            else:
                self._doubtful.append(observation)

    def take_all(self) -> list[Observation]:
        """Everything held, and start anew; `folded` starts from 0 too."""
        observations = [call.as_one() for call in self._calls.values()]
        observations += self._doubtful
        self.folded, self._calls, self._doubtful = 0, {}, []
        return observations

    def _is_sure(self, call: _Call, copy: Observation) -> bool:
        """Whether the ledger would take both for certain; what is held is looked at when its first copy comes."""
        if call.is_sure is None:
            call.is_sure = self._is_surely_valid(call.how_much)
        return call.is_sure and self._is_surely_valid(copy)

    def _is_surely_valid(self, observation: Observation) -> bool:
        counts = _counts(observation)
        if min(counts) < 0 or max(counts) > MAX_COUNT or observation.thinking_tokens > observation.output_tokens:
            return False
        labels = _labels(observation)
        # neighbours share these, and comparing them is much cheaper than looking at them
        if labels != self._good_labels:
            if not are_labels_valid(labels) or observation.grain not in GRAINS or not observation.source:
                return False
            self._good_labels = labels
        own = observation.event_key + observation.request_id + "".join(observation.flags)
        return (
            0 < len(own) <= MAX_LABEL_BYTES
            and own.isascii()
            and own.isprintable()
            and observation.event_key != ""
            and observation.reported_cost_usd is None
            and observation.reject_reason == ""
            and observation.origin_rank in ORIGIN_RANKS
            and _is_plain_time(observation.occurred_at) is not None
        )


class _Call:
    """What is known of one call: the observation that says how much, and the one that says when and where."""

    __slots__ = ("how_much", "is_sure", "when_and_where")

    def __init__(self, observation: Observation) -> None:
        self.how_much = self.when_and_where = observation
        self.is_sure: bool | None = None

    def take(self, copy: Observation) -> bool:
        """Decide between what is held and a copy; False, with nothing changed, where only the ledger can."""
        how_much = _more(self.how_much, copy)
        when_and_where = _earlier(self.when_and_where, copy)
        if how_much is None or when_and_where is None:
            return False
        self.how_much, self.when_and_where = how_much, when_and_where
        return True

    def as_one(self) -> Observation:
        how_much, place = self.how_much, self.when_and_where
        if how_much is place:
            return how_much
        flags = how_much.flags
        if flags != place.flags:
            flags = tuple(flag for flag in flags if flag not in PLACE_FLAGS)
            flags += tuple(flag for flag in place.flags if flag in PLACE_FLAGS)
        return msgspec.structs.replace(
            how_much,
            occurred_at=place.occurred_at,
            place_order=place.place_order,
            source=place.source,
            session_id=place.session_id,
            project=place.project,
            device=place.device,
            git_branch=place.git_branch,
            agent_version=place.agent_version,
            is_sidechain=place.is_sidechain,
            request_id=place.request_id,
            flags=flags,
            position=place.position,
        )


def are_labels_valid(labels: tuple[str, ...]) -> bool:
    """Whether Postgres can read them and none is too long."""
    text = "".join(labels)
    # neither NUL nor half a surrogate pair is printable
    if not text.isprintable():
        return False
    return max(map(len, labels if text.isascii() else [label.encode() for label in labels])) <= MAX_LABEL_BYTES


def _more(held: Observation, copy: Observation) -> Observation | None:
    """The one that says how much: the greater by rank, either of two that say the same, None in doubt."""
    held_rank, copy_rank = _rank(held), _rank(copy)
    if held_rank != copy_rank:
        return held if held_rank > copy_rank else copy
    is_same = _counts(held) == _counts(copy) and _price_labels(held) == _price_labels(copy)
    return held if is_same and held.flags == copy.flags else None


def _earlier(held: Observation, copy: Observation) -> Observation | None:
    """The one that says when and where: the earlier one, either of two that say the same, None in doubt."""
    if held.occurred_at != copy.occurred_at:
        return held if held.occurred_at < copy.occurred_at else copy
    is_same = (
        _place_labels(held) == _place_labels(copy)
        and held.request_id == copy.request_id
        and held.is_sidechain == copy.is_sidechain
    )
    return held if is_same and held.flags == copy.flags else None
