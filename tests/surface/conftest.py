"""Fixtures for the tests of the embedded server and of tracking.

The folders of servers lie directly below /tmp, because pytest's own are closed to everybody else, and then root's
server could not live in them.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from tallystick.embedded import EmbeddedServer
from tallystick.ledger import Ledger
from tallystick.tracking import Tracker
from tests.surface.tracked_answers import LIMIT_S

if TYPE_CHECKING:
    from tallystick.delivery import LedgerLike

CLIENT = """
import signal
import sys
from pathlib import Path
from tallystick.embedded import EmbeddedServer
# a shell starts what goes on in its background with Ctrl-C ignored
signal.signal(signal.SIGINT, signal.default_int_handler)
with EmbeddedServer(Path(sys.argv[1]), system_dir=Path(sys.argv[2])) as url:
    print(url, flush=True)
    sys.stdin.read()
"""
VISITOR = """
import sys
from pathlib import Path
import psycopg
from tallystick.embedded import EmbeddedServer
for _ in range(8):
    with EmbeddedServer(Path(sys.argv[1]), system_dir=Path(sys.argv[2])) as url, psycopg.connect(url) as connection:
        connection.execute("select 1")
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="tally-", dir="/tmp"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="session")
def made_cluster() -> Iterator[Path]:
    """A cluster made once, to be copied: initdb takes most of a second."""
    path = Path(tempfile.mkdtemp(prefix="tally-", dir="/tmp"))
    path.chmod(0o755)
    with EmbeddedServer(path / "made", system_dir=path / "system") as url, psycopg.connect(url) as connection:
        connection.execute("create table kept (figure integer)")
    yield path / "made"
    shutil.rmtree(path)


@pytest.fixture
def server_at(folder: Path, made_cluster: Path) -> Iterator[Callable[..., EmbeddedServer]]:
    """Servers below `folder`, on a copy of the made cluster unless they shall make their own; erased at the end."""
    servers: list[EmbeddedServer] = []

    def make(name: str = "postgres", *, is_copied: bool = True, **options: Path) -> EmbeddedServer:
        home = folder / name
        if is_copied and not home.exists():
            home.parent.mkdir(parents=True, exist_ok=True)
            subprocess.run(["cp", "-a", str(made_cluster), str(home)], check=True)
        servers.append(EmbeddedServer(home, **{"system_dir": folder / "system", **options}))
        return servers[-1]

    yield make
    for server in servers:
        server.erase()


@pytest.fixture
def client_of(folder: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Clients that are processes: each says its URL once it has acquired, and releases when its input ends.

    A visitor says nothing, but comes, asks and goes eight times.
    """
    clients: list[subprocess.Popen[str]] = []

    def start(home: Path, *, is_visitor: bool = False) -> subprocess.Popen[str]:
        script = VISITOR if is_visitor else CLIENT
        command = [sys.executable, "-c", script, str(home), str(folder / "system")]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        pipe = subprocess.PIPE
        clients.append(subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, env=environment))
        return clients[-1]

    yield start
    for client in clients:
        client.kill()
        client.communicate()


@pytest.fixture
def user_id() -> str:
    return str(uuid.uuid4())


@pytest.fixture
def make_tracker(ledger_url: str, user_id: str) -> Iterator[Callable[..., Tracker]]:
    """Trackers of this test's ledger, closed afterwards."""
    trackers: list[Tracker] = []

    def make(factory: Callable[[str], LedgerLike] | None = None, **options: Any) -> Tracker:
        def connect(owner: str) -> LedgerLike:
            return Ledger.connect(ledger_url, user_id=owner)

        trackers.append(Tracker(factory or connect, user_id=user_id, **options))
        return trackers[-1]

    yield make
    for tracker in trackers:
        assert tracker.close(LIMIT_S)


@pytest.fixture
def tracker(make_tracker: Callable[..., Tracker]) -> Tracker:
    return make_tracker()
