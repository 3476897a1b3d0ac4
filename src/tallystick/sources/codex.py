"""Codex's rollout files: whole lines in, observations out. README.md in this folder lists the odd lines.

From 0.155 on every call has a `token_usage_record`, and where there is one nothing else counts. Before, the calls are
what the running totals of the `token_count` events grew by (codex_totals.py).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import msgspec

from tallystick.observation import LimitObservation, Observation
from tallystick.sources.api_calls import event_key
from tallystick.sources.codex_limits import read_limits
from tallystick.sources.codex_totals import (
    NOTHING,
    Counts,
    Replay,
    Totals,
    buckets,
    last_usage,
    read_counts,
    thread_totals_of,
)
from tallystick.sources.formats import FileState, Parsed, reject
from tallystick.sources.json_walk import NO_TYPE, NOT_JSON, Found, is_whole_record, walk
from tallystick.sources.members import CountReader, part_of, text_of
from tallystick.sources.times import utc_time

__all__ = ["KNOWN_LINE_TYPES", "SOURCE", "ParserState", "is_whole_record", "new_state", "parse"]

SOURCE: Final = "codex"
KNOWN_LINE_TYPES: Final = frozenset(
    {
        "compacted",
        "event_msg",
        "response_item",
        "session_meta",
        "token_usage_record",
        "turn_context",
        "world_state",
    }
)

# Our names for events of totals that tell of no call; the parentheses keep them apart from the types of lines.
WITHOUT_TOTALS: Final = "(token count without totals)"
REPEATED: Final = "(token count repeated)"
INHERITED: Final = "(token count of the parent)"
BESIDE_RECORDS: Final = "(token count beside records)"
RECORD_COUNTED: Final = "(record counted before)"
RECORD_INHERITED: Final = "(record of another thread)"

_SIGN_OF_CALL: Final = (b'"token_count"', b'"token_usage_record"')
_TURN_BEGINS: Final = ("task_started", "turn_started")
# It stands in every rejected record's position, which the ledger takes up to a length.
_MAX_STEM_BYTES: Final = 200
_id_in_name = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$").search


class ParserState(FileState, kw_only=True):
    """What must be known of a file's earlier lines.

    `thread_id` is the one in the file's name until the first session_meta names it. `session_id` is the root of a tree
    of sub-agents as far as the file names it.
    """

    file_stem: str
    thread_id: str
    has_meta: bool = False
    has_records: bool = False
    has_base: bool = False
    session_id: str = ""
    is_sidechain: bool = False
    provider: str = ""
    agent_version: str = ""
    git_branch: str = ""
    cwd: str = ""
    model: str = ""
    has_turn: bool = False
    turn_id: str = ""
    last_time: str = ""
    replay: Replay = msgspec.field(default_factory=Replay)
    totals: Totals = msgspec.field(default_factory=Totals)


def new_state(path: str) -> ParserState:
    """The state at byte 0 of a rollout; its folder says nothing, because archiving moves it."""
    name = path.replace("\\", "/").rpartition("/")[2].removesuffix(".zst").removesuffix(".jsonl")
    found = _id_in_name(name)
    stem = name.encode("utf-8", "replace")[:_MAX_STEM_BYTES].decode("utf-8", "ignore")
    return ParserState(file_stem=stem, thread_id=found[0] if found else "")


def parse(
    lines: memoryview | bytes,
    *,
    offset: int,
    state: ParserState,
    project_of: Callable[[str], str],
    device: str,
) -> Parsed:
    """The model calls that whole lines report; `state` is moved on to their end.

    `offset` is the place of lines[0] in the file in bytes; `project_of` answers the project of a working directory.
    """
    reader = _Reader(state, project_of=project_of, device=device)
    for found in walk(
        lines, offset=offset, stem=state.file_stem, state=state, is_wanted=reader.is_wanted, is_record=_is_record
    ):
        reader.take(found)
    return Parsed(reader.observations, limits=reader.limits)


def _is_record(record: dict[str, object]) -> bool:
    return "payload" in record and "type" in record


class _Where(NamedTuple):
    """A record's time, '' if there is none, with what is odd about it; and its place in the file."""

    time: str
    flags: tuple[str, ...]
    position: str


class _Reader:
    """One walk over the lines of a buffer."""

    def __init__(self, state: ParserState, *, project_of: Callable[[str], str], device: str) -> None:
        self.observations: list[Observation] = []
        self.limits: list[LimitObservation] = []
        self._state = state
        self._project_of = project_of
        self._device = device
        self._line = b""

    def is_wanted(self, line: bytes) -> bool:
        self._line = line
        return b'"token_' in line or b'"turn_context"' in line or b'_started"' in line or b'"session_meta"' in line

    def take(self, found: Found) -> None:
        """Takes a record: as an observation, as what later ones need to know, or by its type."""
        if found.fault:
            self._take_damaged(found)
            return
        state, record = self._state, found.record
        kind, payload = text_of(record, "type"), part_of(record, "payload") or {}
        time = utc_time(text_of(record, "timestamp"))
        where = _Where(time or state.last_time, () if time else ("time_inherited",), found.position)
        state.last_time = where.time
        if kind == "session_meta":
            self._take_meta(payload)
        state.replay.take_time(where.time)
        if kind == "token_usage_record":
            self._take_record(record, payload, where)
        elif kind == "event_msg" and payload.get("type") == "token_count":
            self._take_limits(payload, where)
            self._take_totals(payload, where)
        else:
            if kind == "turn_context":
                self._take_turn(payload)
                state.model = (text_of(payload, "model") or "").strip() or state.model
                state.cwd = text_of(payload, "cwd") or state.cwd
            elif kind == "event_msg" and payload.get("type") in _TURN_BEGINS:
                self._take_turn(payload)
            state.count_lines(NO_TYPE if kind is None else kind)

    # -- what later records need to know

    def _take_meta(self, payload: dict[str, object]) -> None:
        """Takes what a session_meta says: the first is the thread's own, one of another thread begins a copy of it."""
        state, thread_id = self._state, text_of(payload, "id") or ""
        if not state.has_meta:
            state.has_meta = True
            state.thread_id = thread_id or state.thread_id
        elif thread_id != state.thread_id:
            state.replay.is_named |= thread_id != ""
            return
        parent_id = _parent_of(payload)
        state.session_id = text_of(payload, "session_id") or parent_id or state.session_id or state.thread_id
        state.is_sidechain |= parent_id != "" or _is_subagent(payload)
        provider = (text_of(payload, "model_provider") or "").strip()
        state.provider = ("openai" if provider.lower() == "openai" else provider) or state.provider
        state.agent_version = text_of(payload, "cli_version") or state.agent_version
        state.git_branch = text_of(part_of(payload, "git") or {}, "branch") or state.git_branch
        state.cwd = state.cwd or text_of(payload, "cwd") or ""
        state.has_base |= part_of(payload, "history_base") is not None
        # a base is named in place of being copied
        state.replay.is_named |= bool(text_of(payload, "forked_from_id")) and not state.has_base
        state.replay.is_spawned |= parent_id != ""

    def _take_turn(self, payload: dict[str, object]) -> None:
        self._state.has_turn = True
        turn_id = text_of(payload, "turn_id")
        if turn_id:
            self._state.turn_id = turn_id
            self._state.replay.take_turn(turn_id, thread_id=self._state.thread_id)

    def _take_damaged(self, found: Found) -> None:
        if b'"session_meta"' in self._line:
            # the next one may be that of another thread
            self._state.has_meta = True
        if found.fault != "not_json" or any(sign in self._line for sign in _SIGN_OF_CALL):
            self._reject(found.position, found.fault)
        else:
            self._state.count_lines(NOT_JSON)

    # -- calls

    def _take_record(self, record: dict[str, object], payload: dict[str, object], where: _Where) -> None:
        """Takes a token_usage_record: one call, with its own id."""
        state, usage, reader = self._state, part_of(payload, "usage"), CountReader()
        if usage is None:
            state.count_lines("token_usage_record")
            return
        is_first, state.has_records = not state.has_records, True
        counts = read_counts(usage, reader)
        turn_id = text_of(payload, "turn_id") or state.turn_id
        if is_first and state.totals.have_counted(counts, thread_totals=thread_totals_of(payload), turn_id=turn_id):
            state.count_lines(RECORD_COUNTED)
            return
        thread_id = text_of(payload, "thread_id") or state.thread_id
        is_own = thread_id == state.thread_id
        key, is_of_provider = _record_key(record, payload, thread_id=thread_id)
        if not is_own and not is_of_provider:
            state.count_lines(RECORD_INHERITED)
            return
        session_id = text_of(payload, "session_id") or (is_own and state.session_id) or thread_id
        self._observe(
            key,
            counts,
            where,
            reader=reader,
            session_id=session_id,
            is_sidechain=session_id != thread_id or (is_own and state.is_sidechain),
        )

    def _take_limits(self, payload: dict[str, object], where: _Where) -> None:
        """Takes what a token_count says of the plan's limits; a copy of the parent's says what was so before."""
        rate_limits = part_of(payload, "rate_limits")
        if rate_limits and where.time and not self._state.replay.goes_on:
            self.limits += read_limits(rate_limits, source=SOURCE, observed_at=where.time, device=self._device)

    def _take_totals(self, payload: dict[str, object], where: _Where) -> None:
        """Takes a token_count event: what the totals in it grew by."""
        state, info, reader = self._state, part_of(payload, "info") or {}, CountReader()
        part = part_of(info, "total_token_usage")
        if part is None or state.has_records:
            state.count_lines(WITHOUT_TOTALS if part is None else BESIDE_RECORDS)
            return
        totals = read_counts(part, reader)
        fault = reader.fault or ("negative" if min(totals) < 0 else "" if where.time else "no_time")
        if fault:
            # the totals stay where they are, so that the next event's growth holds this one's
            self._reject(where.position, fault)
            return
        is_inherited = state.replay.goes_on
        growth = state.totals.advance(
            totals,
            # before any turn the totals are only told once more
            last_usage(info) if state.has_turn or not state.has_base else NOTHING,
            is_inherited=is_inherited,
            begins_elsewhere=state.has_base or state.replay.is_named or state.replay.is_spawned,
        )
        if growth is None:
            state.count_lines(INHERITED if is_inherited else REPEATED)
            return
        state.totals.growth, state.totals.turn_id = growth.counts, state.turn_id
        if state.replay.is_told_by_time:
            where = where._replace(flags=(*where.flags, "fork_heuristic"))
        self._observe(
            state.thread_id and f"{SOURCE}:{state.thread_id}:{state.totals.restarts}:{'-'.join(map(str, totals))}",
            growth.counts,
            where,
            reader=reader,
            session_id=state.session_id or state.thread_id,
            is_sidechain=state.is_sidechain,
            grain="call" if growth.is_one_call else "session_delta",
        )

    def _observe(self, key: str, counts: Counts, where: _Where, *, reader: CountReader, **labels: Any) -> None:
        """Records a call, or why it cannot be."""
        state = self._state
        fault = reader.fault or ("" if key else "no_key") or ("" if where.time else "no_time")
        if fault:
            self._reject(where.position, fault)
            return
        flags = where.flags + (("coerced",) if reader.is_coerced else ()) + (() if state.cwd else ("no_cwd",))
        call = Observation(
            source=SOURCE,
            event_key=key,
            occurred_at=where.time,
            provider=state.provider,
            model=state.model,
            project=self._project_of(state.cwd) if state.cwd else "",
            device=self._device,
            git_branch=state.git_branch,
            agent_version=state.agent_version,
            is_final=True,
            flags=flags,
            position=where.position,
        )
        self.observations.append(msgspec.structs.replace(call, **labels, **buckets(counts)))

    def _reject(self, position: str, reason: str) -> None:
        self.observations.append(reject(self._state, source=SOURCE, position=position, reason=reason))


def _record_key(record: dict[str, object], payload: dict[str, object], *, thread_id: str) -> tuple[str, bool]:
    """The key of a token_usage_record, and whether it is the provider's id.

    The provider's id is the same as in its answer, so that a call seen there too is one event. Others serve ids that
    come round again, so that only the place in the thread tells their calls apart.
    """
    response_id = text_of(payload, "response_id") or ""
    ordinal = record.get("ordinal")
    number = str(ordinal) if isinstance(ordinal, int) and not isinstance(ordinal, bool) else ""
    own_key = f"{SOURCE}:{thread_id}:r:{number or response_id}" if thread_id and (number or response_id) else ""
    if not response_id.startswith("resp_"):
        return own_key, False
    key, flags = event_key("openai", response_id, weak_key=lambda: own_key)
    return key, not flags


def _parent_of(payload: dict[str, object]) -> str:
    """The thread that spawned a sub-agent's, '' for any other."""
    spawned = part_of(part_of(part_of(payload, "source") or {}, "subagent") or {}, "thread_spawn") or {}
    return text_of(payload, "parent_thread_id") or text_of(spawned, "parent_thread_id") or ""


def _is_subagent(payload: dict[str, object]) -> bool:
    source = payload.get("source")
    return text_of(payload, "thread_source") == "subagent" or (isinstance(source, dict) and "subagent" in source)
