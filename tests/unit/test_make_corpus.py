"""The corpus generator: the same arguments give the same bytes, on any number of processes."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
# Pinned, because figures measured on a corpus compare only while its bytes stay; two that differ in every argument.
TWO_MEGABYTES = ["--bytes", "2m", "--seed", "7"]
TWO_MEGABYTES_SHA256 = "b1daaad7851cc2d0d8a98c61d4e2224bcad2623376713c810b8e87d8d68ff50b"
# Small tool results leave room for so many calls that every rare shape of a line comes up.
MANY_SESSIONS = [
    *("--bytes", "20m"),
    *("--seed", "11"),
    *("--sessions", "400"),
    *("--projects", "3"),
    *("--days", "500"),
    *("--tool-scale", "0.05"),
]
MANY_SESSIONS_SHA256 = "d858b942f609a3986ed2fd8571cda53dc80fea77bd1900e999c121f9ac01fc62"


def generate(root: Path, arguments: list[str], *, job_count: int) -> None:
    command = [sys.executable, "-m", "bench.make_corpus", str(root), *arguments, "--jobs", str(job_count)]
    subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True)


def digest_of(root: Path) -> str:
    """One digest over the names and the bytes of all files."""
    digest = hashlib.sha256()
    for path in sorted(root.rglob("*"), key=str):
        if path.is_file():
            content = path.read_bytes()
            digest.update(f"{path.relative_to(root)} {len(content)}\n".encode() + content)
    return digest.hexdigest()


@pytest.mark.parametrize("job_count", [1, 2])
def test_the_same_arguments_give_the_same_bytes(tmp_path: Path, job_count: int) -> None:
    generate(tmp_path, TWO_MEGABYTES, job_count=job_count)
    assert digest_of(tmp_path) == TWO_MEGABYTES_SHA256


@pytest.mark.parametrize("job_count", [1, 2])
def test_every_argument_and_every_shape_of_a_line_gives_the_same_bytes(tmp_path: Path, job_count: int) -> None:
    generate(tmp_path, MANY_SESSIONS, job_count=job_count)
    assert digest_of(tmp_path) == MANY_SESSIONS_SHA256


def test_another_seed_gives_other_bytes(tmp_path: Path) -> None:
    generate(tmp_path / "a", ["--bytes", "100k", "--seed", "1"], job_count=1)
    generate(tmp_path / "b", ["--bytes", "100k", "--seed", "2"], job_count=1)
    assert digest_of(tmp_path / "a") != digest_of(tmp_path / "b")


def test_the_truth_counts_each_call_once_whatever_lines_carry_it(tmp_path: Path) -> None:
    generate(tmp_path, TWO_MEGABYTES, job_count=1)
    truth = json.loads((tmp_path / "truth.json").read_text())
    best: dict[str, tuple[int, list[int]]] = {}
    for path in tmp_path.rglob("*.jsonl"):
        for line in path.read_bytes().splitlines():
            try:
                record = json.loads(line)
            except ValueError:
                continue
            if record["type"] != "assistant":
                continue
            usage = record["message"]["usage"]
            counts = [
                usage["input_tokens"],
                usage["output_tokens"],
                usage["cache_creation_input_tokens"],
                usage["cache_read_input_tokens"],
            ]
            key = record["message"]["id"]
            best[key] = max(best.get(key, (-1, [])), (usage["output_tokens"], counts))
    sums = [sum(column) for column in zip(*(counts for _, counts in best.values()), strict=True)]
    prompt, output, written_5m, written_1h, read, calls = truth["totals"]
    assert sums == [prompt, output, written_5m + written_1h, read]
    assert len(best) == calls
