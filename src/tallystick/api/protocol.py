"""HTTP as uvicorn speaks it, with bounds on a request's head, which it reads before anybody knows whose it is."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from tallystick.api.problems import problem
from tallystick.api.route import SECURITY_HEADERS

MAX_HEAD_BYTES = 64 << 10
HEAD_TIMEOUT_S = 20.0


class BoundedProtocol(HttpToolsProtocol):
    """Ends a connection whose head is too large, is no HTTP, or does not come within 20 s."""

    _head_bytes = 0
    _is_in_body = False
    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """A client came; from now on its first head is awaited."""
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client went."""
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Some bytes came, of a head or of a body."""
        if not self._is_in_body:
            if self._head_timer is None:
                self._await_head()
            self._head_bytes += len(data)
        super().data_received(data)
        if not self._is_in_body and self._head_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
            self._refuse(431, f"the head of the request has over {MAX_HEAD_BYTES} bytes")

    def send_400_response(self, msg: str) -> None:
        """What came is no HTTP; `msg` says no more than that."""
        del msg
        self._refuse(400, "this is no HTTP request, or a header of it holds a sign that none may hold")

    def on_headers_complete(self) -> None:
        """The head is whole."""
        self._stop_waiting()
        self._is_in_body = True
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The request is whole; what comes next is another head, whenever it comes."""
        self._is_in_body, self._head_bytes = False, 0
        super().on_message_complete()

    def _await_head(self) -> None:
        self._head_timer = self.loop.call_later(HEAD_TIMEOUT_S, self._close_slow)

    def _stop_waiting(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _refuse(self, status: int, detail: str) -> None:
        answer = problem(status, detail)
        headers = (*answer.raw_headers, *SECURITY_HEADERS, (b"connection", b"close"))
        head = [b"HTTP/1.1 %d %b" % (status, HTTPStatus(status).phrase.encode())]
        head += [b"%b: %b" % header for header in headers]
        # in one piece: written in parts, each is a packet of its own
        self.transport.write(b"\r\n".join([*head, b"", bytes(answer.body)]))
        self.transport.close()

    def _close_slow(self) -> None:
        self._head_timer = None
        if not self._is_in_body and not self.transport.is_closing():
            self.transport.close()
