"""What every module that reads files gives the collector, by the kind of its files; and what it may build on.

A module is pure: content and a state in, observations and the state out. However its content is cut or repeated, the
observations are the same, because the state is a function of the content before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol

import msgspec

from tallystick.observation import LimitObservation, Observation, Snapshot

_MAX_NAMES: Final = 200
_MAX_NAME_CHARS: Final = 60


class FileState(msgspec.Struct, kw_only=True):
    """What must be known of a file's earlier content: plain JSON, kept with the checkpoint.

    `line_counts` counts the records that bear no call, by type; a name in parentheses is ours and no type.
    `reject_counts` counts the rejected records, by reason. `encoding_problem` is set where nothing can be read.
    """

    encoding_problem: str = ""
    line_counts: dict[str, int] = msgspec.field(default_factory=dict)
    reject_counts: dict[str, int] = msgspec.field(default_factory=dict)

    def count_lines(self, name: str, number: int = 1) -> None:
        """Add to the records of a type; bounded, because the types come from the file."""
        name = name[:_MAX_NAME_CHARS]
        if name not in self.line_counts and len(self.line_counts) >= _MAX_NAMES:
            name = "(other)"
        self.line_counts[name] = self.line_counts.get(name, 0) + number

    def count_reject(self, reason: str) -> None:
        """Add to the rejected records of a reason, of which there are few."""
        self.reject_counts[reason] = self.reject_counts.get(reason, 0) + 1


class Parsed(NamedTuple):
    """What some content held, in its order: calls, and the running totals of sessions whose calls nobody wrote down.

    `limits` are what the provider said of its plan's limits on the way.
    """

    observations: list[Observation]
    snapshots: Sequence[Snapshot] = ()
    limits: Sequence[LimitObservation] = ()


class NotWhole(ValueError):
    """A document that ends too early or is being written: to be read again later."""


class Query(NamedTuple):
    """One question to a database; `name` tells `take_rows` what the rows are, of which it is given so many at once."""

    name: str
    sql: str
    arguments: Sequence[object] = ()
    rows_at_once: int = 1000


class Format(Protocol):
    """What a module of every kind has."""

    SOURCE: str
    KNOWN_LINE_TYPES: frozenset[str]
    ParserState: type[Any]

    def new_state(self, path: str, /) -> Any:
        """The state at the start of a file; of its path only the parts behind the last root may be used."""


class LineFormat(Format, Protocol):
    """Lines that are appended."""

    def parse(
        self,
        lines: memoryview,
        *,
        offset: int,
        state: Any,
        project_of: Callable[[str], str],
        device: str,
    ) -> Any:
        """The calls that whole lines report, as Parsed or more; `offset` is the place of the first byte in the file."""

    def is_whole_record(self, line: memoryview, /) -> bool:
        """Whether a line without its newline is complete, so that nothing of it can be missing."""


class DocumentFormat(Format, Protocol):
    """Documents that are written anew whenever something changes."""

    def parse_document(self, content: bytes, *, state: Any, project_of: Callable[[str], str], device: str) -> Parsed:
        """All calls in a document; raises NotWhole for one that is not to be read now."""


class DatabaseFormat(Format, Protocol):
    """SQLite databases."""

    def queries(self, columns: Mapping[str, frozenset[str]], state: Any, /) -> list[Query]:
        """What to ask, given the columns of every table; nothing where no table is one that is known."""

    def take_rows(
        self,
        query: Query,
        rows: Sequence[tuple[Any, ...]],
        *,
        state: Any,
        project_of: Callable[[str], str],
        device: str,
    ) -> Parsed:
        """The calls in some of a question's rows; `state` remembers how far the next question may leave them out."""


def reject(state: FileState, *, source: str, position: str, reason: str) -> Observation:
    """A record that cannot be used, counted."""
    state.count_reject(reason)
    return Observation(source=source, position=position, reject_reason=reason)
