"""Taking in what is new: discover, compare with the checkpoints, and hand on what has changed.

Every report takes this road first and seldom finds anything, so nothing is imported here that it does not need then.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tallystick.collector.checkpoint import Checkpoint, Checkpoints, bytes_to_read, has_rested, storable
from tallystick.collector.discover import Discovery, Problem, TranscriptFile, discover, discover_paths
from tallystick.collector.plan_limits import hand_on_limits
from tallystick.collector.summary import ImportProgress, ImportSummary
from tallystick.config import Settings
from tallystick.model import LedgerState

if TYPE_CHECKING:
    from tallystick.ledger import Ledger


class Change(NamedTuple):
    """A file that may have something new, and how far it was taken in; not at all where it is new itself."""

    file: TranscriptFile
    checkpoint: Checkpoint | None


class Comparison(NamedTuple):
    """What is to be read, what cannot be, and how much of the rest still waits to become a line."""

    changed: list[Change]
    unreadable: list[Problem]
    pending_bytes: int


def import_new(
    ledger: Ledger,
    settings: Settings,
    *,
    state: LedgerState | None = None,
    paths: Sequence[Path] | None = None,
    source: str | None = None,
    on_progress: Callable[[ImportProgress], object] | None = None,
    workers: int | None = None,
) -> ImportSummary:
    """Take in what is new in the transcripts of this machine, or in the files and folders of `paths`.

    `source` is the one that `paths` are of; without it, their names tell. Where it is given they are read from the
    start and no checkpoint moves, because either of what was said of a file may be wrong. `state` is the ledger's,
    where the caller knows it already. `on_progress` is called at most ten times a second. Raises ConfigError,
    CheckpointError and what the ledger raises: whatever it had acknowledged by then stays done, and all else is read
    again by the next import.
    """
    if not settings.token_tracking_enabled:
        return ImportSummary(notices=("token tracking is switched off: no transcript was read",))
    found = discover(settings.roots) if paths is None else discover_paths(paths, source=source)
    return import_found(
        found,
        ledger,
        settings,
        state=state,
        is_all=paths is None,
        is_anew=source is not None,
        on_progress=on_progress,
        workers=workers,
    )


def import_found(
    found: Discovery,
    ledger: Ledger,
    settings: Settings,
    *,
    state: LedgerState | None = None,
    is_all: bool,
    is_anew: bool = False,
    on_progress: Callable[[ImportProgress], object] | None = None,
    workers: int | None = None,
) -> ImportSummary:
    """Take in what is new in files that were found, as import_new does, or with `is_anew` whatever is in them.

    `is_all` means that there are no others.
    """
    started_at = time.monotonic()
    state = state or ledger.ledger_state()
    with Checkpoints(settings.checkpoint_file, ledger_id=state.ledger_id, user_id=state.user_id) as checkpoints:
        if not checkpoints.agrees_with(state):
            # asked again, because another import may have come and gone since the first answer
            state = ledger.ledger_state()
        is_set_back = not checkpoints.agrees_with(state)
        if is_set_back:
            checkpoints.drop()
        known = checkpoints.checkpoints(None if is_all else [file.path for file in found.files])
        comparison = compare(found.files, {} if is_anew else known)
        summary = ImportSummary()
        if comparison.changed:
            # the parser and its libraries take 40 ms to import, and most runs need none of them
            from tallystick.collector.intake import take_in

            summary = take_in(
                comparison.changed,
                ledger=ledger,
                settings=settings,
                state=state,
                checkpoints=checkpoints,
                is_anew=is_anew,
                on_progress=on_progress,
                workers=workers,
            )
            if is_all:
                seen = {storable(file.path) for file in found.files}
                checkpoints.drop_files([path for path in known.keys() - seen if not os.path.lexists(path)])
        notices = _notices(checkpoints, is_set_back=is_set_back)
    hand_on_limits(ledger, settings, state)
    return summary._replace(
        files_seen=len(found.files),
        problems=(*found.problems, *comparison.unreadable, *summary.problems),
        pending_bytes=comparison.pending_bytes + summary.pending_bytes,
        notices=(*notices, *summary.notices),
        duration_s=time.monotonic() - started_at,
    )


class Lag(NamedTuple):
    """What lies in the transcripts and not in the ledger, as far as this machine's checkpoints know.

    Beside it, how many files were found, and how many files and folders cannot be read.
    """

    files: int
    size: int
    files_found: int
    unreadable: int


def lag_of(settings: Settings, *, ledger_id: str, user_id: str) -> Lag:
    """How far the ledger is behind, told without asking it."""
    found = discover(settings.roots)
    with Checkpoints(settings.checkpoint_file, ledger_id=ledger_id, user_id=user_id) as checkpoints:
        changed, unreadable, _ = compare(found.files, checkpoints.checkpoints())
    # what is broken and tried again is not behind
    waiting = [change for change in changed if not _fault_of(*change)]
    size = sum(bytes_to_read(change.file.size, change.checkpoint) for change in waiting)
    unreadable_count = len(found.problems) + len(unreadable) + len(changed) - len(waiting)
    return Lag(len(waiting), size, len(found.files), unreadable_count)


def compare(files: Iterable[TranscriptFile], known: Mapping[str, Checkpoint]) -> Comparison:
    """Which files have changed since their checkpoints, or rest only now; by path, as a checkpoint names it."""
    changed: list[Change] = []
    unreadable: list[Problem] = []
    pending_bytes = 0
    for file in files:
        checkpoint = known.get(storable(file.path))
        is_as_it_was = checkpoint is not None and checkpoint[:4] == file[1:5]
        if checkpoint and is_as_it_was and (checkpoint.is_settled or not has_rested(file.mtime_ns)):
            pending_bytes += checkpoint.pending_bytes
            if checkpoint.fault:
                unreadable.append(Problem(file.path, checkpoint.fault))
            continue
        # found out here, because it will be so at every report until somebody does something about it
        if os.access(file.path, os.R_OK):
            changed.append(Change(file, checkpoint))
        else:
            unreadable.append(Problem(file.path, os.strerror(errno.EACCES)))
    return Comparison(changed, unreadable, pending_bytes)


def known_files(settings: Settings, state: LedgerState) -> dict[str, Checkpoint]:
    """How far each file has been taken into this ledger, by its path as a checkpoint names it."""
    with Checkpoints(settings.checkpoint_file, ledger_id=state.ledger_id, user_id=state.user_id) as checkpoints:
        return checkpoints.checkpoints()


def problems_of(found: Discovery, known: Mapping[str, Checkpoint]) -> list[Problem]:
    """What cannot be read of what was found, and why: folders, files that are closed to us, and broken ones."""
    problems = list(found.problems)
    for file in found.files:
        checkpoint = known.get(storable(file.path))
        if not os.access(file.path, os.R_OK):
            problems.append(Problem(file.path, os.strerror(errno.EACCES)))
        elif fault := _fault_of(file, checkpoint):
            problems.append(Problem(file.path, fault))
    return problems


def _fault_of(file: TranscriptFile, checkpoint: Checkpoint | None) -> str:
    return checkpoint.fault if checkpoint and checkpoint[:4] == file[1:5] else ""


def _notices(checkpoints: Checkpoints, *, is_set_back: bool) -> list[str]:
    notices = []
    if checkpoints.set_aside is not None:
        notices.append(
            f"the checkpoint file could not be used and was moved to {checkpoints.set_aside}: everything was read again"
        )
    if is_set_back:
        notices.append("the ledger is older than the checkpoints, as after a restore: everything was read again")
    return notices
