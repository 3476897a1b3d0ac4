"""Where the transcripts lie: every `*.jsonl` file below the roots, each once, with what tells whether it has changed.

On the road of every report, so it does no more than one scandir per folder and one stat per file.
"""
# pathlib takes three times as long over a few thousand files
# ruff: noqa: PTH112, PTH116, PTH118, PTH119

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from typing import NamedTuple

from tallystick.errors import ConfigError

PROJECTS_FOLDER = "projects"
TRANSCRIPT_SUFFIX = ".jsonl"


class Problem(NamedTuple):
    """A file or folder that was skipped, and why."""

    path: str
    reason: str


class TranscriptFile(NamedTuple):
    """One file as it stood when it was listed, by its real path."""

    path: str
    device: int
    inode: int
    size: int
    mtime_ns: int

    @property
    def path_below_projects(self) -> str:
        """What stands behind the last `projects` folder of the path, or all of it where there is none."""
        path = self.path.replace(os.sep, "/")
        return path.rpartition(f"/{PROJECTS_FOLDER}/")[2]


class Discovery(NamedTuple):
    """What a look at the roots found."""

    files: list[TranscriptFile]
    problems: list[Problem]


def discover(config_dirs: Iterable[Path]) -> Discovery:
    """Every transcript below the `projects` folder of each directory; one that is such a folder itself will do.

    A directory without one holds no transcripts, which is no problem: most machines have only one of several.
    """
    walk = _Walk()
    for config_dir in config_dirs:
        walk.add_root(_projects_folder(str(config_dir)))
    return walk.result()


def discover_paths(paths: Iterable[Path]) -> Discovery:
    """The same for files and folders that somebody named; raises ConfigError for one that cannot be looked at."""
    walk = _Walk()
    for path in paths:
        try:
            status = os.stat(path)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise ConfigError(f"cannot read {path}: {reason}", hint="Name a transcript or a folder of them.") from error
        if S_ISDIR(status.st_mode):
            projects = _projects_folder(str(path))
            walk.add_folder(projects if os.path.isdir(projects) else str(path))
        elif S_ISREG(status.st_mode):
            walk.add_file(os.path.realpath(path), status)
        else:
            raise ConfigError(f"{path} is neither file nor folder", hint="Name a transcript or a folder of them.")
    return walk.result()


def _projects_folder(config_dir: str) -> str:
    if os.path.basename(os.path.normpath(config_dir)) == PROJECTS_FOLDER:
        return config_dir
    return os.path.join(config_dir, PROJECTS_FOLDER)


class _Walk:
    """One look at all roots. What is met twice, by a link or by a second root, is known by its device and inode.

    All paths are real ones, so that a file's path does not depend on the link by which it was met.
    """

    def __init__(self) -> None:
        self._files: dict[tuple[int, int], TranscriptFile] = {}
        self._folders: set[tuple[int, int]] = set()
        self._problems: list[Problem] = []

    def result(self) -> Discovery:
        return Discovery(list(self._files.values()), self._problems)

    def add_file(self, path: str, status: os.stat_result) -> None:
        identity = (status.st_dev, status.st_ino)
        file = TranscriptFile(path, *identity, status.st_size, status.st_mtime_ns)
        known = self._files.setdefault(identity, file)
        # a file's name may decide between copies, so which of two hard links it is must not depend on the listing
        if path < known.path:
            self._files[identity] = file

    def add_root(self, root: str) -> None:
        try:
            os.lstat(root)
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            self._report(root, error)
        else:
            self.add_folder(root)

    def add_folder(self, folder: str) -> None:
        pending = [os.path.realpath(folder)]
        while pending:
            folder = pending.pop()
            try:
                status = os.stat(folder)
                identity = (status.st_dev, status.st_ino)
                if identity not in self._folders:
                    self._folders.add(identity)
                    self._list_folder(folder, pending)
            except OSError as error:
                self._report(folder, error)

    def _list_folder(self, folder: str, pending: list[str]) -> None:
        with os.scandir(folder) as entries:
            for entry in entries:
                try:
                    if entry.is_symlink():
                        self._follow_link(entry.path, pending)
                    elif entry.is_dir():
                        pending.append(entry.path)
                    elif entry.name.endswith(TRANSCRIPT_SUFFIX):
                        status = entry.stat(follow_symlinks=False)
                        if S_ISREG(status.st_mode):
                            self.add_file(entry.path, status)
                except OSError as error:
                    self._report(entry.path, error)

    def _follow_link(self, path: str, pending: list[str]) -> None:
        is_transcript = path.endswith(TRANSCRIPT_SUFFIX)
        if not is_transcript and not os.path.isdir(path):
            return
        status = os.stat(path)
        if S_ISDIR(status.st_mode):
            pending.append(os.path.realpath(path))
        elif S_ISREG(status.st_mode) and is_transcript:
            self.add_file(os.path.realpath(path), status)

    def _report(self, path: str, error: OSError) -> None:
        self._problems.append(Problem(path, error.strerror or str(error)))
