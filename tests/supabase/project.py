"""A Supabase project without Docker: Supabase's own command line, REST and Auth around a Postgres of ours.

server.sql and project.sql stand in for what the platform itself sets up. The tables of Auth, the `supabase` command and
the API behind serve.mjs are Supabase's, from npm.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import httpx
import psycopg

from tests.servers import NOT_DURABLE, TcpServer

if TYPE_CHECKING:
    from supabase import Client

FOLDER = Path(__file__).parent
CLI = FOLDER / "node_modules" / "@supabase" / "cli-linux-x64" / "bin" / "supabase"
SUPERUSER = "supabase_admin"
PUBLISHABLE_KEY = "sb_publishable_for_the_tests_and_nothing_else"
SECRET_KEY = "sb_secret_for_the_tests_and_nothing_else_00"
JWT_SECRET = "for-the-tests-and-nothing-else-at-least-32-signs"
USER_PASSWORD = "correct-horse-battery-staple"


@contextmanager
def running_server() -> Iterator[TcpServer]:
    """A server with the roles of hosted Supabase and nothing in it yet; erased at the end.

    It lives directly below /tmp: whenever pytest starts, it closes its own folder to everybody, root's server included.
    """
    folder = Path(tempfile.mkdtemp(prefix="tally-supabase-", dir="/tmp"))
    folder.chmod(0o755)
    try:
        server = TcpServer(
            folder, settings=f"{NOT_DURABLE}shared_preload_libraries = 'pg_stat_statements'", superuser=SUPERUSER
        )
        server.start()
        try:
            with psycopg.connect(server.url(user=SUPERUSER)) as connection:
                connection.execute((FOLDER / "server.sql").read_bytes())
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder)


def make_database(server: TcpServer, name: str) -> str:
    """The URL of a new project's database, as the project's own role `postgres`, which is no superuser."""
    with psycopg.connect(server.url(user=SUPERUSER), autocommit=True) as connection:
        connection.execute(f"create database {name} owner postgres".encode())
    with psycopg.connect(server.url(name, user=SUPERUSER)) as connection:
        connection.execute(auth_schema().encode())
        connection.execute((FOLDER / "project.sql").read_bytes())
    return server.url(name)


def copy_database(server: TcpServer, name: str, *, of: str) -> str:
    """The URL of a copy of a database that nobody is connected to."""
    with psycopg.connect(server.url(user=SUPERUSER), autocommit=True) as connection:
        connection.execute(f"create database {name} owner postgres template {of}".encode())
    return server.url(name)


@cache
def auth_schema() -> str:
    """The tables of Supabase's Auth, as SQL."""
    script = 'import { getAuthSchemaSql } from "@supabase/lite"; process.stdout.write(getAuthSchemaSql());'
    return run(["node", "--input-type=module", "--eval", script], cwd=FOLDER).stdout


def environment(home: Path) -> dict[str, str]:
    """What a newcomer's shell has, in a home where nothing was ever set up."""
    # with TLS, and on a server without it, the command line prints a warning into what it generates
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "PGSSLMODE": "disable",
        "DO_NOT_TRACK": "1",
    }


def run(command: list[str], *, cwd: Path, exit_code: int = 0, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run to the end, which must be this exit code."""
    done = subprocess.run(
        command, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=False, **options
    )
    assert done.returncode == exit_code, f"{command} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
    return done


class ProjectFolder:
    """A folder that `supabase init` has made, as a newcomer would, and the database that it is pushed to."""

    def __init__(self, path: Path, database_url: str) -> None:
        self.path = path
        self.database_url = database_url
        self.environ = environment(path)
        self.supabase("init")

    @property
    def migrations(self) -> Path:
        return self.path / "supabase" / "migrations"

    def supabase(self, *arguments: str, exit_code: int = 0) -> subprocess.CompletedProcess[str]:
        return run([str(CLI), *arguments], cwd=self.path, exit_code=exit_code, env=self.environ)

    def supabase_remote(self, *arguments: str, exit_code: int = 0) -> subprocess.CompletedProcess[str]:
        """A command on the database, as on a linked project; whatever it asks is answered with yes."""
        return self.supabase(*arguments, f"--remote={self.database_url}", "--yes", exit_code=exit_code)

    def tally(self, *arguments: str) -> str:
        command = [sys.executable, "-m", "tallystick", *arguments]
        return run(command, cwd=self.path, env=self.environ).stdout

    def database_types(self) -> str:
        """The tables of `public` as Python classes, as Supabase generates them."""
        command = ("gen", "types", "--lang=python", "--schema=public", f"--remote={self.database_url}")
        return self.supabase(*command).stdout

    def push_ledger(self) -> None:
        self.tally("db", "export", "supabase/migrations")
        self.supabase_remote("db", "push", "--include-all")


class SignedInUser(NamedTuple):
    """One user of Auth and a client that is signed in as that user."""

    user_id: str
    client: Client
    token: str


class Api:
    """Supabase's REST and Auth over a database, from its making until it is stopped.

    What the API knows of functions and tables is what stood there when it started.
    """

    def __init__(self, server: TcpServer, database: str) -> None:
        self.database = database
        self._process = subprocess.Popen(
            ["node", "serve.mjs"],
            cwd=FOLDER,
            env={
                **environment(FOLDER),
                "DATABASE_URL": server.url(database, user="authenticator"),
                "JWT_SECRET": JWT_SECRET,
                "SUPABASE_PUBLISHABLE_KEY": PUBLISHABLE_KEY,
                "SUPABASE_SECRET_KEY": SECRET_KEY,
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        port = self._process.stdout.readline().strip()
        assert port.isdigit(), f"the API did not start: {port}"
        self.url = f"http://127.0.0.1:{port}"
        self._http = httpx.Client(timeout=60)

    def stop(self) -> None:
        self._http.close()
        self._process.communicate("", timeout=30)

    def client(self, key: str) -> Client:
        # it takes a second to import, which not every process that collects the tests shall pay
        from supabase import ClientOptions, create_client

        return create_client(self.url, key, ClientOptions(httpx_client=self._http))

    def sign_up(self, email: str) -> SignedInUser:
        """A new user, signed in as one that comes back."""
        self.client(PUBLISHABLE_KEY).auth.sign_up({"email": email, "password": USER_PASSWORD})
        client = self.client(PUBLISHABLE_KEY)
        answer = client.auth.sign_in_with_password({"email": email, "password": USER_PASSWORD})
        assert answer.user is not None
        assert answer.session is not None
        return SignedInUser(answer.user.id, client, answer.session.access_token)
