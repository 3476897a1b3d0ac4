"""The servers that the tests run on: Postgres 15, 17 and 18, and a pooler, each started once per test run."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg

from tallystick.embedded import EmbeddedServer
from tallystick.embedded_cluster import wheel_binaries

DEBIAN_15_BINARIES = Path("/usr/lib/postgresql/15/bin")
PGBOUNCER = Path("/usr/sbin/pgbouncer")
PGLITE_FOLDER = Path(__file__).with_name("pglite")
PASSWORD = "for-the-tests"
# Postgres and PgBouncer refuse to run as root; Debian's packages bring the user that they run as instead
UNPRIVILEGED = "postgres" if os.geteuid() == 0 else None
# for servers that no test takes the power from: a kill of Postgres alone loses nothing for it
NOT_DURABLE = "fsync = off\nfull_page_writes = off\n"


def server_of(major: str, folder: Path) -> EmbeddedServer:
    """A server of that major version with its data below `folder`, not started yet."""
    if major == "18":
        return EmbeddedServer(folder / "postgres-18")
    assert (DEBIAN_15_BINARIES / "postgres").exists(), "Postgres 15 is missing: run `make test-packages`"
    return EmbeddedServer(folder / "postgres-15", binaries=DEBIAN_15_BINARIES)


def acquire_not_durable(server: EmbeddedServer) -> str:
    """The URL of the server, which no longer waits for the disk; it is made for this run and erased after it."""
    url = server.acquire()
    with (server.status().data_dir / "cluster" / "postgresql.conf").open("a", encoding="utf-8") as file:
        file.write(NOT_DURABLE)
    with connect(url) as connection:
        connection.execute("select pg_reload_conf()")
    return url


def database_url(server_url: str, name: str) -> str:
    """The URL of another database of the same server."""
    return server_url.replace("/tallystick?", f"/{name}?", 1)


def connect(url: str, *, autocommit: bool = False) -> psycopg.Connection[Any]:
    """A connection that is right behind a pooler too, where a prepared statement may be another client's.

    It has a name because a pooler that is told none leaves a server connection the name of whoever had it before.
    """
    return psycopg.connect(url, autocommit=autocommit, prepare_threshold=None, application_name="tests")


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextmanager
def hanging_server() -> Iterator[int]:
    """The port of a server on 127.0.0.1 that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        yield int(listener.getsockname()[1])


class Relay:
    """A way over a port of 127.0.0.1 to the server at a unix socket, until it hangs: then nothing is passed on.

    `unanswered` counts who has asked since then: new connections, and old ones that said something more.
    """

    def __init__(self, folder: Path) -> None:
        self._target = str(folder / ".s.PGSQL.5432")
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = int(self._listener.getsockname()[1])
        self.unanswered = 0
        self._is_hanging = False
        self._held: list[socket.socket] = []
        threading.Thread(target=self._take_connections, daemon=True).start()

    def __enter__(self) -> Relay:
        return self

    def __exit__(self, *_: object) -> None:
        for held in (self._listener, *self._held):
            with suppress(OSError):  # it was closed from the other side
                held.shutdown(socket.SHUT_RDWR)
            held.close()

    def hang(self) -> None:
        self._is_hanging = True

    def _take_connections(self) -> None:
        with suppress(OSError):
            while True:
                inside, _ = self._listener.accept()
                self._held.append(inside)
                if self._is_hanging:
                    self.unanswered += 1
                    continue
                outside = socket.socket(socket.AF_UNIX)
                outside.connect(self._target)
                self._held.append(outside)
                for ends in ((inside, outside), (outside, inside)):
                    threading.Thread(target=self._pass_on, args=ends, daemon=True).start()

    def _pass_on(self, giver: socket.socket, taker: socket.socket) -> None:
        with suppress(OSError):
            while said := giver.recv(1 << 16):
                if self._is_hanging:
                    self.unanswered += 1
                    return
                taker.sendall(said)
            taker.shutdown(socket.SHUT_WR)


def process_tree(parent: int) -> list[int]:
    """A process and those that it has started; empty where it has ended."""
    listing = subprocess.run(["ps", "-A", "-o", "pid=,ppid=,stat="], capture_output=True, text=True, check=True)
    rows = [row.split() for row in listing.stdout.splitlines()]
    return [int(pid) for pid, above, state in rows if parent in (int(pid), int(above)) and "Z" not in state]


def kill_all(processes: list[int]) -> None:
    """Kill every process, and come back when all of them are gone."""
    for process in processes:
        with suppress(ProcessLookupError):  # it ended by itself
            os.kill(process, signal.SIGKILL)
    deadline = time.monotonic() + 60
    while any(process_tree(process) for process in processes):
        assert time.monotonic() < deadline, f"{processes} outlive SIGKILL"
        time.sleep(0.02)


def give_away(folder: Path) -> None:
    """Let the user that the servers run as work in a folder, where that is another one than we are."""
    if UNPRIVILEGED is None:
        return
    for path in (folder, *folder.rglob("*")):
        shutil.chown(path, UNPRIVILEGED)
    for parent in folder.parents[:-1]:
        if parent.stat().st_mode & 0o001 == 0:
            parent.chmod(parent.stat().st_mode | 0o011)  # pytest keeps its folders to itself


class TcpServer:
    """The embedded 18 as other people's tools want it: on a port of 127.0.0.1, with a password, as user postgres.

    Supabase's command line and its API, and poolers, know nothing of unix sockets that let their owner in. The
    superuser has another name where `postgres` is to be an ordinary role, as it is on Supabase.
    """

    def __init__(self, folder: Path, *, settings: str = "", superuser: str = "postgres") -> None:
        package = wheel_binaries().parents[1]
        for source in (package, package.with_name(f"{package.name}.libs")):
            shutil.copytree(source, folder / source.name)
        self.folder = folder
        self._binaries = folder / package.name / "pginstall" / "bin"
        self.port = free_port()
        (folder / "password").write_text(PASSWORD)
        give_away(folder)
        self._run(
            *("initdb", "--pgdata", "data", f"--username={superuser}", "--pwfile=password", "--auth=scram-sha-256"),
            *("--encoding=UTF8", "--locale=C", "--no-sync"),
        )
        with (folder / "data" / "postgresql.conf").open("a", encoding="utf-8") as file:
            file.write(
                f"listen_addresses = '127.0.0.1'\nport = {self.port}\nunix_socket_directories = ''\n{settings}\n"
            )

    def start(self) -> None:
        self._run("pg_ctl", "-w", "-D", "data", "-l", "log", "start")

    def stop(self, *, mode: str = "fast") -> None:
        """End the server; `immediate` is how a crash ends it."""
        self._run("pg_ctl", "-w", "-D", "data", "-m", mode, "stop")

    def processes(self) -> list[int]:
        """The server and whatever it has started; empty where it does not run."""
        try:
            postmaster = int((self.folder / "data" / "postmaster.pid").read_text().split("\n")[0])
        except (FileNotFoundError, ValueError):
            return []
        return process_tree(postmaster)

    def kill(self) -> None:
        """End it as kill -9 of all its processes does."""
        kill_all(self.processes())
        # one that nobody has waited for yet still counts as running
        (self.folder / "data" / "postmaster.pid").unlink(missing_ok=True)

    def url(self, database: str = "postgres", *, user: str = "postgres") -> str:
        return f"postgresql://{user}:{PASSWORD}@127.0.0.1:{self.port}/{database}"

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [self._binaries / program, *arguments],
            cwd=self.folder,
            user=UNPRIVILEGED,
            group=UNPRIVILEGED,
            extra_groups=[] if UNPRIVILEGED else None,
            env={"LC_ALL": "C", "PATH": "/usr/bin:/bin", "TZ": "UTC"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,  # a server that is started keeps it
            stderr=subprocess.PIPE if program == "initdb" else subprocess.DEVNULL,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, f"{program} failed: {done.stderr or self._end_of_log()}"

    def _end_of_log(self) -> str:
        return (self.folder / "log").read_text(encoding="utf-8", errors="replace")[-2000:]


class PgBouncer:
    """A pooler before a TcpServer, which lends a server connection for one transaction at a time, as Supavisor does.

    Every database of the server is reached through it, each over SERVER_CONNECTIONS connections at most.
    """

    SERVER_CONNECTIONS = 4

    def __init__(self, server: TcpServer) -> None:
        assert PGBOUNCER.exists(), "PgBouncer is missing: run `make test-packages`"
        self.server = server
        self.port = free_port()
        self._folder = folder = server.folder / f"pgbouncer-{self.port}"
        folder.mkdir()
        (folder / "users").write_text(f'"postgres" "{PASSWORD}"\n')
        (folder / "pgbouncer.ini").write_text(f"""
[databases]
* = host=127.0.0.1 port={server.port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {self.port}
unix_socket_dir =
logfile = {folder}/log
auth_type = scram-sha-256
auth_file = {folder}/users
pool_mode = transaction
default_pool_size = {self.SERVER_CONNECTIONS}
; a server that cannot be reached is told at once, and asked again at once
query_wait_timeout = 5
server_login_retry = 0.1
""")
        give_away(folder)

    def start(self) -> None:
        """Start it, and come back when it answers."""
        self._process = subprocess.Popen(
            [PGBOUNCER, "-q", self._folder / "pgbouncer.ini"],
            cwd=self._folder,
            user=UNPRIVILEGED,
            group=UNPRIVILEGED,
            extra_groups=[] if UNPRIVILEGED else None,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for _ in range(1000):
            with suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", self.port), timeout=10):
                return
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=0.01)
                break
        raise AssertionError(f"PgBouncer did not start; see {self._folder / 'log'}")

    def stop(self) -> None:
        """End it as a crash does: every client and every server loses its connection."""
        self._process.kill()
        self._process.wait(timeout=60)

    def restart(self) -> None:
        self.stop()
        self.start()

    def url(self, database: str = "tallystick") -> str:
        return f"postgresql://postgres:{PASSWORD}@127.0.0.1:{self.port}/{database}?sslmode=disable"

    def direct_url(self, database: str = "tallystick") -> str:
        """The same database, past the pooler."""
        return f"{self.server.url(database)}?sslmode=disable"


@contextmanager
def pglite() -> Iterator[str]:
    """Postgres 17, the version of hosted Supabase: the URL of its one database, gone afterwards."""
    assert (PGLITE_FOLDER / "node_modules").exists(), "PGlite is missing: run `make test-packages`"
    process = subprocess.Popen(
        ["node", "serve.mjs"], cwd=PGLITE_FOLDER, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout
        address = process.stdout.readline().strip()
        assert address, "PGlite did not start"
        yield f"postgresql://postgres@{address}/postgres?sslmode=disable"
    finally:
        process.communicate(timeout=60)
