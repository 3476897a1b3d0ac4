"""The project of a working directory: real repositories, worktrees and submodules made by git itself."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick.collector.project import MAX_PROJECT_BYTES, ProjectResolver, namer_of
from tallystick.config import Settings, load_settings


def git(folder: Path, *arguments: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    settings = ("user.name=x", "user.email=x@example.org", "protocol.file.allow=always", "init.defaultBranch=main")
    options = [part for setting in settings for part in ("-c", setting)]
    environment = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    subprocess.run(["git", *options, *arguments], cwd=folder, check=True, capture_output=True, env=environment)


def make_repository(folder: Path) -> Path:
    git(folder, "init")
    git(folder, "commit", "--allow-empty", "-m", "first")
    return folder


def make_folder(folder: Path) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    return str(folder)


def project_of(working_directory: str | Path) -> str:
    return ProjectResolver({}).resolve(str(working_directory))


def test_the_root_of_the_repository_is_the_project_of_every_folder_in_it(tmp_path: Path) -> None:
    root = make_repository(tmp_path / "repo")
    assert project_of(root) == str(root)
    assert project_of(make_folder(root / "src" / "deep")) == str(root)
    assert project_of(f"{root}/src/") == str(root)


def test_a_repository_inside_another_is_its_own_project(tmp_path: Path) -> None:
    inner = make_repository(make_repository(tmp_path / "outer") / "vendor" / "inner")
    assert project_of(make_folder(inner / "src")) == str(inner)


def test_without_a_repository_the_folder_itself_is_the_project(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "plain")
    assert project_of(folder) == folder
    assert project_of(folder + "/") == folder
    assert project_of("/") == "/"


def test_a_worktree_belongs_to_the_main_repository(tmp_path: Path) -> None:
    root = make_repository(tmp_path / "repo")
    git(root, "worktree", "add", str(tmp_path / "elsewhere" / "tree"))
    assert project_of(make_folder(tmp_path / "elsewhere" / "tree" / "src")) == str(root)


def test_a_worktree_that_names_its_repository_by_a_relative_path_belongs_to_it_too(tmp_path: Path) -> None:
    root = make_repository(tmp_path / "repo")
    git(root, "worktree", "add", str(tmp_path / "tree"))
    (tmp_path / "tree" / ".git").write_text("gitdir: ../repo/.git/worktrees/tree\n")
    assert project_of(tmp_path / "tree") == str(root)


def test_a_worktree_of_a_bare_repository_belongs_to_it(tmp_path: Path) -> None:
    make_repository(tmp_path / "repo")
    git(tmp_path, "clone", "--bare", "repo", "shared.git")
    git(tmp_path / "shared.git", "worktree", "add", str(tmp_path / "tree"))
    assert project_of(tmp_path / "tree") == str(tmp_path / "shared.git")


def test_a_bare_repository_hidden_among_its_worktrees_stands_for_their_folder(tmp_path: Path) -> None:
    make_repository(tmp_path / "repo")
    git(tmp_path / "work", "clone", "--bare", str(tmp_path / "repo"), ".bare")
    (tmp_path / "work" / ".git").write_text("gitdir: ./.bare\n")
    git(tmp_path / "work" / ".bare", "worktree", "add", str(tmp_path / "work" / "feature"))
    assert project_of(tmp_path / "work") == str(tmp_path / "work")
    assert project_of(tmp_path / "work" / "feature") == str(tmp_path / "work")


def test_a_submodule_is_its_own_project(tmp_path: Path) -> None:
    part = make_repository(tmp_path / "part")
    root = make_repository(tmp_path / "repo")
    git(root, "submodule", "add", str(part), "libs/part")
    assert (root / "libs" / "part" / ".git").is_file()
    assert project_of(make_folder(root / "libs" / "part" / "src")) == str(root / "libs" / "part")


def test_a_worktree_of_a_submodule_is_its_own_project(tmp_path: Path) -> None:
    root = make_repository(tmp_path / "repo")
    git(root, "submodule", "add", str(make_repository(tmp_path / "part")), "part")
    git(root / "part", "worktree", "add", str(tmp_path / "tree"))
    assert project_of(tmp_path / "tree") == str(tmp_path / "tree")


def test_a_repository_kept_elsewhere_leaves_its_folder_the_project(tmp_path: Path) -> None:
    git(tmp_path / "work", "init", "--separate-git-dir", str(tmp_path / "kept.git"))
    assert project_of(make_folder(tmp_path / "work" / "src")) == str(tmp_path / "work")


def test_a_folder_that_is_gone_belongs_to_what_stands_above_it(tmp_path: Path) -> None:
    root = make_repository(tmp_path / "repo")
    assert project_of(root / ".claude" / "worktrees" / "gone" / "src") == str(root)


@pytest.mark.parametrize("content", ["", "nonsense", "gitdir:", "gitdir: \n", "\0\xff"])
def test_a_marker_that_says_nothing_marks_no_repository(tmp_path: Path, content: str) -> None:
    root = make_repository(tmp_path / "repo")
    folder = make_folder(root / "src")
    (root / "src" / ".git").write_text(content)
    assert project_of(folder) == str(root)


def test_an_empty_folder_named_like_a_repository_is_none(tmp_path: Path) -> None:
    make_folder(tmp_path / "plain" / ".git")
    assert project_of(make_folder(tmp_path / "plain" / "src")) == str(tmp_path / "plain" / "src")


def test_a_marker_that_is_a_pipe_does_not_hold_us_up(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / ".git")
    assert project_of(tmp_path) == str(tmp_path)


@pytest.mark.parametrize(
    ("written", "project"),
    [
        (r"C:\Users\me\repo", "c:/Users/me/repo"),
        (r"d:\Repo", "d:/Repo"),
        ("E:/Mixed/Slashes", "e:/Mixed/Slashes"),
        (r"\\server\share\repo", "//server/share/repo"),
    ],
)
def test_a_windows_path_has_one_spelling(written: str, project: str) -> None:
    assert project_of(written) == project


def test_a_backslash_in_a_name_stays_where_it_is_no_windows_path(tmp_path: Path) -> None:
    assert project_of(make_folder(tmp_path / "a\\b")) == f"{tmp_path}/a\\b"


@pytest.mark.parametrize("name", ["", "relative", "."])
def test_a_path_that_is_not_absolute_does_not_depend_on_where_we_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(make_repository(tmp_path / "repo"))
    assert project_of(name) == name


def test_a_known_answer_holds_even_when_the_repository_is_gone() -> None:
    resolver = ProjectResolver({"/was/here": "/was"})
    assert resolver.resolve("/was/here") == "/was"
    assert resolver.take_resolved() == {}


def test_what_was_looked_up_is_handed_over_once(tmp_path: Path) -> None:
    resolver = ProjectResolver({})
    folder = make_folder(tmp_path / "plain")
    assert [resolver.resolve(folder), resolver.resolve(folder)] == [folder, folder]
    assert resolver.take_resolved() == {folder: folder}
    assert resolver.take_resolved() == {}


def test_an_answer_stays_while_the_program_runs(tmp_path: Path) -> None:
    resolver = ProjectResolver({})
    folder = make_folder(tmp_path / "plain")
    resolver.resolve(folder)
    git(tmp_path / "plain", "init")
    assert resolver.resolve(folder) == folder


def test_a_path_too_long_for_a_label_stays_one_project_of_its_own() -> None:
    long = ["/" + "ä" * 200 + "/" + "x" * 200 + ending for ending in ("/a", "/b")]
    projects = [project_of(path) for path in long]
    assert all(len(project.encode()) <= MAX_PROJECT_BYTES for project in projects)
    assert projects[0] != projects[1]
    assert projects == [project_of(path) for path in long]


@given(st.text())
def test_whatever_a_record_names_gives_a_label_that_can_be_stored(working_directory: str) -> None:
    resolver = ProjectResolver({})
    for path in (working_directory, "/" + working_directory, "/\ud800" + working_directory):
        label = resolver.resolve(path).encode()
        assert len(label) <= MAX_PROJECT_BYTES
        assert b"\x00" not in label
    for folder in resolver.take_resolved():
        folder.encode()


# -- what a project is called in the ledger


def settings_with(home: Path, project_names: str) -> Settings:
    config = home / "config" / "config.toml"
    config.parent.mkdir(parents=True, exist_ok=True)
    config.write_text(f'project_names = "{project_names}"\n')
    return load_settings({"HOME": str(home), "TALLYSTICK_HOME": str(home)})


def test_a_project_is_called_by_its_path_its_last_part_or_a_hash(tmp_path: Path) -> None:
    names = {}
    for mode in ("path", "name", "hash"):
        name = namer_of(settings_with(tmp_path, mode))
        names[mode] = [name(project) for project in ("/home/ann/shop", "c:/work/shop", "shop", "")]
    assert names["path"] == ["/home/ann/shop", "c:/work/shop", "shop", ""]
    assert names["name"] == ["shop", "shop", "shop", ""]
    assert [name.partition("-")[0] for name in names["hash"]] == ["project"] * 3 + [""]
    assert len(set(names["hash"])) == 4
    assert not any("shop" in name for name in names["hash"])


def test_a_hash_is_the_same_again_and_another_under_another_secret(tmp_path: Path) -> None:
    one, other = (settings_with(tmp_path / place, "hash") for place in ("one", "other"))
    assert namer_of(one)("/home/ann/shop") == namer_of(one)("/home/ann/shop")
    assert namer_of(one)("/home/ann/shop") != namer_of(other)("/home/ann/shop")
    assert (one.config_dir / "project_secret").stat().st_mode & 0o777 == 0o600


def test_the_checkpoints_keep_paths_whatever_projects_are_called(tmp_path: Path) -> None:
    resolver = ProjectResolver({"/was/here": "/was"}, name=namer_of(settings_with(tmp_path, "name")))
    assert [resolver.resolve(folder) for folder in ("/was/here", "/nowhere/at/all", "")] == ["was", "all", ""]
    assert resolver.take_resolved() == {"/nowhere/at/all": "/nowhere/at/all", "": ""}
