"""One database that holds a ledger, with every road that leads to it: SQL, Supabase's REST and a Tallystick server."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import NamedTuple

import jwt

from tallystick.keys import SCOPES, digest_of, make_key
from tallystick.ledger import Ledger
from tests.supabase.project import JWT_SECRET, PUBLISHABLE_KEY, SECRET_KEY

KEY_SECRET = "the-secret-of-the-keys-for-the-tests"
HOUR_S = 3600
# the first is what the others are held against
SERVICE_ROADS = ("sql", "server with a service key", "supabase")
USER_ROADS = ("server", "supabase as a user")
ROADS = (*SERVICE_ROADS, *USER_ROADS)


class ServerProcess:
    """`tally serve` on a database, from its start until it is stopped or killed; it keeps its port over restarts."""

    def __init__(self, database_url: str, folder: Path, *, environ: dict[str, str] | None = None) -> None:
        self._database_url = database_url
        self._folder = folder
        self._environ = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
            "TALLYSTICK_HOME": str(folder),
            "TALLYSTICK_KEY_SECRET": KEY_SECRET,
            "TALLYSTICK_REQUESTS_PER_MINUTE": "1000000",
            "LANG": "C.UTF-8",
            **(environ or {}),
        }
        self.port = 0

    def start(self) -> None:
        """Start it, and come back when it listens."""
        command = [sys.executable, "-m", "tallystick", "serve", "--port", str(self.port)]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*command, "--database", self._database_url],
                env=self._environ,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self._process.stdout is not None
        first_line = self._process.stdout.readline()
        address = re.search(r"http://127\.0\.0\.1:(\d+)", first_line)
        assert address, f"the server did not start: {first_line}; see {self._folder / 'log'}"
        self.port = int(address[1])

    def kill(self) -> None:
        """End it as a crash does."""
        self._process.kill()
        self._process.communicate(timeout=60)

    def stop(self) -> None:
        self._process.terminate()
        self._process.communicate(timeout=60)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


class Place(NamedTuple):
    """The addresses of one ledger."""

    sql_url: str
    server_url: str
    supabase_url: str

    def open(self, road: str, user_id: str, *, attempts: int = 1, url: str | None = None) -> Ledger:
        """One user's books by one road; `url` stands in for that road's address."""
        if road == "sql":
            return Ledger.connect(url or self.sql_url, user_id=user_id, attempts=attempts)
        if road == "supabase":
            return Ledger.connect(url or self.supabase_url, user_id=user_id, key=SECRET_KEY, attempts=attempts)
        if road == "supabase as a user":
            return Ledger.connect(
                url or self.supabase_url,
                user_id=user_id,
                key=PUBLISHABLE_KEY,
                token=token_of(user_id),
                attempts=attempts,
            )
        owner = user_id if road == "server" else None
        return Ledger.connect(url or self.server_url, user_id=user_id, key=self.key(owner), attempts=attempts)

    def key(self, user_id: str | None) -> str:
        """A new key of the server: one user's, or a service key."""
        made = make_key()
        with Ledger.connect(self.sql_url) as ledger:
            ledger.create_api_key(
                user_id=user_id,
                name=f"test {uuid.uuid4()}",
                prefix=made.prefix,
                digest=digest_of(made.key, secret=KEY_SECRET),
                scopes=SCOPES,
            )
        return made.key


def token_of(user_id: str, *, valid_for_s: int = HOUR_S) -> str:
    """An access token as Supabase's Auth gives it to a user who signs in."""
    now = int(time.time())
    claims = {"sub": user_id, "role": "authenticated", "aud": "authenticated", "iat": now - HOUR_S}
    return jwt.encode({**claims, "exp": now + valid_for_s}, JWT_SECRET, algorithm="HS256")
