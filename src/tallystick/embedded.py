"""The embedded Postgres: started, shared between processes and stopped by us, one per data folder.

    <data_dir>/              0700; where root made it 0710, root's own, its group that of the server
        cluster/             what initdb made, 0700, the server's own
        clients/<pid>-*      one file per client, locked for as long as that client lives
        mutex                locked while anybody enters, leaves, starts or stops
        server.alive         locked by the server and its children for as long as one of them lives
        made-for             the data folder that was asked for, which is not always this one
        keep-up              the mark that the last client to leave does not stop the server
        socket/              where the server listens; `socket-folder` names another one where this cannot serve
        server.log           cut when it passes 1 MiB; server-version is the version of the server that was started last

No process id is believed without a lock or a socket that answers: ids are used again, and differ between containers.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import socket
import stat
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from tallystick.embedded_cluster import (
    Account,
    check_major_version,
    copy_binaries,
    last_lines,
    make_cluster,
    place,
    roots_place,
    run_tool,
    server_account,
    server_binaries,
    told_plainly,
    version_of,
    wheel_binaries,
    write_settings,
)
from tallystick.errors import EmbeddedServerError
from tallystick.private_files import (
    is_locked,
    locked,
    make_folder,
    open_private,
    read_text,
    tries,
    try_lock,
    write_private,
)

# psycopg imports the slow ones among these modules itself, subprocess and socket too: beside it they cost nothing.

_START_SECONDS = 300.0  # recovery after a crash replays up to max_wal_size and more
_STOP_SECONDS = 300.0  # the checkpoint at the end
_MUTEX_SECONDS = 660.0  # the holder may be stopping one server and starting the next
_SILENCE_SECONDS = 30.0  # the children of a killed server leave when they next look up
_PROBE_SECONDS = 5.0
_CLIENT_TOOL_SECONDS = 6 * 3600.0
_LOG_LIMIT_BYTES = 1 << 20
_LOG_KEPT_BYTES = 1 << 16
_PLAIN_IN_URL = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/-._~")
_SOCKET_NAME = ".s.PGSQL.5432"
_SOCKET_PATH_LIMIT_BYTES = 103  # macOS; Linux takes 107
# The shell ends at once, so that the server is nobody's child: no caller is left with a zombie to collect.
_START_IN_BACKGROUND = '"$@" >&2 &'


class EmbeddedStatus(NamedTuple):
    """The server of one data folder: data_dir and binaries are where they really are, pid is None when it is down.

    `roots_dir` is where root keeps a ledger of its own for the same folder, of which nobody else can tell whether it is
    up; None where there is none, and for root.
    """

    is_running: bool
    pid: int | None
    version: str
    data_dir: Path
    url: str
    kept_up: bool
    client_count: int
    binaries: Path
    roots_dir: Path | None


class EmbeddedServer:
    """The embedded Postgres of one data folder as one client sees it; as a context manager, acquired and released."""

    def __init__(
        self, data_dir: Path, *, binaries: Path | None = None, system_dir: Path = Path("/var/lib/tallystick")
    ) -> None:
        self._asked_for = data_dir
        self._given_binaries = binaries
        self._system_dir = system_dir
        with told_plainly(data_dir):
            self._home = place(data_dir, system_dir=system_dir)
        self._cluster = self._home / "cluster"
        self._alive = self._home / "server.alive"
        self._keep_up_mark = self._home / "keep-up"
        self._log = self._home / "server.log"
        self._client: tuple[int, Path, int] | None = None  # descriptor, file, and the process that opened them

    def __enter__(self) -> str:
        try:
            return self.acquire()
        except BaseException:
            self.release()
            raise

    def __exit__(self, *_: object) -> None:
        self.release()

    def acquire(self) -> str:
        """Count as a client, start the server if it is down, and return its URL; asked again, only the latter two.

        What a signal raises can leave a client behind, and a server on its way: release() ends both.
        """
        with told_plainly(self._home):
            make_folder(self._home)
        with self._mutex():
            is_new = self._client is None
            if is_new:
                self._client = self._enter()
            try:
                self._ensure_up()
                self._bound_log()
            except Exception:
                if is_new:
                    self._leave()  # and stop nothing: a server that is only slow to recover may go on
                raise
        return self._url()

    def release(self) -> None:
        """Stop counting as a client; the last one to leave stops the server, unless it is kept up.

        Any thread may do so for another one that is not done with it: what that one waits for ends with the server.
        """
        if self._client is None:
            return
        if self._client[2] != os.getpid():
            self._client = None  # a forked child never had a place of its own
            return
        with self._mutex():
            if self._client is not None:  # another thread may have been quicker
                self._leave()
            self._stop_unless_wanted()

    def keep_up(self) -> None:
        """From now on the last client to leave does not stop the server; stop() does."""
        with self._mutex():
            write_private(self._keep_up_mark, "")

    def stop(self) -> None:
        """Stop the server whoever is connected, and no longer keep it up."""
        if self._home.is_dir():
            with self._mutex():
                self._keep_up_mark.unlink(missing_ok=True)
                self._stop_server()

    def erase(self) -> None:
        """Stop the server and delete the whole data folder: for a ledger that was made to be thrown away."""
        if self._home.is_dir():
            with self._mutex():
                self._stop_server()
                if self._client is not None:
                    self._leave()
                shutil.rmtree(self._socket_folder(), ignore_errors=True)
                shutil.rmtree(self._home)

    def status(self) -> EmbeddedStatus:
        """What the server is doing now; starts nothing, makes nothing, waits for nothing."""
        with told_plainly(self._home):
            is_running = self._is_ready()
            running_version = read_text(self._home / "server-version") if is_running else ""
            return EmbeddedStatus(
                is_running=is_running,
                pid=self._postmaster()[0] if is_running else None,
                version=running_version or version_of(self._binaries()),
                data_dir=self._home,
                url=self._url(),
                kept_up=self._keep_up_mark.exists(),
                client_count=len(self._live_clients()),
                binaries=self._server_binaries(),
                roots_dir=self._roots_dir(),
            )

    def binary(self, name: str) -> Path:
        """Where a program of this Postgres is, such as pg_dump."""
        path = self._binaries() / name
        if not path.is_file():
            raise EmbeddedServerError(f"there is no {name} in {path.parent}", hint="install tallystick again")
        return path

    def run_client(self, name: str, arguments: Sequence[str] = ()) -> str:
        """Run psql, pg_dump or pg_restore as the caller, connected to the ledger, and return what it prints."""
        connection = {
            "PGHOST": str(self._socket_folder()),
            "PGPORT": "5432",
            "PGUSER": "tallystick",
            "PGDATABASE": "tallystick",
        }
        return run_tool(self.binary(name), *arguments, environment=connection, limit_seconds=_CLIENT_TOOL_SECONDS)

    @contextmanager
    def _mutex(self) -> Iterator[None]:
        with told_plainly(self._home), locked(self._home / "mutex", limit_seconds=_MUTEX_SECONDS):
            yield

    def _enter(self) -> tuple[int, Path, int]:
        """A file in clients/, locked before it gets its name, so that nobody ever sees it and takes it for dead."""
        clients = self._home / "clients"
        make_folder(clients)
        name = f"{os.getpid()}-{os.urandom(4).hex()}"
        descriptor = open_private(clients / f".{name}", os.O_RDWR | os.O_CREAT | os.O_EXCL)
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        (clients / f".{name}").rename(clients / name)
        return descriptor, clients / name, os.getpid()

    def _leave(self) -> None:
        """Give our place back and clear away those of dead clients: under the mutex nobody else is just arriving."""
        assert self._client is not None
        descriptor, own_file, _ = self._client
        self._client = None
        own_file.unlink(missing_ok=True)
        os.close(descriptor)
        live = self._live_clients()
        for file in own_file.parent.iterdir():
            if file not in live:
                file.unlink(missing_ok=True)

    def _live_clients(self) -> list[Path]:
        clients = self._home / "clients"
        if not clients.is_dir():
            return []
        return [file for file in clients.iterdir() if not file.name.startswith(".") and is_locked(file)]

    def _postmaster(self) -> tuple[int, str]:
        """The process id and the state that postmaster.pid names; 0 and "" where it names none."""
        lines = read_text(self._cluster / "postmaster.pid").split("\n")
        return int(lines[0]) if lines[0].isdigit() else 0, lines[7].strip() if len(lines) > 7 else ""

    def _is_ready(self) -> bool:
        """Whether the server takes connections: a file may be left over, a socket that answers is not."""
        if self._postmaster()[1] != "ready":
            return False
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(_PROBE_SECONDS)
            try:
                probe.connect(str(self._socket_folder() / _SOCKET_NAME))
            except BlockingIOError:
                return True  # so many wait in line that there is no room
            except OSError:
                return False
        return True

    def _ensure_up(self) -> None:
        if self._is_ready():
            return
        alive = self._wait_for_silence()
        if alive is None:
            return
        try:
            binaries = self._server_binaries()
            if binaries != self._binaries() and not binaries.is_dir():
                copy_binaries(self._binaries(), to=binaries)
            if not self._cluster.is_dir():
                write_private(self._home / "made-for", f"{self._asked_for}\n")
                make_cluster(self._home, binaries=binaries, alive=alive)
            check_major_version(self._home, binaries=binaries)
            self._bound_log()
            log_start = self._log.stat().st_size if self._log.exists() else 0
            self._spawn(binaries / "postgres", alive=alive)
        finally:
            os.close(alive)  # the server has a copy, so this unlocks nothing
        self._wait_until_ready(log_start=log_start)

    def _wait_for_silence(self) -> int | None:
        """server.alive, locked for the next server; None if the one that held it turns out to be ready after all."""
        began = time.monotonic()
        for _ in tries(_START_SECONDS):
            alive = try_lock(self._alive)
            if alive is not None:
                return alive
            if self._is_ready():
                return None
            is_on_its_way = self._postmaster()[1] in ("starting", "stopping")
            if not is_on_its_way and time.monotonic() - began > _SILENCE_SECONDS:
                break
        raise EmbeddedServerError(
            f"a Postgres server of {self._home} lives but cannot be reached",
            hint="run `tally db stop`; if that changes nothing, another machine or container is using this folder",
        )

    def _spawn(self, postgres: Path, *, alive: int) -> None:
        """Start the server.

        postmaster.pid of a killed server goes first: Postgres would take whoever has that id now for a server. The lock
        `alive`, which we hold and the server inherits, proves that there is none.
        """
        account = server_account(self._home)
        socket_folder = self._make_socket_folder(account)
        write_settings(self._cluster, account=account, socket_folder=socket_folder, binaries=postgres.parent)
        write_private(self._home / "server-version", version_of(postgres.parent))
        (self._cluster / "postmaster.pid").unlink(missing_ok=True)
        command = ["-c", _START_IN_BACKGROUND, "sh", str(postgres), "-D", str(self._cluster)]
        log = open_private(self._log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        try:
            run_tool(Path("/bin/sh"), *command, account=account, folder=self._home, alive=alive, stderr=log)
        finally:
            os.close(log)

    def _wait_until_ready(self, *, log_start: int) -> None:
        for _ in tries(_START_SECONDS):
            if self._is_ready():
                return
            if not is_locked(self._alive):
                told = self._log.read_bytes()[log_start:].decode(errors="replace")
                raise EmbeddedServerError(
                    f"the embedded Postgres does not start: {last_lines(told)}", hint=f"its log is {self._log}"
                )
        raise EmbeddedServerError(
            f"the embedded Postgres is still recovering after {_START_SECONDS:.0f} s",
            hint=f"it goes on by itself: try again later, or see {self._log}",
        )

    def _stop_unless_wanted(self) -> None:
        if not self._keep_up_mark.exists() and not self._live_clients():
            self._stop_server()

    def _stop_server(self) -> None:
        """Fast shutdown, waiting until the last process of the server has gone."""
        signalled = 0
        for _ in tries(_STOP_SECONDS):
            if not is_locked(self._alive) and not self._is_ready():
                return
            pid = self._postmaster()[0]
            if pid and pid != signalled:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGINT)
                signalled = pid
        raise EmbeddedServerError(
            f"the embedded Postgres has not stopped within {_STOP_SECONDS:.0f} s", hint=f"its log is {self._log}"
        )

    def _roots_dir(self) -> Path | None:
        apart = roots_place(self._home, system_dir=self._system_dir)
        return apart if os.geteuid() != 0 and apart.is_dir() else None

    def _binaries(self) -> Path:
        return self._given_binaries or wheel_binaries()

    def _server_binaries(self) -> Path:
        return server_binaries(self._binaries(), home=self._home, system_dir=self._system_dir)

    def _socket_folder(self) -> Path:
        """Where the socket is; a folder outside ours counts only while it is the server's own and shut to others."""
        inside = self._home / "socket"
        if _can_hold_socket(inside):
            return inside
        outside = Path(read_text(self._home / "socket-folder") or inside)
        try:
            found = outside.lstat()
        except FileNotFoundError:
            return inside
        is_private = stat.S_ISDIR(found.st_mode) and not found.st_mode & 0o077
        return outside if is_private and found.st_uid == server_account(self._home).uid else inside

    def _make_socket_folder(self, account: Account) -> Path:
        folder = self._socket_folder()
        if _can_hold_socket(folder):
            make_folder(folder)
        else:
            # $XDG_RUNTIME_DIR goes when its user logs out, and $TMPDIR can be long itself or out of the server's reach.
            folder = Path(tempfile.mkdtemp(prefix="tallystick-", dir="/tmp"))
            write_private(self._home / "socket-folder", str(folder))
        for leftover in folder.iterdir():
            leftover.unlink()  # a lock of a killed server, which names a process id that may be in use again
        os.chown(folder, account.uid, account.gid)
        return folder

    def _bound_log(self) -> None:
        """Cut a log that has grown too long down to its end; the server appends, so it may be cut under its hands."""
        if self._log.exists() and self._log.stat().st_size > _LOG_LIMIT_BYTES:
            with self._log.open("r+b") as log:
                log.seek(-_LOG_KEPT_BYTES, os.SEEK_END)
                end = log.read()
                log.truncate(0)
            write_private(self._log.with_name("server.log.old"), end.decode(errors="surrogateescape"))

    def _url(self) -> str:
        folder = os.fsencode(self._socket_folder())
        host = "".join(chr(byte) if byte in _PLAIN_IN_URL else f"%{byte:02X}" for byte in folder)
        return f"postgresql://tallystick@/tallystick?host={host}&port=5432"


def _can_hold_socket(folder: Path) -> bool:
    """Whether clients can name a socket here: not too long, no comma (libpq's list), nothing that is not text."""
    path = str(folder / _SOCKET_NAME)
    return len(os.fsencode(path)) <= _SOCKET_PATH_LIMIT_BYTES and "," not in path and path.isprintable()
