"""docs/cli.md is what the commands say of themselves."""

from __future__ import annotations

import re
from pathlib import Path

from tallystick.cli.config_command import ORIGINS
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


def test_the_documentation_names_every_setting_and_its_variable() -> None:
    text = PAGE.with_name("how-it-works.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| (?:`(\w+)`|none) \|", text.partition("## Settings")[2], flags=re.MULTILINE)
    settings = {origin.file_key: origin.variables for origin in ORIGINS.values() if origin.file_key}
    assert {key: (variable,) if variable else () for key, variable in rows} == settings
