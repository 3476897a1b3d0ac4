"""Disks that a test may fill: a small file system of the test's own, and where only root could make one, a limit."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
from collections.abc import Iterable
from pathlib import Path

CHUNK = bytes(1 << 20)


class Disk:
    """The file system below a folder. Without root's rights, `fill` forbids processes to write instead."""

    def __init__(self, folder: Path, *, megabytes: int) -> None:
        folder.mkdir(parents=True)
        self.folder = folder
        self.is_own = os.geteuid() == 0 and self._mount(megabytes)
        self._ballast = folder.with_name(f"{folder.name}.ballast") if not self.is_own else folder / "ballast"
        self._limited: list[int] = []
        self.is_full = False

    def fill(self, processes: Iterable[int]) -> None:
        """No more room for anybody; `processes` are those who write here."""
        self.is_full = True
        if not self.is_own:
            self._limited = list(processes)
            self._limit(0)
            return
        with self._ballast.open("wb", buffering=0) as file:
            size = len(CHUNK)
            while size:
                try:
                    file.write(CHUNK[:size])
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise
                    size //= 2

    def free(self) -> None:
        self._limit(resource.RLIM_INFINITY)
        self._limited, self.is_full = [], False
        self._ballast.unlink(missing_ok=True)

    def remove(self) -> None:
        if self.is_own:
            subprocess.run(["umount", "--lazy", self.folder], check=True)

    def _mount(self, megabytes: int) -> bool:
        options = f"size={megabytes}m,mode=0700"
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(self.folder)]
        return subprocess.run(command, stderr=subprocess.DEVNULL, check=False).returncode == 0

    def _limit(self, size: int) -> None:
        for process in self._limited:
            try:
                resource.prlimit(process, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
            except ProcessLookupError:
                continue  # it ended by itself
