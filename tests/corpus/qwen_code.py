"""Calls of Qwen Code, invented, in each of the lines that it writes of them."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

SESSION = "d2b90a0a-1111-4222-8333-444455556666"
USAGE_PATH = "usage/token-usage-2026-11.jsonl"
CHAT_PATH = f"projects/-w-shop/chats/{SESSION}.jsonl"
BEGIN = datetime(2026, 11, 22, 18, 6, 40, tzinfo=UTC)


class Call(NamedTuple):
    """One call; the output of the OpenAI-type back end contains the thoughts."""

    number: int
    session_id: str = SESSION
    prompt: int = 6
    cached: int = 5
    output: int = 100
    thoughts: int = 0
    model: str = "qwen3-coder-plus"
    subagent: str = ""

    @property
    def ended_at(self) -> datetime:
        return BEGIN + timedelta(seconds=self.number)

    def usage_line(self, **changes: object) -> dict[str, Any]:
        return {
            "schemaVersion": 1,
            "id": f"f6c2{self.number:04d}-{self.session_id}",
            "timestamp": written_time(self.ended_at),
            "localDate": "2026-11-22",
            "localMonth": "2026-11",
            "sessionId": self.session_id,
            "model": self.model,
            "authType": "openai",
            "source": self.subagent or "main",
            "inputTokens": self.prompt,
            "outputTokens": self.output,
            "cachedTokens": self.cached,
            "thoughtsTokens": self.thoughts,
            "totalTokens": self.prompt + self.output,
            "apiDurationMs": 383,
            **changes,
        }

    def _chat_line(self, name: str, later: timedelta) -> dict[str, Any]:
        return {
            "uuid": f"{name}{self.number:04d}-{self.session_id}",
            "parentUuid": None,
            "sessionId": self.session_id,
            "timestamp": written_time(self.ended_at + later),
            "cwd": "/w/shop",
            "version": "0.24.4",
            "gitBranch": "main",
        }

    def telemetry_line(self, **changes: object) -> dict[str, Any]:
        event = {
            "event.name": "qwen-code.api_response",
            "event.timestamp": written_time(self.ended_at),
            "response_id": f"chatcmpl-{self.number:08d}",
            "model": self.model,
            "duration_ms": 383,
            "input_token_count": self.prompt,
            "output_token_count": self.output,
            "cached_content_token_count": self.cached,
            "thoughts_token_count": self.thoughts,
            "total_token_count": self.prompt + self.output,
            "auth_type": "openai",
            **({"subagent_name": self.subagent} if self.subagent else {}),
        }
        line = self._chat_line("aaaa", timedelta(milliseconds=2))
        return {**line, "type": "system", "subtype": "ui_telemetry", "systemPayload": {"uiEvent": event}, **changes}

    def answer_line(self, **changes: object) -> dict[str, Any]:
        usage = {
            "promptTokenCount": self.prompt,
            "candidatesTokenCount": self.output,
            "thoughtsTokenCount": self.thoughts,
            "totalTokenCount": self.prompt + self.output,
            "cachedContentTokenCount": self.cached,
        }
        line = self._chat_line("bbbb", timedelta(milliseconds=5))
        message = {"role": "model", "parts": [{"text": "words"}]}
        return {**line, "type": "assistant", "model": self.model, "message": message, "usageMetadata": usage, **changes}


def written_time(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def make_calls(random_: random.Random, *, count: int, sessions: int = 2, kinds: int = 3) -> list[Call]:
    """Calls of which many have the same counts as another one of their session."""
    counts = [(random_.randrange(6, 99), random_.randrange(6), random_.randrange(20, 99)) for _ in range(kinds)]
    calls = []
    for number in range(count):
        prompt, cached, output = random_.choice(counts)
        session_id = f"{random_.randrange(sessions):08d}{SESSION[8:]}"
        calls.append(Call(number, session_id=session_id, prompt=prompt, cached=cached, output=output, thoughts=10))
    return calls
