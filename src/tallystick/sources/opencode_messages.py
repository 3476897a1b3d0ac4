"""An assistant message of OpenCode, or of an agent made from it, becomes observations; from a row as from a file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any, Final, NamedTuple

import msgspec

from tallystick.observation import Observation
from tallystick.sources.claude_code_lines import usable_cost
from tallystick.sources.formats import FileState, reject
from tallystick.sources.members import CountReader, part_of, text_of
from tallystick.sources.times import time_of_number

NOT_COMPLETED: Final = "(not completed)"
NO_TOKENS: Final = "(no tokens)"
# what OpenCode writes for the root of a folder that no repository holds
_NO_ROOT: Final = "/"


class Place(NamedTuple):
    """What stands beside a message: where it was found, and what is known of its session ('' where unknown)."""

    position: str
    message_id: str
    session_id: str
    directory: str = ""
    version: str = ""
    is_child: bool = False


class _Counts(NamedTuple):
    input_tokens: int
    output_tokens: int
    reasoning_tokens: int
    read_tokens: int
    written_tokens: int


def observe(
    message: dict[str, Any],
    steps: Sequence[dict[str, Any]],
    place: Place,
    *,
    source: str,
    state: FileState,
    project_of: Callable[[str], str],
    device: str,
) -> list[Observation]:
    """The calls of a message: one, or one for each of its `step-finish` parts where there are several."""
    if message.get("role") != "assistant":
        state.count_lines(text_of(message, "role") or "(no role)")
        return []
    time = part_of(message, "time") or {}
    created, completed = time.get("created"), time.get("completed")
    if not is_completed(message):
        state.count_lines(NOT_COMPLETED)
        return []
    reader = CountReader()
    counts = _read_counts(message, reader)
    parts = [_read_counts(step, reader) for step in steps if step.get("type") == "step-finish"]
    occurred_at = time_of_number(created, per_second=1000)
    if fault := reader.fault or ("" if occurred_at else "no_time"):
        return [reject(state, source=source, position=place.position, reason=fault)]
    if not any(counts) and not any(map(any, parts)):
        state.count_lines(NO_TOKENS)
        return []
    provider, model = text_of(message, "providerID") or "", (text_of(message, "modelID") or "").strip()
    key = _key(source, [provider, model, created, completed, *counts])
    written_in = part_of(message, "path") or {}
    root = text_of(written_in, "root") or ""
    folder = (root if root != _NO_ROOT else "") or text_of(written_in, "cwd") or place.directory
    whole = Observation(
        event_key=key,
        occurred_at=occurred_at,
        source=source,
        provider=provider,
        model=model,
        session_id=place.session_id,
        project=project_of(folder),
        device=device,
        agent_version=place.version,
        is_sidechain=place.is_child,
        reported_cost_usd=_cost(message),
        is_final=True,
        # a fork copies its messages under ids that are made later
        place_order=place.message_id,
        flags=(*(("coerced",) if reader.is_coerced else ()), *(() if folder else ("no_cwd",))),
        position=place.position,
    )
    if len(parts) < 2 or counts == _sum(parts):
        return [_with_counts(whole, counts)]
    # the message itself has the counts of its last step and the cost of them all; so has its file, without its parts
    earlier = [
        msgspec.structs.replace(whole, event_key=f"{key}:step:{index}", reported_cost_usd=None)
        for index in range(len(parts) - 1)
    ]
    return [_with_counts(step, part) for step, part in zip([*earlier, whole], parts, strict=True)]


def is_completed(message: dict[str, Any]) -> bool:
    """Whether a message has its last figures."""
    return (part_of(message, "time") or {}).get("completed") is not None


def _read_counts(record: dict[str, Any], reader: CountReader) -> _Counts:
    tokens = part_of(record, "tokens") or {}
    cache = part_of(tokens, "cache") or {}
    return _Counts(
        reader.count(tokens, "input"),
        reader.count(tokens, "output"),
        reader.count(tokens, "reasoning"),
        reader.count(cache, "read"),
        reader.count(cache, "write"),
    )


def _sum(parts: Sequence[_Counts]) -> _Counts:
    return _Counts(*map(sum, zip(*parts, strict=True)))


def _with_counts(observation: Observation, counts: _Counts) -> Observation:
    return msgspec.structs.replace(
        observation,
        input_tokens=counts.input_tokens,
        cache_creation_5m_tokens=counts.written_tokens,
        cache_read_tokens=counts.read_tokens,
        output_tokens=counts.output_tokens + counts.reasoning_tokens,
        thinking_tokens=counts.reasoning_tokens,
    )


def _key(source: str, members: list[object]) -> str:
    """The fingerprint of a message: a fork gives its copies new ids and leaves all else as it was."""
    written = json.dumps(members, separators=(",", ":"), default=str)
    return f"{source}:{hashlib.sha256(written.encode()).hexdigest()[:40]}"


def _cost(record: dict[str, Any]) -> Decimal | None:
    """What the agent says it cost; 0 is what it says of a subscription and of a model without a price."""
    cost = record.get("cost")
    if isinstance(cost, bool) or not isinstance(cost, int | Decimal) or not cost:
        return None
    return usable_cost(Decimal(cost))
