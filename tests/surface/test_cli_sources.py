"""`tally sources`: what was found of each agent, what is in the ledger, and what could not be read."""

from __future__ import annotations

import json
import os
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


def test_what_is_broken_is_named_for_as_long_as_it_is(own: Tally) -> None:
    folder = own.folder / "codex" / "sessions" / "2026" / "11" / "19"
    folder.mkdir(parents=True)
    torn = folder / "rollout-2026-11-19T10-00-00-0199a213-81ee-7000-8000-000000000001.jsonl.zst"
    torn.write_bytes(b"no frame of Zstandard's")
    database = own.folder / "opencode.db"
    database.write_bytes(b"no database at all" * 500)
    utf16 = own.claude / "projects" / "utf16.jsonl"
    utf16.write_bytes('{"type": "user"}\n'.encode("utf-16"))
    for path in (torn, database, utf16):
        os.utime(path, (1_790_000_000, 1_790_000_000))
    own.environ |= {"CODEX_HOME": str(own.folder / "codex"), "OPENCODE_DB": str(database)}
    expected = {str(torn): "Zstandard: ", str(database): "SQLite: ", str(utf16): "not UTF-8 but utf-16"}
    for arguments in ([], ["--no-import"], []):
        document = json.loads(own.run("sources", "--json", *arguments).stdout)
        found = {problem["path"]: problem["reason"] for problem in document["problems"]}
        assert {path: reason[: len(expected[path])] for path, reason in found.items()} == expected
    assert f"{torn}: Zstandard: " in own.run("doctor", "--no-import").stdout
    assert "3 problems:" in own.run("import").stdout
    for path in (torn, database, utf16):
        path.unlink()
    assert json.loads(own.run("sources", "--json").stdout)["problems"] == []
