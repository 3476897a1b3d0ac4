"""From an assistant line of Claude Code to what the ledger takes: its key, its time and place, its counts.

The rules are those of DESIGN.md, "Which observation wins"; README.md in this folder says which odd lines need them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Final

import msgspec

from tallystick.observation import ORIGIN_MAIN_LINE, ORIGIN_PROGRESS_MIRROR, ORIGIN_SIDECHAIN_LINE, Observation
from tallystick.sources.claude_code_lines import CacheCreation, Iteration, Line, Mended, Message, Usage, usable_cost
from tallystick.sources.formats import FileState, reject
from tallystick.sources.times import is_exact_time, utc_time

SOURCE: Final = "claude-code"

# What we call assistant lines that are no calls; the parentheses keep them apart from the types of lines.
WITHOUT_USAGE: Final = "(assistant without usage)"
AGENT_ERROR: Final = "(assistant error)"

# What the first event of a stream says of the output, before any of it is known.
_MAX_PLACEHOLDER_TOKENS: Final = 8

# Other iterations, `message` and `fallback_message`, are parts of the top level.
_ITERATION_KINDS: Final = {"advisor_message": "advisor", "compaction": "compaction"}
# By place: main line, sidechain and mirror, each as a line that names its origin and as one that does not. Among copies
# that bear the same time the smaller place wins, then the file that began earlier.
_ORIGIN_RANKS: Final = (ORIGIN_MAIN_LINE,) * 2 + (ORIGIN_SIDECHAIN_LINE,) * 2 + (ORIGIN_PROGRESS_MIRROR,) * 2
_PLACE_CLASSES: Final = ("00", "01", "10", "11", "20", "21")

_is_global_id = re.compile(r"msg_[A-Za-z0-9_]{8,}").fullmatch
_is_bedrock_model = re.compile(r"(?:(?:us|eu|apac|jp|au|global|us-gov)\.)?anthropic\.").match


class ParserState(FileState, kw_only=True):
    """What must be known of a file's earlier bytes: a pure function of its name and those bytes."""

    file_stem: str
    is_subagent_file: bool
    file_session_id: str
    first_timestamp: str = ""
    last_timestamp: str = ""
    last_cwd: str = ""


class CallRecorder:
    """Makes observations of one file's assistant lines; asks `time_before` where a line has no usable time.

    Labels hardly ever change from line to line, so they are set in a template that each observation is a copy of.
    """

    __slots__ = (
        "_device",
        "_key",
        "_key_flags",
        "_key_id",
        "_labels",
        "_project_of",
        "_projects",
        "_state",
        "_template",
        "_time_before",
        "observations",
    )

    def __init__(
        self,
        state: ParserState,
        *,
        project_of: Callable[[str], str],
        device: str,
        time_before: Callable[[], str],
    ) -> None:
        self.observations: list[Observation] = []
        self._state = state
        self._project_of = project_of
        self._device = device
        self._time_before = time_before
        self._projects: dict[str, str] = {"": ""}
        self._key_id = ""
        self._key = ""
        self._key_flags: tuple[str, ...] = ()
        self._labels: tuple[str | bool | None, ...] = ()
        self._template = Observation(source=SOURCE)

    def take(self, line: Line, position: str, *, mended: Mended | None = None, is_mirror: bool = False) -> None:
        """Records an assistant line: as an observation, as a rejected record, or by our name for what it is instead."""
        message = line.message
        if message is None or message.usage is None:
            self._state.count_lines(WITHOUT_USAGE)
            return
        if message.model == "<synthetic>" or line.is_api_error_message:
            self._state.count_lines(AGENT_ERROR)
            return
        if mended is not None and mended.fault:
            self.reject(position, mended.fault)
            return
        if message.id != self._key_id or not self._key_id:
            self._find_key(line, message.id)
        if not self._key:
            self.reject(position, "no_key")
            return
        occurred_at, flags = line.timestamp, self._key_flags
        if occurred_at is None or not is_exact_time(occurred_at):
            occurred_at, flags = self._find_time(line)
            if not occurred_at:
                self.reject(position, "no_time")
                return

        usage = message.usage
        output_tokens = usage.output_tokens or 0
        write_5m_tokens, write_1h_tokens = cache_writes(usage.cache_creation_input_tokens or 0, usage.cache_creation)
        if message.stop_reason is None and output_tokens <= _MAX_PLACEHOLDER_TOKENS:
            flags += ("not_final",)
        if mended is not None and mended.is_coerced:
            flags += ("coerced",)
        if not line.cwd:
            flags += ("no_cwd",)
        # With one keyword more CPython would build a dict for this call, at the price of all the rest of the line.
        observation = msgspec.structs.replace(
            self._find_template(line, message, usage, is_mirror=is_mirror),
            event_key=self._key,
            occurred_at=occurred_at,
            request_id=line.request_id or "",
            input_tokens=usage.input_tokens or 0,
            cache_creation_5m_tokens=write_5m_tokens,
            cache_creation_1h_tokens=write_1h_tokens,
            cache_read_tokens=usage.cache_read_input_tokens or 0,
            output_tokens=output_tokens,
            thinking_tokens=thinking_tokens(usage, output_tokens),
            web_search_requests=0 if usage.server_tool_use is None else usage.server_tool_use.web_search_requests or 0,
            reported_cost_usd=None if line.cost_usd is None else usable_cost(line.cost_usd),
            is_final=message.stop_reason is not None,
            flags=flags,
            position=position,
        )
        self.observations.append(observation)
        if usage.iterations:
            self._take_iterations(usage.iterations, observation, {} if mended is None else mended.iteration_faults)

    def reject(self, position: str, reason: str) -> None:
        """Records that a record bears usage and cannot be used."""
        self.observations.append(reject(self._state, source=SOURCE, position=position, reason=reason))

    def _take_iterations(self, iterations: list[Iteration], call: Observation, faults: dict[int, str]) -> None:
        for observation in observe_iterations(iterations, call, faults):
            if observation.reject_reason:
                self.reject(observation.position, observation.reject_reason)
            else:
                self.observations.append(observation)

    def _find_template(self, line: Line, message: Message, usage: Usage, *, is_mirror: bool) -> Observation:
        """The observation that holds the line's labels and no counts."""
        labels = (
            message.model,
            line.cwd,
            line.session_id,
            line.request_session_id,
            line.git_branch,
            line.version,
            line.is_sidechain,
            is_mirror,
            usage.service_tier,
            usage.speed,
            usage.inference_geo,
        )
        if labels != self._labels:
            self._labels = labels
            place, model = self._find_place(line, is_mirror=is_mirror), (message.model or "").strip()
            self._template = Observation(
                source=SOURCE,
                provider=provider_of(model),
                model=model,
                session_id=line.request_session_id or line.session_id or self._state.file_session_id,
                project=self._find_project(line.cwd),
                device=self._device,
                git_branch=line.git_branch or "",
                agent_version=line.version or "",
                is_sidechain=_ORIGIN_RANKS[place] != ORIGIN_MAIN_LINE,
                service_tier=usage.service_tier or "",
                speed=usage.speed or "",
                inference_geo="" if usage.inference_geo == "not_available" else usage.inference_geo or "",
                origin_rank=_ORIGIN_RANKS[place],
                place_order=f"{_PLACE_CLASSES[place]}{self._state.first_timestamp} {self._state.file_stem}",
            )
        return self._template

    def _find_project(self, cwd: str | None) -> str:
        """The project of the line's working directory, or of the last one that a call of this file named."""
        if cwd:
            self._state.last_cwd = cwd
        else:
            cwd = self._state.last_cwd
        project = self._projects.get(cwd)
        if project is None:
            project = self._projects[cwd] = self._project_of(cwd)
        return project

    def _find_place(self, line: Line, *, is_mirror: bool) -> int:
        """The index into the places; smaller is the likelier origin among copies that bear the same time."""
        is_subagent_file = self._state.is_subagent_file
        if is_mirror:
            place = 4
        elif is_subagent_file if line.is_sidechain is None else line.is_sidechain:
            place = 2
        else:
            place = 0
        if line.request_session_id:
            return place
        is_foreign = line.session_id and not is_subagent_file and line.session_id != self._state.file_session_id
        return place if is_foreign else place + 1

    def _find_time(self, line: Line) -> tuple[str, tuple[str, ...]]:
        """The line's time or, flagged, that of the record before it; '' if neither is known."""
        occurred_at = utc_time(line.timestamp)
        if occurred_at:
            return occurred_at, self._key_flags
        return self._time_before(), (*self._key_flags, "time_inherited")

    def _find_key(self, line: Line, message_id: str | None) -> None:
        """Sets the event key; '' if nothing in the line tells it from others.

        A provider's own id is one call on every machine and in every copy. Gateways invent short or constant ids, which
        count only together with the request or the session.
        """
        self._key_id, self._key, self._key_flags = "", "", ()
        session_id = line.request_session_id or line.session_id or self._state.file_session_id
        if message_id and _is_global_id(message_id):
            self._key_id, self._key = message_id, f"anthropic:{message_id}"
        elif message_id and line.request_id:
            self._key = f"claude-code:mr:{message_id}:{line.request_id}"
        elif message_id and session_id:
            self._key, self._key_flags = f"claude-code:ms:{session_id}:{message_id}", ("weak_key",)
        elif line.uuid:
            self._key, self._key_flags = f"claude-code:u:{line.uuid}", ("weak_key",)


def observe_iterations(
    iterations: Sequence[Iteration], call: Observation, faults: dict[int, str]
) -> Iterator[Observation]:
    """What a call's top level leaves out: an advisor's answer and a compaction are calls of their own.

    An advisor is another model, so the speed that was asked of this one says nothing about it. `faults` says by index
    which iterations cannot be used, and why.
    """
    for index, iteration in enumerate(iterations):
        kind = _ITERATION_KINDS.get(iteration.type or "")
        if kind is None:
            continue
        position = f"{call.position}:{kind}:{index}"
        if index in faults:
            yield Observation(source=call.source, position=position, reject_reason=faults[index])
            continue
        model = (iteration.model or ("" if kind == "advisor" else call.model)).strip()
        writes = cache_writes(iteration.cache_creation_input_tokens or 0, iteration.cache_creation)
        yield msgspec.structs.replace(
            call,
            event_key=f"{call.event_key}:{kind}:{index}",
            model=model,
            provider=provider_of(model),
            speed="" if kind == "advisor" else call.speed,
            input_tokens=iteration.input_tokens or 0,
            cache_creation_5m_tokens=writes[0],
            cache_creation_1h_tokens=writes[1],
            cache_read_tokens=iteration.cache_read_input_tokens or 0,
            output_tokens=iteration.output_tokens or 0,
            thinking_tokens=0,
            web_search_requests=0,
            reported_cost_usd=None,
            flags=(*call.flags, f"iteration_{kind}"),
            position=position,
        )


def cache_writes(flat_tokens: int, creation: CacheCreation | None) -> tuple[int, int]:
    """Cache writes that live 5 minutes, and 1 hour.

    The flat figure and the sum of the split one may each be the larger; what the split leaves open lives 5 minutes.
    """
    if creation is None:
        return flat_tokens, 0
    write_5m_tokens = creation.ephemeral_5m_input_tokens or 0
    write_1h_tokens = creation.ephemeral_1h_input_tokens or 0
    if flat_tokens == write_5m_tokens + write_1h_tokens:
        return write_5m_tokens, write_1h_tokens
    # A negative figure passes as it is: hidden behind a larger one, the ledger could not reject it.
    if min(write_5m_tokens, write_1h_tokens) < 0:
        return write_5m_tokens, write_1h_tokens
    if flat_tokens < 0:
        return flat_tokens, write_1h_tokens
    return max(flat_tokens - write_1h_tokens, write_5m_tokens), write_1h_tokens


def thinking_tokens(usage: Usage, output_tokens: int) -> int:
    """How many output tokens are thinking; a line written while streaming may know more of it than of the output."""
    details = usage.output_tokens_details
    return 0 if details is None else min(details.thinking_tokens or 0, output_tokens)


def provider_of(model: str) -> str:
    """Who serves a model of this name, '' where the name does not tell."""
    if model.startswith("claude-"):
        return "google" if "@" in model else "anthropic"
    return "aws" if _is_bedrock_model(model) else ""
