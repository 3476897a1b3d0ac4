"""Opening the ledger for a command: which database, whose books, and the schema that this program needs."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import NamedTuple
from uuid import uuid4

from tallystick.addresses import is_http, is_server_key
from tallystick.cli.options import CommonOptions
from tallystick.cli.terminal import say, waiting_for
from tallystick.config import Settings, load_settings, named_user, save_user_id
from tallystick.db import Database
from tallystick.embedded import EmbeddedServer
from tallystick.errors import ConfigError, Forbidden, InvalidRequest, LedgerError, LedgerUnavailable
from tallystick.ledger import ATTEMPTS, Ledger
from tallystick.model import LedgerState
from tallystick.schema import (
    check_installed,
    check_last_migration,
    install_or_migrate,
    installed_migrations,
    known_migrations,
)
from tallystick.waiting import Waiting

# before anybody has answered the address may be a wrong one, and nobody shall wait ten seconds to be told
FIRST_ATTEMPTS = 2
FIRST_ANSWER_TIMEOUT_S = 10.0
NOBODY = "00000000-0000-0000-0000-000000000000"


class Books(NamedTuple):
    """One user's open books, and how far they have come."""

    ledger: Ledger
    settings: Settings
    state: LedgerState

    @property
    def time_zone(self) -> str:
        """The zone whose days these books are kept in: the account's, or the machine's where there is none yet."""
        return self.state.time_zone or self.settings.time_zone


def open_books(common: CommonOptions) -> AbstractContextManager[Books]:
    """The books that the command line, the environment and config.toml name."""
    return open_books_of(load_settings(database_url=common.database_url))


@contextmanager
def open_books_of(
    settings: Settings, *, attempts: int = ATTEMPTS, is_told: bool = True, server: EmbeddedServer | None = None
) -> Iterator[Books]:
    """One user's books: the embedded server is started, and its schema brought up to date, as needed.

    Where the ledger is slow to answer, a terminal is told so, unless there is somebody else to tell of it. Where the
    reason passes, each question is put so many times. `server` is the embedded one, where somebody else holds it too
    and may give its place back before we do.

    Any other database is used as it is; raises LedgerNotInstalled or LedgerTooNew where its schema is not ours.
    """
    place = f"the ledger at {settings.redacted_url}"
    if settings.database_url is None:
        place = f"the embedded Postgres in {settings.embedded_dir}"
    waiting: Waiting = waiting_for(place) if is_told else nullcontext
    if settings.database_url is not None:
        with _open_at(settings.database_url, settings, is_own=False, attempts=attempts, waiting=waiting) as books:
            yield books
        return
    if not settings.user_id and sys.stderr.isatty():
        say("Making the ledger; this takes a few seconds, once.")
        waiting = nullcontext
    with ExitStack() as stack:
        server = server or EmbeddedServer(settings.embedded_dir)
        stack.callback(server.release)  # first, so that no signal comes between the two
        with waiting():
            url = server.acquire()
        yield stack.enter_context(_open_at(url, settings, is_own=True, attempts=attempts, waiting=waiting))


@contextmanager
def _open_at(url: str, settings: Settings, *, is_own: bool, attempts: int, waiting: Waiting) -> Iterator[Books]:
    user_id, first_attempts = settings.user_id or NOBODY, min(FIRST_ATTEMPTS, attempts)
    with waiting():
        ledger = Ledger.connect(url, user_id=user_id, key=settings.ledger_key, attempts=first_attempts)
    with ledger:
        ledger.waiting = waiting
        if not is_own:
            ledger.wait_at_most(FIRST_ANSWER_TIMEOUT_S)
        if is_server_key(settings.ledger_key):
            state = _state_at_server(ledger, settings)
        else:
            state = _state_of(ledger, url, is_own=is_own)
        ledger.attempts = attempts
        ledger.wait_at_most(None)
        if not settings.user_id and not is_server_key(settings.ledger_key):
            settings = _find_user(ledger, settings, is_own=is_own)
            ledger.user_id = settings.user_id
            state = ledger.ledger_state()
        yield Books(ledger, settings, state)


def _state_at_server(ledger: Ledger, settings: Settings) -> LedgerState:
    """A key of a Tallystick server knows whose books it opens; only a service key has to be told."""
    ledger.user_id = named_user() or None
    try:
        state = ledger.ledger_state()
    except Forbidden as error:
        if error.constraint != "caller_is_the_user":
            raise
        raise Forbidden(
            f"USER_ID names {ledger.user_id}, and the API key is another user's",
            hint="Unset USER_ID, or set TALLYSTICK_API_KEY to a key of that user or a service key.",
            constraint=error.constraint,
        ) from None
    except InvalidRequest:
        if not settings.user_id:
            raise
        ledger.user_id = settings.user_id
        state = ledger.ledger_state()
    check_last_migration(state.last_migration)
    return state


def _state_of(ledger: Ledger, url: str, *, is_own: bool) -> LedgerState:
    """One question tells a schema of this program from any other; only another one takes the long road."""
    try:
        state = ledger.ledger_state()
        if state.last_migration == known_migrations()[-1]:
            return state
    except LedgerUnavailable:
        raise
    except LedgerError:
        # A server without a ledger lacks the roles too, so the question may fail in more than one way.
        if not is_own:
            _check_schema(url)
            raise
        state = None
    if is_own:
        install_or_migrate(url)
        return ledger.ledger_state()
    if is_http(url) and state:
        check_last_migration(state.last_migration)
    _check_schema(url)
    return ledger.ledger_state()


def _check_schema(url: str) -> None:
    if is_http(url):
        return  # what there is to say, the answer has said
    with Database.connect(url, as_service_role=False) as database:
        check_installed(installed_migrations(database))


def _find_user(ledger: Ledger, settings: Settings, *, is_own: bool) -> Settings:
    """The first command makes the user id; where config.toml was lost, the only account of the own ledger is it."""
    adopted = ledger.only_account() if is_own else None
    if adopted is None:
        adopted = str(uuid4())
    return save_user_id(settings, adopted)


def require_embedded(common: CommonOptions, *, action: str) -> Settings:
    """The settings of a command that makes sense for the embedded server alone; raises ConfigError otherwise."""
    settings = load_settings(database_url=common.database_url)
    if settings.database_url is not None:
        raise ConfigError(
            f"{action} is for the embedded ledger, and the settings name another database",
            hint="Leave out --database, TALLYSTICK_DATABASE_URL and database_url in config.toml.",
        )
    return settings
