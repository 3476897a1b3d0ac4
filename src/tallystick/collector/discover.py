"""Where the transcripts lie: every file of a known source below the roots, each once, with what tells of a change.

On the road of every report, so it does no more than one scandir per folder and one stat per file.
"""
# pathlib takes three times as long over a few thousand files
# ruff: noqa: PTH112, PTH113, PTH116, PTH118, PTH119, PTH120

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from typing import NamedTuple

from tallystick.catalog import Layout, Root, layout_of
from tallystick.errors import ConfigError

PROJECTS_FOLDER = "projects"
# what SQLite has written and not yet put into the database itself
WRITE_AHEAD_SUFFIX = "-wal"


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
    layout: Layout


class Discovery(NamedTuple):
    """What a look at the roots found.

    `folders` are those in which a change may mean something, by their real paths: those that were looked into, and
    those of files to which links led. `linked` are the folders and files to which links led.
    """

    files: list[TranscriptFile]
    problems: list[Problem]
    folders: list[str]
    linked: list[Root]


def discover(roots: Iterable[Root]) -> Discovery:
    """Every file of its layout below each root.

    A root that is not there holds no transcripts, which is no problem: most machines have only few of all.
    """
    walk = _Walk()
    for root in roots:
        walk.add_root(str(root.path), root.layout)
    return walk.result()


def real_roots(roots: Iterable[Root]) -> list[Root]:
    """The same roots by their real paths."""
    return [Root(Path(os.path.realpath(root.path)), root.layout) for root in roots]


def discover_changed(paths: Iterable[str], roots: Iterable[Root]) -> Discovery:
    """What a look at the roots would find of files and folders that somebody says have changed.

    The roots are real ones, and what links led to is to be among them. A folder is looked through, because what is
    written into a new one at once is told of by nobody, and so is what a new link leads to.
    """
    walk = _Walk()
    places = [(str(root.path), root.layout) for root in roots]
    for path in {path.removesuffix(WRITE_AHEAD_SUFFIX) for path in paths}:
        real_path = os.path.realpath(path)
        named = os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))
        for folder, layout in places:
            try:
                if real_path == folder or real_path.startswith(folder + os.sep):
                    walk.add_changed(real_path, layout, depth=real_path.removeprefix(folder).count(os.sep))
                elif named != real_path and named.startswith(folder + os.sep):
                    walk.add_link(named, layout, depth=named.removeprefix(folder).count(os.sep))
            except OSError:
                break  # it went again; the next look at the roots has the last word
    return walk.result()


def discover_paths(paths: Iterable[Path], *, source: str | None = None) -> Discovery:
    """The same for files and folders that somebody named, of one source or of the one whose names they have.

    Raises ConfigError for one that cannot be looked at.
    """
    walk = _Walk()
    for path in paths:
        try:
            status = os.stat(path)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise ConfigError(f"cannot read {path}: {reason}", hint="Name a transcript or a folder of them.") from error
        if S_ISDIR(status.st_mode):
            projects = _projects_folder(str(path))
            walk.add_folder(projects if os.path.isdir(projects) else str(path), source)
        elif S_ISREG(status.st_mode):
            real_path = os.path.realpath(path)
            walk.add_file(real_path, status, layout_of(real_path, source))
        else:
            raise ConfigError(f"{path} is neither file nor folder", hint="Name a transcript or a folder of them.")
    return walk.result()


def _projects_folder(config_dir: str) -> str:
    if os.path.basename(os.path.normpath(config_dir)) == PROJECTS_FOLDER:
        return config_dir
    return os.path.join(config_dir, PROJECTS_FOLDER)


class _Walk:
    """One look at all roots. What is met twice, by a link or by a second root, is known by its device and inode.

    All paths are real ones, so that a file's path does not depend on the link by which it was met. A folder is walked
    for one layout, or for any of a source's, or of all, where somebody named it.
    """

    def __init__(self) -> None:
        self._files: dict[tuple[int, int], TranscriptFile] = {}
        self._folders: set[tuple[int, int, Layout | str | None]] = set()
        self._listed: dict[str, None] = {}
        self._linked: dict[Root, None] = {}
        self._problems: list[Problem] = []

    def result(self) -> Discovery:
        return Discovery(list(self._files.values()), self._problems, list(self._listed), list(self._linked))

    def add_file(self, path: str, status: os.stat_result, layout: Layout) -> None:
        identity = (status.st_dev, status.st_ino)
        size, mtime_ns = status.st_size, status.st_mtime_ns
        if layout.kind == "database":
            size, mtime_ns = _with_write_ahead(path, size, mtime_ns)
        file = TranscriptFile(path, *identity, size, mtime_ns, layout)
        known = self._files.setdefault(identity, file)
        # a file's name may decide between copies, so which of two hard links it is must not depend on the listing
        if path < known.path:
            self._files[identity] = file

    def add_changed(self, path: str, layout: Layout, *, depth: int) -> None:
        """A path that stands so many parts below its root."""
        status = os.stat(path)
        if S_ISDIR(status.st_mode):
            self.add_folder(path, layout, depth=depth)
            return
        # a root that is a file may have any name
        is_named_so = depth == 0 or (_is_near_enough(layout, depth) and layout.has(path.replace(os.sep, "/")))
        if S_ISREG(status.st_mode) and is_named_so:
            self.add_file(path, status, layout)

    def add_link(self, path: str, layout: Layout, *, depth: int) -> None:
        """What a link leads to that stands so many parts below its root."""
        below: list[str] = []
        if _is_near_enough(layout, depth):
            self._follow_link(path, below, layout)
        for folder in below:
            self.add_folder(folder, layout, depth=depth)

    def add_root(self, root: str, layout: Layout) -> None:
        try:
            os.lstat(root)
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            self._report(root, error)
            return
        if os.path.isfile(root):
            self._add_single_file(os.path.realpath(root), os.stat(root), layout)
        else:
            self.add_folder(root, layout)

    def add_folder(self, folder: str, wanted: Layout | str | None, *, depth: int = 0) -> None:
        pending = [os.path.realpath(folder)]
        levels = wanted.levels - depth if isinstance(wanted, Layout) and wanted.levels is not None else None
        while pending and (levels is None or levels >= 0):
            below: list[str] = []
            for each in pending:
                self._look_into(each, below, wanted)
            pending, levels = below, None if levels is None else levels - 1

    def _look_into(self, folder: str, below: list[str], wanted: Layout | str | None) -> None:
        try:
            status = os.stat(folder)
            identity = (status.st_dev, status.st_ino, wanted)
            if identity not in self._folders:
                self._folders.add(identity)
                self._list_folder(folder, below, wanted)
        except OSError as error:
            self._report(folder, error)

    def _list_folder(self, folder: str, below: list[str], wanted: Layout | str | None) -> None:
        with os.scandir(folder) as entries:
            self._listed[folder] = None
            for entry in entries:
                try:
                    if entry.is_symlink():
                        self._follow_link(entry.path, below, wanted)
                    elif entry.is_dir():
                        below.append(entry.path)
                    elif layout := _wanted_layout(entry.path, wanted):
                        status = entry.stat(follow_symlinks=False)
                        if S_ISREG(status.st_mode):
                            self.add_file(entry.path, status, layout)
                except OSError as error:
                    self._report(entry.path, error)

    def _follow_link(self, path: str, below: list[str], wanted: Layout | str | None) -> None:
        layout = _wanted_layout(path, wanted)
        if layout is None and not os.path.isdir(path):
            return
        status = os.stat(path)
        if S_ISDIR(status.st_mode):
            below.append(os.path.realpath(path))
            if isinstance(wanted, Layout) and wanted.levels is None:
                self._linked[Root(Path(below[-1]), wanted)] = None
        elif S_ISREG(status.st_mode) and layout is not None:
            real_path = os.path.realpath(path)
            self._add_single_file(real_path, status, layout)
            self._linked[Root(Path(real_path), layout)] = None

    def _add_single_file(self, path: str, status: os.stat_result, layout: Layout) -> None:
        """A file in a folder of others, which tells of its changes where it may be listed."""
        folder = os.path.dirname(path)
        if os.access(folder, os.R_OK):
            self._listed[folder] = None
        self.add_file(path, status, layout)

    def _report(self, path: str, error: OSError) -> None:
        self._problems.append(Problem(path, error.strerror or str(error)))


def _is_near_enough(layout: Layout, depth: int) -> bool:
    return layout.levels is None or depth - 1 <= layout.levels


def _wanted_layout(path: str, wanted: Layout | str | None) -> Layout | None:
    """The layout that a file met in a walk is of, None where it is not looked for."""
    if isinstance(wanted, Layout):
        return wanted if wanted.has(path) else None
    layout = layout_of(path, wanted)
    return layout if layout.has(path) else None


def _with_write_ahead(path: str, size: int, mtime_ns: int) -> tuple[int, int]:
    """What tells whether a database has changed: its own size and time alone do not."""
    try:
        status = os.stat(path + WRITE_AHEAD_SUFFIX)
    except OSError:
        return size, mtime_ns
    return size + status.st_size, max(mtime_ns, status.st_mtime_ns)
