"""Droid's settings of a session, in which it keeps what the session has used so far, and when it began.

Nothing says when that was used. What a session had when it was first read is booked on the day of its beginning, and
what it grew by since on the day on which that is seen.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from tallystick.observation import Observation, Snapshot
from tallystick.sources.calls import NO_USAGE, time_of
from tallystick.sources.formats import Parsed, reject
from tallystick.sources.json_documents import DocumentState, decode_document
from tallystick.sources.members import CountReader, part_of, text_of

SOURCE: Final = "droid"
KNOWN_LINE_TYPES: Final = frozenset[str]()

_SUFFIX: Final = ".settings.json"
_COUNTS: Final = ("input_tokens", "output_tokens", "cache_creation_tokens", "cache_read_tokens")
# an entry of the user's own configuration: custom:<model>-[<provider>]-<index>
_own_model = re.compile(r"custom:(?P<model>.+?)(?:-\[[^\]]*\])?(?:-\d+)?").fullmatch


class ParserState(DocumentState, kw_only=True):
    """Whether the session had used anything when it was read before."""

    is_known: bool = False


def new_state(path: str, /) -> ParserState:
    name = path.replace("\\", "/").rpartition("/")[2]
    return ParserState(name=name)


def parse_document(content: bytes, *, state: ParserState, project_of: Callable[[str], str], device: str) -> Parsed:
    """The session's totals; `project_of` is not asked, because the folder stands in another file.

    Those that include the children (inclusiveTokenUsage) are left out, as the children have settings of their own. So
    is thinking: whether the output contains it is not known.
    """
    del project_of
    session_id = state.name.removesuffix(_SUFFIX)
    document = decode_document(content, state=state)
    settings = document if isinstance(document, dict) else {}
    usage = part_of(settings, "tokenUsage") or {}
    started_at = time_of(settings.get("providerLockTimestamp"), per_second=1000)
    reader = CountReader()
    snapshot = Snapshot(
        session_id=session_id,
        source=SOURCE,
        model_used=_model(settings),
        session_started_at=started_at,
        last_activity_at="" if state.is_known else started_at,
        device=device,
        input_tokens=reader.count(usage, "inputTokens"),
        output_tokens=reader.count(usage, "outputTokens"),
        cache_creation_tokens=reader.count(usage, "cacheCreationTokens"),
        cache_read_tokens=reader.count(usage, "cacheReadTokens"),
    )
    if reader.fault:
        return Parsed([_reject(state, session_id, reader.fault)])
    if not any(getattr(snapshot, name) for name in _COUNTS):
        state.count_lines(NO_USAGE)
        return Parsed([])
    state.is_known = True
    return Parsed([], [snapshot])


def _model(settings: dict[str, object]) -> str:
    model = (text_of(settings, "model") or "").strip()
    own = _own_model(model)
    return own["model"] if own else model


def _reject(state: ParserState, session_id: str, reason: str) -> Observation:
    return reject(state, source=SOURCE, position=f"{SOURCE}:{session_id}", reason=reason)
