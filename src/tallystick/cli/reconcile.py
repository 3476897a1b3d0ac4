"""What the agent says that its sessions cost, beside what the ledger holds for the calls in the same transcripts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import NamedTuple

import msgspec

from tallystick.catalog import layout_of
from tallystick.cli.books import Books
from tallystick.collector.checkpoint import Checkpoints
from tallystick.collector.discover import TranscriptFile
from tallystick.collector.parse import parse_files
from tallystick.collector.reader import format_of
from tallystick.sources.claude_code import Parsed
from tallystick.sources.formats import FileState
from tallystick.totals import add_exactly


class Reconciled(NamedTuple):
    """One session: what the agent said last, and the ledger's cost of the calls that its transcripts hold.

    Copies of another session's calls are among them, because the agent counts on from the session it was forked from.
    """

    session_id: str
    reported_cost_usd: Decimal
    ledger_cost_usd: Decimal
    unpriced_calls: int
    missing_calls: int
    has_unknown_model_cost: bool

    @property
    def gap_usd(self) -> Decimal:
        """What the agent counts and the ledger does not: calls without a line, and models without a price."""
        return add_exactly(self.reported_cost_usd, -self.ledger_cost_usd)


class _Session(msgspec.Struct):
    """What one process read of a session: its event keys, and the agent's last word with its place."""

    event_keys: set[str] = msgspec.field(default_factory=set)
    reported_at: int = -1
    reported_costs: dict[str, Decimal] = msgspec.field(default_factory=dict)
    has_unknown_model_cost: bool = False


_encode = msgspec.msgpack.encode
_decode = msgspec.msgpack.Decoder(dict[str, _Session]).decode
_decode_state = msgspec.json.Decoder(FileState).decode


def reconcile(books: Books, files: Sequence[TranscriptFile]) -> list[Reconciled]:
    """Parse all of `files` and compare; only sessions of which the agent itself has said a cost."""
    if not files:
        return []
    parsed = parse_files(files, summarize=_summarize, device=books.settings.device)
    sessions: dict[str, _Session] = {}
    for summary in parsed.summaries:
        for session_id, part in _decode(summary).items():
            _merge(sessions.setdefault(session_id, _Session()), part)
    told = {session_id: session for session_id, session in sessions.items() if session.reported_at >= 0}
    keys = sorted({key for session in told.values() for key in session.event_keys})
    costs = {row.event_key: row.cost_usd for row in books.ledger.usage_events(keys)}
    return [_compare(session_id, session, costs) for session_id, session in sorted(told.items())]


def _summarize(parsed_parts: Iterator[Parsed]) -> bytes:
    sessions: dict[str, _Session] = {}
    for parsed in parsed_parts:
        for seen in parsed.observations:
            if seen.event_key:
                stem = seen.position.rpartition(":")[0]
                # A sub-agent has a file of its own, whose lines name the session that it works for.
                session_id = seen.session_id if stem.startswith("agent-") else stem
                sessions.setdefault(session_id, _Session()).event_keys.add(seen.event_key)
        for total in parsed.reported_totals:
            stem, _, offset = total.position.partition("+")[0].rpartition(":")
            part = _Session(
                reported_at=int(offset),
                reported_costs={total.model: total.cost_usd},
                has_unknown_model_cost=total.has_unknown_model_cost,
            )
            _merge(sessions.setdefault(stem, _Session()), part)
    return _encode(sessions)


def _merge(session: _Session, part: _Session) -> None:
    """The later word of the agent stands; all models of one word stand at one place."""
    session.event_keys |= part.event_keys
    if part.reported_at > session.reported_at:
        session.reported_at = part.reported_at
        session.reported_costs = part.reported_costs
        session.has_unknown_model_cost = part.has_unknown_model_cost
    elif part.reported_at == session.reported_at:
        session.reported_costs = session.reported_costs | part.reported_costs


def _compare(session_id: str, session: _Session, costs: dict[str, Decimal | None]) -> Reconciled:
    held = [costs[key] for key in session.event_keys if key in costs]
    return Reconciled(
        session_id=session_id,
        reported_cost_usd=add_exactly(*session.reported_costs.values()),
        ledger_cost_usd=add_exactly(*(cost for cost in held if cost is not None)),
        unpriced_calls=sum(cost is None for cost in held),
        missing_calls=len(session.event_keys) - len(held),
        has_unknown_model_cost=session.has_unknown_model_cost,
    )


def unknown_lines(books: Books) -> Counter[str]:
    """How many lines of types that nobody has told us of the transcripts held, as far as they have been taken in."""
    counts: Counter[str] = Counter()
    ledger_id, user_id = books.state.ledger_id, books.state.user_id
    with Checkpoints(books.settings.checkpoint_file, ledger_id=ledger_id, user_id=user_id) as checkpoints:
        for path in checkpoints.checkpoints():
            encoded = checkpoints.parser_state(path)
            if encoded:
                known = format_of(layout_of(path)).KNOWN_LINE_TYPES
                lines = _decode_state(encoded).line_counts
                counts.update({name: count for name, count in lines.items() if name not in known})
    return counts
