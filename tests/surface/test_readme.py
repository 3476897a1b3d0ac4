"""The README's commands run as they stand there."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
# these go on until they are ended
ENDLESS = {"up", "watch"}
COMMANDS = [command for command in re.findall(r"^\$ tally (.*)$", README, flags=re.MULTILINE) if command not in ENDLESS]
# nothing follows where the README is tried
EXIT_CODES = {"status": 3}


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment of somebody who follows the README: an own home with a few transcripts in it."""
    folder = tmp_path_factory.mktemp("reader")
    subprocess.run(
        [sys.executable, "-m", "bench.make_corpus", str(folder), "--bytes", "1m", "--days", "5"],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    environ = {"PATH": os.environ["PATH"], "HOME": str(folder), "LANG": "C.UTF-8"}
    run_tally("db start", environ, folder)
    yield environ
    run_tally("db stop", environ, folder)


def run_tally(command: str, environ: dict[str, str], folder: Path) -> str:
    process = subprocess.run(
        [sys.executable, "-m", "tallystick", *shlex.split(command)],
        env=environ,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert process.returncode == EXIT_CODES.get(command, 0), process.stderr
    return process.stdout


def test_the_readme_shows_both_commands_of_a_fresh_machine() -> None:
    assert "make run" in README
    assert "make test" in README
    assert len(COMMANDS) > 12


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_the_readme_runs(command: str, reader: dict[str, str]) -> None:
    assert run_tally(command, reader, Path(reader["HOME"])).strip()


def test_up_imports_and_serves_until_it_is_ended(reader: dict[str, str]) -> None:
    assert "$ tally up\n" in README
    with subprocess.Popen(
        [sys.executable, "-m", "tallystick", "up", "--port", "0"], env=reader, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        lines = iter(process.stdout.readline, "")
        address = next(line.split()[1] for line in lines if line.startswith("Serving http://127.0.0.1:"))
        with pytest.raises(HTTPError) as refusal:
            urlopen(f"{address}/daily", timeout=30)
        refusal.value.close()
        assert refusal.value.code == 401
        process.terminate()
        assert process.wait(timeout=60) == 0


@pytest.mark.parametrize("target", re.findall(r"\]\(([^)#]+)\)", README))
def test_a_link_of_the_readme_leads_somewhere(target: str) -> None:
    assert (ROOT / target).exists()
