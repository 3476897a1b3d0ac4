"""Programs of Postgres, run to their end or ended with us."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest

from tallystick.embedded_cluster import _told_by


class InterruptedAtItsEnd(subprocess.Popen[str]):
    """A process whose end and a Ctrl-C come at once."""

    is_interrupted = False

    def communicate(self, *arguments: Any, **options: Any) -> Any:
        told = super().communicate(*arguments, **options)
        if not self.is_interrupted:
            self.is_interrupted = True
            raise KeyboardInterrupt
        return told


def test_a_ctrl_c_that_meets_the_end_of_a_program_is_a_ctrl_c() -> None:
    process = InterruptedAtItsEnd(["true"], stdin=-1, stdout=-1, stderr=-1, text=True, start_new_session=True)
    with pytest.raises(KeyboardInterrupt):
        _told_by(process, name="true", stdin="", limit_seconds=10)
