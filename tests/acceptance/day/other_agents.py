"""Agents that write documents anew, or keep databases."""

from __future__ import annotations

import random
import sqlite3
from abc import abstractmethod
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from tests.acceptance.day.agents import Agent, Used
from tests.acceptance.day.files import Files
from tests.corpus.goose import GooseHistory
from tests.corpus.histories import Call, History
from tests.corpus.opencode import OpenCodeHistory, make_message
from tests.corpus.opencode import Tokens as OpenCodeTokens
from tests.corpus.zcode import make_usage, save_call


class DocumentAgent(Agent):
    """One that writes a whole session anew for each call."""

    def __init__(
        self,
        files: Files,
        number: int,
        random_: random.Random,
        begin: datetime,
        *,
        source: str,
        make: Callable[[int, list[Call]], History],
    ) -> None:
        super().__init__(files, number, random_, begin)
        self.source = source
        self.places: list[str] = []
        self._make = make
        self._session: list[Call] = []
        self._sessions = 0

    def begin_session(self) -> None:
        self._sessions += 1
        self._session = []

    def write(self, call: Call) -> None:
        self._session.append(call)
        self._save(is_halved=self._is_halved())

    def forget(self) -> None:
        """Somebody takes the older half of a session back; its messages are numbered as before."""
        if self._session:
            self._session = self._session[len(self._session) // 2 :]
            self.files.begin_anew(self.places[-1])
            self._save(is_halved=False)

    def delete_oldest(self) -> None:
        if len(self.places) > 1:
            self.files.delete(self.places.pop(0))

    def _save(self, *, is_halved: bool) -> None:
        history = self._make(self.number * 100 + self._sessions, self._session)
        if history.path not in self.places:
            self.places.append(history.path)
        self.files.rewrite(history.path, history.content, is_halved=is_halved)


class Totals(DocumentAgent):
    """One that keeps nothing but what a session has used so far, in one event."""

    caches_writes = False
    has_times = False

    def use_of(self, call: Call) -> Used:
        return Used(int(self._session == [call]), *call.tokens)

    def forget(self) -> None:
        """Totals that shrink are another session's; it does not happen."""


class Stored(Protocol):
    """A database with the connection that its agent has to it."""

    connection: sqlite3.Connection


class DatabaseAgent(Agent):
    """One that commits each call; some commits are held up for a while, and the program ends now and then."""

    place: str
    table: str

    def __init__(self, files: Files, number: int, random_: random.Random, begin: datetime) -> None:
        super().__init__(files, number, random_, begin)
        self._live, self._kept = self.open(files.path(self.place)), self.open(files.path_aside(self.place))

    def begin_session(self) -> None:
        """The sessions of a database need no files of their own."""

    def write(self, call: Call) -> None:
        self.commit()
        self.save(self._kept, call)
        self._live.connection.execute("begin")
        self.save(self._live, call)
        if not self._is_halved():
            self.commit()

    def commit(self) -> None:
        if self._live.connection.in_transaction:
            self._live.connection.execute("commit")

    def restart(self) -> None:
        """The program ends, which puts the log into the file, and is started again."""
        self.commit()
        self._live.connection.close()
        self._live.connection = sqlite3.connect(self.files.path(self.place), isolation_level=None)

    def delete_oldest(self) -> None:
        """Somebody deletes old sessions."""
        self.commit()
        half = f"select rowid from {self.table} order by rowid limit (select count(*) / 2 from {self.table})"
        self._live.connection.execute(f"delete from {self.table} where rowid in ({half})")

    def stop(self) -> None:
        super().stop()
        self.commit()
        self._live.connection.close()
        self._kept.connection.close()

    @abstractmethod
    def open(self, path: Path) -> Stored: ...

    @abstractmethod
    def save(self, history: Any, call: Call) -> None: ...


class OpenCode(DatabaseAgent):
    """A message is there before it is complete."""

    source = "opencode"
    place = ".local/share/opencode/opencode.db"
    table = "message"

    def open(self, path: Path) -> OpenCodeHistory:
        return OpenCodeHistory(path)

    def save(self, history: OpenCodeHistory, call: Call) -> None:
        tokens = OpenCodeTokens(call.tokens.input, call.tokens.output, 0, call.tokens.read, call.tokens.written)
        message = make_message(tokens, at=call.at_ms)
        history.save_message(f"msg_{call.number}", message, updated=call.at_ms)

    def write(self, call: Call) -> None:
        self.commit()
        assert isinstance(self._live, OpenCodeHistory)
        begun = make_message(at=call.at_ms, time={"created": call.at_ms})
        self._live.save_message(f"msg_{call.number}", begun, updated=call.at_ms)
        super().write(call)


class Goose(DatabaseAgent):
    source = "goose"
    place = ".local/share/goose/sessions/sessions.db"
    table = "usage_ledger"

    def open(self, path: Path) -> GooseHistory:
        history = GooseHistory(path)
        history.save_session()
        return history

    def save(self, history: GooseHistory, call: Call) -> None:
        history.save_call(
            created_timestamp=call.at_ms // 1000,
            input_tokens=call.tokens.prompt,
            output_tokens=call.tokens.output,
            total_tokens=call.tokens.prompt + call.tokens.output,
            cache_read_tokens=call.tokens.read,
            cache_write_tokens=call.tokens.written,
        )


class ZCode(DatabaseAgent):
    source = "zcode"
    place = ".zcode/cli/db/db.sqlite"
    table = "model_usage"

    def open(self, path: Path) -> Connected:
        return Connected(make_usage(path))

    def save(self, history: Connected, call: Call) -> None:
        save_call(
            history.connection,
            call.number,
            started_at=call.at_ms,
            completed_at=call.at_ms + 2000,
            input_tokens=call.tokens.prompt,
            output_tokens=call.tokens.output,
            cache_read_input_tokens=call.tokens.read,
            cache_creation_input_tokens=call.tokens.written,
        )


class Connected:
    """A database that is nothing but its connection."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
