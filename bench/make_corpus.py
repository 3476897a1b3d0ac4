"""A deterministic generator of Claude Code transcripts: the same arguments give the same bytes.

    python -m bench.make_corpus OUT --bytes 1g [--seed 7] [--sessions N] [--projects 40] [--days 90] [--jobs 2]

It writes OUT/.claude/projects/<project>/<session>.jsonl with the agents' files beside or below, and OUT/truth.json:
what the generator knows that it wrote, one entry per call, whatever number of lines, files or replays carries it.
"""

from __future__ import annotations

import argparse
import bisect
import json
import os
import random
import time
from collections.abc import Iterable
from multiprocessing import Pool
from pathlib import Path
from typing import NamedTuple

from bench.corpus_lines import VERSIONS
from bench.corpus_session import draw_torn_line, tail_of, write_session
from bench.corpus_text import make_blob, make_pool
from bench.corpus_transcript import Call, SessionPlan, Transcript

DAY_SECONDS = 86400
# 2026-11-20T00:00:00Z, the end of the last day.
LAST_DAY_ENDS_AT = 1795132800
SESSIONS_PER_GIB = 1500
MIN_SESSIONS = 24
MAX_RESUMED_BYTES = 600_000
MIN_RESUMING_BYTES = 20_000
UNITS = {"k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
MODEL_WEIGHTS = {
    "claude-opus-4-5-20251101": 3,
    "claude-sonnet-4-5-20250929": 4,
    "claude-haiku-4-5-20251001": 2,
    "claude-opus-4-6": 3,
    "claude-sonnet-4-20250514": 1,
}
PROJECT_LIST = (
    "atlas billing-api checkout cli-tools console data-sync docs edge-proxy etl fleet gateway graph-ui ingest k8s-ops "
    "ledger mobile notebooks ops-bot payments pricing query-engine reports rollups scheduler search-svc site sdk-py "
    "sdk-ts signup status-page sync-agent telemetry terraform token-meter ui-kit vault warehouse webhooks worker-pool "
    "zine"
)
# The share of files at or below a size: the real profile that ccusage publishes with its own benchmark fixture
# (3,142 files, 1,239 MiB), used here as numbers only.
SIZE_SHARES = (0.0, 0.5, 0.75, 0.9, 0.95, 0.99, 1.0)
SIZES_BYTES = (236.0, 105267.0, 233572.0, 653972.0, 1504757.0, 5383751.0, 30000000.0)
TRUTH_FIELDS = ("input", "output", "cache_5m", "cache_1h", "cache_read", "calls")


class CorpusPlan(NamedTuple):
    """What to generate, and where."""

    root: Path
    total_bytes: int
    seed: str = "7"
    session_count: int = 0
    project_count: int = 40
    day_count: int = 90
    job_count: int = 2
    tool_scale: float = 1.0


class SessionJob(NamedTuple):
    """One session to write, and the earlier one that it resumes."""

    corpus: CorpusPlan
    session: SessionPlan
    resumed: SessionPlan | None


class Written(NamedTuple):
    """What writing one session, or all of them, put on disk: sums of TRUTH_FIELDS by day and model."""

    bytes: int
    lines: int
    files: int
    calls: int
    by_day_model: dict[str, list[int]]


def make_corpus(plan: CorpusPlan) -> dict[str, object]:
    """Write the corpus with its truth.json, and give the truth."""
    # Made before the workers fork, so that they share it.
    make_pool(plan.seed)
    make_blob(plan.seed)
    jobs = sorted(plan_jobs(plan), key=lambda job: -job.session.target_bytes)
    with Pool(plan.job_count) as workers:
        written = add_up(workers.imap_unordered(write_files, jobs))
    truth: dict[str, object] = {
        "bytes": written.bytes,
        "lines": written.lines,
        "files": written.files,
        "sessions": len(jobs),
        "calls": written.calls,
        "fields": TRUTH_FIELDS,
        "totals": [sum(counts) for counts in zip(*written.by_day_model.values(), strict=True)],
        "by_day_model": dict(sorted(written.by_day_model.items())),
    }
    (plan.root / "truth.json").write_text(json.dumps(truth, indent=0))
    return truth


def plan_jobs(plan: CorpusPlan) -> list[SessionJob]:
    """Every session's size, project, start, version and models, drawn before any is written."""
    count = plan.session_count or max(MIN_SESSIONS, round(SESSIONS_PER_GIB * plan.total_bytes / UNITS["g"]))
    draw = random.Random(f"plan:{plan.seed}")
    sizes = draw_sizes(draw, count, plan.total_bytes)
    projects = PROJECT_LIST.split()[: plan.project_count]
    weights = [1 / (rank + 2) for rank in range(len(projects))]
    draw.shuffle(projects)
    starts = sorted(draw.random() for _ in range(count))
    jobs: list[SessionJob] = []
    earlier: dict[str, list[SessionPlan]] = {}
    for number, (start, size) in enumerate(zip(starts, sizes, strict=True)):
        session = draw_session(draw, plan, number=number, start=start, size=size, projects=projects, weights=weights)
        siblings = earlier.setdefault(session.project, [])
        resumed = draw_resumed(draw, session, siblings)
        if resumed is None:
            siblings.append(session)
        jobs.append(SessionJob(plan, session, resumed))
    return jobs


def draw_sizes(draw: random.Random, count: int, total_bytes: int) -> list[float]:
    profile = [size_at((number + 0.5) / count) for number in range(count)]
    scale = total_bytes * 0.94 / sum(profile)
    sizes = [size * scale for size in profile]
    draw.shuffle(sizes)
    return sizes


def size_at(share: float) -> float:
    """The size that `share` of the files do not pass, by straight lines between the known points."""
    upper = max(1, bisect.bisect_left(SIZE_SHARES, share))
    part = (share - SIZE_SHARES[upper - 1]) / (SIZE_SHARES[upper] - SIZE_SHARES[upper - 1])
    return SIZES_BYTES[upper - 1] + (SIZES_BYTES[upper] - SIZES_BYTES[upper - 1]) * part


def draw_session(
    draw: random.Random,
    plan: CorpusPlan,
    *,
    number: int,
    start: float,
    size: float,
    projects: list[str],
    weights: list[float],
) -> SessionPlan:
    first_day_at = LAST_DAY_ENDS_AT - plan.day_count * DAY_SECONDS
    starts_at = first_day_at + int(start * plan.day_count) * DAY_SECONDS + draw.triangular(7, 22, 14) * 3600
    era = min(len(VERSIONS) - 1, int((start * 0.9 + draw.random() * 0.1) * len(VERSIONS)))
    project = draw.choices(projects, weights)[0]
    models = draw.choices(list(MODEL_WEIGHTS), list(MODEL_WEIGHTS.values()), k=2)
    return SessionPlan(number, project, size, starts_at, era, models)


def draw_resumed(draw: random.Random, session: SessionPlan, siblings: list[SessionPlan]) -> SessionPlan | None:
    """A small earlier session of the same project, which is no resumed one itself."""
    candidates = [sibling for sibling in siblings if sibling.target_bytes < MAX_RESUMED_BYTES]
    if candidates and draw.random() < 0.07 and session.target_bytes > MIN_RESUMING_BYTES:
        return draw.choice(candidates[-6:])
    return None


def write_files(job: SessionJob) -> Written:
    """Write one session's files; their times are those of its last line."""
    corpus = job.corpus
    resumed = None
    if job.resumed:
        resumed = tail_of(write_session(job.resumed, seed=corpus.seed, tool_scale=corpus.tool_scale))
    transcript = write_session(job.session, seed=corpus.seed, tool_scale=corpus.tool_scale, resumed=resumed)
    folder = corpus.root / ".claude" / "projects" / f"-home-dev-work-{job.session.project}"
    main_file = f"{transcript.origin.session_id}.jsonl"
    written_bytes = write_file(folder / main_file, transcript, transcript.main_lines, draw_torn_line(transcript))
    line_count = len(transcript.main_lines)
    for name, lines in transcript.agent_files.items():
        written_bytes += write_file(folder / name, transcript, lines, b"")
        line_count += len(lines)
    file_count = 1 + len(transcript.agent_files)
    return Written(written_bytes, line_count, file_count, len(transcript.calls), truth_of(transcript.calls))


def write_file(path: Path, transcript: Transcript, lines: list[bytes], torn_line: bytes) -> int:
    path.parent.mkdir(parents=True, exist_ok=True)
    content = b"\n".join([*lines, torn_line])
    path.write_bytes(content)
    os.utime(path, (int(transcript.clock), int(transcript.clock)))
    return len(content)


def truth_of(calls: Iterable[Call]) -> dict[str, list[int]]:
    truth: dict[str, list[int]] = {}
    for call in calls:
        usage = call.usage
        day = time.strftime("%Y-%m-%d", time.gmtime(call.finished_at))
        counts = (
            usage.input_tokens,
            usage.output_tokens,
            usage.cache_creation_5m_tokens,
            usage.cache_creation_1h_tokens,
            usage.cache_read_tokens,
            1,
        )
        add_counts(truth, f"{day}|{call.model}", counts)
    return truth


def add_up(parts: Iterable[Written]) -> Written:
    total = Written(0, 0, 0, 0, {})
    for part in parts:
        for key, counts in part.by_day_model.items():
            add_counts(total.by_day_model, key, counts)
        total = Written(
            total.bytes + part.bytes,
            total.lines + part.lines,
            total.files + part.files,
            total.calls + part.calls,
            total.by_day_model,
        )
    return total


def add_counts(sums: dict[str, list[int]], key: str, counts: Iterable[int]) -> None:
    cell = sums.setdefault(key, [0] * len(TRUTH_FIELDS))
    for number, count in enumerate(counts):
        cell[number] += count


def parse_size(text: str) -> int:
    """A number of bytes, with k, m or g for 2^10, 2^20 or 2^30."""
    unit = UNITS.get(text[-1:].lower())
    return int(text) if unit is None else int(float(text[:-1]) * unit)


def read_arguments() -> CorpusPlan:
    parser = argparse.ArgumentParser(description="Write a deterministic corpus of Claude Code transcripts.")
    parser.add_argument("out", type=Path)
    parser.add_argument("--bytes", type=parse_size, default="1g")
    parser.add_argument("--seed", default="7")
    parser.add_argument("--sessions", type=int, default=0)
    parser.add_argument("--projects", type=int, default=40)
    parser.add_argument("--days", type=int, default=90)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--tool-scale", type=float, default=1.0)
    given = parser.parse_args()
    return CorpusPlan(
        given.out, given.bytes, given.seed, given.sessions, given.projects, given.days, given.jobs, given.tool_scale
    )


def main() -> None:
    """Write the corpus and print its totals as one line of JSON."""
    truth = make_corpus(read_arguments())
    print(json.dumps({name: value for name, value in truth.items() if name not in ("fields", "by_day_model")}))


if __name__ == "__main__":
    main()
