"""Agents that append lines, as the real ones do."""

from __future__ import annotations

import copy
import random
from datetime import datetime, timedelta

from tests.acceptance.day.agents import LONG_AGO, LineAgent, Used
from tests.acceptance.day.files import Files
from tests.acceptance.made_transcripts import make_line
from tests.corpus import codex_rollouts, gemini_cli, grok_build, kimi, mux, pi
from tests.corpus.histories import Call
from tests.corpus.reading import written


class ClaudeCode(LineAgent):
    """Its calls stream over several lines; a session is sometimes forked, and a clock quite wrong."""

    source = "claude-code"
    _moves = 0

    def place_of(self, session: str) -> str:
        return f".claude/projects/-w-{self.number}/{session}-0000-4000-8000-000000000000.jsonl"

    @property
    def session_id(self) -> str:
        return self.places[-1].rpartition("/")[2].removesuffix(".jsonl")

    def begin_session(self) -> None:
        origin = self.places[-1] if self.places else ""
        super().begin_session()
        if origin and self._random.random() < 0.4:
            content = self.files.path_aside(origin).read_bytes()
            lines = content.splitlines(keepends=True)[: self._random.randrange(20)]
            old_id = origin.rpartition("/")[2].removesuffix(".jsonl")
            if copied := b"".join(lines).replace(old_id.encode(), self.session_id.encode()):
                self.files.append(self.places[-1], copied)

    def lines_of(self, call: Call) -> bytes:
        copies = self._random.choice((1, 2, 3))
        at = LONG_AGO if self._random.random() < 0.02 else call.at
        return written({"type": "user", "message": {"role": "user", "content": "?"}}) + b"".join(
            make_line(
                session_id=self.session_id,
                message_id=f"msg_{call.number:024d}",
                input_tokens=call.tokens.input,
                output_tokens=call.tokens.output if copy == copies - 1 else copy + 1,
                stop_reason="tool_use" if copy == copies - 1 else None,
                at=at + timedelta(seconds=copy),
                text="x" * 300,
            )
            for copy in range(copies)
        )

    def use_of(self, call: Call) -> Used:
        return Used(1, call.tokens.input, 120, 40_000, call.tokens.output)

    def move_folder(self) -> None:
        """Somebody renames the folder of the project."""
        self._moves += 1
        folder = f".claude/projects/-w-{self.number}-moved-{self._moves}"
        self.places = [self._moved(place, folder) for place in self.places]

    def _moved(self, place: str, folder: str) -> str:
        other = f"{folder}/{place.rpartition('/')[2]}"
        if self.files.path(place).exists():
            self.files.move(place, other)
        return other

    def delete_oldest(self) -> None:
        """What Claude Code itself does after thirty days."""
        if len(self.places) > 1:
            self.files.delete(self.places.pop(0))


class _Thread(codex_rollouts.Thread):
    """One whose answers have ids that no other's have, though it may have lost some."""

    answer_number = 0

    def response_id(self, number: int) -> str:  # noqa: ARG002 (those of another thread are the same)
        return f"resp_{self.answer_number:032x}"


class Codex(LineAgent):
    """Running totals up to 0.131, records from then on; a thread is archived when the next one begins."""

    source = "codex"
    era = codex_rollouts.ERA["0.169.0"]

    def __init__(self, files: Files, number: int, random_: random.Random, begin: datetime) -> None:
        super().__init__(files, number, random_, begin)
        self._written = 0
        self._states: list[tuple[int, _Thread]] = []

    def begin_session(self) -> None:
        if self.places:
            self.files.move(self.places[-1], self.places[-1].replace("/sessions/", "/archived_sessions/"))
        begin_ms = round((self._next_at + self._offset).timestamp() * 1000)
        self._thread = _Thread(
            self.era, number=self.number * 100 + self._session, begin_ms=begin_ms, model_provider="openai"
        )
        self._thread.begin_turn()
        super().begin_session()

    def begin_file(self) -> None:
        self._written = 0
        self._states = []
        self.files.append(self.places[-1], self._news())
        self._keep()

    def place_of(self, session: str) -> str:  # noqa: ARG002 (the thread has a name)
        return f".codex/sessions/2026/09/01/{self._thread.name}"

    def write(self, call: Call) -> None:
        super().write(call)
        self._keep()

    def lines_of(self, call: Call) -> bytes:
        thread, tokens = self._thread, call.tokens
        thread.now_ms = max(thread.now_ms, call.at_ms)
        thread.answer_number = call.number
        thread.begin_turn()
        thread.call(codex_rollouts.Call(tokens.prompt, tokens.read, tokens.written, tokens.output))
        return self._news()

    def _news(self) -> bytes:
        lines, self._written = self._thread.lines[self._written :], len(self._thread.lines)
        return codex_rollouts.written(lines)

    def _keep(self) -> None:
        self._states.append((self._written, copy.deepcopy(self._thread)))

    def tear(self) -> None:
        """As others do, but with a line that moves no totals."""
        if self.places:
            self.files.append(self.places[-1], b'{"timestamp":"2026-09-01T08:00:00.000Z","type":"event_m\n')

    def cut(self) -> None:
        """It resumes from the totals that its file still has."""
        self._written, self._thread = self._random.choice(self._states)
        self._thread = copy.deepcopy(self._thread)
        self._states = [state for state in self._states if state[0] <= self._written]
        whole = self.files.path(self.places[-1]).read_bytes()
        torn = b'"event_m\n'
        lines = [line for line in whole.splitlines(keepends=True) if not line.endswith(torn)][: self._written]
        end = whole.index(lines[-1]) + len(lines[-1])
        self.files.truncate(self.places[-1], end)


class OldCodex(Codex):
    era = codex_rollouts.ERA["0.131.0"]
    caches_writes = False


class OldestCodex(Codex):
    era = codex_rollouts.ERA["0.80.0"]
    caches_writes = False


class Pi(LineAgent):
    source = "pi"

    def place_of(self, session: str) -> str:
        return f".pi/agent/sessions/--w-shop--/2026-09-01T08-00-00-000Z_{session}.jsonl"

    def header(self) -> list[dict[str, object]]:
        return [pi.header(id=f"{self.source}-{self.places[-1].rpartition('/')[2][:50]}")]

    def lines_of(self, call: Call) -> bytes:
        tokens = call.tokens
        usage = {"input": tokens.input, "cacheWrite": tokens.written, "cacheRead": tokens.read, "output": tokens.output}
        return written(
            pi.message(call.number, usage=usage, responseId=f"resp_{call.number:024d}", timestamp=call.at_ms)
        )


class OpenClaw(Pi):
    """It puts a session that is reset aside, under a longer name."""

    source = "openclaw"

    def place_of(self, session: str) -> str:
        return f".openclaw/agents/main/sessions/{session}.jsonl"

    def begin_session(self) -> None:
        if self.places:
            self.files.move(self.places[-1], f"{self.places[-1]}.reset.2026-09-01T08-00-00")
        super().begin_session()


class GeminiCli(LineAgent):
    source = "gemini-cli"
    caches_writes = False

    def place_of(self, session: str) -> str:
        return f".gemini/tmp/shop/chats/session-2026-09-01T08-00-{session}.jsonl"

    def header(self) -> list[dict[str, object]]:
        return [gemini_cli.header(sessionId=self.places[-1][-14:])]

    def lines_of(self, call: Call) -> bytes:
        tokens = call.tokens
        counts = {"input": tokens.prompt, "output": tokens.output, "cached": tokens.read, "thoughts": 0, "tool": 0}
        return written(
            gemini_cli.prompt(call.number), gemini_cli.message(call.number, timestamp=call.at_text, tokens=counts)
        )


class KimiCli(LineAgent):
    source = "kimi-cli"

    def place_of(self, session: str) -> str:
        return f".kimi/sessions/{'0a' * 16}/{session}/wire.jsonl"

    def header(self) -> list[dict[str, object]]:
        return [kimi.cli_header()]

    def lines_of(self, call: Call) -> bytes:
        tokens = call.tokens
        usage = {
            "input_other": tokens.input,
            "input_cache_creation": tokens.written,
            "input_cache_read": tokens.read,
            "output": tokens.output,
        }
        return written({**kimi.cli_line(call.number, token_usage=usage), "timestamp": call.at.timestamp()})


class Mux(LineAgent):
    source = "mux"

    def place_of(self, session: str) -> str:
        return f".mux/sessions/ws-{session}/chat.jsonl"

    def lines_of(self, call: Call) -> bytes:
        return written(mux.question(call), mux.answer(call))


class GrokBuild(LineAgent):
    source = "grok-build"

    def place_of(self, session: str) -> str:
        return f".grok/sessions/%2Fhome%2Fann%2Fshop/{session}-0000-4000-8000-000000000000/updates.jsonl"

    def lines_of(self, call: Call) -> bytes:
        return written(grok_build.said(call), grok_build.completed(call))
