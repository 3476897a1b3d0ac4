"""docs/cli.md is what the commands say of themselves."""

from __future__ import annotations

from pathlib import Path

from tallystick.cli.docs import command_page
from tallystick.cli.program import SECTIONS

PAGE = Path(__file__).parents[2] / "docs" / "cli.md"


def test_the_page_of_the_command_line_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == command_page(), "run `make docs`"


def test_the_page_names_every_command() -> None:
    page = PAGE.read_text(encoding="utf-8")
    for entries in SECTIONS.values():
        for name in entries:
            assert f"tally {name}" in page
    assert "tally db restore" in page
    assert "first-run" not in page
