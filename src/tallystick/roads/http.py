"""What both HTTP roads share: one connection pool, arguments as JSON, rows from JSON, and what a status means."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from decimal import Decimal
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httpx
import msgspec

from tallystick.errors import (
    Busy,
    ConfigError,
    Conflict,
    Forbidden,
    InvalidRequest,
    LedgerError,
    LedgerUnavailable,
    NotFound,
    RateLimited,
    TooMuch,
    Unauthorized,
)
from tallystick.redaction import redacted_url
from tallystick.road import ANSWER_TIMEOUT_S, JsonText
from tallystick.sqlstates import connection_broke

Row = TypeVar("Row")

CONNECT_TIMEOUT_S = 5.0
MAX_REASON_LENGTH = 200
RETRY_AFTER_S = 60
NO_CONTENT = 204
# what an answer says of how it is sent, and not of what is in it
OF_THE_TRANSFER = frozenset({"content-encoding", "content-length", "transfer-encoding"})
URL_HINT = "Write it as https://host, or as https://host:8377 with a port."
LATER_HINT = "Nothing is lost; try again in a moment."

ERROR_BY_STATUS: dict[int, type[LedgerError]] = {
    400: InvalidRequest,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    408: LedgerUnavailable,
    409: Conflict,
    413: TooMuch,
    422: InvalidRequest,
    429: RateLimited,
    502: LedgerUnavailable,
    503: Busy,
    504: LedgerUnavailable,
    520: LedgerUnavailable,
}

# an amount of money that comes as a number keeps its digits
decode_json = msgspec.json.Decoder(float_hook=Decimal).decode


class HttpPlace:
    """An http(s) address that questions are put to; raises LedgerUnavailable where nobody answers."""

    def __init__(self, url: str, *, headers: Mapping[str, str]) -> None:
        if not all(value.isascii() and value.isprintable() for value in headers.values()):
            # what httpx says of it would show the key
            raise ConfigError("the key of the ledger holds a sign that no key has", hint="Copy it once more.")
        if "@" in url.partition("://")[2].partition("/")[0]:
            # httpx would send them in place of the key
            raise ConfigError(
                "the address of the ledger holds a user or a password", hint="Leave them out; a key opens it."
            )
        if fault := _fault_of(url):
            raise LedgerError(f"cannot read the URL of the ledger: {fault}", hint=URL_HINT)
        self._url = url.rstrip("/")
        self._client = httpx.Client(
            headers={"User-Agent": "tallystick", **headers},
            follow_redirects=False,
        )
        self.wait_at_most(None)

    def wait_at_most(self, seconds: float | None) -> None:
        """Bound the wait for an answer, and for each part of a batch to be taken; None is a minute, as is the most."""
        limit_s = min(seconds or ANSWER_TIMEOUT_S, ANSWER_TIMEOUT_S)
        self._client.timeout = httpx.Timeout(limit_s, connect=CONNECT_TIMEOUT_S)
        self._limit_s = limit_s

    def close(self) -> None:
        self._client.close()

    def _whole(self, answer: httpx.Response) -> httpx.Response:
        """The answer with all of its body, for the parts of which httpx would wait one by one."""
        deadline, parts = time.monotonic() + self._limit_s, []
        for part in answer.iter_bytes():
            parts.append(part)
            if time.monotonic() > deadline:
                raise httpx.ReadTimeout(f"no whole answer within {self._limit_s:g} s")
        headers = [(name, value) for name, value in answer.headers.multi_items() if name not in OF_THE_TRANSFER]
        return httpx.Response(answer.status_code, headers=headers, content=b"".join(parts))

    def ask(
        self, method: str, path: str, *, query: Sequence[tuple[str, str]] = (), body: bytes | None = None
    ) -> httpx.Response:
        """The answer, whatever its status."""
        headers = {} if body is None else {"Content-Type": "application/json"}
        try:
            with self._client.stream(
                method, self._url + path, params=list(query) or None, content=body, headers=headers
            ) as answer:
                return self._whole(answer)
        except (httpx.InvalidURL, UnicodeError):
            # what httpx says of it quotes the part at fault, which may be a password
            raise LedgerError("cannot read the URL of the ledger", hint=URL_HINT) from None
        except httpx.HTTPError as error:
            place, reason = redacted_url(self._url), str(error) or type(error).__name__
            if _is_of_tls(error):
                raise LedgerError(
                    f"no safe connection to the ledger at {place}: {reason}",
                    hint="Check that the URL is right, and the server's certificate.",
                ) from None
            if isinstance(error, (httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError)):
                raise connection_broke(reason) from None
            raise LedgerUnavailable(
                f"cannot reach the ledger at {place}: {reason}",
                hint="Check that the server runs and that the URL is right.",
            ) from None


class HttpRoad:
    """What every road over HTTP does alike: it has one address, no transaction, and nobody who tells of changes."""

    def __init__(self, url: str, *, headers: Mapping[str, str]) -> None:
        self._place = HttpPlace(url, headers=headers)

    def wait_at_most(self, seconds: float | None, /) -> None:
        self._place.wait_at_most(seconds)

    def close(self) -> None:
        self._place.close()

    def moment(self) -> AbstractContextManager[None]:
        """Nothing: each page is of its own moment."""
        return nullcontext()

    def changes(self, _: str | None, __: float, /) -> None:
        """None: over HTTP nobody is told."""


def _fault_of(url: str) -> str:
    """What is wrong with an address, quoting nothing of it, as it may be a password; '' where it can be asked."""
    if any(sign.isspace() or not sign.isprintable() for sign in url):
        return "it holds a blank, or a sign that does not print"
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").encode("idna")
    except ValueError:
        return "its host is neither a name nor a number"
    try:
        has_port = parts.port != 0
    except ValueError:
        has_port = False
    if not has_port:
        return "its port is no number from 1 to 65535"
    return "" if host else "it has no host"


def json_body(arguments: Mapping[str, object]) -> bytes:
    """Named arguments as a JSON object; what is JSON already stands in it as it is."""
    return msgspec.json.encode(
        {
            name: msgspec.Raw(value.encode()) if isinstance(value, JsonText) else value
            for name, value in arguments.items()
        }
    )


def rows_of(row_class: Callable[..., Row], objects: Sequence[Mapping[str, Any]]) -> list[Row]:
    """JSON objects as rows: dates, times and money from their texts, columns by their names."""
    # every row class is a named tuple, which mypy cannot be told of a callable
    fields: tuple[str, ...] = getattr(row_class, "_fields")  # noqa: B009
    try:
        rows: list[Row] = msgspec.convert([[told[name] for name in fields] for told in objects], _list_of(row_class))
    except (msgspec.ValidationError, KeyError, TypeError):
        raise not_of_the_ledger("its members are others") from None
    return rows


def json_of(answer: httpx.Response) -> Any:
    """The JSON that an answer of success is, None where it is empty on purpose.

    Where it says that it is JSON, and is none, it was cut: with or without a length, before its first sign or behind.
    """
    if answer.status_code == NO_CONTENT:
        return None
    try:
        return decode_json(answer.content)
    except msgspec.DecodeError:
        if content_type(answer) == "application/json":
            raise connection_broke("the answer ends too early") from None
        raise not_of_the_ledger(reason_of(answer)) from None


def members_of(answer: httpx.Response) -> dict[str, Any]:
    """The members of a refusal in JSON; none of any other."""
    try:
        told = decode_json(answer.content)
    except msgspec.DecodeError:
        return {}
    return told if isinstance(told, dict) else {}


def not_of_the_ledger(reason: str) -> LedgerError:
    """The error for an answer that some other program gave: asked again, it would give it again."""
    return LedgerError(f"the answer is not the ledger's: {reason}", hint="Check the URL of the ledger.")


def _is_of_tls(error: BaseException | None) -> bool:
    """Whether TLS is behind an error, which no second try changes."""
    while error is not None:
        if isinstance(error, ssl.SSLError):
            return True
        error = error.__cause__ or error.__context__
    return False


def _list_of(row_class: Any) -> Any:
    return list[row_class]


def error_of_status(answer: httpx.Response, message: str, *, hint: str = "", constraint: str = "") -> LedgerError:
    """The error that a status stands for where the answer names no code of its own."""
    kind = ERROR_BY_STATUS.get(answer.status_code, LedgerError)
    if kind is RateLimited:
        after = answer.headers.get("Retry-After", "")
        return RateLimited(
            message,
            hint=hint or "Wait for the next minute.",
            constraint=constraint,
            retry_after_s=int(after) if after.isdecimal() else RETRY_AFTER_S,
        )
    if kind is LedgerError and answer.status_code >= 500:
        kind = LedgerUnavailable
    return kind(message, hint=hint, constraint=constraint)


def reason_of(answer: httpx.Response) -> str:
    """One line about an answer that is not what was expected, as a proxy or another program would give it."""
    text = " ".join(answer.text.split())[:MAX_REASON_LENGTH] if "json" in content_type(answer) else ""
    if "Location" in answer.headers:
        text = f"it leads to {redacted_url(answer.headers['Location'])[:MAX_REASON_LENGTH]}"
    return f"HTTP {answer.status_code} {answer.reason_phrase}" + (f": {text}" if text else "")


def content_type(answer: httpx.Response) -> str:
    """The media type of an answer, without its parameters."""
    return str(answer.headers.get("Content-Type", "")).partition(";")[0].strip().lower()
