"""Other tools on histories that were made up: where they say what was used, and where they do not."""

from __future__ import annotations

import json

import pytest

from tallystick.catalog import CATALOG
from tests.differential import table, traps_claude, traps_codex, traps_databases, traps_lines
from tests.differential.made import PLAIN, Made
from tests.differential.measuring import Measured, measure
from tests.differential.plain import make_plain_histories
from tests.differential.tools import FOLDER, TOOLS


def make_histories() -> list[Made]:
    histories = make_plain_histories()
    for module in (traps_claude, traps_codex, traps_lines, traps_databases):
        histories += module.make_trap_histories()
    return histories


@pytest.fixture(scope="module")
def measured(module_ledger_url_18: str, tmp_path_factory: pytest.TempPathFactory) -> list[Measured]:
    return measure(make_histories(), tmp_path_factory.mktemp("homes"), module_ledger_url_18)


def test_every_agent_that_somebody_else_reads_too_has_a_plain_history() -> None:
    histories = make_histories()
    plain = [made.sources for made in histories if made.what == PLAIN]
    assert sorted(plain) == sorted((source,) for source in {source for tool in TOOLS for source in tool.agents})
    assert {source for sources in plain for source in sources} <= {layout.source for layout in CATALOG}
    names = [(made.sources, made.what) for made in histories]
    assert len(names) == len(set(names))


def test_the_tools_are_of_the_versions_that_they_are_called() -> None:
    packages = json.loads((FOLDER / "package.json").read_text())["dependencies"]
    names = {"@ccusage/ccusage-linux-x64": "ccusage", "@tokscale/core-linux-x64-gnu": "tokscale"}
    locked = (FOLDER / "requirements.txt").read_text().splitlines()
    titles = [f"{names[package]} {version}" for package, version in packages.items()]
    titles += [line.split()[0].replace("==", " ") for line in locked if line.startswith("claude-monitor==")]
    assert titles == [tool.title for tool in TOOLS]


def test_what_we_say_of_every_history_is_what_was_used(measured: list[Measured]) -> None:
    wrong = [(each.made.sources, each.made.what) for each in measured if not table.is_right(each, each.ours)]
    assert wrong == []


def test_on_plain_histories_everybody_says_what_was_used(measured: list[Measured]) -> None:
    differences = [each for each in table.differences_in(measured) if each.what == PLAIN]
    assert differences == []


def test_the_table_of_differences_is_what_was_measured(measured: list[Measured]) -> None:
    written = table.written_differences()
    assert [each._replace(why="") for each in written] == list(table.differences_in(measured))
    assert all(each.why for each in written)


def test_the_table_of_agreements_is_what_was_measured(measured: list[Measured]) -> None:
    assert table.written_agreements() == list(table.agreements_in(measured))
