"""The peer: ccusage's native binary, installed from npm with its hash, and what it reports."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path

from bench.setting import Corpus, TokenTotals
from bench.timing import BenchError, Run, measure

PACKAGE_FILES = ("package.json", "package-lock.json")
BINARY = "node_modules/@ccusage/ccusage-linux-x64/bin/ccusage"
REPORT = ("claude", "daily", "--json", "--offline")
COUNT_NAMES = ("inputTokens", "outputTokens", "cacheCreationTokens", "cacheReadTokens")


def install_ccusage(work_folder: Path) -> Path:
    """The binary, from npm unless it is in the work folder already."""
    folder = work_folder / "ccusage"
    binary = folder / BINARY
    if is_installed(folder) and binary.exists():
        return binary
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        raise BenchError("the lock file pins ccusage's binary for Linux on x86_64 only: run the benchmarks there")
    folder.mkdir(parents=True, exist_ok=True)
    for name in PACKAGE_FILES:
        shutil.copy(Path(__file__).with_name(name), folder / name)
    command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    finished = subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True)
    if finished.returncode != 0:
        raise BenchError(f"npm could not install ccusage:\n{finished.stderr}")
    # Its launcher package would set the mode; only the binary is installed here.
    binary.chmod(0o755)
    return binary


def is_installed(folder: Path) -> bool:
    """Whether what stands in the folder was installed by the lock file of today."""
    lock = folder / PACKAGE_FILES[1]
    return lock.exists() and lock.read_bytes() == Path(__file__).with_name(PACKAGE_FILES[1]).read_bytes()


def run_ccusage(binary: Path, corpus: Corpus) -> Run:
    """One daily report over the corpus, with an empty home: no cache, no prices from the network."""
    with tempfile.TemporaryDirectory() as home:
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": home,
            "CLAUDE_CONFIG_DIR": str(corpus.claude_folder),
            "TZ": "UTC",
        }
        return measure([str(binary), *REPORT], environment=environment)


def read_totals(run: Run) -> TokenTotals:
    """The four sums of a report."""
    totals = json.loads(run.output)["totals"]
    return TokenTotals(*(totals[name] for name in COUNT_NAMES))
