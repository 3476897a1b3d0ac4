"""The lines of a Claude Code transcript as types: what the strict decoder fills in, and how a damaged line is mended.

Only members that are counted or kept as labels are named; msgspec skips all others without building them. Members stand
in the order in which current versions write them, because msgspec looks for the next name behind the last one found.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Final, NamedTuple

import msgspec

from tallystick.sources.json_lines import INT64_MAX, INT64_MIN, NotFinite, storable_text
from tallystick.sources.members import CountReader, part_of, text_of

# What JSON null stands for is the same as an absent member: nothing counted.
Count = Annotated[int, msgspec.Meta(ge=INT64_MIN, le=INT64_MAX)] | None

# A cost beyond all sense must not cost the call its tokens.
_MAX_COST_EXPONENT: Final = 30


class CacheCreation(msgspec.Struct, gc=False):
    """Cache writes by how long they live."""

    ephemeral_1h_input_tokens: Count = None
    ephemeral_5m_input_tokens: Count = None


class OutputDetails(msgspec.Struct, gc=False):
    """What is known of the output; thinking is a part of it."""

    thinking_tokens: Count = None


class ServerToolUse(msgspec.Struct, gc=False):
    """Requests to the provider's own tools."""

    web_search_requests: Count = None


class Iteration(msgspec.Struct, gc=False):
    """One step of a call that the provider took by itself; `type` says whether the top level contains it."""

    input_tokens: Count = None
    output_tokens: Count = None
    cache_read_input_tokens: Count = None
    cache_creation_input_tokens: Count = None
    cache_creation: CacheCreation | None = None
    type: str | None = None
    model: str | None = None


class Usage(msgspec.Struct, gc=False):
    """message.usage."""

    input_tokens: Count = None
    cache_creation_input_tokens: Count = None
    cache_read_input_tokens: Count = None
    output_tokens: Count = None
    output_tokens_details: OutputDetails | None = None
    server_tool_use: ServerToolUse | None = None
    service_tier: str | None = None
    cache_creation: CacheCreation | None = None
    inference_geo: str | None = None
    iterations: list[Iteration] | None = None
    speed: str | None = None


class Message(msgspec.Struct, gc=False):
    """The model's answer; all lines of one call carry the same id."""

    model: str | None = None
    id: str | None = None
    stop_reason: str | None = None
    usage: Usage | None = None


class Line(msgspec.Struct, gc=False, rename="camel"):
    """An assistant line."""

    is_sidechain: bool | None = None
    message: Message | None = None
    request_id: str | None = None
    type: str | None = None
    uuid: str | None = None
    timestamp: str | None = None
    cwd: str | None = None
    session_id: str | None = None
    version: str | None = None
    git_branch: str | None = None
    request_session_id: str | None = None
    is_api_error_message: bool | None = None
    cost_usd: Decimal | None = msgspec.field(default=None, name="costUSD")


class ProgressData(msgspec.Struct, gc=False):
    """What a progress line tells; of a sub-agent it repeats the line."""

    message: Line | None = None


class ProgressLine(Line, gc=False, rename="camel"):
    """A progress line."""

    data: ProgressData | None = None


class ModelTotal(msgspec.Struct, gc=False, rename="camel"):
    """What the agent says that one model used in a session."""

    input_tokens: Count = None
    output_tokens: Count = None
    cache_read_input_tokens: Count = None
    cache_creation_input_tokens: Count = None
    web_search_requests: Count = None
    cost_usd: Decimal | None = msgspec.field(default=None, name="costUSD")


class CostStateLine(msgspec.Struct, gc=False, rename="camel"):
    """The agent's own books, written when it ends: running totals of the session."""

    session_id: str | None = None
    model_usage: dict[str, ModelTotal] | None = None
    has_unknown_model_cost: bool | None = None


class ReportedTotal(NamedTuple):
    """What the agent says a session used of one model so far, resumed parts and calls without a line included."""

    session_id: str
    model: str
    input_tokens: int
    output_tokens: int
    cache_creation_tokens: int
    cache_read_tokens: int
    web_search_requests: int
    cost_usd: Decimal
    has_unknown_model_cost: bool
    position: str


class Mended(NamedTuple):
    """A line that the strict decoder refused, as far as it can be used.

    `fault` is why its counts cannot be, '' if they can; `iteration_faults` says the same by index in `iterations`.
    """

    line: Line
    is_coerced: bool
    fault: str
    iteration_faults: dict[int, str]


def mend_line(record: dict[str, object]) -> Mended:
    """An assistant line from whatever JSON it held; a member of the wrong type is taken as absent."""
    mender = _Mender()
    message = part_of(record, "message")
    line = Line(
        is_sidechain=_truth(record, "isSidechain"),
        message=None if message is None else mender.message(message),
        request_id=text_of(record, "requestId"),
        type=text_of(record, "type"),
        uuid=text_of(record, "uuid"),
        timestamp=text_of(record, "timestamp"),
        cwd=text_of(record, "cwd"),
        session_id=text_of(record, "sessionId"),
        version=text_of(record, "version"),
        git_branch=text_of(record, "gitBranch"),
        request_session_id=text_of(record, "requestSessionId"),
        is_api_error_message=_truth(record, "isApiErrorMessage"),
        cost_usd=_money(record, "costUSD"),
    )
    return Mended(line, mender.is_coerced, mender.fault, mender.iteration_faults)


def mend_cost_state(record: dict[str, object]) -> CostStateLine:
    """A cost-state line from whatever JSON it held; a figure that cannot be read is taken as absent."""
    mender = _Mender()
    totals = part_of(record, "modelUsage") or {}
    model_usage = {
        storable_text(model): ModelTotal(
            input_tokens=mender.count(total, "inputTokens"),
            output_tokens=mender.count(total, "outputTokens"),
            cache_read_input_tokens=mender.count(total, "cacheReadInputTokens"),
            cache_creation_input_tokens=mender.count(total, "cacheCreationInputTokens"),
            web_search_requests=mender.count(total, "webSearchRequests"),
            cost_usd=_money(total, "costUSD"),
        )
        for model in totals
        if (total := part_of(totals, model)) is not None
    }
    return CostStateLine(
        session_id=text_of(record, "sessionId"),
        model_usage=model_usage,
        has_unknown_model_cost=_truth(record, "hasUnknownModelCost"),
    )


def totals_of(line: CostStateLine, *, session_id: str, position: str) -> list[ReportedTotal]:
    """The agent's books, one entry for each model."""
    return [
        ReportedTotal(
            session_id=session_id,
            model=model,
            input_tokens=total.input_tokens or 0,
            output_tokens=total.output_tokens or 0,
            cache_creation_tokens=total.cache_creation_input_tokens or 0,
            cache_read_tokens=total.cache_read_input_tokens or 0,
            web_search_requests=total.web_search_requests or 0,
            cost_usd=usable_cost(total.cost_usd) or Decimal(0),
            has_unknown_model_cost=line.has_unknown_model_cost is True,
            position=position,
        )
        for model, total in (line.model_usage or {}).items()
    ]


def usable_cost(cost_usd: Decimal | None) -> Decimal | None:
    """The cost if Postgres can hold it."""
    if cost_usd is None or not cost_usd.is_finite() or abs(cost_usd.adjusted()) > _MAX_COST_EXPONENT:
        return None
    return cost_usd


class _Mender(CountReader):
    """Reads a message part by part; the faults of its iterations stand by themselves."""

    def __init__(self) -> None:
        super().__init__()
        self.iteration_faults: dict[int, str] = {}

    def message(self, message: dict[str, object]) -> Message:
        usage = part_of(message, "usage")
        return Message(
            model=text_of(message, "model"),
            id=text_of(message, "id"),
            stop_reason=None if message.get("stop_reason") is None else text_of(message, "stop_reason") or "unknown",
            usage=None if usage is None else self.usage(usage),
        )

    def usage(self, usage: dict[str, object]) -> Usage:
        server_tools = part_of(usage, "server_tool_use") or {}
        return Usage(
            input_tokens=self.count(usage, "input_tokens"),
            cache_creation_input_tokens=self.count(usage, "cache_creation_input_tokens"),
            cache_read_input_tokens=self.count(usage, "cache_read_input_tokens"),
            output_tokens=self.count(usage, "output_tokens"),
            output_tokens_details=self.output_details(usage),
            server_tool_use=ServerToolUse(web_search_requests=self.count(server_tools, "web_search_requests")),
            service_tier=text_of(usage, "service_tier"),
            cache_creation=self.cache_creation(usage),
            inference_geo=text_of(usage, "inference_geo"),
            iterations=self.iterations(usage),
            speed=text_of(usage, "speed"),
        )

    def output_details(self, usage: dict[str, object]) -> OutputDetails:
        """Thinking only informs, so a figure that cannot be read does not cost the record its counts."""
        mender = _Mender()
        thinking = mender.count(part_of(usage, "output_tokens_details") or {}, "thinking_tokens")
        self.is_coerced = self.is_coerced or mender.is_coerced or mender.fault != ""
        return OutputDetails(thinking_tokens=thinking)

    def cache_creation(self, usage: dict[str, object]) -> CacheCreation:
        creation = part_of(usage, "cache_creation") or {}
        return CacheCreation(
            ephemeral_1h_input_tokens=self.count(creation, "ephemeral_1h_input_tokens"),
            ephemeral_5m_input_tokens=self.count(creation, "ephemeral_5m_input_tokens"),
        )

    def iterations(self, usage: dict[str, object]) -> list[Iteration]:
        steps = usage.get("iterations")
        if not isinstance(steps, list):
            return []
        return [self.iteration(index, step if isinstance(step, dict) else {}) for index, step in enumerate(steps)]

    def iteration(self, index: int, step: dict[str, object]) -> Iteration:
        mender = _Mender()
        iteration = Iteration(
            input_tokens=mender.count(step, "input_tokens"),
            output_tokens=mender.count(step, "output_tokens"),
            cache_read_input_tokens=mender.count(step, "cache_read_input_tokens"),
            cache_creation_input_tokens=mender.count(step, "cache_creation_input_tokens"),
            cache_creation=mender.cache_creation(step),
            type=text_of(step, "type"),
            model=text_of(step, "model"),
        )
        self.is_coerced = self.is_coerced or mender.is_coerced
        if mender.fault:
            self.iteration_faults[index] = mender.fault
        return iteration


def _truth(record: dict[str, object], name: str) -> bool | None:
    value = record.get(name)
    return value if isinstance(value, bool) else None


def _money(record: dict[str, object], name: str) -> Decimal | None:
    value = record.get(name)
    if isinstance(value, bool | NotFinite):
        return None
    return Decimal(value) if isinstance(value, int | Decimal) else None
