"""One session's transcript while it is written: its lines, its clock, and the calls that it truly made."""

from __future__ import annotations

from typing import NamedTuple

from bench.corpus_lines import (
    VERSIONS,
    AssistantLine,
    Era,
    Origin,
    Shape,
    Thread,
    Usage,
    UserLine,
    assistant_line,
    format_time,
    user_line,
)
from bench.corpus_text import TextSource
from bench.corpus_tools import ToolBox

MAIN_THREAD = Thread()
BRANCHES = ("main", "main", "feature/usage-report", "fix/retry", "dev", "HEAD")


class SessionPlan(NamedTuple):
    """What a session is to be, decided before any of it is written; `era` is an index of VERSIONS."""

    number: int
    project: str
    target_bytes: float
    starts_at: float
    era: int
    models: list[str]


class Call(NamedTuple):
    """One call as the generator knows it, however many lines, files or replays carry it."""

    finished_at: int
    model: str
    usage: Usage


class CallId(NamedTuple):
    """What all lines of one call share; a proxy may give no request id."""

    message_id: str
    request_id: str | None
    model: str


class Transcript:
    """The main file and the agents' files of one session."""

    def __init__(self, plan: SessionPlan, *, seed: str, tool_scale: float) -> None:
        self.plan = plan
        self.source = TextSource(seed=seed, number=plan.number)
        self.random = self.source.random
        session_id = self.source.uuid()
        self.context_tokens = self.random.randrange(12000, 26000)
        branch = self.random.choice(BRANCHES)
        if plan.number % 211 == 17:
            # A branch called like the key that readers search for.
            branch = "usage"
        self.origin = Origin(f"/home/dev/work/{plan.project}", session_id, VERSIONS[plan.era], plan.era, branch)
        self.tools = ToolBox(self.source, origin=self.origin, tool_scale=tool_scale)
        self.clock = plan.starts_at
        self.parent_uuid: str | None = None
        self.main_lines: list[bytes] = []
        self.agent_files: dict[str, list[bytes]] = {}
        self.written_bytes = 0
        self.calls: list[Call] = []

    def tick(self, shortest: float, longest: float) -> str:
        """Move the clock by a drawn number of seconds and give the new time."""
        self.clock += self.random.uniform(shortest, longest)
        return format_time(self.clock)

    def now(self) -> str:
        return format_time(self.clock)

    def new_call_id(self, model: str) -> CallId:
        message_id = f"msg_01{self.source.base58(22)}"
        return CallId(message_id, f"req_011C{self.source.base58(20)}", model)

    def write(self, line: str, *, file: str | None = None) -> None:
        """Append a line to the main file or to an agent's file."""
        self.write_encoded(line.encode(), file=file)

    def write_encoded(self, line: bytes, *, file: str | None = None) -> None:
        self.written_bytes += len(line) + 1
        (self.main_lines if file is None else self.agent_files[file]).append(line)

    def write_user(self, content: str, *, extra: str = "", thread: Thread = MAIN_THREAD) -> None:
        """Append a user line with `content` as JSON."""
        uuid = self.source.uuid()
        prompt_id = self.source.uuid() if self.origin.era >= Era.LONG_USAGE else None
        timestamp = self.tick(0.05, 2)
        line = UserLine(uuid, self.parent_uuid, prompt_id, thread, content, extra, timestamp)
        self.parent_uuid = uuid
        self.write(user_line(self.origin, line), file=thread.file)

    def write_assistant(
        self,
        block: str,
        *,
        call: CallId,
        usage: Usage,
        output_tokens: int,
        stop_reason: str | None,
        timestamp: str,
        thread: Thread = MAIN_THREAD,
        shape: Shape = Shape.NATIVE,
    ) -> str:
        """Append one content block of a call, and give the line."""
        uuid = self.source.uuid()
        line = assistant_line(
            self.origin,
            AssistantLine(
                uuid,
                self.parent_uuid,
                call.message_id,
                call.request_id,
                call.model,
                block,
                usage,
                output_tokens,
                stop_reason,
                thread,
                timestamp,
                shape,
            ),
        )
        self.parent_uuid = uuid
        self.write(line, file=thread.file)
        return line
