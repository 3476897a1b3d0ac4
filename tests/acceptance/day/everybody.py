"""Twenty agents."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from datetime import datetime

from tests.acceptance.day.agents import Agent, Used
from tests.acceptance.day.files import Files
from tests.acceptance.day.line_agents import (
    ClaudeCode,
    Codex,
    GeminiCli,
    GrokBuild,
    KimiCli,
    Mux,
    OldCodex,
    OldestCodex,
    OpenClaw,
    Pi,
)
from tests.acceptance.day.other_agents import DocumentAgent, Goose, OpenCode, Totals, ZCode
from tests.corpus import amp, cline, codebuff, mistral_vibe


def make_agents(files: Files, random_: random.Random, begin: datetime) -> list[Agent]:
    """Twenty of them."""
    makers: list[Callable[[Files, int, random.Random, datetime], Agent]] = [
        *[ClaudeCode] * 4,
        *(Codex, OldCodex, OldestCodex, Pi, OpenClaw, GeminiCli, KimiCli, Mux, GrokBuild),
        *(OpenCode, Goose, ZCode),
    ]
    agents: list[Agent] = [make(files, number, random_, begin) for number, make in enumerate(makers, start=1)]
    documents = (
        (DocumentAgent, "amp", amp.thread_of),
        (DocumentAgent, "cline", cline.task_of),
        (DocumentAgent, "codebuff", codebuff.chat_of),
        (Totals, "mistral-vibe", mistral_vibe.session_of),
    )
    for number, (kind, source, make_history) in enumerate(documents, start=len(agents) + 1):
        agents.append(kind(files, number, random_, begin, source=source, make=make_history))
    return agents


def used_by_source(agents: Iterable[Agent]) -> dict[str, Used]:
    used: dict[str, Used] = {}
    for agent in agents:
        used[agent.source] = used.get(agent.source, Used()).plus(agent.used)
    return used
