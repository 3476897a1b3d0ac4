"""Running a server: health, metrics, logs, an end in peace, and a database that goes and comes back."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
import uvicorn
from prometheus_client.parser import text_string_to_metric_families

from tallystick.api.app import create_app
from tallystick.config import load_server_settings
from tallystick.embedded import EmbeddedServer
from tallystick.schema import install_or_migrate
from tests.api.serving import PREFIX, SECRET, Api, event, new_user, until
from tests.api.signers import HS256_SECRET, Signer
from tests.servers import connect
from tests.sql.waiting import wait_for


def samples(api: Api) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    answer = api.ask("GET", "/metrics")
    assert answer.status_code == 200
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def value(api: Api, name: str, **labels: str) -> float:
    return samples(api).get((name, frozenset(labels.items())), 0)


# -- health and metrics


def test_a_server_that_can_work_is_ready(api: Api) -> None:
    assert api.ask("GET", "/healthz").json() == {"status": "ok"}
    assert api.ask("GET", "/readyz").json() == {"status": "ok"}
    described = api.ask("GET", "/openapi.json")
    assert described.json()["info"]["title"] == "Tallystick"


def test_the_metrics_count_requests_and_what_became_of_events(api: Api) -> None:
    key = api.key(new_user())
    route = f"{PREFIX}/track"
    labels = {"method": "POST", "route": route, "status": "200"}
    requests = value(api, "tallystick_requests_total", **labels)
    outcomes = ("new", "duplicate", "rejected", "unpriced", "revised")
    counted = [value(api, "tallystick_observations_total", outcome=outcome) for outcome in outcomes]
    api.post("/track", key, [event(1), event(2), {"source": "api"}])
    api.post("/track", key, [event(1)])
    api.post("/upsert", key, {"session_data": {"session_id": "s", "model_used": "acme", "input_tokens": 5}})
    assert value(api, "tallystick_requests_total", **labels) == requests + 2
    assert value(api, "tallystick_request_seconds_count", method="POST", route=route) >= 2
    grown = [value(api, "tallystick_observations_total", outcome=outcome) for outcome in outcomes]
    assert [more - before for more, before in zip(grown, counted, strict=True)] == [3, 1, 1, 2, 0]
    assert value(api, "tallystick_pool_connections", state="open") >= 1


def test_what_a_caller_makes_up_is_no_label_of_the_metrics(api: Api) -> None:
    for number in range(20):
        api.ask("GET", f"/nothing/{number}")
        api.ask("GET", f"{PREFIX}/session/made-up-{number}")
    api.ask("PROPFIND", "/nothing")
    text = api.ask("GET", "/metrics").text
    assert "made-up" not in text
    assert "/nothing" not in text
    assert "PROPFIND" not in text
    assert value(api, "tallystick_requests_total", method="GET", route="none", status="404") >= 20


def test_an_id_of_a_request_is_kept_where_it_can_be_told(api: Api) -> None:
    given = api.ask("GET", "/healthz", headers={"X-Request-ID": "deploy-17.a_b"})
    assert given.headers["x-request-id"] == "deploy-17.a_b"
    assert api.ask("GET", "/nothing", headers={"X-Request-ID": "deploy-18"}).json()["request_id"] == "deploy-18"
    for odd in ("a b", "x" * 65, "a;b", '"'):
        made = api.ask("GET", "/healthz", headers={"X-Request-ID": odd}).headers["x-request-id"]
        assert made != odd
        assert len(made) == 32
    assert len(api.ask("GET", "/healthz").headers.get_list("x-request-id")) == 1
    assert any(line["request_id"] == "deploy-17.a_b" for line in api.log_lines())


def test_no_page_of_another_site_may_ask_unless_it_is_named(
    api: Api, start_api: Callable[..., Api], api_database: str
) -> None:
    asked = {"Origin": "https://shop.example", "Access-Control-Request-Method": "GET"}
    assert "access-control-allow-origin" not in api.ask("OPTIONS", f"{PREFIX}/daily", headers=asked).headers
    named = start_api(api_database, TALLYSTICK_CORS_ORIGINS="https://shop.example, https://notes.example")
    answer = named.client.options(f"{PREFIX}/daily", headers=asked)
    assert answer.headers["access-control-allow-origin"] == "https://shop.example"
    assert "access-control-allow-credentials" not in answer.headers
    other = named.client.options(f"{PREFIX}/daily", headers={**asked, "Origin": "https://evil.example"})
    assert "access-control-allow-origin" not in other.headers


def test_the_log_is_one_line_of_json_per_request_and_holds_no_secret(
    start_api: Callable[..., Api], api_database: str, signer: Signer
) -> None:
    api = start_api(api_database, SUPABASE_URL=signer.url, SUPABASE_JWT_SECRET=HS256_SECRET)
    user = new_user()
    key, token = api.key(user), signer.token(user)
    api.post("/track", key, event(1, project="a-project-of-mine"))
    api.get("/daily", token, project="a-project-of-mine")
    api.ask("GET", f"{PREFIX}/daily?user_id={key}", key=key)
    api.ask("GET", f"{PREFIX}/daily?apikey={key}", key=key[:-1])
    api.ask("GET", f"/{key}", key="sb_secret_abc")
    lines = api.log_lines()
    assert [(line["method"], line["route"], line["status"]) for line in lines] == [
        ("POST", f"{PREFIX}/track", 200),
        ("GET", f"{PREFIX}/daily", 200),
        ("GET", f"{PREFIX}/daily", 400),
        ("GET", f"{PREFIX}/daily", 401),
        ("GET", "none", 404),
    ]
    assert [line["caller"].partition(":")[0] if line["caller"] else None for line in lines] == [
        *("key", "user", "key", None, None)
    ]
    for line in lines:
        assert line["request_id"]
        assert line["duration_ms"] >= 0
        assert line["timestamp"].endswith("Z")
    for secret in (key, key[13:], token, token.split(".")[2], "sb_secret_abc", HS256_SECRET, "a-project-of-mine"):
        assert secret not in api.log()


# -- the end


def test_a_request_in_flight_is_finished_before_the_server_ends(
    start_api: Callable[..., Api], api_database: str
) -> None:
    api = start_api(api_database)
    user = new_user()
    key = api.key(user)
    api.post("/track", key, event(1))
    with connect(api_database) as holder:
        holder.execute("select from token_usage_accounts where user_id = %s for update", [user])
        request = f"POST {PREFIX}/track HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n"
        body = json.dumps(event(2)).encode()
        host, _, port = api.address.removeprefix("http://").partition(":")
        with socket.create_connection((host, int(port)), timeout=30) as connection:
            connection.sendall(f"{request}Content-Length: {len(body)}\r\n\r\n".encode() + body)
            with connect(api_database, autocommit=True) as watcher:
                wait_for(watcher, "select exists (select from pg_locks where not granted)")
            api.process.send_signal(signal.SIGTERM)
            until(lambda: not accepts(host, int(port)))
            assert api.process.poll() is None
            holder.rollback()
            answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 200"), answer
    assert b'"new":1' in answer
    assert api.process.wait(timeout=30) == 0
    with connect(api_database) as reader:
        found = reader.execute("select count(*) from token_usage_events where user_id = %s", [user]).fetchone()
    assert found == (2,)


def test_an_upload_that_the_end_of_the_server_cuts_is_told_to_come_again(
    api: Api, alices_key: str, tmp_path: Path
) -> None:
    settings = load_server_settings({"TALLYSTICK_HOME": str(tmp_path), "TALLYSTICK_KEY_SECRET": SECRET,
                                     "TALLYSTICK_DATABASE_URL": api.database_url})  # fmt: skip
    app = create_app(settings)
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, timeout_graceful_shutdown=0))
    thread = threading.Thread(target=server.run)
    thread.start()
    until(lambda: server.started)
    address = server.servers[0].sockets[0].getsockname()
    head = f"POST {PREFIX}/track HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {alices_key}\r\n"
    with socket.create_connection(address, timeout=30) as connection:
        connection.sendall(f"{head}Content-Length: 1000\r\nExpect: 100-continue\r\n\r\n".encode())
        assert connection.recv(100).startswith(b"HTTP/1.1 100")  # the caller is known, and the body waited for
        connection.sendall(b"[")
        server.should_exit = True
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    thread.join(timeout=30)
    assert answer.startswith(b"HTTP/1.1 503"), answer
    assert b"retry-after: 1" in answer
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["detail"] == "the server is ending"


def accepts(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=5):
            return True
    except OSError:
        return False


# -- an embedded server of its own, which goes and comes back


@pytest.fixture
def own_server() -> Iterator[EmbeddedServer]:
    folder = Path(tempfile.mkdtemp(prefix="tally-", dir="/tmp"))
    folder.chmod(0o755)
    server = EmbeddedServer(folder / "postgres")
    yield server
    server.erase()
    shutil.rmtree(folder)


def test_while_the_database_is_away_requests_are_told_to_come_again_and_then_work_by_themselves(
    own_server: EmbeddedServer, start_api: Callable[..., Api]
) -> None:
    url = own_server.acquire()
    install_or_migrate(url)
    api = start_api(url)
    key = api.key(new_user())
    assert api.post("/track", key, event(1))["new"] == 1
    own_server.release()
    own_server.stop()
    # each waits for a connection, so they ask at once
    with ThreadPoolExecutor(4) as pool:
        tracked = pool.submit(api.ask, "POST", f"{PREFIX}/track", key=key, json=event(2))
        ready, healthy, metrics = pool.map(lambda path: api.ask("GET", path), ("/readyz", "/healthz", "/metrics"))
    for answer in (tracked.result(), ready):
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert (healthy.status_code, metrics.status_code) == (200, 200)
    own_server.acquire()
    until(lambda: api.ask("GET", "/readyz").status_code == 200)
    assert api.post("/track", key, [event(1), event(2)])["new"] == 1
    assert api.stop() == 0
    assert "Traceback" not in api.log()
    own_server.release()


def test_the_embedded_ledger_is_served_with_its_slowest_statements_and_left_down() -> None:
    folder = Path(tempfile.mkdtemp(prefix="tally-", dir="/tmp"))
    folder.chmod(0o755)
    try:
        api = Api(folder, "")
        api.database_url = ""
        key = subprocess.run(
            [sys.executable, "-m", "tallystick", "keys", "create", "--name", "mine"],
            env=api.environ, capture_output=True, text=True, check=True,
        ).stdout.strip()  # fmt: skip
        assert httpx.post(f"{api.address}{PREFIX}/track", json=event(1)).status_code == 401
        assert api.post("/track", key, event(1))["new"] == 1
        seconds = {dict(labels)["statement"] for name, labels in samples(api) if "statement_seconds" in name}
        statements = {dict(labels)["statement"] for name, labels in samples(api) if "statement_calls" in name}
        assert seconds
        assert seconds & statements
        assert any("ingest_token_usage" in statement for statement in statements)
        assert not any(key[13:] in statement for statement in statements)
        postgres = next(folder.rglob("postmaster.pid"))
        assert api.stop() == 0
        assert not postgres.exists()
    finally:
        EmbeddedServer(folder / "home" / "data" / "postgres").erase()
        shutil.rmtree(folder)


# -- a start that fails says why, in one line


def failed_start(folder: Path, *arguments: str, **environ: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "tallystick", "serve", *arguments],
        env={"PATH": "/usr/bin:/bin", "HOME": str(folder), "LANG": "C.UTF-8", **environ},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    return line


def test_a_port_that_is_taken_is_told(tmp_path: Path, api: Api) -> None:
    port = api.address.rpartition(":")[2]
    line = failed_start(tmp_path, "--port", port, "--database", api.database_url)
    assert line == (
        f"tally: cannot listen on 127.0.0.1, port {port}: Address already in use. "
        "Name another with --port, or another address with --host."
    )


def test_a_database_that_cannot_be_reached_is_told_without_its_password(tmp_path: Path) -> None:
    line = failed_start(tmp_path, "--database", "postgresql://me:s3cret@127.0.0.1:1/books")
    assert line.startswith("tally: cannot reach the ledger at postgresql://me:***@127.0.0.1:1/books: ")
    assert "s3cret" not in line


def test_a_database_without_a_ledger_is_told(tmp_path: Path, server_urls: dict[str, str]) -> None:
    line = failed_start(tmp_path, "--database", server_urls["18"].replace("/tallystick?", "/postgres?"))
    assert line.endswith("Run `tally db migrate` on this database.")


def test_a_folder_that_cannot_keep_the_secret_of_the_keys_is_told(tmp_path: Path, api: Api) -> None:
    (tmp_path / "home" / "config" / "key_secret").mkdir(parents=True)
    line = failed_start(tmp_path, "--database", api.database_url, TALLYSTICK_HOME=str(tmp_path / "home"))
    assert line.startswith(f"tally: cannot read or make {tmp_path}/home/config/key_secret: ")
    assert line.endswith("Make its folder writable, or set TALLYSTICK_KEY_SECRET.")


def test_an_address_that_is_not_ours_is_told(tmp_path: Path, api: Api) -> None:
    line = failed_start(tmp_path, "--host", "no.such.host.invalid", "--database", api.database_url)
    assert line.startswith("tally: cannot listen on no.such.host.invalid, port 8377: ")
