"""A model provider on 127.0.0.1, which answers the makers' own clients with what it was told to."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from tallystick.observation import Observation
from tallystick.sources.api_calls import ApiCall

# the makers' packages take 4 s to import: whoever asks for a client pays, not every process that collects the tests
if TYPE_CHECKING:
    import anthropic
    import openai
    from google import genai

REQUEST_ID = "req_011CQx8Yb3LmN5pR7tVwXyZa"
CALLED_AT = "2026-11-22T18:06:44.758Z"

Answer = dict[str, Any]


class ModelApi:
    """The server; it gives each request the next answer, as JSON or, a list, as a stream of events."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.answers: list[Answer | Sequence[Answer]] = []
        self.status = 200

    def anthropic(self) -> anthropic.Anthropic:
        import anthropic

        return anthropic.Anthropic(api_key="no-key", base_url=self.url, max_retries=0)

    def async_anthropic(self) -> anthropic.AsyncAnthropic:
        import anthropic

        return anthropic.AsyncAnthropic(api_key="no-key", base_url=self.url, max_retries=0)

    def openai(self) -> openai.OpenAI:
        import openai

        return openai.OpenAI(api_key="no-key", base_url=f"{self.url}/v1", max_retries=0)

    def async_openai(self) -> openai.AsyncOpenAI:
        import openai

        return openai.AsyncOpenAI(api_key="no-key", base_url=f"{self.url}/v1", max_retries=0)

    def google(self) -> genai.Client:
        from google import genai

        return genai.Client(api_key="no-key", http_options=genai.types.HttpOptions(base_url=self.url))


@contextmanager
def running_model_api() -> Iterator[ModelApi]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.api = ModelApi(f"http://127.0.0.1:{server.server_port}")  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server.api  # type: ignore[attr-defined]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        api: ModelApi = self.server.api  # type: ignore[attr-defined]
        answer = api.answers.pop(0)
        is_stream = not isinstance(answer, dict)
        body = _sse(answer) if is_stream else json.dumps(answer).encode()
        self.send_response(api.status)
        self.send_header("Content-Type", "text/event-stream" if is_stream else "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("request-id", REQUEST_ID)
        self.send_header("x-request-id", REQUEST_ID)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: object) -> None:
        pass


def _sse(events: Sequence[Answer]) -> bytes:
    """Events that have a type are named by it; Chat Completions ends its stream by a word of its own."""
    lines = []
    for event in events:
        name = event.get("type") or event.get("event_type")
        lines.append((f"event: {name}\n" if name else "") + f"data: {json.dumps(event)}\n\n")
    if events[0].get("object") == "chat.completion.chunk":
        lines.append("data: [DONE]\n\n")
    return "".join(lines).encode()


def call(*, weak_key: str = "api:made-once", **labels: Any) -> ApiCall:
    """A call of which nothing else is known."""
    return ApiCall(Observation(**{"source": "api", **labels}), called_at=CALLED_AT, weak_key=weak_key)


def counts_of(observation: Observation) -> dict[str, int]:
    """The counts that are not 0."""
    names = (
        *("input_tokens", "cache_creation_5m_tokens", "cache_creation_1h_tokens", "cache_read_tokens"),
        *("output_tokens", "thinking_tokens", "web_search_requests"),
    )
    return {name: count for name in names if (count := getattr(observation, name))}
