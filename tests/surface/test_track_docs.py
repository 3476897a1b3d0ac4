"""The examples of docs/track.md run as they stand there, and what they ask for is recorded."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import psycopg

from tests.model_api import ModelApi
from tests.unit.test_anthropic_api import KEY, LAST_DELTA, MESSAGE_ID, message, stream_of
from tests.unit.test_google_api import answer as google_answer
from tests.unit.test_google_api import chunks as google_chunks
from tests.unit.test_openai_api import CHAT_ID, RESPONSE_ID, chat_chunks, response

PAGE = (Path(__file__).parents[2] / "docs" / "track.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^```python\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)
# one process for all of them, because the makers' packages take seconds to import; nothing of one is another's
RUN_EACH = "import json, sys\nfor example in json.load(sys.stdin): exec(example, {'__name__': '__main__'})"


def message_stream(message_id: str) -> list[Any]:
    start, *rest = stream_of(LAST_DELTA)
    return [{**start, "message": {**start["message"], "id": message_id}}, *rest]


# what the provider answers each example in turn, and the calls that are recorded then
EXPECTED: list[tuple[list[Any], set[str]]] = [
    ([message()], {KEY}),
    ([message_stream(f"{MESSAGE_ID}1")], {f"{KEY}1"}),
    ([message_stream(f"{MESSAGE_ID}2")], {f"{KEY}2"}),
    ([response()], {f"openai:{RESPONSE_ID}"}),
    ([chat_chunks()], {f"openai:{CHAT_ID}"}),
    (
        [google_answer(responseId="the-moon-is-far"), [{**c, "responseId": "the-sun-is-far"} for c in google_chunks()]],
        {"google:the-moon-is-far", "google:the-sun-is-far"},
    ),
    ([], set()),
]


def test_every_example_is_run() -> None:
    assert len(EXAMPLES) == len(EXPECTED)


def test_every_example_records_its_calls(ledger_url_18: str, user_id: str, home: Path, model_api: ModelApi) -> None:
    model_api.answers = [answer for answers, _ in EXPECTED for answer in answers]
    environ = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join(sys.path),
        "TALLYSTICK_HOME": str(home),
        "TALLYSTICK_DATABASE_URL": ledger_url_18,
        "USER_ID": user_id,
        "ANTHROPIC_API_KEY": "no-key",
        "ANTHROPIC_BASE_URL": model_api.url,
        "OPENAI_API_KEY": "no-key",
        "OPENAI_BASE_URL": f"{model_api.url}/v1",
        "GEMINI_API_KEY": "no-key",
        "GOOGLE_GEMINI_BASE_URL": model_api.url,
    }
    done = subprocess.run(
        [sys.executable, "-c", RUN_EACH],
        input=json.dumps(EXAMPLES),
        env=environ,
        cwd=home,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    with psycopg.connect(ledger_url_18) as connection:
        recorded = connection.execute("select event_key from public.token_usage_events").fetchall()
    assert {key for (key,) in recorded} == set().union(*(keys for _, keys in EXPECTED))
    assert model_api.answers == []
