"""A wrong address or a wrong key: one clear line that says what to do, and no secret in it or behind it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from traceback import format_exception

import pytest

from tallystick.errors import ConfigError, LedgerError, LedgerUnavailable, TallystickError, Unauthorized
from tallystick.ledger import Ledger
from tallystick.redaction import one_line
from tests.roads.places import Place, token_of
from tests.servers import free_port
from tests.supabase.project import PUBLISHABLE_KEY

USER_ID = "7a11e000-0000-4000-8000-000000000002"
SERVER_KEY = "tly_abcdefgh_" + "s3cr3t" * 7 + "x"
PROJECT_KEY = "sb_secret_s3cr3t_s3cr3t"
KEYS = (SERVER_KEY, PROJECT_KEY)


@pytest.fixture(scope="module")
def stranger() -> Iterator[str]:
    """The address of another program, which has the same page for everybody."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Nothing."""

        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            page = b"<!doctype html><title>Welcome</title><p>to\nnginx"
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(page)))
            self.end_headers()
            self.wfile.write(page)

        do_POST = do_GET

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join(timeout=60)


def refusal_of(url: str, key: str, *, token: str = "", attempts: int = 1) -> TallystickError:
    """The error of the first question, of which nothing may show the key."""
    with (
        pytest.raises(TallystickError) as refusal,
        Ledger.connect(url, key=key, token=token, user_id=USER_ID, attempts=attempts) as ledger,
    ):
        ledger.ledger_state()
    error = refusal.value
    (line,) = error.message.splitlines()
    assert line
    assert error.hint
    # what a person sees of it has passed the redaction of passwords
    assert "***" not in one_line("it", error.hint)
    shown = f"{error!r} {error.message} {error.hint} {''.join(format_exception(error))}"
    for secret in ("s3cr3t", key, *([token] if token else [])):
        assert secret not in shown
    return error


@pytest.mark.parametrize("road", ["server", "supabase"])
def test_a_wrong_key_is_unauthorized(place: Place, road: str) -> None:
    url, key = (place.server_url, SERVER_KEY) if road == "server" else (place.supabase_url, PROJECT_KEY)
    assert type(refusal_of(url, key, attempts=3)) is Unauthorized


def test_a_token_that_has_expired_is_unauthorized(place: Place) -> None:
    expired = token_of(USER_ID, valid_for_s=-60)
    error = refusal_of(place.supabase_url, PUBLISHABLE_KEY, token=expired, attempts=3)
    assert type(error) is Unauthorized
    assert "expired" in error.message
    assert "Sign in" in error.hint


def test_a_token_that_somebody_changed_is_unauthorized(place: Place) -> None:
    head, _, signature = token_of(USER_ID).rpartition(".")
    forged = f"{head}.{signature[::-1]}"
    assert type(refusal_of(place.supabase_url, PUBLISHABLE_KEY, token=forged)) is Unauthorized


def test_a_key_of_one_road_leads_nowhere_on_the_other(place: Place) -> None:
    for url, key in ((place.server_url, PROJECT_KEY), (place.supabase_url, SERVER_KEY)):
        assert isinstance(refusal_of(url, key, attempts=3), LedgerError)


@pytest.mark.parametrize("key", KEYS)
def test_another_program_is_told_from_a_ledger(stranger: str, key: str) -> None:
    error = refusal_of(stranger, key, attempts=3)
    assert type(error) is LedgerError
    assert "is not the ledger's" in error.message
    assert "html" not in error.message


@pytest.mark.parametrize("key", KEYS)
def test_nobody_at_the_address_is_told_with_the_address(key: str) -> None:
    port = free_port()
    error = refusal_of(f"http://127.0.0.1:{port}", key)
    assert type(error) is LedgerUnavailable
    assert f"127.0.0.1:{port}" in error.message
    assert type(refusal_of("http://no-such-host.invalid", key)) is LedgerUnavailable


@pytest.mark.parametrize("key", KEYS)
def test_tls_that_is_refused_is_told_at_once(stranger: str, key: str) -> None:
    error = refusal_of(stranger.replace("http://", "https://"), key, attempts=3)
    assert type(error) is LedgerError
    assert "no safe connection" in error.message
    assert "certificate" in error.hint


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize(
    ("url", "fault"),
    [
        ("http://ann:s3cr3t/x", "port"),
        ("http://127.0.0.1:s3cr3t", "port"),
        ("http://127.0.0.1:99999", "port"),
        ("http://", "no host"),
        ("https:///s3cr3t", "no host"),
        ("https://[::s3cr3t", "host"),
        ("https://s3cr3t..org", "host"),
        ("https://s3cr3t\x01/", "blank"),
        ("https://s3cr3t org/", "blank"),
    ],
)
def test_an_address_that_cannot_be_read_is_told_by_its_fault_and_without_what_stands_in_it(
    url: str, fault: str, key: str
) -> None:
    error = refusal_of(url, key, attempts=3)
    assert type(error) is LedgerError
    assert fault in error.message.partition(": ")[2]


@pytest.mark.parametrize(
    ("url", "fault"),
    [
        ("postgresql://ann:s3cr3t%zz@host/db", "%"),
        ("postgresql://ann:s3cr3t%00@host/db", "%00"),
        ("postgresql://ann:s3 cr3t@s3cr3t/db", "blank"),
        ("postgresql://host/db?s3cr3t=1", "unknown"),
        ("postgresql://host/db?s3cr3t", "value"),
        ("postgresql://[::1/s3cr3t", "]"),
        ("postgresql://[::1]s3cr3t/db", "]"),
        ("host=h password='s3cr3t", "quot"),
        ("host=h s3cr3t=1", "unknown"),
        ("s3cr3t.supabase.co", "begins"),
    ],
)
def test_a_database_url_that_cannot_be_read_is_told_likewise(url: str, fault: str) -> None:
    assert fault in refusal_of(url, "s3cr3t").message.partition(": ")[2]


@pytest.mark.parametrize("key", ["tly_s3cr3t\nx", "sb_secret_s3cr3t\r\nX-Evil: 1", "sb_secret_s3cr3t…"])
def test_a_key_that_no_header_can_carry_is_told_without_it(key: str) -> None:
    assert type(refusal_of("http://127.0.0.1:1", key)) is ConfigError


def test_an_address_without_a_key_says_which_variables_hold_one() -> None:
    with pytest.raises(ConfigError) as refusal:
        Ledger.connect("http://127.0.0.1:1", user_id=USER_ID)
    assert "SUPABASE_SERVICE_KEY" in refusal.value.hint
    assert "TALLYSTICK_API_KEY" in refusal.value.hint


def test_a_user_in_the_address_is_refused_before_anything_is_sent() -> None:
    with pytest.raises(ConfigError, match="holds a user or a password") as refusal:
        Ledger.connect("http://somebody:s3cr3t@127.0.0.1:1", key="tly_abcdefgh_" + "x" * 43, user_id=None)
    assert "s3cr3t" not in str(refusal.value)
