"""Which agent a file is of, by where it lies and by its name alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from tallystick.catalog import CATALOG, Root, expand, layout_of
from tallystick.collector.discover import discover, discover_paths
from tests.corpus import gemini_cli, kimi, pi, qwen_code

# by home-relative path: the source, and how it is read
PLACES = {
    f".gemini/{gemini_cli.MAIN}": ("gemini-cli", "lines"),
    f".gemini/{gemini_cli.SUBAGENT}": ("gemini-cli", "lines"),
    f".gemini/{gemini_cli.DOCUMENT}": ("gemini-cli", "document"),
    f".kimi/{kimi.CLI_PATH}": ("kimi-cli", "lines"),
    f".kimi/{kimi.CLI_SUBAGENT}": ("kimi-cli", "lines"),
    f".kimi-code/{kimi.CODE_PATH}": ("kimi-code", "lines"),
    f".kimi-code/{kimi.CODE_SUBAGENT}": ("kimi-code", "lines"),
    f".omp/agent/{pi.PATH}": ("oh-my-pi", "lines"),
    ".openclaw/agents/main/sessions/0a1b2c3d.jsonl": ("openclaw", "lines"),
    ".clawdbot/agents/main/sessions/0a1b2c3d.jsonl.deleted.2026-11-22": ("openclaw", "lines"),
    ".moltbot/agents/main/sessions/0a1b2c3d.jsonl.reset.2026-11-22": ("openclaw", "lines"),
    f".pi/agent/{pi.PATH}": ("pi", "lines"),
    f".qwen/{qwen_code.USAGE_PATH}": ("qwen-code", "lines"),
    f".qwen/{qwen_code.CHAT_PATH}": ("qwen-code", "lines"),
}


def make_home(home: Path, *places: str) -> None:
    for place in places:
        (home / place).parent.mkdir(parents=True, exist_ok=True)
        (home / place).touch()


def roots(home: Path, **variables: str) -> list[Root]:
    return [
        Root(Path(path), layout)
        for layout in CATALOG
        for root in layout.roots
        if (path := expand(root, variables=variables, home=str(home)))
    ]


def test_every_file_of_an_agent_is_found_where_it_lies(tmp_path: Path) -> None:
    make_home(
        tmp_path, *PLACES, ".kimi/sessions/x/context.jsonl", ".qwen/usage_record.jsonl", ".gemini/tmp/shop/logs.json"
    )
    found = {Path(file.path): (file.layout.source, file.layout.kind) for file in discover(roots(tmp_path)).files}
    assert found == {tmp_path / place: told for place, told in PLACES.items()}


@pytest.mark.parametrize("place", PLACES)
def test_a_file_that_somebody_names_is_told_by_its_name(tmp_path: Path, place: str) -> None:
    make_home(tmp_path, place)
    for named in (tmp_path / place, tmp_path):
        (file,) = discover_paths([named]).files
        assert (file.layout.source, file.layout.kind) == PLACES[place]


@pytest.mark.parametrize(
    "path",
    [
        "/home/ann/.claude/projects/-w-shop/0b9d1f5e-1111-4222-8333-444455556666.jsonl",
        "/home/ann/.claude/projects/-w-chats/0b9d1f5e-1111-4222-8333-444455556666/subagents/agent-1.jsonl",
        "/home/ann/chats/-w/0b9d1f5e-1111-4222-8333-444455556666.jsonl",
        "/home/ann/agents/sessions/one.jsonl",
        "/home/ann/saved.jsonl",
    ],
)
def test_a_file_that_no_other_agent_would_call_so_is_claude_codes(path: str) -> None:
    assert layout_of(path).source == "claude-code"
    assert layout_of(path, "oh-my-pi").source == "oh-my-pi"


def test_a_variable_leads_to_a_folder_elsewhere(tmp_path: Path) -> None:
    make_home(tmp_path, f"elsewhere/{pi.PATH}", f"elsewhere/.gemini/{gemini_cli.MAIN}")
    elsewhere = str(tmp_path / "elsewhere")
    found = discover(roots(tmp_path, PI_CODING_AGENT_DIR=elsewhere, GEMINI_CLI_HOME=elsewhere)).files
    assert sorted(file.layout.source for file in found) == ["gemini-cli", "pi"]
