"""How fast transcripts are read and parsed, without a ledger, and in how much memory."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from bench.ccusage import install_ccusage, run_ccusage
from bench.results import Result, at_most, equal, memory_at_most
from bench.setting import REPOSITORY, Corpus, Setting, TokenTotals
from bench.timing import Run, compare, measure

MOST_OF_CCUSAGE = 0.45
CORPUS_MEMORY_MIB = 100
BIG_FILE_BYTES = 700_000_000
BIG_FILE_MEMORY_MIB = 150


def measure_reading(setting: Setting) -> Iterator[Result]:
    """The corpus against ccusage, process start included, and what it adds up to."""
    corpus = setting.corpus()
    binary = install_ccusage(setting.work_folder)
    ours = [parse(corpus.claude_folder)]
    theirs = [run_ccusage(binary, corpus)]

    def our_seconds() -> float:
        ours.append(parse(corpus.claude_folder))
        return ours[-1].wall_seconds

    def their_seconds() -> float:
        theirs.append(run_ccusage(binary, corpus))
        return theirs[-1].wall_seconds

    pairs = compare(our_seconds, their_seconds)
    note = f" ({pairs.ours_seconds:.2f} s of {pairs.theirs_seconds:.2f} s)"
    yield at_most("parsing the corpus, of ccusage's time", pairs.ratio, MOST_OF_CCUSAGE, note=note)
    yield memory_at_most("parsing the corpus, largest process", max(run.peak_bytes for run in ours), CORPUS_MEMORY_MIB)
    totals = json.loads(ours[0].output)
    call_count = totals.pop("call_count")
    yield equal("token totals and calls, beside the truth", (TokenTotals(**totals), call_count), truth_of(corpus))


def measure_big_file(setting: Setting) -> Iterator[Result]:
    """One transcript that no process may hold in memory: parsed, and taken into a ledger."""
    corpus = setting.corpus()
    folder = setting.work_folder / "big-file"
    claude_folder = folder / ".claude"
    write_big_file(claude_folder / "projects" / "-home-dev-work-atlas" / "big.jsonl", corpus)
    try:
        parsed = parse(claude_folder)
        yield memory_at_most("parsing one 700 MB file, largest process", parsed.peak_bytes, BIG_FILE_MEMORY_MIB)
        home = setting.new_home("big-file")
        home.start()
        try:
            taken = home.run("import", corpus=corpus._replace(root=folder))
        finally:
            home.stop()
            shutil.rmtree(home.path)
        yield memory_at_most("importing one 700 MB file, largest process", taken.peak_bytes, BIG_FILE_MEMORY_MIB)
    finally:
        shutil.rmtree(folder)


def parse(claude_folder: Path) -> Run:
    return measure([sys.executable, "-m", "bench.parse_only", str(claude_folder)], folder=REPOSITORY)


def truth_of(corpus: Corpus) -> tuple[TokenTotals, int]:
    return corpus.totals, corpus.call_count


def write_big_file(path: Path, corpus: Corpus) -> None:
    """One file of whole lines from the corpus's sessions, as many times over as it takes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    sessions = sorted(corpus.projects_folder.glob("*/*.jsonl"))
    with path.open("wb") as file:
        while file.tell() < BIG_FILE_BYTES:
            for session in sessions:
                content = session.read_bytes()
                file.write(content[: content.rfind(b"\n") + 1])
                if file.tell() >= BIG_FILE_BYTES:
                    break
