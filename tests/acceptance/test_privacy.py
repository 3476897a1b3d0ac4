"""Nothing of what was said, done or read leaves the transcripts: not into the database, a log, or over the network."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from tests.acceptance.machines import LONG_AGO_S, environ_of, line
from tests.api.serving import Api
from tests.servers import connect

CANARY = "c4n4ry"
FOLDER = "/nowhere/ann/secret-customer/shop"
CALLS = 20
USER_TABLES = """\
select n.nspname, c.relname from pg_class as c join pg_namespace as n on n.oid = c.relnamespace
where n.nspname in ('public', 'tallystick') and c.relkind = 'r'
"""


def canary(place: str) -> str:
    return f"{CANARY}-{place}"


def conversation() -> bytes:
    """Calls, each with an answer, a thought and a tool's input; prompts, results, summaries and titles between them."""
    lines: list[bytes] = []
    for number in range(CALLS):
        call = json.loads(line(number, text=canary("answer")))
        call["cwd"] = FOLDER
        call["message"]["content"] += [
            {"type": "thinking", "thinking": canary("thought"), "signature": canary("signature")},
            {"type": "tool_use", "id": "toolu_1", "name": "Bash", "input": {"command": canary("command")}},
            {"type": "tool_use", "id": "toolu_2", "name": "Read", "input": {"file_path": f"/x/{canary('file')}.py"}},
        ]
        others: list[dict[str, Any]] = [
            {"type": "user", "message": {"role": "user", "content": canary("prompt")}},
            {"type": "user", "toolUseResult": {"stdout": canary("output"), "usage": {"input_tokens": 1}}},
            {"type": "summary", "summary": canary("summary")},
            {"type": "ai-title", "title": canary("title")},
            {"type": "attachment", "attachment": {"fileName": canary("attachment")}},
            {"type": "api-request-blob", "data": canary("blob"), "usage": {}},
        ]
        lines += [json.dumps(other).encode() + b"\n" for other in others]
        lines.append(json.dumps(call).encode() + b"\n")
        # damaged ones: what is rejected must not be quoted either
        lines.append(b'{"type":"assistant","message":{"usage":{"input_tokens":"' + canary("count").encode() + b'"}}}\n')
        lines.append(b'{"type":"assistant","usage":{"text":"' + canary("torn").encode() + b"\n")
    return b"".join(lines)


@pytest.fixture
def transcripts(home: Path) -> Path:
    file = home / "claude" / "projects" / "-w" / f"{uuid.uuid4()}.jsonl"
    file.parent.mkdir(parents=True)
    file.write_bytes(conversation())
    os.utime(file, (LONG_AGO_S, LONG_AGO_S))
    return home


def tally(home: Path, url: str, *arguments: str, **environ: str) -> str:
    """Everything that a command says, and everything that it leaves in its folders, as text."""
    done = subprocess.run(
        [sys.executable, "-m", "tallystick", *arguments],
        env=environ_of(home, url, **environ),
        capture_output=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    files = (file for file in (home / "tallystick").rglob("*") if file.is_file())
    left = b"".join(file.read_bytes() for file in files)
    return (done.stdout + done.stderr + left).decode("utf-8", "replace")


def everything_in(url: str) -> str:
    """Every row of every table of ours."""
    with connect(url) as connection:
        tables = connection.execute(USER_TABLES).fetchall()
        assert len(tables) > 10
        return "\n".join(row for table in tables for row in rows_of(connection, *table))


def rows_of(connection: psycopg.Connection[Any], schema: str, table: str) -> list[str]:
    query = sql.SQL("select t::text from {}.{} as t").format(sql.Identifier(schema), sql.Identifier(table))
    return [row[0] for row in connection.execute(query)]


def test_no_text_of_a_transcript_is_in_the_database_the_output_or_our_files(
    transcripts: Path, ledger_url_18: str
) -> None:
    said = tally(transcripts, ledger_url_18, "import", "--verbose")
    said += tally(transcripts, ledger_url_18, "doctor")
    kept = everything_in(ledger_url_18)
    assert f"{CALLS} new calls" in said
    assert kept.count("msg_number") >= CALLS
    assert CANARY not in said + kept


@pytest.mark.parametrize(("mode", "is_named"), [("path", True), ("name", False), ("hash", False)])
def test_a_projects_path_is_in_the_database_only_if_the_settings_say_so(
    transcripts: Path, ledger_url_18: str, mode: str, is_named: bool
) -> None:
    config = transcripts / "tallystick" / "config" / "config.toml"
    config.parent.mkdir(parents=True)
    config.write_text(f'project_names = "{mode}"\n')
    tally(transcripts, ledger_url_18, "import")
    kept = everything_in(ledger_url_18)
    assert ("secret-customer" in kept) is is_named
    assert ("shop" in kept) is (mode != "hash")
    # and it is found by its path all the same
    assert f'"event_count": {CALLS}' in tally(transcripts, ledger_url_18, "projects", "--project", FOLDER, "--json")


def test_no_text_of_a_transcript_goes_over_the_network_or_into_a_servers_log(
    transcripts: Path, ledger_url_18: str, tmp_path: Path
) -> None:
    folder = tmp_path / "server"
    folder.mkdir()
    api = Api(folder, ledger_url_18)
    key = api.key(str(uuid.uuid4()))
    sent = bytearray()
    with relay(api.address.rpartition(":")[2], sent) as port:
        tally(transcripts, f"http://127.0.0.1:{port}", "import", TALLYSTICK_API_KEY=key)
    log = api.log()
    assert api.stop() == 0
    assert sent.count(b"msg_number") >= CALLS
    assert CANARY.encode() not in sent
    assert CANARY not in log
    assert "secret-customer" not in log


@contextmanager
def relay(port: str, sent: bytearray) -> Iterator[int]:
    """A port that leads to another one, and keeps what clients send to it."""
    with ExitStack() as sockets, socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=_accept, args=[listener, int(port), sent, sockets], daemon=True).start()
        yield listener.getsockname()[1]
        # what waits in accept() wakes up at this; a mere close would leave it there
        listener.shutdown(socket.SHUT_RDWR)


def _accept(listener: socket.socket, port: int, sent: bytearray, sockets: ExitStack) -> None:
    while True:
        try:
            client, _ = listener.accept()
        except OSError:
            return
        sockets.enter_context(client)
        server = sockets.enter_context(socket.create_connection(("127.0.0.1", port)))
        threading.Thread(target=_pass_on, args=[client, server, sent], daemon=True).start()
        threading.Thread(target=_pass_on, args=[server, client, bytearray()], daemon=True).start()


def _pass_on(one: socket.socket, other: socket.socket, kept: bytearray) -> None:
    try:
        while part := one.recv(65536):
            kept += part
            other.sendall(part)
        other.shutdown(socket.SHUT_WR)
    except OSError:
        return
