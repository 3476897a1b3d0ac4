"""A Tallystick server as people start it: a process of `tally serve`, its log in a file, and its keys."""

from __future__ import annotations

import json
import select
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import Any

import httpx

from tallystick.keys import digest_of, make_key
from tallystick.ledger import Ledger
from tests.processes import tally_environ

SECRET = "the secret of the tests' keys"
PREFIX = "/api/token-usage"
LIMIT_S = 120.0


class Api:
    """One running server on one database."""

    def __init__(self, folder: Path, database_url: str, *arguments: str, **environ: str) -> None:
        self.database_url = database_url
        self.log_file = folder / "log"
        own = {"TALLYSTICK_HOME": str(folder / "home"), "TALLYSTICK_KEY_SECRET": SECRET}
        self.environ = tally_environ(folder, TALLYSTICK_DATABASE_URL=database_url, **(own | environ))
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tallystick", "serve", "--port", "0", *arguments],
                env=self.environ,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                process_group=0,  # as at a terminal, whose signals go to all of a group
            )
        assert self.process.stdout is not None
        assert select.select([self.process.stdout], [], [], LIMIT_S)[0], "the server says nothing"
        self.greeting = self.process.stdout.readline()
        assert self.greeting.startswith("Serving http://127.0.0.1:"), self.log_file.read_text(encoding="utf-8")
        self.address = self.greeting.split()[1].removesuffix(PREFIX)
        self.client = httpx.Client(base_url=self.address, timeout=LIMIT_S)

    def key(self, user_id: str | None, *scopes: str, **more: Any) -> str:
        """A new key; of a user, or of the service where the user is None."""
        key = make_key()
        with Ledger.connect(self.database_url) as ledger:
            ledger.create_api_key(
                user_id=user_id,
                name="of a test",
                prefix=key.prefix,
                digest=digest_of(key.key, secret=SECRET),
                scopes=scopes or ("ingest", "read", "admin"),
                **more,
            )
        return key.key

    def ask(self, method: str, path: str, *, key: str = "", **request: Any) -> httpx.Response:
        """An answer, which must be one that this API may give: JSON with our headers, and a problem where it is bad."""
        headers = {**({"Authorization": f"Bearer {key}"} if key else {}), **request.pop("headers", {})}
        answer = self.client.request(method, path, headers=headers, **request)
        check_answer(answer)
        return answer

    def get(self, path: str, key: str, **query: Any) -> Any:
        """What a GET below the prefix answers, which must be good."""
        answer = self.ask("GET", PREFIX + path, key=key, params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def post(self, path: str, key: str, document: Any, **query: Any) -> Any:
        """What a POST of JSON below the prefix answers, which must be good."""
        answer = self.ask("POST", PREFIX + path, key=key, json=document, params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def log(self) -> str:
        """What the server has logged by now; a line of its own behind it shows that all of it is written."""
        if self.process.poll() is None and not self.client.is_closed:
            marker = f"marker-{uuid.uuid4().hex}"
            self.client.get("/healthz", headers={"X-Request-ID": marker})
            deadline = time.monotonic() + LIMIT_S
            while marker not in self.log_file.read_text(encoding="utf-8"):
                assert time.monotonic() < deadline, "the log ends too early"
        lines = self.log_file.read_text(encoding="utf-8").splitlines(keepends=True)
        return "".join(line for line in lines if "marker-" not in line)

    def log_lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log().splitlines()]

    def stop(self) -> int:
        """End it as an operator does; answers its exit code."""
        self.client.close()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(timeout=LIMIT_S)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return code


def check_answer(answer: httpx.Response) -> None:
    """What holds for every answer of every address."""
    for name, value in {
        "x-content-type-options": "nosniff",
        "x-frame-options": "DENY",
        "referrer-policy": "no-referrer",
        "cache-control": "no-store",
    }.items():
        assert answer.headers.get(name) == value, (answer.status_code, name)
    assert answer.headers["x-request-id"]
    assert "server" not in answer.headers
    if answer.status_code >= 400 and answer.request.method != "HEAD":
        assert answer.headers["content-type"] == "application/problem+json"
        problem = answer.json()
        assert problem["status"] == answer.status_code
        assert problem["detail"]
        assert "\n" not in problem["detail"]
        assert problem["request_id"] == answer.headers["x-request-id"]


def event(number: int, **members: Any) -> dict[str, Any]:
    """One call of a model with a price; its numbers follow from its own."""
    return {
        "event_key": f"anthropic:msg_api_{number}",
        "occurred_at": f"2026-{1 + number % 9:02}-{1 + number % 27:02}T{number % 24:02}:15:30Z",
        "source": ("api", "claude-code")[number % 2],
        "provider": "anthropic",
        "model": ("claude-sonnet-4-5", "claude-opus-4-8", "acme-large-1")[number % 3],
        "session_id": f"session-{number % 7:04}",
        "project": ("shop", "notes", "")[number % 3],
        "device": ("desk", "laptop")[number // 2 % 2],
        "input_tokens": 1000 + number,
        "output_tokens": 100 + 7 * number,
        "cache_read_tokens": 31 * number,
        "is_final": True,
        **members,
    }


def new_user() -> str:
    return str(uuid.uuid4())


def until(is_true: Any, *, limit_s: float = LIMIT_S) -> None:
    """Ask until the answer is true; what is asked takes its time, so this is no busy loop."""
    deadline = time.monotonic() + limit_s
    while not is_true():
        assert time.monotonic() < deadline, "this never came true"
