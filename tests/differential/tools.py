"""The other tools: how each is run, without a network and with nothing at home but histories, and what it says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from tests.corpus.histories import Tokens
from tests.differential.made import TIME_ZONE, Made, Said, add_up

FOLDER = Path(__file__).parent
CCUSAGE = FOLDER / "node_modules/@ccusage/ccusage-linux-x64/bin/ccusage"
TOKSCALE = FOLDER / "node_modules/@tokscale/core-linux-x64-gnu"
MONITOR = FOLDER / "python_modules"
# where nobody listens
NOWHERE = "http://127.0.0.1:9"
TIME_LIMIT_S = 60
# a call's cost is rounded to millionths
ROUNDED_BY_MONITOR_USD = Decimal("0.0000005")

# What a tool found in a home, by its own names of the agents.
Found = Mapping[str, Said]


class Tool(NamedTuple):
    """A tool, which of our sources it reads under which name of its own, and how it reads homes.

    `models` are its own names of models. `has_costs` is whether it knows prices without a network.
    """

    title: str
    agents: Mapping[str, str]
    models: Mapping[str, str]
    has_costs: bool
    read: Callable[[Sequence[Path]], list[Found]]

    def can_say(self, made: Made) -> bool:
        """Whether it reads one of the agents, and knows prices where the history is about them."""
        return any(source in self.agents for source in made.sources) and (self.has_costs or not made.is_about_cost)

    def says_of(self, found: Found, sources: Iterable[str]) -> Said:
        """What was found of these sources, under our names of the models."""
        agents = {self.agents[source] for source in sources if source in self.agents}
        said = [said for agent, said in found.items() if agent in agents]
        return Said(
            add_up((day, self._model(model), tokens) for each in said for (day, model), tokens in each.tokens.items()),
            sum((each.cost_usd or Decimal(0) for each in said), Decimal(0)) if self.has_costs else None,
            sum((each.rounded_usd for each in said), Decimal(0)),
        )

    def _model(self, name: str) -> str:
        # ccusage writes some agents' names in front of the model's
        return self.models.get(name, name.rpartition("] ")[2])


def run_ccusage(home: Path, *arguments: str) -> Any:
    """One of its reports."""
    assert CCUSAGE.exists(), "ccusage is missing: run `make test-packages`"
    # its launcher package would set the mode; only the binary is installed here
    CCUSAGE.chmod(0o755)
    return json.loads(_run([str(CCUSAGE), *arguments, "--json", "--offline"], home))


def _read_by_ccusage(homes: Sequence[Path]) -> list[Found]:
    with ThreadPoolExecutor(2) as threads:
        reports = threads.map(lambda home: run_ccusage(home, "daily", "--by-agent"), homes)
        return [_found_by_ccusage(report) for report in reports]


def _found_by_ccusage(report: Any) -> Found:
    """What its rows of a day and an agent say; what is in none of their models named none."""
    rows: dict[str, list[tuple[date, str, Tokens]]] = {}
    costs: dict[str, float] = {}
    for day in report["daily"]:
        on = date.fromisoformat(day["period"])
        for of_agent in day["agents"]:
            named = [(on, model["modelName"], _tokens_of_ccusage(model)) for model in of_agent["modelBreakdowns"]]
            whole = _tokens_of_ccusage(of_agent)
            nameless = Tokens(
                *(count - sum(of_model) for count, *of_model in zip(whole, *(row[2] for row in named), strict=True))
            )
            rows.setdefault(of_agent["agent"], []).extend([*named, (on, "", nameless)])
            costs[of_agent["agent"]] = costs.get(of_agent["agent"], 0.0) + of_agent["totalCost"]
    return {agent: Said(add_up(rows[agent]), _dollars(costs[agent])) for agent in rows}


def _tokens_of_ccusage(row: Mapping[str, int]) -> Tokens:
    return Tokens(row["inputTokens"], row["cacheCreationTokens"], row["cacheReadTokens"], row["outputTokens"])


def _read_by_tokscale(homes: Sequence[Path]) -> list[Found]:
    """Its core gives calls with their dates, and prices them only with a network."""
    assert TOKSCALE.exists(), "tokscale is missing: run `make test-packages`"
    calls = json.loads(_run(["node", str(FOLDER / "tokscale.mjs"), *map(str, homes)], homes[0]))
    return [
        {
            agent: Said(
                add_up(
                    (
                        date.fromisoformat(call["date"]),
                        call["modelId"],
                        Tokens(call["input"], call["cacheWrite"], call["cacheRead"], call["output"]),
                    )
                    for call in of_home
                    if call["source"] == agent
                )
            )
            for agent in {call["source"] for call in of_home}
        }
        for of_home in calls
    ]


def _read_by_monitor(homes: Sequence[Path]) -> list[Found]:
    """Its reader gives calls with their times, which its reports take to the zone of the machine, and rounded costs."""
    assert MONITOR.exists(), "claude-monitor is missing: run `make test-packages`"
    calls = json.loads(_run([sys.executable, "-S", str(FOLDER / "monitor.py"), *map(str, homes)], homes[0]))
    return [
        {
            "claude": Said(
                add_up(
                    (
                        datetime.fromisoformat(call["at"]).astimezone(ZoneInfo(TIME_ZONE)).date(),
                        call["model"],
                        Tokens(*call["tokens"]),
                    )
                    for call in of_home
                ),
                _dollars(sum(call["cost_usd"] for call in of_home)),
                len(of_home) * ROUNDED_BY_MONITOR_USD,
            )
        }
        for of_home in calls
    ]


def _dollars(cost: float) -> Decimal:
    """What a sum of floats was meant to be."""
    return Decimal(repr(round(cost, 9)))


def _run(command: list[str], home: Path) -> bytes:
    environment = {"PATH": os.environ["PATH"], "HOME": str(home), "TZ": TIME_ZONE, "PYTHONPATH": str(MONITOR)}
    environment |= dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), NOWHERE)
    finished = subprocess.run(
        command, env=environment, cwd=home, check=False, capture_output=True, timeout=TIME_LIMIT_S
    )
    assert finished.returncode == 0, finished.stderr.decode()
    return finished.stdout


TOOLS = (
    Tool(
        "ccusage 20.0.24",
        {
            "amp": "amp",
            "claude-code": "claude",
            "codebuff": "codebuff",
            "codex": "codex",
            "copilot-cli": "copilot",
            "droid": "droid",
            "gemini-cli": "gemini",
            "goose": "goose",
            "grok-build": "grok",
            "hermes": "hermes",
            "kilo-cli": "kilo",
            "kimi-cli": "kimi",
            "kimi-code": "kimi",
            "openclaw": "openclaw",
            "opencode": "opencode",
            "pi": "pi",
            "qwen-code": "qwen",
            "zcode": "zcode",
        },
        {"kimi-for-coding": "", "k": "kimi-k3", "glm-4-6-0": "GLM-4.6", "claude-opus-4-6-fast": "claude-opus-4-6"},
        True,
        _read_by_ccusage,
    ),
    Tool(
        "tokscale 1.4.3",
        {
            "amp": "amp",
            "claude-code": "claude",
            "codex": "codex",
            "droid": "droid",
            "gemini-cli": "gemini",
            "kimi-cli": "kimi",
            "openclaw": "openclaw",
            "opencode": "opencode",
            "pi": "pi",
        },
        {"kimi-for-coding": "", "glm-4-6-0": "GLM-4.6", "unknown": ""},
        False,
        _read_by_tokscale,
    ),
    Tool("claude-monitor 4.0.0", {"claude-code": "claude"}, {"unknown": ""}, True, _read_by_monitor),
)
