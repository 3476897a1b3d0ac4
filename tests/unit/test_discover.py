"""Finding transcripts: real folders with links, loops, double roots and what cannot be read."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tallystick.catalog import CATALOG, Layout, Root, claude_code_roots, layout_of
from tallystick.collector.discover import discover, discover_changed, discover_paths, real_roots
from tallystick.config import load_settings
from tallystick.errors import ConfigError
from tests.unit.nobody import as_nobody


def make_transcript(path: Path, text: str = "{}\n") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def found(*config_dirs: Path) -> list[str]:
    return sorted(file.path for file in discover(claude_code_roots(config_dirs)).files)


def test_every_transcript_below_projects_is_found(tmp_path: Path) -> None:
    expected = [
        make_transcript(tmp_path / "projects" / place)
        for place in ("-a/one.jsonl", "-a/one/subagents/agent-1.jsonl", "-a/one/subagents/workflows/w/agent-2.jsonl")
    ]
    for other in ("projects/-a/notes.txt", "projects/-a/one/subagents/agent-1.meta.json", "history.jsonl"):
        make_transcript(tmp_path / other)
    assert found(tmp_path) == sorted(map(str, expected))


def test_a_file_is_described_as_it_stands(tmp_path: Path) -> None:
    path = make_transcript(tmp_path / "projects" / "-a" / "one.jsonl", "12345")
    (file,) = discover(claude_code_roots([tmp_path])).files
    status = path.stat()
    assert file[1:5] == (status.st_dev, status.st_ino, 5, status.st_mtime_ns)


def test_a_root_may_itself_be_the_projects_folder(tmp_path: Path) -> None:
    path = make_transcript(tmp_path / "projects" / "-a" / "one.jsonl")
    assert found(tmp_path / "projects") == [str(path)]


def test_a_root_that_does_not_exist_is_no_problem(tmp_path: Path) -> None:
    assert discover(claude_code_roots([tmp_path / "nowhere"])) == ([], [], [], [])


def test_two_roots_that_are_the_same_give_each_file_once(tmp_path: Path) -> None:
    path = make_transcript(tmp_path / "claude" / "projects" / "-a" / "one.jsonl")
    (tmp_path / "other").symlink_to(tmp_path / "claude")
    assert found(tmp_path / "claude", tmp_path / "claude" / "projects", tmp_path / "other") == [str(path)]


def test_a_root_inside_another_gives_each_file_once(tmp_path: Path) -> None:
    path = make_transcript(tmp_path / "projects" / "-a" / "projects" / "one.jsonl")
    assert found(tmp_path, tmp_path / "projects" / "-a") == [str(path)]


def test_links_in_a_circle_come_to_an_end(tmp_path: Path) -> None:
    path = make_transcript(tmp_path / "projects" / "-a" / "one.jsonl")
    (path.parent / "up").symlink_to(tmp_path / "projects")
    (path.parent / "itself").symlink_to("itself")
    (path.parent / "there").symlink_to("back")
    (path.parent / "back").symlink_to("there")
    assert found(tmp_path) == [str(path)]


def test_a_linked_file_and_a_linked_folder_are_found_by_their_real_paths(tmp_path: Path) -> None:
    file = make_transcript(tmp_path / "elsewhere" / "one.jsonl")
    folder_file = make_transcript(tmp_path / "folder" / "two.jsonl")
    (tmp_path / "projects").mkdir()
    (tmp_path / "projects" / "link.jsonl").symlink_to(file)
    (tmp_path / "projects" / "again.jsonl").symlink_to(file)
    (tmp_path / "projects" / "linked").symlink_to(folder_file.parent)
    assert found(tmp_path) == sorted(map(str, (file, folder_file)))


def test_what_a_link_leads_to_is_told_of_by_its_own_folder(tmp_path: Path) -> None:
    file = make_transcript(tmp_path / "elsewhere" / "of-any-name")
    make_transcript(tmp_path / "elsewhere" / "beside.jsonl")
    folder_file = make_transcript(tmp_path / "folder" / "two.jsonl")
    (tmp_path / "projects").mkdir()
    (tmp_path / "projects" / "one.jsonl").symlink_to(file)
    (tmp_path / "projects" / "again.jsonl").symlink_to(file)
    (tmp_path / "projects" / "linked").symlink_to(folder_file.parent)
    whole = discover(claude_code_roots([tmp_path]))
    assert {str(file.parent), str(folder_file.parent)} < set(whole.folders)
    told = [str(path) for path in (file, tmp_path / "elsewhere" / "beside.jsonl", folder_file)]
    changed = discover_changed(told, real_roots([*claude_code_roots([tmp_path]), *whole.linked]))
    assert sorted(changed.files) == sorted(whole.files)
    # nothing that would have everything looked at again
    assert changed.folders == []


def test_a_link_that_is_new_is_followed_when_it_is_told_of(tmp_path: Path) -> None:
    file = make_transcript(tmp_path / "elsewhere" / "of-any-name")
    folder_file = make_transcript(tmp_path / "folder" / "deep" / "two.jsonl")
    make_transcript(tmp_path / "notes.txt")
    (tmp_path / "real").mkdir()
    (tmp_path / "projects").symlink_to(tmp_path / "real")
    links = {
        "one.jsonl": file,
        "linked": tmp_path / "folder",
        "notes.txt": tmp_path / "notes.txt",
        "gone.jsonl": "gone",
    }
    for name, target in links.items():
        (tmp_path / "real" / name).symlink_to(target)
    roots = real_roots(claude_code_roots([tmp_path]))
    changed = discover_changed([str(tmp_path / "real" / name) for name in links], roots)
    assert sorted(found.path for found in changed.files) == sorted(map(str, (file, folder_file)))
    assert {str(file.parent), str(tmp_path / "folder"), str(folder_file.parent)} == set(changed.folders)
    elsewhere = discover_changed([str(tmp_path / "projects")], real_roots(claude_code_roots([tmp_path / "no"])))
    assert elsewhere.files == []


def test_a_link_out_of_a_folder_that_is_closed_hides_no_other(public_folder: Path) -> None:
    file = make_transcript(public_folder / "closed" / "one.jsonl")
    file.parent.chmod(0o711)
    (public_folder / "projects").mkdir()
    (public_folder / "projects" / "one.jsonl").symlink_to(file)
    with as_nobody():
        whole = discover(claude_code_roots([public_folder]))
    assert [found.path for found in whole.files] == [str(file)]
    assert whole.folders == [str(public_folder / "projects")]


def test_many_names_of_one_file_are_one_file_under_the_least_of_them(tmp_path: Path) -> None:
    last = make_transcript(tmp_path / "projects" / "-a" / "z.jsonl")
    for name in "hgfedcba":
        (last.parent / f"{name}.jsonl").hardlink_to(last)
    assert found(tmp_path) == [str(last.parent / "a.jsonl")]


def test_what_only_looks_like_a_transcript_is_left_alone(tmp_path: Path) -> None:
    path = make_transcript(tmp_path / "projects" / "folder.jsonl" / "one.jsonl")
    os.mkfifo(tmp_path / "projects" / "pipe.jsonl")
    assert found(tmp_path) == [str(path)]


def test_a_dangling_link_is_reported_and_the_rest_is_found(tmp_path: Path) -> None:
    path = make_transcript(tmp_path / "projects" / "one.jsonl")
    link = tmp_path / "projects" / "gone.jsonl"
    link.symlink_to(tmp_path / "nowhere")
    discovery = discover(claude_code_roots([tmp_path]))
    assert [file.path for file in discovery.files] == [str(path)]
    assert discovery.problems == [(str(link), "No such file or directory")]


def test_a_folder_that_may_not_be_listed_is_reported_and_the_rest_is_found(public_folder: Path) -> None:
    path = make_transcript(public_folder / "projects" / "-a" / "one.jsonl")
    closed = make_transcript(public_folder / "projects" / "-b" / "two.jsonl").parent
    closed.chmod(0)
    with as_nobody():
        discovery = discover(claude_code_roots([public_folder]))
    assert [file.path for file in discovery.files] == [str(path)]
    assert discovery.problems == [(str(closed), "Permission denied")]


def test_a_root_that_may_not_be_entered_is_reported(public_folder: Path) -> None:
    closed = make_transcript(public_folder / "claude" / "projects" / "-a" / "one.jsonl").parents[2]
    closed.chmod(0)
    with as_nobody():
        discovery = discover(claude_code_roots([closed]))
    assert discovery == ([], [(str(closed / "projects"), "Permission denied")], [], [])


def test_a_folder_that_vanishes_while_the_others_are_listed_is_reported(tmp_path: Path) -> None:
    folders = [make_transcript(tmp_path / "projects" / name / "one.jsonl").parent for name in ("-a", "-b", "-c")]
    listed: list[Path] = []

    def vanish(event: str, arguments: tuple[object, ...]) -> None:
        # an audit hook stays for ever, so it must do nothing in any other test
        if event == "os.scandir" and not listed and arguments[0] in map(str, folders):
            listed.append(Path(str(arguments[0])))
            for folder in folders:
                if folder not in listed:
                    (folder / "one.jsonl").unlink()
                    folder.rmdir()

    sys.addaudithook(vanish)
    discovery = discover(claude_code_roots([tmp_path]))
    assert [Path(file.path).parent for file in discovery.files] == listed
    gone = sorted(str(folder) for folder in folders if folder not in listed)
    assert sorted(discovery.problems) == [(folder, "No such file or directory") for folder in gone]


def test_a_file_that_somebody_names_needs_no_suffix(tmp_path: Path) -> None:
    path = make_transcript(tmp_path / "saved.txt")
    assert [file.path for file in discover_paths([path]).files] == [str(path)]


def test_a_folder_that_somebody_names_is_searched_whole_unless_it_has_projects(tmp_path: Path) -> None:
    plain = make_transcript(tmp_path / "plain" / "deep" / "one.jsonl")
    make_transcript(tmp_path / "claude" / "history.jsonl")
    inside = make_transcript(tmp_path / "claude" / "projects" / "-a" / "two.jsonl")
    files = discover_paths([tmp_path / "plain", tmp_path / "claude", plain]).files
    assert sorted(file.path for file in files) == sorted(map(str, (plain, inside)))


@pytest.mark.parametrize("name", ["nowhere", "nul\0byte"])
def test_a_path_that_cannot_be_looked_at_is_one_clear_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="cannot read"):
        discover_paths([tmp_path / name])


def test_a_path_that_is_neither_file_nor_folder_is_one_clear_error(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ConfigError, match="neither file nor folder"):
        discover_paths([tmp_path / "pipe"])


def test_a_name_that_is_not_utf_8_is_found(tmp_path: Path) -> None:
    folder = make_transcript(tmp_path / "projects" / "-a" / "one.jsonl").parent
    with open(os.fsencode(folder) + b"/\xff.jsonl", "wb"):  # noqa: PTH123 -- a Path cannot be made of such bytes
        pass
    assert len(found(tmp_path)) == 2


FLAT = Layout("agent", "Agent", "agent", "database", (), r"agent\.db", levels=0)


def test_of_a_flat_layout_only_the_root_itself_is_listed(tmp_path: Path) -> None:
    path = make_transcript(tmp_path / "data" / "agent.db")
    make_transcript(tmp_path / "data" / "deep" / "agent.db")
    (tmp_path / "data" / "linked").symlink_to(make_transcript(tmp_path / "elsewhere" / "agent.db").parent)
    assert [file.path for file in discover([Root(tmp_path / "data", FLAT)]).files] == [str(path)]
    everywhere = discover([Root(tmp_path / "data", FLAT._replace(levels=None))]).files
    assert len(everywhere) == 3
    changed = [str(path), str(tmp_path / "data" / "deep" / "agent.db")]
    link = tmp_path / "data" / "deep" / "er" / "agent.db"
    link.parent.mkdir()
    link.symlink_to(tmp_path / "elsewhere" / "agent.db")
    changed += [str(link), str(tmp_path / "data" / "linked")]
    told = discover_changed(changed, real_roots([Root(tmp_path / "data", FLAT)]))
    assert [file.path for file in told.files] == [str(path)]


def test_a_root_may_be_a_single_file_of_any_name(tmp_path: Path) -> None:
    path = make_transcript(tmp_path / "named-by-a-variable")
    (tmp_path / "link").symlink_to(path)
    discovery = discover([Root(tmp_path / "link", FLAT), Root(tmp_path / "nowhere", FLAT)])
    assert ([file.path for file in discovery.files], discovery.problems) == ([str(path)], [])
    told = discover_changed([f"{path}-wal"], real_roots([Root(tmp_path / "link", FLAT)]))
    assert [file.path for file in told.files] == [str(path)]


@pytest.mark.parametrize(
    ("path", "module"),
    [
        ("/h/.local/share/opencode/opencode.db", "opencode"),
        ("/h/.local/share/opencode/opencode-canary.db", "opencode"),
        ("/h/.local/share/opencode/storage/message/ses_1/msg_1.json", "opencode_files"),
        ("/h/.local/share/kilo/kilo.db", "kilo_cli"),
        ("/h/.local/share/mimocode/mimocode.db", "mimo_code"),
        ("/h/.copilot/session-state/a42c/events.jsonl", "copilot_cli"),
        ("/h/.copilot/session-store.db", "copilot_cli_store"),
        ("/h/.copilot/otel/copilot-otel.jsonl", "copilot_cli_otel"),
        ("/h/.local/share/goose/sessions/sessions.db", "goose"),
        ("/h/.zcode/cli/db/db.sqlite", "zcode"),
    ],
)
def test_the_file_of_an_agent_is_known_by_its_name(path: str, module: str) -> None:
    told = [layout.module for layout in CATALOG if layout.source != "claude-code" and layout.is_told_by(path)]
    assert told == [module]
    assert not any(layout.has(f"{path}-wal") for layout in CATALOG)


def test_a_layout_may_say_how_deep_its_files_lie(tmp_path: Path) -> None:
    expected = make_transcript(tmp_path / "state.db")
    beside = make_transcript(tmp_path / "work" / "state.db")
    make_transcript(tmp_path / "work" / "deeper" / "state.db")
    (tmp_path / "elsewhere" / "below").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    make_transcript(tmp_path / "elsewhere" / "below" / "state.db")
    flat = Layout("hermes", "Hermes", "hermes", "lines", (), r"state\.db", levels=0)
    assert [file.path for file in discover([Root(tmp_path, flat)]).files] == [str(expected)]
    below = discover([Root(tmp_path, flat._replace(levels=1))]).files
    assert sorted(file.path for file in below) == sorted([str(expected), str(beside)])


HOME_FILES = {
    "roo-code": ".config/VSCodium/User/globalStorage/rooveterinaryinc.roo-cline/tasks/1/ui_messages.json",
    "kilo-code": ".config/VSCodium/User/globalStorage/kilocode.kilo-code/tasks/1/ui_messages.json",
    "ibm-bob": ".vscode-server/data/User/globalStorage/ibm.bob-code/tasks/1/ui_messages.json",
    "cline": ".config/Cursor/User/globalStorage/saoudrizwan.claude-dev/tasks/1/ui_messages.json",
    "cline-cli": ".cline/data/sessions/s/s.messages.json",
    "droid": ".factory/sessions/-home-ann/a.settings.json",
    "amp": ".local/share/amp/threads/T-1.json",
    "hermes": ".hermes/profiles/work/state.db",
    "forge": ".forge/.forge.db",
    "zed": ".var/app/dev.zed.Zed/data/zed/threads/threads.db",
    "mux": ".mux/sessions/ws/subagent-transcripts/child/chat.jsonl",
    "grok-build": ".grok/sessions/%2Fhome/5e55107a/updates.jsonl",
    "mistral-vibe": ".vibe/logs/session/session_1/agents/a/meta.json",
    "codebuff": ".config/manicode-dev/projects/shop/chats/2026-09-01T08-00-00.000Z/chat-messages.json",
}


@pytest.mark.parametrize(("source", "place"), HOME_FILES.items())
def test_a_file_in_its_place_is_found_and_known_also_by_its_name(source: str, place: str, tmp_path: Path) -> None:
    path = make_transcript(tmp_path / place)
    (found,) = discover(load_settings({"HOME": str(tmp_path)}).roots).files
    assert (found.path, found.layout.source) == (str(path), source)
    assert layout_of(str(path)).source == source


@pytest.mark.parametrize(
    ("variable", "place", "source"),
    [
        ("CLINE_DIR", "data/tasks/1/ui_messages.json", "cline"),
        ("CLINE_DATA_DIR", "sessions/s/s.messages.json", "cline-cli"),
        ("CLINE_SESSION_DATA_DIR", "s/s.messages.json", "cline-cli"),
        ("FACTORY_DIR", "sessions/a.settings.json", "droid"),
        ("AMP_DATA_DIR", "threads/T-1.json", "amp"),
        ("XDG_DATA_HOME", "amp/threads/T-1.json", "amp"),
        ("HERMES_HOME", "state.db", "hermes"),
        ("FORGE_CONFIG", ".forge.db", "forge"),
        ("XDG_DATA_HOME", "zed/threads/threads.db", "zed"),
        ("MUX_ROOT", "sessions/ws/chat.jsonl", "mux"),
        ("GROK_HOME", "sessions/x/y/updates.jsonl", "grok-build"),
        ("VIBE_HOME", "logs/session/session_1.json", "mistral-vibe"),
    ],
)
def test_a_variable_names_another_place(variable: str, place: str, source: str, tmp_path: Path) -> None:
    make_transcript(tmp_path / "other" / place)
    (found,) = discover(load_settings({"HOME": str(tmp_path / "home"), variable: str(tmp_path / "other")}).roots).files
    assert found.layout.source == source
