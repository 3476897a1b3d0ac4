"""`tally sources`: what was found of each agent, what is in the ledger, and what could not be read."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from tallystick.catalog import CATALOG

if TYPE_CHECKING:
    from tests.surface.cli_home import Tally

pytest_plugins = "tests.surface.cli_home"


def test_a_source_has_its_files_events_cost_and_last_day(books: Tally, truth: Any) -> None:
    document = books.json("sources")
    sources = {source["source"]: source for source in document["sources"]}
    assert set(sources) >= {layout.source for layout in CATALOG}
    claude = sources["claude-code"]
    assert claude["event_count"] == len(truth.CALLS)
    assert claude["folders"] == [str(books.claude / "projects")]
    assert claude["file_count"] == len({call.session_id for call in truth.CALLS})
    assert document["problems"] == []
    lines = books.lines("sources")
    assert lines[0].split()[:2] == ["Agent", "Files"]
    assert lines[2].startswith("Claude Code ")
    totals = truth.expected(truth.CALLS)
    figures = ("cost_usd", "unpriced_event_count")
    assert {name: claude[name] for name in figures} == {name: totals[name] for name in figures}
    assert f" ${Decimal(totals['cost_usd']):.2f}* " in lines[2]
    assert lines[3].startswith("* Not all of it has a price")


def test_a_cost_is_marked_only_where_a_part_of_it_is_unknown(empty: Tally, truth: Any) -> None:
    priced = [call for call in truth.CALLS if call.model != truth.UNPRICED]
    truth.write_transcripts(empty.claude, priced)
    text = empty.run("sources").stdout
    assert f" ${Decimal(truth.expected(priced)['cost_usd']):.2f} " in text
    assert "*" not in text


def test_agents_that_were_not_found_are_named_with_their_places(empty: Tally) -> None:
    lines = empty.lines("sources", "--all")
    assert lines[0] == "No agent was found on this machine, and the ledger knows of none."
    assert f"  Claude Code: {empty.claude / 'projects'}" in lines


def test_what_cannot_be_read_is_named(own: Tally) -> None:
    (own.claude / "projects" / "gone.jsonl").symlink_to("nowhere")
    document = own.run("sources", "--json").stdout
    assert "gone.jsonl" in document
    assert "No such file or directory" in document
