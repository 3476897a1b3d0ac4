"""Where a run of the benchmarks happens: its folder, its corpus, and the ledgers it makes there."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from bench.make_corpus import CorpusPlan, make_corpus
from bench.timing import BenchError, Run, measure

REPOSITORY = Path(__file__).resolve().parent.parent
CORPUS_SEED = "7"


class TokenTotals(NamedTuple):
    """The four sums in which the truth, ccusage and the ledger can be compared."""

    input_tokens: int
    output_tokens: int
    cache_creation_tokens: int
    cache_read_tokens: int


class Corpus(NamedTuple):
    """Generated transcripts and what they truly hold; calls leaves out the all-zero lines of failed requests."""

    root: Path
    totals: TokenTotals
    call_count: int
    byte_count: int

    @property
    def claude_folder(self) -> Path:
        return self.root / ".claude"

    @property
    def projects_folder(self) -> Path:
        return self.claude_folder / "projects"


class Setting(NamedTuple):
    """What all measurements of one run share. database_url replaces the embedded server in rows on the bare ledger."""

    work_folder: Path
    corpus_bytes: int
    stored_events: int
    database_url: str | None

    def corpus(self) -> Corpus:
        """The corpus of this run, generated unless it stands in the work folder already."""
        root = self.work_folder / f"corpus-{self.corpus_bytes}-{CORPUS_SEED}"
        if not (root / "truth.json").exists():
            shutil.rmtree(root, ignore_errors=True)
            make_corpus(CorpusPlan(root, self.corpus_bytes, CORPUS_SEED))
        return read_corpus(root)

    def new_home(self, name: str) -> TallyHome:
        """An empty home for the product, in place of whatever a former run left there."""
        path = self.work_folder / f"home-{name}"
        if path.exists():
            TallyHome(path).stop()
            shutil.rmtree(path)
        path.mkdir(parents=True)
        return TallyHome(path)


def read_corpus(root: Path) -> Corpus:
    """A corpus as its generator describes it."""
    truth = json.loads((root / "truth.json").read_text())
    prompt, output, written_5m, written_1h, read, call_count = truth["totals"]
    synthetic = sum(cell[-1] for key, cell in truth["by_day_model"].items() if key.endswith("|<synthetic>"))
    totals = TokenTotals(prompt, output, written_5m + written_1h, read)
    return Corpus(root, totals, call_count - synthetic, truth["bytes"])


class TallyHome(NamedTuple):
    """The product with all its folders in one place, and its embedded server there."""

    path: Path

    def environment(self, corpus: Corpus | None = None) -> dict[str, str]:
        """Only what the product needs, so that no setting of the user's reaches a measurement."""
        folders = {"CLAUDE_CONFIG_DIR": str(corpus.claude_folder)} if corpus else {}
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.path),
            "TALLYSTICK_HOME": str(self.path),
            "TZ": "UTC",
            "LANG": "C.UTF-8",
            **folders,
        }

    def run(self, *arguments: str, corpus: Corpus | None = None) -> Run:
        return measure([tally_program(), *arguments], environment=self.environment(corpus))

    def start(self) -> None:
        """Start the embedded server and install the ledger, so that neither is a part of what is measured."""
        self.run("db", "start")
        self.run("db", "migrate")

    def stop(self) -> None:
        """Stop the server if it runs; a home that never had one is left as it is."""
        subprocess.run([tally_program(), "db", "stop"], env=self.environment(), check=False, capture_output=True)

    def url(self) -> str:
        """The superuser's connection to the embedded server."""
        return self.run("db", "url").output.decode().strip()

    def totals(self) -> TokenTotals:
        """What the ledger holds, by its own daily report."""
        totals = json.loads(self.run("daily", "--json", "--no-import").output)["totals"]
        return TokenTotals(*(totals[name] for name in TokenTotals._fields))


def tally_program() -> str:
    """The program as a user runs it, from the environment that runs this."""
    program = Path(sys.executable).with_name("tally")
    if not program.exists():
        raise BenchError(f"{program} is missing: install the project into this environment first")
    return str(program)
