"""The files of a home as agents leave them, whole and broken, and aside all that was ever completely written."""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path


class Files:
    """Writes into `live` as agents do, and keeps aside what it wrote, where nothing is ever taken back.

    A file that is begun anew, by a cut, a deletion or a shorter document, is another one aside: below a folder of its
    own with its path as it was, because a file's name may count. What is half written is written to the end before
    anything else happens to its file, so that aside it can stand whole at once.
    """

    def __init__(self, live: Path, aside: Path, random_: random.Random) -> None:
        self.live, self.aside = live, aside
        self.halves = 0
        self._random = random_
        self._numbers: dict[str, int] = {}
        self._rest: dict[str, bytes] = {}

    @property
    def asides(self) -> list[Path]:
        """The homes that hold everything between them."""
        return sorted(self.aside.iterdir(), key=lambda folder: int(folder.name))

    def path(self, place: str) -> Path:
        path = self.live / place
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def path_aside(self, place: str) -> Path:
        path = self.aside / str(self._numbers.setdefault(place, 0)) / place
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def append(self, place: str, content: bytes, *, is_halved: bool = False) -> None:
        self.finish(place)
        with self.path_aside(place).open("ab") as file:
            file.write(content)
        with self.path(place).open("ab") as file:
            file.write(self._halved(place, content) if is_halved else content)

    def rewrite(self, place: str, content: bytes, *, is_halved: bool = False) -> None:
        """A document anew: beside itself and moved over, or in place, which is seen half done for a while."""
        self.finish(place)
        self.path_aside(place).write_bytes(content)
        if is_halved or self._random.random() < 0.5:
            self.path(place).write_bytes(self._halved(place, content) if is_halved else content)
        else:
            beside = self.path(place).with_suffix(".tmp")
            beside.write_bytes(content)
            beside.replace(self.path(place))

    def finish(self, place: str) -> None:
        if rest := self._rest.pop(place, b""):
            with self.path(place).open("ab") as file:
                file.write(rest)

    def finish_all(self) -> None:
        for place in list(self._rest):
            self.finish(place)

    def truncate(self, place: str, size: int) -> None:
        """Cut a file off; what stands behind is lost to all who have not read it."""
        self.finish(place)
        kept = self.path(place).read_bytes()[:size]
        os.truncate(self.path(place), size)
        self.begin_anew(place)
        self.path_aside(place).write_bytes(kept)

    def move(self, place: str, other: str) -> None:
        self.finish(place)
        self.path(place).rename(self.path(other))
        moved = self.path_aside(place)
        self._numbers[other] = self._numbers[place]
        # both, because it may have been read under either name
        shutil.copyfile(moved, self.path_aside(other))
        self.begin_anew(place)

    def delete(self, place: str) -> None:
        self.finish(place)
        self.path(place).unlink()
        self.begin_anew(place)

    def begin_anew(self, place: str) -> None:
        """What comes under this name is another file aside."""
        self._numbers[place] = self._numbers.get(place, 0) + 1

    def _halved(self, place: str, content: bytes) -> bytes:
        self.halves += 1
        cut = self._random.randrange(1, len(content))
        self._rest[place] = content[cut:]
        return content[:cut]
