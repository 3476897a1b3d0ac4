"""Every error that Tallystick raises on purpose.

TallystickError                 the command line prints its message and its hint, exit code 1
├── ConfigError                 a setting, a path or a file of ours is wrong
├── EmbeddedServerError         the embedded Postgres cannot be made, started or stopped
├── CheckpointError             the local checkpoint file cannot be used
├── AlreadyRunning              another process does this already
└── LedgerError                 the ledger refused or could not answer
    ├── LedgerUnavailable       no connection, or it broke: safe to try again
    ├── LedgerNotInstalled      the schema is missing or older than this program
    ├── LedgerTooNew            the schema is newer than this program
    ├── InvalidRequest          an argument was refused (SQLSTATE PT400)
    ├── Unauthorized            no key or token, or one that does not hold (HTTP 401)
    ├── Forbidden               the caller may not do this (SQLSTATE PT403)
    ├── NotFound                what was named does not exist (SQLSTATE PT404)
    ├── Conflict                the ledger's state forbids it (SQLSTATE PT409)
    ├── TooMuch                 more at a time than the road or the database takes (SQLSTATE PT413, 57014)
    ├── RateLimited             too many requests in this minute (HTTP 429)
    ├── Busy                    a lock was not had in time (SQLSTATE PT503)
    └── UnreadableBatch         Postgres could not even parse the batch: halve it
"""

from __future__ import annotations


class TallystickError(Exception):
    """One line that says what is wrong, and one that says what to do."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class ConfigError(TallystickError):
    """A setting, a path or a file of ours is wrong."""


class EmbeddedServerError(TallystickError):
    """The embedded Postgres cannot be made, started or stopped."""


class CheckpointError(TallystickError):
    """The local checkpoint file cannot be used."""


class AlreadyRunning(TallystickError):
    """Another process does this already, and one is enough."""


class LedgerError(TallystickError):
    """The ledger refused or could not answer; `constraint` is the name of the rule, '' where the road hides it."""

    def __init__(self, message: str, *, hint: str = "", constraint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.constraint = constraint


class LedgerUnavailable(LedgerError):
    """No connection to the ledger, or it broke: safe to try again."""


class LedgerNotInstalled(LedgerError):
    """The schema is missing or older than this program."""


class LedgerTooNew(LedgerError):
    """The schema is newer than this program."""


class InvalidRequest(LedgerError):
    """An argument was refused."""


class Unauthorized(LedgerError):
    """No key or token came with the request, or one that does not hold."""


class Forbidden(LedgerError):
    """The caller may not do this."""


class NotFound(LedgerError):
    """What was named does not exist."""


class Conflict(LedgerError):
    """The state of the ledger forbids it."""


class TooMuch(LedgerError):
    """One call asked for more than the road or the database takes at a time: a part of it will do."""


class RateLimited(LedgerError):
    """Too many requests; `retry_after_s` is when the next one is admitted."""

    def __init__(self, message: str, *, hint: str = "", constraint: str = "", retry_after_s: int = 60) -> None:
        super().__init__(message, hint=hint, constraint=constraint)
        self.retry_after_s = retry_after_s


class Busy(LedgerError):
    """A lock was not had in time: safe to try again."""


class UnreadableBatch(LedgerError):
    """Postgres could not even parse the batch (NUL, lone surrogate, absurd nesting or number)."""
