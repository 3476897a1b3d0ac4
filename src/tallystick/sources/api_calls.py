"""What the answers of all model APIs have in common: the caller's labels, the event key, the provider's time."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final, NamedTuple

from tallystick.observation import Observation

# Such an id is drawn from too few to be of one call only: Ollama's are chatcmpl-0 to chatcmpl-998.
_is_short_id = re.compile(r"(?:[a-z]+[-_])?\w{0,7}").fullmatch
# The ledger takes keys of up to 300 bytes, and gateways write whole routes into an id.
_MAX_ID_BYTES: Final = 200
# Seconds from 2023 to 2100: all else is no time, or is one in another unit.
_EARLIEST_S: Final = 1_672_531_200
_LATEST_S: Final = 4_102_444_800


class ApiCall(NamedTuple):
    """What the caller knows of the call that an answer answers.

    `labels` is the observation without counts; a provider, a service tier or a time in it beats what the answer says.
    `called_at` is when the answer was handed over; `weak_key` is the event key where the answer has no id of its own.
    """

    labels: Observation
    called_at: str
    weak_key: str

    def key_apart(self, provider: str, answer_id: str, apart: str) -> str:
        """The key of an answer whose id is too short to be of one call only, with what tells it from the next."""
        return f"{provider}:{answer_id}:{apart}" if answer_id and apart else self.weak_key


def event_key(provider: str, answer_id: str, *, weak_key: Callable[[], str]) -> tuple[str, tuple[str, ...]]:
    """The key of an answer, and its flags; `weak_key` is asked for one only where the id is not of one call alone."""
    if not answer_id or _is_short_id(answer_id) is not None:
        return weak_key(), ("weak_key",)
    if len(answer_id.encode()) > _MAX_ID_BYTES:
        answer_id = f"sha256:{hashlib.sha256(answer_id.encode()).hexdigest()}"
    return f"{provider}:{answer_id}", ()


def time_of_seconds(seconds: object) -> str:
    """Seconds since 1970 as the ledger writes a time; '' where they are none."""
    if not isinstance(seconds, int | float) or not _EARLIEST_S <= seconds <= _LATEST_S:
        return ""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"
