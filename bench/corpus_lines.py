"""The shapes that transcript lines had in one version of the agent or another: values in, one JSON line out.

Text and blocks arrive escaped already, so a line is put together without encoding anything twice.
"""

from __future__ import annotations

import json
import time
from enum import IntEnum
from typing import NamedTuple

VERSIONS = (
    "1.0.117",
    "2.0.14",
    "2.0.52",
    "2.0.76",
    "2.1.12",
    "2.1.50",
    "2.1.98",
    "2.1.131",
    "2.1.173",
    "2.1.198",
    "2.1.229",
    "2.1.280",
)
SLUG = "declarative-walking-heron"


class Era(IntEnum):
    """The index in VERSIONS from which on the agent wrote something in a new way."""

    SPLIT_CACHE_WRITES = 1
    AGENT_FILES = 3
    SCALARS_LAST = 4
    ENTRYPOINT = 5
    HOUR_CACHE = 6
    AGENT_FOLDERS = 7
    LONG_USAGE = 8
    STOP_REASON_ON_EACH_LINE = 9
    FAST_MODE = 10


class Shape(IntEnum):
    """How an assistant line is laid out: as its version writes it, or as other writers do."""

    NATIVE = 0
    SPACED = 1
    USAGE_FIRST = 2


class Origin(NamedTuple):
    """Where a session runs: what every line of it repeats. `era` is the index of the version in VERSIONS."""

    cwd: str
    session_id: str
    version: str
    era: int
    git_branch: str


class Thread(NamedTuple):
    """The conversation a line belongs to; `file` is the agent's own file, None where lines stand in the main one."""

    is_sidechain: bool = False
    agent_id: str | None = None
    file: str | None = None


class Usage(NamedTuple):
    """The counts of one call."""

    input_tokens: int
    output_tokens: int
    cache_creation_5m_tokens: int
    cache_creation_1h_tokens: int
    cache_read_tokens: int
    thinking_tokens: int
    is_fast: bool


class UserLine(NamedTuple):
    """A prompt or a tool's result; `content` is JSON, `extra` further members with their leading comma."""

    uuid: str
    parent_uuid: str | None
    prompt_id: str | None
    thread: Thread
    content: str
    extra: str
    timestamp: str


class AssistantLine(NamedTuple):
    """One content block of one call, with the output count known by then."""

    uuid: str
    parent_uuid: str | None
    message_id: str
    request_id: str | None
    model: str
    block: str
    usage: Usage
    output_tokens: int
    stop_reason: str | None
    thread: Thread
    timestamp: str
    shape: Shape = Shape.NATIVE


def format_time(seconds: float) -> str:
    """An ISO time in UTC with milliseconds."""
    # A fraction that rounds up to a second wraps to .000: the corpus's bytes are pinned with that.
    milliseconds = round((seconds - int(seconds)) * 1000) % 1000
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(int(seconds)))}.{milliseconds:03d}Z"


def text_or_null(value: str | None) -> str:
    return f'"{value}"' if value else "null"


def true_or_false(value: bool) -> str:
    return "true" if value else "false"


def member(name: str, value: str | None) -> str:
    """A member with its trailing comma, or nothing."""
    return f'"{name}":"{value}",' if value else ""


def place_members(origin: Origin) -> str:
    return (
        f'"cwd":"{origin.cwd}","sessionId":"{origin.session_id}","version":"{origin.version}",'
        f'"gitBranch":"{origin.git_branch}"'
    )


def envelope(origin: Origin) -> str:
    """The members that close a line since the scalars come last."""
    entrypoint = '"entrypoint":"cli",' if origin.era >= Era.ENTRYPOINT else ""
    slug = f',"slug":"{SLUG}"' if origin.era >= Era.AGENT_FOLDERS else ""
    return f'"userType":"external",{entrypoint}{place_members(origin)}{slug}'


def user_line(origin: Origin, line: UserLine) -> str:
    if origin.era >= Era.SCALARS_LAST:
        before, after = member("promptId", line.prompt_id), f",{envelope(origin)}"
    else:
        before, after = f'"userType":"external",{place_members(origin)},', ""
    # One piece, because user lines hold most of a corpus's bytes.
    return (
        f'{{"parentUuid":{text_or_null(line.parent_uuid)},"isSidechain":{true_or_false(line.thread.is_sidechain)},'
        f'{before}{member("agentId", line.thread.agent_id)}"type":"user","message":{{"role":"user",'
        f'"content":{line.content}}},"uuid":"{line.uuid}","timestamp":"{line.timestamp}"{line.extra}{after}}}'
    )


def usage_member(origin: Origin, usage: Usage, *, output_tokens: int) -> str:
    """The usage object as the session's version writes it, with the output count of one line."""
    written = usage.cache_creation_5m_tokens + usage.cache_creation_1h_tokens
    lifetimes = (
        f'"cache_creation":{{"ephemeral_5m_input_tokens":{usage.cache_creation_5m_tokens},'
        f'"ephemeral_1h_input_tokens":{usage.cache_creation_1h_tokens}}}'
    )
    counts = (
        f'"usage":{{"input_tokens":{usage.input_tokens},"cache_creation_input_tokens":{written},'
        f'"cache_read_input_tokens":{usage.cache_read_tokens}'
    )
    if origin.era >= Era.LONG_USAGE:
        return f"{counts},{long_usage_members(usage, output_tokens, written, lifetimes)}}}"
    if origin.era >= Era.SPLIT_CACHE_WRITES:
        return f'{counts},{lifetimes},"output_tokens":{output_tokens},"service_tier":"standard"}}'
    return f'{counts},"output_tokens":{output_tokens},"service_tier":"standard"}}'


def long_usage_members(usage: Usage, output_tokens: int, written: int, lifetimes: str) -> str:
    return (
        f'"output_tokens":{output_tokens},"output_tokens_details":'
        f'{{"thinking_tokens":{min(usage.thinking_tokens, output_tokens)}}},'
        '"server_tool_use":{"web_search_requests":0,"web_fetch_requests":0},"service_tier":"standard",'
        f'"cache_creation":{{"ephemeral_1h_input_tokens":{usage.cache_creation_1h_tokens},'
        f'"ephemeral_5m_input_tokens":{usage.cache_creation_5m_tokens}}},"inference_geo":"not_available",'
        f'"iterations":[{{"input_tokens":{usage.input_tokens},"output_tokens":{output_tokens},'
        f'"cache_read_input_tokens":{usage.cache_read_tokens},"cache_creation_input_tokens":{written},'
        f'{lifetimes},"type":"message"}}],"speed":"{"fast" if usage.is_fast else "standard"}"'
    )


def assistant_line(origin: Origin, line: AssistantLine) -> str:
    if line.shape is Shape.SPACED:
        return spaced_line(origin, line)
    if line.shape is Shape.USAGE_FIRST:
        return usage_first_line(origin, line)
    if origin.era >= Era.SCALARS_LAST:
        return scalars_last_line(origin, line)
    return scalars_first_line(origin, line)


def spaced_line(origin: Origin, line: AssistantLine) -> str:
    """Blanks after separators and another order of members: other writers, older exports."""
    compact = (
        f'{{"type":"assistant","timestamp":"{line.timestamp}","parentUuid":{text_or_null(line.parent_uuid)},'
        f'"isSidechain":{true_or_false(line.thread.is_sidechain)},{place_members(origin)},"uuid":"{line.uuid}",'
        f'{member("requestId", line.request_id)}"message":'
        f'{{{usage_member(origin, line.usage, output_tokens=line.output_tokens)},"role":"assistant","type":"message",'
        f'"content":[{line.block}],"stop_reason":{text_or_null(line.stop_reason)},"model":"{line.model}",'
        f'"id":"{line.message_id}"}}}}'
    )
    return json.dumps(json.loads(compact), ensure_ascii=False)


def usage_first_line(origin: Origin, line: AssistantLine) -> str:
    """The message last, with the usage at its front and the id at its end."""
    return (
        f'{{"type":"assistant","uuid":"{line.uuid}","parentUuid":{text_or_null(line.parent_uuid)},'
        f'"timestamp":"{line.timestamp}","isSidechain":{true_or_false(line.thread.is_sidechain)},'
        f"{member('agentId', line.thread.agent_id)}{member('requestId', line.request_id)}{envelope(origin)},"
        f'"message":{{"role":"assistant","model":"{line.model}",'
        f'{usage_member(origin, line.usage, output_tokens=line.output_tokens)},"content":[{line.block}],'
        f'"stop_reason":{text_or_null(line.stop_reason)},"id":"{line.message_id}"}}}}'
    )


def scalars_last_line(origin: Origin, line: AssistantLine) -> str:
    is_long = origin.era >= Era.LONG_USAGE
    container = '"container":null,' if is_long else ""
    details = '"stop_details":null,' if is_long else ""
    diagnostics = ',"diagnostics":null,"context_management":null' if is_long else ""
    effort = f'"effort":"high","session_id":"{origin.session_id}",' if is_long else ""
    return (
        f'{{"parentUuid":{text_or_null(line.parent_uuid)},"isSidechain":{true_or_false(line.thread.is_sidechain)},'
        f'{member("agentId", line.thread.agent_id)}"message":{{"model":"{line.model}","id":"{line.message_id}",'
        f'"type":"message","role":"assistant","content":[{line.block}],{container}'
        f'"stop_reason":{text_or_null(line.stop_reason)},"stop_sequence":null,{details}'
        f"{usage_member(origin, line.usage, output_tokens=line.output_tokens)}{diagnostics}}},"
        f'{member("requestId", line.request_id)}"type":"assistant","uuid":"{line.uuid}",'
        f'"timestamp":"{line.timestamp}",{effort}{envelope(origin)}}}'
    )


def scalars_first_line(origin: Origin, line: AssistantLine) -> str:
    return (
        f'{{"parentUuid":{text_or_null(line.parent_uuid)},"isSidechain":{true_or_false(line.thread.is_sidechain)},'
        f'"userType":"external",{place_members(origin)},{member("agentId", line.thread.agent_id)}'
        f'"message":{{"id":"{line.message_id}","type":"message","role":"assistant","model":"{line.model}",'
        f'"content":[{line.block}],"stop_reason":{text_or_null(line.stop_reason)},"stop_sequence":null,'
        f"{usage_member(origin, line.usage, output_tokens=line.output_tokens)}}},"
        f'{member("requestId", line.request_id)}"type":"assistant","uuid":"{line.uuid}",'
        f'"timestamp":"{line.timestamp}"}}'
    )
