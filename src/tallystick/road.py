"""How a Ledger reaches the functions of its database: over SQL, over Supabase's REST, or over a Tallystick server.

Every road does one thing: it calls a function of the schema `public` by its name, with named arguments, and brings back
a value or rows. So the rules stay in the database, and a ledger is the same whichever way one comes to it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol, TypeVar

Row = TypeVar("Row")
Arguments = Mapping[str, object]


class JsonText(str):
    """JSON that is ready to be sent, as a text: a road passes it on as it is."""

    __slots__ = ()


class Caller(NamedTuple):
    """Whose rights a transaction has: a role of Supabase's, and the claims of the user who is signed in, as JSON.

    `statement_timeout` bounds each statement, as Postgres writes it ("30s"); '' leaves the login's own.
    """

    role: str
    claims: str = ""
    statement_timeout: str = ""


SERVICE = Caller("service_role")


# a statement of Supabase's REST may take 8 s, and a large batch must come up before it
ANSWER_TIMEOUT_S = 60.0


class Road(Protocol):
    """One way to a ledger; raises the errors of tallystick.errors, the same on each."""

    def call(self, function: str, arguments: Arguments) -> Any:
        """The value that a function answers."""

    def call_rows(self, row_class: Callable[..., Row], function: str, arguments: Arguments) -> list[Row]:
        """The rows that a function answers, each as `row_class(*columns)`."""

    def moment(self) -> AbstractContextManager[None]:
        """What is read inside is of one moment where the road has a transaction; over HTTP, page by page."""

    def changes(self, user_id: str | None, timeout_s: float, /) -> bool | None:
        """Whether these books may have changed since the last call, known as soon as it happens or after `timeout_s`.

        The first call says so at once. None, also at once, where nobody is told: over HTTP, and behind a pooler.
        """

    def wait_at_most(self, seconds: float | None, /) -> None:
        """From now on an answer that takes longer is LedgerUnavailable; None: as long as the road itself allows."""

    def close(self) -> None:
        """Give back what the road holds open."""
