"""What the doctor says of the places where transcripts lie, and of sessions that are counted twice."""

from __future__ import annotations

from pathlib import Path

from tallystick.catalog import claude_code_roots
from tallystick.cli.doctor import double_lines, transcript_lines
from tallystick.collector.discover import Discovery, discover
from tallystick.collector.run import problems_of
from tallystick.config import Settings, load_settings
from tallystick.model import DoubleSessionRow
from tests.unit.nobody import as_nobody


def settings_of(config_dir: Path) -> Settings:
    return load_settings({"HOME": str(config_dir), "CLAUDE_CONFIG_DIR": str(config_dir)})


def make_transcripts(config_dir: Path, *names: str) -> list[Path]:
    paths = [config_dir / "projects" / name for name in names]
    paths[0].parent.mkdir(parents=True)
    for path in paths:
        path.write_text("{}\n")
    return paths


def lines_of(settings: Settings, found: Discovery) -> list[str]:
    return transcript_lines(settings, found, problems_of(found, {}))


def test_a_file_that_may_not_be_read_is_named(public_folder: Path) -> None:
    one, two = make_transcripts(public_folder, "one.jsonl", "two.jsonl")
    two.chmod(0)
    settings = settings_of(public_folder)
    with as_nobody():
        lines = lines_of(settings, discover(claude_code_roots([public_folder])))
    assert lines == [f"{one.parent}: 2 files, 6 B", f"{two}: Permission denied"]


def test_a_folder_that_may_not_be_entered_is_named_and_not_called_absent(public_folder: Path) -> None:
    closed = public_folder / "claude"
    make_transcripts(closed, "one.jsonl")
    settings = settings_of(closed)
    closed.chmod(0)
    with as_nobody():
        lines = lines_of(settings, discover(claude_code_roots([closed])))
    assert lines == [f"{closed / 'projects'}: Permission denied"]


def test_a_folder_that_does_not_exist_is_not_there(tmp_path: Path) -> None:
    assert lines_of(settings_of(tmp_path), discover(claude_code_roots([tmp_path]))) == [
        f"{tmp_path / 'projects'}: not there"
    ]


def test_a_folder_of_two_formats_is_listed_once_with_the_files_of_both(tmp_path: Path) -> None:
    chats = tmp_path / ".gemini" / "tmp" / "0123abcd" / "chats"
    chats.mkdir(parents=True)
    for name in ("session-2026-01-02T03-04-00000001.json", "session-2026-01-02T03-04-00000002.jsonl"):
        (chats / name).write_text("{}\n")
    settings = settings_of(tmp_path)
    lines = lines_of(settings, discover(settings.roots))
    assert [line for line in lines if ".gemini" in line] == [f"{tmp_path / '.gemini' / 'tmp'}: 2 files, 6 B"]


def test_the_first_ten_of_many_sessions_that_are_counted_twice_are_named() -> None:
    sessions = [DoubleSessionRow(f"s{number}", "codex") for number in range(12)]
    lines = double_lines(sessions)
    assert lines[:10] == [f"s{number}: by snapshots and by codex" for number in range(10)]
    assert lines[10:] == ["and 2 more sessions"]
    assert double_lines(sessions[:10]) == lines[:10]
    assert double_lines(sessions[:11])[10:] == ["and 1 more session"]
