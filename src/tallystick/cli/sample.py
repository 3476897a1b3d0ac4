"""A few invented Claude Code transcripts, for whoever wants to see a report and has no transcripts yet."""

from __future__ import annotations

import json
import random
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

DAYS = 14
PROJECTS = ("/home/ann/shop", "/home/ann/shop-api", "/home/ann/notes")
MODELS = ("claude-opus-4-8", "claude-sonnet-4-6", "claude-haiku-4-5")
MODEL_WEIGHTS = (5, 3, 2)


def write_sample(config_dir: Path, *, today: date) -> int:
    """Write the transcripts of the fortnight before `today` below `config_dir`; answers how many files there are.

    The same day gives the same bytes.
    """
    chance = random.Random(7)
    count = 0
    for days_ago in range(DAYS, 0, -1):
        day = today - timedelta(days=days_ago)
        for _ in range(chance.randint(0, 1) if day.isoweekday() > 5 else chance.randint(1, 3)):
            count += 1
            _write_session(config_dir, number=count, day=day, chance=chance)
    return count


def _write_session(config_dir: Path, *, number: int, day: date, chance: random.Random) -> None:
    session_id = f"{chance.getrandbits(32):08x}-0000-4000-8000-{number:012d}"
    project = chance.choice(PROJECTS)
    folder = config_dir / "projects" / project.replace("/", "-")
    folder.mkdir(parents=True, exist_ok=True)
    time = datetime(day.year, day.month, day.day, chance.randint(8, 17), chance.randint(0, 59), tzinfo=UTC)
    model = chance.choices(MODELS, MODEL_WEIGHTS)[0]
    lines = []
    context = chance.randint(12_000, 24_000)
    for call in range(1, chance.randint(8, 40)):
        time += timedelta(seconds=chance.randint(5, 90))
        written = chance.randint(200, 4_000)
        message = {
            "id": f"msg_sample{number:04d}{call:04d}",
            "model": model,
            "stop_reason": "end_turn",
            "usage": {
                "input_tokens": chance.randint(2, 60),
                "cache_creation_input_tokens": written,
                "cache_read_input_tokens": context,
                "output_tokens": chance.randint(60, 2_400),
                "cache_creation": {"ephemeral_5m_input_tokens": written, "ephemeral_1h_input_tokens": 0},
            },
        }
        context += written
        line = {
            "type": "assistant",
            "uuid": f"{number:08d}-{call:04d}",
            "timestamp": time.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "sessionId": session_id,
            "requestId": f"req_sample{number:04d}{call:04d}",
            "cwd": project,
            "version": "2.1.330",
            "message": message,
        }
        lines.append(json.dumps(line, separators=(",", ":")) + "\n")
    (folder / f"{session_id}.jsonl").write_text("".join(lines), encoding="utf-8")
