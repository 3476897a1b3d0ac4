"""Invented Claude Code transcripts, one small project for each era of the format, and the truth about each call.

An era is the way one version range writes: which copies of a call bear the final figures, where sub-agents go, what
resuming and forking copies. Everything is made up; the same version always gives the same bytes.
"""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

MODEL = "claude-opus-5-5"
SUBAGENT_MODEL = "claude-haiku-4-5-20251001"
ADVISOR_MODEL = "claude-opus-4-8"
CWD = "/home/ann/shop"
BRANCH = "main"
SLUG = "-home-ann-shop"
PLACEHOLDER = 3
START = datetime(2026, 3, 14, 9, 26, 53, 589_000, tzinfo=UTC)

Json = dict[str, object]


class Style(NamedTuple):
    """How one version writes.

    `final` and `subagent_final` say which lines of a call bear its final output figure: "none", "last" or "all".
    `stop_reason` says the same of the stop reason. `fork` says what a forked copy's sessionId is: "none" (this version
    copies nothing), "new", "parent", or "named" (new, and requestSessionId tells the parent).
    """

    version: str
    final: str
    subagent_final: str
    stop_reason: str
    subagents: str
    fork: str
    resume_copies: bool = False
    has_progress: bool = False
    has_extras: bool = False
    is_newest: bool = False


STYLES = {
    "1.0.30": Style("1.0.30", "none", "none", "none", "inline", "none", resume_copies=True),
    "1.0.128": Style("1.0.128", "last", "last", "none", "inline", "none"),
    "2.0.77": Style("2.0.77", "last", "last", "none", "beside", "new"),
    "2.1.30": Style("2.1.30", "last", "last", "none", "below", "parent", has_progress=True),
    "2.1.30 -p": Style("2.1.30", "none", "none", "none", "below", "parent"),
    "2.1.90": Style("2.1.90", "last", "last", "last", "below", "new", has_extras=True),
    "2.1.120": Style("2.1.120", "all", "last", "last", "below", "new", has_extras=True),
    "2.1.330": Style("2.1.330", "all", "all", "all", "below", "named", has_extras=True, is_newest=True),
}


class TrueCall(NamedTuple):
    """One model call as it was, as far as the files can tell: output_tokens is the largest figure on disk."""

    event_key: str
    occurred_at: str
    session_id: str
    model: str
    is_sidechain: bool
    input_tokens: int
    cache_creation_5m_tokens: int
    cache_creation_1h_tokens: int
    cache_read_tokens: int
    output_tokens: int
    thinking_tokens: int
    web_search_requests: int
    is_final: bool


class Era(NamedTuple):
    """Files by their path below `projects`, and what a reader must find in them."""

    name: str
    files: dict[str, bytes]
    calls: list[TrueCall]
    reported_totals: list[tuple[str, str, int]]


def make_era(name: str) -> Era:
    """The transcripts of one era: a session with tools and a sub-agent, resumed, and forked where forking copies."""
    return _Writer(name, STYLES[name]).write()


class _Writer:
    def __init__(self, name: str, style: Style) -> None:
        self.name, self.style = name, style
        self.random = random.Random(name)
        self.now = START
        self.lines: dict[str, list[Json]] = {}
        self.calls: list[TrueCall] = []
        self.reported_totals: list[tuple[str, str, int]] = []
        # Ends in 8, so that a fork's name can sort in front of it as well as behind it.
        self.session_id = self.uuid()[:-1] + "8"
        self.main = f"{SLUG}/{self.session_id}.jsonl"

    def write(self) -> Era:
        style = self.style
        self.lines[self.main] = [{"type": "summary", "summary": "Shop", "leafUuid": self.uuid()}]
        self.user("add a basket")
        self.call(blocks=4)
        self.call(blocks=2, web_searches=3 if style.has_extras else 0)
        self.subagent()
        if style.is_newest:
            self.newest_lines()
        copied_from = len(self.lines[self.main])
        if style.resume_copies:
            self.resume_as_copy()
        else:
            self.tick(3600)
            self.user("go on")
            self.call(blocks=2)
        if style.fork != "none":
            self.fork(copied_from)
        files = {path: b"".join(_encode(line) for line in lines) for path, lines in self.lines.items()}
        files[f"{SLUG}/{self.uuid()}.jsonl"] = b""
        return Era(self.name, files, self.calls, self.reported_totals)

    def uuid(self) -> str:
        digits = f"{self.random.getrandbits(128):032x}"
        return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"

    def tick(self, seconds: float = 1.25) -> str:
        self.now += timedelta(seconds=seconds)
        return self.now.isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"

    def envelope(self, kind: str, *, agent_id: str = "") -> Json:
        line: Json = {"parentUuid": None, "isSidechain": bool(agent_id), "userType": "external", "cwd": CWD}
        line |= {"sessionId": self.session_id, "version": self.style.version}
        if self.style.version != "1.0.30":
            line["gitBranch"] = BRANCH
        if agent_id and self.style.subagents != "inline":
            line["agentId"] = agent_id
        return line | {"type": kind, "uuid": self.uuid(), "timestamp": self.tick()}

    def user(self, text: str, *, path: str = "", agent_id: str = "", **extra: object) -> None:
        line = self.envelope("user", agent_id=agent_id) | {"message": {"role": "user", "content": text}} | extra
        self.lines[path or self.main].append(line)

    def call(
        self,
        *,
        blocks: int,
        path: str = "",
        agent_id: str = "",
        web_searches: int = 0,
        iterations: list[Json] | None = None,
    ) -> list[Json]:
        """Writes one call as a line for each of its blocks, and notes the truth about it."""
        style, draw = self.style, self.random.randrange
        final = style.subagent_final if agent_id else style.final
        counts = [draw(1, 40), draw(500), draw(900), draw(9_000, 60_000), draw(200, 2_000)]
        thinking = draw(1, 150) if style.is_newest else 0
        message_id, request_id = (
            f"msg_01{self.random.getrandbits(80):020x}",
            f"req_011{self.random.getrandbits(60):015x}",
        )
        model = SUBAGENT_MODEL if agent_id else MODEL
        written = []
        for index in range(blocks):
            is_last = index == blocks - 1
            output = counts[4] if final == "all" or (final == "last" and is_last) else PLACEHOLDER
            stops = style.stop_reason == "all" or (style.stop_reason == "last" and is_last)
            message: Json = {"id": message_id, "type": "message", "role": "assistant", "model": model}
            message["content"] = [_block(index)]
            message |= {"stop_reason": "tool_use" if stops else None, "stop_sequence": None}
            message["usage"] = self.usage(counts, output=output, thinking=thinking, searches=web_searches)
            if iterations:
                message["usage"] |= {"iterations": iterations}
            line = self.envelope("assistant", agent_id=agent_id)
            # Newer versions write the message first and the type behind it.
            head = {name: line.pop(name) for name in ("parentUuid", "isSidechain")}
            line = head | {"message": message, "requestId": request_id} | line
            written.append(line)
        self.lines[path or self.main] += written
        self.calls.append(
            TrueCall(
                event_key=f"anthropic:{message_id}",
                occurred_at=str(written[0]["timestamp"]),
                session_id=self.session_id,
                model=model,
                is_sidechain=bool(agent_id),
                input_tokens=counts[0],
                cache_creation_5m_tokens=counts[1] + (0 if self.has_split else counts[2]),
                cache_creation_1h_tokens=counts[2] if self.has_split else 0,
                cache_read_tokens=counts[3],
                output_tokens=PLACEHOLDER if final == "none" else counts[4],
                thinking_tokens=thinking,
                web_search_requests=web_searches,
                is_final=style.stop_reason != "none",
            )
        )
        return written

    @property
    def has_split(self) -> bool:
        return self.style.version != "1.0.30"

    def usage(self, counts: list[int], *, output: int, thinking: int, searches: int) -> Json:
        input_tokens, write_5m, write_1h, read, _ = counts
        usage: Json = {"input_tokens": input_tokens, "cache_creation_input_tokens": write_5m + write_1h}
        usage |= {"cache_read_input_tokens": read, "output_tokens": output, "service_tier": "standard"}
        if self.has_split:
            usage["cache_creation"] = {"ephemeral_5m_input_tokens": write_5m, "ephemeral_1h_input_tokens": write_1h}
        if self.style.has_extras:
            usage["server_tool_use"] = {"web_search_requests": searches, "web_fetch_requests": 2}
            part = {"type": "message", "input_tokens": input_tokens, "output_tokens": output}
            usage |= {"iterations": [part], "speed": "standard"}
        if self.style.is_newest:
            usage["output_tokens_details"] = {"thinking_tokens": thinking}
            usage |= {"inference_geo": "global", "fallback_credit": None}
        return usage

    def subagent(self) -> None:
        """A delegated task: the sub-agent's own lines, their mirrors, and a result that repeats its last usage."""
        agent_id = f"{self.random.getrandbits(28):07x}"
        path = {
            "inline": self.main,
            "beside": f"{SLUG}/agent-{agent_id}.jsonl",
            "below": f"{SLUG}/{self.session_id}/subagents/agent-{agent_id}.jsonl",
        }[self.style.subagents]
        self.call(blocks=1)
        self.lines.setdefault(path, [])
        self.user("look for baskets", path=path, agent_id=agent_id)
        written = self.call(blocks=3, path=path, agent_id=agent_id) + self.call(blocks=2, path=path, agent_id=agent_id)
        if self.style.has_progress:
            for line in written[::2]:
                names = ("type", "timestamp", "message", "requestId", "uuid")
                data = {"type": "agent_progress", "agentId": agent_id, "message": {name: line[name] for name in names}}
                self.lines[self.main].append(self.envelope("progress") | {"data": data})
        message = written[-1]["message"]
        assert isinstance(message, dict)
        self.user("found", toolUseResult={"status": "completed", "totalTokens": 99_999, "usage": message["usage"]})

    def newest_lines(self) -> None:
        """What only the newest version writes: errors as assistant lines, requests, an advisor, its own books."""
        lines = self.lines[self.main]
        zeros = {
            "input_tokens": 0,
            "output_tokens": 0,
            "cache_read_input_tokens": None,
            "iterations": None,
            "speed": None,
        }
        error: Json = {"id": self.uuid(), "role": "assistant", "model": "<synthetic>", "usage": zeros, "content": []}
        lines.append(self.envelope("assistant") | {"message": error, "isApiErrorMessage": True})
        blob = {"role": "assistant", "content": [{"type": "text", "text": "earlier"}]}
        lines.append({"type": "api-request-blob", "hash": "5f", "message": blob, "sessionId": self.session_id})
        lines.append({"type": "mood", "sessionId": self.session_id})
        parent = {"type": "message", "input_tokens": 11, "output_tokens": 12}
        advisor = {"type": "advisor_message", "model": ADVISOR_MODEL, "input_tokens": 1_000, "output_tokens": 700}
        compaction = {"type": "compaction", "input_tokens": 5_000, "output_tokens": 50, "cache_read_input_tokens": 9}
        self.call(blocks=2, iterations=[parent, advisor, compaction])
        call = self.calls[-1]
        counts = {name: 0 for name in TrueCall._fields if name.endswith("_tokens") or name == "web_search_requests"}
        self.calls.append(
            call._replace(
                **counts | {"input_tokens": 1_000, "output_tokens": 700},
                event_key=f"{call.event_key}:advisor:1",
                model=ADVISOR_MODEL,
            )
        )
        self.calls.append(
            call._replace(
                **counts | {"input_tokens": 5_000, "output_tokens": 50, "cache_read_tokens": 9},
                event_key=f"{call.event_key}:compaction:2",
            )
        )
        usage = {"inputTokens": 34, "outputTokens": 1_504, "cacheReadInputTokens": 4, "costUSD": 0.0559872}
        lines.append(
            {
                "type": "cost-state",
                "sessionId": self.session_id,
                "totalCostUSD": 0.0559872,
                "modelUsage": {MODEL: usage, SUBAGENT_MODEL: usage | {"outputTokens": 3}},
                "hasUnknownModelCost": False,
            }
        )
        self.reported_totals = [(self.session_id, MODEL, 1_504), (self.session_id, SUBAGENT_MODEL, 3)]

    def resume_as_copy(self) -> None:
        """Up to 1.0.x: a new file, the history in it with new uuids, times and session, and without request ids."""
        history, old_session_id = self.lines[self.main], self.session_id
        self.tick(7_200)
        self.session_id = self.uuid()
        self.main = f"{SLUG}/{self.session_id}.jsonl"
        copies = [dict(line) for line in history if line.get("sessionId") == old_session_id]
        for copy in copies:
            copy.pop("requestId", None)
            copy |= {"sessionId": self.session_id, "uuid": self.uuid(), "timestamp": self.tick(0.001)}
        self.lines[self.main] = copies
        self.user("go on")
        self.call(blocks=2)

    def fork(self, copied: int) -> None:
        """A new file with the history in it, and a call of its own; ids and times of the copies stay."""
        parent_id, history = self.session_id, self.lines[self.main][1:copied]
        self.tick(60)
        names_origin = self.style.fork in {"parent", "named"}
        # A copy that names its origin needs no help of the file's name; one that does not is told by its first time.
        self.session_id = parent_id[:-1] + ("1" if names_origin else "9")
        self.main = f"{SLUG}/{self.session_id}.jsonl"
        first = [] if names_origin else [{"type": "queue-operation", "operation": "dequeue", "timestamp": self.tick(9)}]
        self.lines[self.main] = [
            *first,
            *(self.forked(line, parent_id) for line in history if line["type"] != "cost-state"),
        ]
        self.user("another way")
        self.call(blocks=2)

    def forked(self, line: Json, parent_id: str) -> Json:
        keeps_session = self.style.fork == "parent" or (self.style.version == "2.0.77" and line["type"] == "user")
        if "sessionId" not in line or keeps_session:
            return line
        if self.style.fork == "named" and line["type"] == "assistant":
            return line | {"sessionId": self.session_id, "requestSessionId": parent_id}
        return line | {"sessionId": self.session_id}


def _block(index: int) -> Json:
    """The content of a block; a tool's input may hold what looks like usage."""
    if index == 0:
        return {"type": "thinking", "thinking": 'the file says "usage": {"input_tokens": 7}', "signature": "c2ln"}
    if index == 1:
        return {"type": "text", "text": 'Tee ☕ {"type":"assistant"}'}
    tool_input = {"command": "ls", "usage": {"input_tokens": 77_777, "output_tokens": 88_888}, "id": None}
    return {"type": "tool_use", "id": f"toolu_01{index}", "name": "Bash", "input": tool_input}


def _encode(line: Json) -> bytes:
    return json.dumps(line, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"
