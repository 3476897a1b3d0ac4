"""Batches into the ledger, and checkpoints behind their receipts: the half of an import that runs only when needed."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import chain
from typing import TypeVar

import msgspec

from tallystick.collector.account import make_account
from tallystick.collector.checkpoint import Checkpoint, Checkpoints, bytes_to_read
from tallystick.collector.discover import Problem, TranscriptFile
from tallystick.collector.project import ProjectResolver, namer_of
from tallystick.collector.reader import Batch, FileMark, Job, format_of, read_batches
from tallystick.collector.summary import ImportProgress, ImportSummary
from tallystick.collector.workers import SHARES_PER_WORKER, Workers, share_out, worker_count
from tallystick.config import Settings
from tallystick.errors import Busy, LedgerError, LedgerUnavailable
from tallystick.ledger import Ledger
from tallystick.model import LedgerState, Receipt

Answer = TypeVar("Answer")

# from here on two processes are faster than one, forks and pipes included
FORK_BYTES = 24 << 20
# each save is a transaction on the disk, and a batch that is read once more does no harm
SAVE_INTERVAL_S = 0.5
PROGRESS_INTERVAL_S = 0.1
# as many as the ledger takes at a time
LIMITS_PER_CALL = 1000

_encode_batch = msgspec.msgpack.encode
_decode_batch = msgspec.msgpack.Decoder(Batch).decode


def take_in(
    changes: Sequence[tuple[TranscriptFile, Checkpoint | None]],
    *,
    ledger: Ledger,
    settings: Settings,
    state: LedgerState,
    checkpoints: Checkpoints,
    is_anew: bool = False,
    on_progress: Callable[[ImportProgress], object] | None = None,
    workers: int | None = None,
) -> ImportSummary:
    """Read files on from their checkpoints, send what they hold, and move a checkpoint when its receipt is there.

    With `is_anew` no checkpoint is moved.
    """
    checkpoints.make_book()
    jobs = [
        Job(number, file, checkpoint, checkpoints.parser_state(file.path) if checkpoint else b"")
        for number, (file, checkpoint) in enumerate(changes)
    ]
    if state.time_zone is None:
        make_account(ledger, settings.time_zone)
    intake = _Intake(
        jobs, ledger=ledger, checkpoints=checkpoints, state=state, is_anew=is_anew, on_progress=on_progress
    )
    try:
        projects = ProjectResolver(checkpoints.projects(), name=namer_of(settings))
        for batch in _read(jobs, projects, device=settings.device, workers=workers):
            intake.take(batch)
        intake.receipt_count = ledger.ledger_state().receipt_count
    finally:
        intake.save()
    return intake.summary()


def _read(jobs: list[Job], projects: ProjectResolver, *, device: str, workers: int | None) -> Iterator[Batch]:
    """The batches of all files, read here where there is little, and by workers where there is much."""
    sizes = [bytes_to_read(job.file.size, job.checkpoint) for job in jobs]
    count = workers or (worker_count() if sum(sizes) >= FORK_BYTES else 1)
    if count == 1:
        yield from read_batches(jobs, projects=projects, device=device)
        return

    def work(shares: Iterable[Sequence[Job]]) -> Iterator[bytes]:
        for batch in read_batches(chain.from_iterable(shares), projects=projects, device=device):
            yield _encode_batch(batch)

    with Workers(share_out(jobs, sizes, count * SHARES_PER_WORKER), work, count=count) as running:
        for message in running.messages():
            yield _decode_batch(message)


class _Intake:
    """The parent's side: what was sent, what was answered, and which checkpoints may move."""

    def __init__(
        self,
        jobs: Sequence[Job],
        *,
        ledger: Ledger,
        checkpoints: Checkpoints,
        state: LedgerState,
        is_anew: bool,
        on_progress: Callable[[ImportProgress], object] | None,
    ) -> None:
        # fewer than the ledger has where others write too, which only means that fewer set-backs are noticed
        self.receipt_count = state.receipt_count
        self._jobs = jobs
        self._ledger = ledger
        self._checkpoints = checkpoints
        self._is_anew = is_anew
        self._on_progress = on_progress
        self._bytes_total = sum(bytes_to_read(job.file.size, job.checkpoint) for job in jobs)
        self._receipt = Receipt()
        self._bytes_read = 0
        self._files_read = 0
        self._line_counts: dict[str, Counter[str]] = {}
        self._problems: list[Problem] = []
        self._pending_bytes: dict[int, int] = {}
        self._unsaved: dict[str, tuple[Checkpoint, bytes]] = {}
        self._unsaved_projects: dict[str, str] = {}
        self._saved_at = time.monotonic()
        self._told_at = 0.0

    def take(self, batch: Batch) -> None:
        """Send one batch; when it has its receipt, all that goes along with it counts as done."""
        if batch.events:
            receipt = self._sent(lambda: self._ledger.ingest_token_usage(batch.events))
            self.receipt_count += 1
            self._receipt = self._receipt.plus(receipt)
        if batch.snapshots:
            session_data = msgspec.json.encode(batch.snapshots).decode()
            taken = self._sent(lambda: self._ledger.upsert_token_usage(session_data))
            self._receipt = self._receipt.plus(Receipt(*taken[:-1]))
        for start in range(0, len(batch.limits), LIMITS_PER_CALL):
            limits = msgspec.json.encode(batch.limits[start : start + LIMITS_PER_CALL]).decode()
            self._sent(partial(self._ledger.observe_usage_limits, limits))
        self._receipt = self._receipt.plus(Receipt(received=batch.folded, duplicate=batch.folded))
        self._bytes_read += batch.bytes_read
        self._files_read += batch.files_read
        for source, counts in batch.line_counts.items():
            self._line_counts.setdefault(source, Counter()).update(counts)
        self._problems += [Problem(self._jobs[number].file.path, reason) for number, reason in batch.problems]
        self._unsaved_projects.update(batch.projects)
        for mark in batch.marks:
            self._take_mark(mark)
        now = time.monotonic()
        if now - self._saved_at >= SAVE_INTERVAL_S:
            self.save()
        if self._on_progress and now - self._told_at >= PROGRESS_INTERVAL_S:
            self._told_at = now
            self._tell()

    def save(self) -> None:
        """Move the checkpoints behind everything that has its receipt."""
        if self._unsaved or self._unsaved_projects:
            self._checkpoints.save(self._unsaved, projects=self._unsaved_projects, receipt_count=self.receipt_count)
            self._unsaved, self._unsaved_projects = {}, {}
        self._saved_at = time.monotonic()

    def summary(self) -> ImportSummary:
        if self._on_progress:
            self._tell()
        # a source may have several layouts, each with types of its own
        known: dict[str, frozenset[str]] = {}
        for layout in {job.file.layout for job in self._jobs}:
            known[layout.source] = known.get(layout.source, frozenset()) | format_of(layout).KNOWN_LINE_TYPES
        unknown = sorted(
            name
            for source, counts in self._line_counts.items()
            for name in counts.keys() - known[source]
            if name[:1] != "("
        )
        return ImportSummary(
            receipt=self._receipt,
            files_read=self._files_read,
            bytes_read=self._bytes_read,
            problems=tuple(self._problems),
            pending_bytes=sum(self._pending_bytes.values()),
            line_counts=dict(sum(self._line_counts.values(), Counter())),
            unknown_line_types=tuple(unknown),
        )

    def _take_mark(self, mark: FileMark) -> None:
        path = self._jobs[mark.number].file.path
        if not self._is_anew:
            self._unsaved[path] = (mark.checkpoint, mark.parser_state)
        self._pending_bytes[mark.number] = mark.checkpoint.pending_bytes

    def _tell(self) -> None:
        assert self._on_progress is not None
        progress = ImportProgress(
            bytes_done=min(self._bytes_read, self._bytes_total),
            bytes_total=self._bytes_total,
            files_done=self._files_read,
            files_total=len(self._jobs),
            events=self._receipt.new,
        )
        self._on_progress(progress)

    def _sent(self, send: Callable[[], Answer]) -> Answer:
        try:
            return send()
        except (LedgerUnavailable, Busy) as error:
            raise self._lagging(error) from error

    def _lagging(self, error: LedgerError) -> LedgerError:
        files = len(self._jobs) - self._files_read
        megabytes = max(0, self._bytes_total - self._bytes_read) / 1e6
        return type(error)(
            f"{error.message}; {files} of {len(self._jobs)} files ({megabytes:.1f} MB) are not taken in yet",
            hint="Nothing is lost: the next import goes on from there.",
            constraint=error.constraint,
        )
