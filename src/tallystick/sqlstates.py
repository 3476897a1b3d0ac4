"""What a SQLSTATE means to us: which error, and what to do where Postgres itself says what is wrong and no more.

The codes are the same on every road: over SQL they come from the server, over Supabase's REST in the answer's `code`.
"""

from __future__ import annotations

import re

from tallystick.errors import (
    Busy,
    Conflict,
    Forbidden,
    InvalidRequest,
    LedgerError,
    LedgerNotInstalled,
    LedgerUnavailable,
    NotFound,
    TooMuch,
    Unauthorized,
    UnreadableBatch,
)

# The code that a function of ours raises is the HTTP status; the rest are Postgres' own.
ERROR_BY_SQLSTATE: dict[str, type[LedgerError]] = {
    "PT400": InvalidRequest,
    "PT401": Unauthorized,
    "PT403": Forbidden,
    "PT404": NotFound,
    "PT409": Conflict,
    "PT413": TooMuch,
    "PT503": Busy,
    "22P02": UnreadableBatch,  # not JSON, or a surrogate without its other half
    "22P05": UnreadableBatch,  # \u0000
    "22003": UnreadableBatch,  # a number beyond numeric
    "22021": UnreadableBatch,  # bytes that are no text
    "54001": UnreadableBatch,  # nested too deeply
    "42501": Forbidden,
    "55P03": Busy,
    "40P01": Busy,
    "40001": Busy,
    "57014": TooMuch,  # statement timeout
    "25006": LedgerUnavailable,  # a standby, until it is made the primary
    "42883": LedgerNotInstalled,
    "3F000": LedgerNotInstalled,
    "42P01": LedgerNotInstalled,
}
# The server is going, coming or full: it may answer in a moment.
PASSING_CLASSES = ("08", "53", "57P")
HINT_BY_ERROR: dict[type[LedgerError], str] = {
    Busy: "Try again in a moment.",
    TooMuch: "Ask for less at a time.",
    UnreadableBatch: "Leave out NUL, half surrogate pairs, numbers beyond numeric and endless nesting.",
    Forbidden: "Connect as the owner of the ledger, or as a login that is a member of service_role.",
}
# how a function of ours names its parameters: in a hint anywhere, in a message at the beginning, where no label stands
_PARAMETER = re.compile(r"\bp_(since|until|after|limit|user_id|session_id|event_keys)\b")
# what Postgres says of a text that is no JSON, for those who find that out before it can
NO_JSON = "invalid input syntax for type json"
NOT_INSTALLED_HINT = "Run `tally db migrate` on this database."


def connection_broke(reason: str) -> LedgerUnavailable:
    """The error for a connection that ended between a question and the end of its answer, on any road."""
    return LedgerUnavailable(
        f"the connection to the ledger broke: {reason}", hint="Nothing is lost; run the command again."
    )


def error_of(state: str, message: str, *, hint: str = "", constraint: str = "") -> LedgerError:
    """The error of ours that a SQLSTATE stands for, with what the server said about it.

    What a function calls p_since is `since` to everybody who does not write SQL.
    """
    if state.startswith(PASSING_CLASSES):
        return connection_broke(message)
    kind = ERROR_BY_SQLSTATE.get(state, LedgerError)
    if kind is LedgerNotInstalled:
        return LedgerNotInstalled(f"the ledger is not installed in this database ({message})", hint=NOT_INSTALLED_HINT)
    if _PARAMETER.match(message):
        message = _PARAMETER.sub(r"`\1`", message, count=1)
    return kind(message, hint=_PARAMETER.sub(r"`\1`", hint) or HINT_BY_ERROR.get(kind, ""), constraint=constraint)
