"""The Postgres servers that the tests run on: the embedded 18 and Debian's 15, each started once per test run."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from pathlib import Path

from tallystick.embedded import EmbeddedServer
from tallystick.embedded_cluster import wheel_binaries

DEBIAN_15_BINARIES = Path("/usr/lib/postgresql/15/bin")
PASSWORD = "for-the-tests"


def server_of(major: str, folder: Path) -> EmbeddedServer:
    """A server of that major version with its data below `folder`, not started yet."""
    if major == "18":
        return EmbeddedServer(folder / "postgres-18")
    assert (DEBIAN_15_BINARIES / "postgres").exists(), "Postgres 15 is missing: run `make test-packages`"
    return EmbeddedServer(folder / "postgres-15", binaries=DEBIAN_15_BINARIES)


def database_url(server_url: str, name: str) -> str:
    """The URL of another database of the same server."""
    return server_url.replace("/tallystick?", f"/{name}?", 1)


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


class TcpServer:
    """The embedded 18 as other people's tools want it: on a port of 127.0.0.1, with a password, as user postgres.

    Supabase's command line and its API, and poolers, know nothing of unix sockets that let their owner in. The
    superuser has another name where `postgres` is to be an ordinary role, as it is on Supabase.
    """

    def __init__(self, folder: Path, *, settings: str = "", superuser: str = "postgres") -> None:
        package = wheel_binaries().parents[1]
        for source in (package, package.with_name(f"{package.name}.libs")):
            shutil.copytree(source, folder / source.name)
        self._folder = folder
        self._binaries = folder / package.name / "pginstall" / "bin"
        self.port = free_port()
        (folder / "password").write_text(PASSWORD)
        # Postgres refuses to run as root; Debian's package brings the user that it runs as instead
        self._user = "postgres" if os.geteuid() == 0 else None
        if self._user:
            for path in (folder, *folder.rglob("*")):
                shutil.chown(path, self._user)
            for parent in folder.parents[:-1]:
                if parent.stat().st_mode & 0o001 == 0:
                    parent.chmod(parent.stat().st_mode | 0o011)  # pytest keeps its folders to itself
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

    def url(self, database: str = "postgres", *, user: str = "postgres") -> str:
        return f"postgresql://{user}:{PASSWORD}@127.0.0.1:{self.port}/{database}"

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [self._binaries / program, *arguments],
            cwd=self._folder,
            user=self._user,
            group=self._user,
            extra_groups=[] if self._user else None,
            env={"LC_ALL": "C", "PATH": "/usr/bin:/bin", "TZ": "UTC"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,  # a server that is started keeps it
            stderr=subprocess.PIPE if program == "initdb" else subprocess.DEVNULL,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, f"{program} failed: {done.stderr}; see {self._folder / 'log'}"
