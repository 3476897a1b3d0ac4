"""Which project a working directory belongs to: the root of its repository, and of the main one for a git worktree.

Git's own rule is kept to the letter, so with a repository in the home directory every folder below that has none of its
own belongs to it. A directory that is gone belongs to what stands above it, as does a worktree that an agent removed.
"""

# pathlib cannot name a directory that holds what no file system takes
# ruff: noqa: PTH116, PTH117, PTH118, PTH119, PTH120, PTH123

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Mapping
from functools import partial
from hashlib import blake2b

from tallystick.config import Settings, load_project_secret

MAX_LEVELS = 64
MAX_GITDIR_FILE_BYTES = 8192
# what the ledger takes for a label; a longer path keeps its beginning and stays one project
MAX_PROJECT_BYTES = 500
DIGEST_BYTES = 8

_WINDOWS_PATH = re.compile(r"[A-Za-z]:[\\/]|\\\\")
_WORKTREE = re.compile(r"(?P<common>.+)/worktrees/[^/]+/?")


def namer_of(settings: Settings) -> Callable[[str], str]:
    """How the settings want projects to be called in the ledger: by their path, its last part, or a keyed hash.

    The hash is the same on every machine that has the same project_secret, and tells nobody else anything.
    """
    if settings.project_names == "name":
        return _last_part
    if settings.project_names == "hash":
        return partial(_hashed, secret=load_project_secret(settings).encode())
    return str


def _last_part(project: str) -> str:
    return project.rstrip("/").rpartition("/")[2] or project


def _hashed(project: str, *, secret: bytes) -> str:
    return "project-" + blake2b(project.encode(), key=secret, digest_size=DIGEST_BYTES).hexdigest() if project else ""


class ProjectResolver:
    """Working directory -> project, each looked up once; what is kept are paths, whatever `name` makes of them."""

    def __init__(self, known: Mapping[str, str], *, name: Callable[[str], str] = str) -> None:
        self._known = dict(known)
        self._name = name
        self._names: dict[str, str] = {}
        self._resolved: dict[str, str] = {}
        self._root_by_folder: dict[str, str | None] = {}

    def resolve(self, working_directory: str) -> str:
        """The project of a working directory as a record names it; never raises, '' stays ''."""
        name = self._names.get(working_directory)
        if name is None:
            project = self._known.get(working_directory)
            if project is None:
                project = _label(_uniform(self._find_root(working_directory)))
                self._known[working_directory] = self._resolved[working_directory] = project
            name = self._names[working_directory] = self._name(project)
        return name

    def take_resolved(self) -> dict[str, str]:
        """What was looked up since the last time this was asked, to be kept for later runs."""
        resolved, self._resolved = self._resolved, {}
        # half a surrogate pair can be kept nowhere
        return {folder: project for folder, project in resolved.items() if folder.isascii() or folder.isprintable()}

    def _find_root(self, working_directory: str) -> str:
        if not os.path.isabs(working_directory):
            return working_directory
        start = folder = working_directory.rstrip(os.sep) or os.sep
        passed: list[str] = []
        root: str | None = None
        for _ in range(MAX_LEVELS):
            if folder in self._root_by_folder:
                root = self._root_by_folder[folder]
                break
            passed.append(folder)
            root = _repository_root(folder)
            above = os.path.dirname(folder)
            if root is not None or above == folder:
                break
            folder = above
        self._root_by_folder.update(dict.fromkeys(passed, root))
        return start if root is None else root


def _repository_root(folder: str) -> str | None:
    """The project whose root this folder is, None where it holds no repository."""
    marker = os.path.join(folder, ".git")
    try:
        mode = os.stat(marker).st_mode
        if stat.S_ISDIR(mode):
            return folder if os.path.lexists(os.path.join(marker, "HEAD")) else None
        if not stat.S_ISREG(mode):
            return None
        with open(marker, "rb") as file:
            text = file.read(MAX_GITDIR_FILE_BYTES).decode("utf-8", "replace")
    except (OSError, ValueError):
        return None
    name, _, gitdir = text.partition(":")
    if name != "gitdir" or not gitdir.strip():
        return None
    return _main_root(folder, os.path.normpath(os.path.join(folder, gitdir.strip())))


def _main_root(folder: str, gitdir: str) -> str:
    """The main repository's root for a worktree; for a submodule, or a repository kept elsewhere, the folder itself."""
    worktree = _WORKTREE.fullmatch(gitdir.replace(os.sep, "/"))
    if worktree is None or "/.git/modules" in worktree["common"]:
        return folder
    common = worktree["common"]
    # without a working tree of its own a repository is named by itself, unless it hides in the folder of its worktrees
    return os.path.dirname(common) if os.path.basename(common).startswith(".") else common


def _uniform(path: str) -> str:
    """One spelling for a Windows path, wherever it is read: '/' between the parts, the drive's letter small."""
    if _WINDOWS_PATH.match(path) is None:
        return path
    path = path.replace("\\", "/")
    return path[0].lower() + path[1:] if path[1] == ":" else path


def _label(project: str) -> str:
    """The path as Postgres takes it: no NUL, no lone surrogate, no longer than a label may be."""
    encoded = project.replace("\x00", "").encode("utf-8", "replace")
    if len(encoded) <= MAX_PROJECT_BYTES:
        return encoded.decode()
    digest = blake2b(encoded, digest_size=DIGEST_BYTES).hexdigest()
    kept = encoded[: MAX_PROJECT_BYTES - len(digest) - len("~")].decode("utf-8", "ignore")
    return f"{kept}~{digest}"
