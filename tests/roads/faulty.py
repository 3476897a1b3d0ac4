"""A real HTTP server in front of a ledger, which goes wrong as the test tells it to and notes what it was asked."""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple
from urllib.parse import urlsplit


class Fault(NamedTuple):
    """What becomes of one request: this answer instead of the ledger's, or none at all where status is 0."""

    status: int = 0
    body: str = ""
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()
    # the ledger had the request, and only its answer was lost
    is_passed_on: bool = False
    # the ledger's own answer, of which only so much comes, with its whole length told or with that of the part
    cut_at: float | None = None
    is_length_told: bool = True


class Asked(NamedTuple):
    """One request as it came."""

    path: str
    headers: dict[str, str]
    body: bytes
    at_s: float


class FaultyServer:
    """It passes requests on to `target`; the next ones meet `faults`, one each, or none where that is None."""

    def __init__(self, target: str) -> None:
        self.faults: list[Fault | None] = []
        # what meets every request for which there is none of its own
        self.always: Fault | None = None
        self.asked: list[Asked] = []
        outside = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                """Nothing: the test knows."""

            def do_GET(self) -> None:
                outside._handle(self, target)

            do_POST = do_PUT = do_GET

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=60)

    def pauses(self) -> list[float]:
        """The seconds between one request and the next."""
        return [later.at_s - earlier.at_s for earlier, later in zip(self.asked, self.asked[1:], strict=False)]

    def _handle(self, request: BaseHTTPRequestHandler, target: str) -> None:
        body = request.rfile.read(int(request.headers.get("Content-Length", 0)))
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.asked.append(Asked(request.path, headers, body, time.monotonic()))
        fault = self.faults.pop(0) if self.faults else self.always
        if fault is None or fault.is_passed_on or fault.cut_at is not None:
            status, answered, text = self._pass_on(request, target, headers, body)
        if fault is None:
            send(request, status, answered, text)
        elif fault.cut_at is not None:
            part = text[: int(len(text) * fault.cut_at)]
            send(request, status, answered, part, length=len(text) if fault.is_length_told else len(part))
            request.close_connection = True
        elif fault.status:
            send(request, fault.status, [("Content-Type", fault.content_type), *fault.headers], fault.body.encode())
        else:
            request.close_connection = True

    def _pass_on(
        self, request: BaseHTTPRequestHandler, target: str, headers: dict[str, str], body: bytes
    ) -> tuple[int, list[tuple[str, str]], bytes]:
        connection = http.client.HTTPConnection(urlsplit(target).netloc, timeout=60)
        kept = {name: value for name, value in headers.items() if name not in ("host", "connection", "accept-encoding")}
        connection.request(request.command, request.path, body=body, headers=kept)
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        passed = ("content-type", "retry-after")
        return answer.status, [(name, value) for name, value in answer.getheaders() if name.lower() in passed], text


def send(
    request: BaseHTTPRequestHandler,
    status: int,
    headers: list[tuple[str, str]],
    body: bytes,
    *,
    length: int | None = None,
) -> None:
    request.send_response(status)
    for name, value in [*headers, ("Content-Length", str(len(body) if length is None else length))]:
        request.send_header(name, value)
    request.end_headers()
    request.wfile.write(body)


@contextmanager
def faulty(target: str) -> Iterator[FaultyServer]:
    """One that is closed at the end."""
    server = FaultyServer(target)
    try:
        yield server
    finally:
        server.close()
