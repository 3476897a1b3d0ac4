"""Work in forked processes: all answers arrive, and whatever happens nobody stays behind."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick.collector.workers import PIPE_BYTES, WorkerFailed, Workers, share_out
from tallystick.errors import TallystickError


def is_running(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    return True


def test_every_message_arrives_whole_and_in_its_workers_order() -> None:
    def work(shares: Iterator[int]) -> Iterator[bytes]:
        for share in shares:
            for number in range(20):
                yield bytes([share, number]) * (number * PIPE_BYTES // 20)

    with Workers([1, 2, 3], work, count=2) as running:
        messages = list(running.messages())
    for share in (1, 2, 3):
        mine = [message for message in messages if message[:1] == bytes([share])]
        assert mine == [bytes([share, number]) * (number * PIPE_BYTES // 20) for number in range(1, 20)]
    assert messages.count(b"") == 3


def test_each_share_is_taken_once_by_whoever_is_free() -> None:
    def work(shares: Iterator[int]) -> Iterator[bytes]:
        process_id = os.getpid()
        for share in shares:
            # whoever holds the first has no time for any other
            time.sleep(0.5 if share == 0 else 0)
            yield f"{process_id} {share}".encode()

    with Workers(range(128), work, count=2) as running:
        taken = [message.split() for message in running.messages()]
    assert sorted(int(share) for _, share in taken) == list(range(128))
    slow = next(process_id for process_id, share in taken if share == b"0")
    assert sum(process_id == slow for process_id, _ in taken) < 64


def test_there_are_no_more_workers_than_shares() -> None:
    def work(_: Iterator[int]) -> Iterator[bytes]:
        yield b"here"

    with Workers([1], work, count=4) as running:
        assert list(running.messages()) == [b"here"]


def test_what_a_worker_raises_is_told_with_its_trace() -> None:
    def work(shares: Iterator[int]) -> Iterator[bytes]:
        yield b"first"
        raise LookupError(f"nothing at {next(shares)}")

    with Workers([7], work, count=1) as running:
        messages = running.messages()
        assert next(messages) == b"first"
        with pytest.raises(TallystickError, match="LookupError: nothing at 7") as raised:
            next(messages)
    assert isinstance(raised.value.__cause__, WorkerFailed)
    assert "Traceback" in str(raised.value.__cause__)


@pytest.mark.parametrize(
    ("end", "told"),
    [
        (lambda: os.kill(os.getpid(), signal.SIGKILL), "was killed by signal 9"),
        (lambda: os._exit(3), "ended with exit code 3"),
        (lambda: os._exit(0), "ended with exit code 0"),
    ],
)
def test_a_worker_that_ends_early_is_told(end, told: str) -> None:  # type: ignore[no-untyped-def]
    def work(_: Iterator[int]) -> Iterator[bytes]:
        yield b"first"
        end()

    with Workers([1], work, count=1) as running, pytest.raises(TallystickError, match=told):
        list(running.messages())


def test_workers_are_gone_when_their_parent_has_no_more_use_for_them() -> None:
    def work(_: Iterator[int]) -> Iterator[bytes]:
        while True:
            yield str(os.getpid()).encode()

    with Workers([1, 2], work, count=2) as running:
        messages = running.messages()
        process_ids = {int(next(messages)) for _ in range(50)}
        messages.close()
        assert all(map(is_running, process_ids))
    assert process_ids
    assert not any(map(is_running, process_ids))


def test_a_worker_that_is_silent_is_not_waited_for() -> None:
    def work(_: Iterator[int]) -> Iterator[bytes]:
        yield str(os.getpid()).encode()
        time.sleep(60)

    started_at = time.monotonic()
    with Workers([1], work, count=1) as running:
        process_id = int(next(running.messages()))
    assert not is_running(process_id)
    assert time.monotonic() - started_at < 30


def test_a_worker_ends_when_its_parent_was_killed() -> None:
    """It holds the writing end of `alive`, which therefore ends only with the last of them."""
    alive, held = os.pipe()

    def work(_: Iterator[int]) -> Iterator[bytes]:
        while True:
            yield b"x" * 1000

    parent = os.fork()
    if parent == 0:
        os.close(alive)
        # standard output is all that a worker keeps
        os.dup2(held, 1)
        with Workers([1, 2], work, count=2) as running:
            next(running.messages())
            os.write(1, b"!")
            time.sleep(60)
        os._exit(0)
    os.close(held)
    assert os.read(alive, 1) == b"!"
    os.kill(parent, signal.SIGKILL)
    os.waitpid(parent, 0)
    assert os.read(alive, 1) == b""
    os.close(alive)


def test_a_worker_keeps_no_file_of_its_parent_open(tmp_path: Path) -> None:
    with (tmp_path / "lock").open("w") as file:
        number = file.fileno()

        def work(_: Iterator[int]) -> Iterator[bytes]:
            try:
                os.fstat(number)
            except OSError:
                yield b"closed"

        with Workers([1], work, count=1) as running:
            assert list(running.messages()) == [b"closed"]


def test_an_interrupt_is_left_to_the_parent() -> None:
    def work(_: Iterator[int]) -> Iterator[bytes]:
        os.kill(os.getpid(), signal.SIGINT)
        yield b"still here"

    with Workers([1], work, count=1) as running:
        assert list(running.messages()) == [b"still here"]


def test_no_descriptor_is_left_open() -> None:
    before = len(list(Path("/dev/fd").iterdir()))
    with Workers([1, 2], lambda shares: map(bytes, shares), count=2) as running:
        list(running.messages())
    assert len(list(Path("/dev/fd").iterdir())) == before


@given(st.lists(st.integers(0, 1000)), st.integers(1, 5))
def test_every_item_is_in_one_share_and_no_share_has_much_more(sizes: list[int], count: int) -> None:
    shares = share_out(list(range(len(sizes))), sizes, count)
    assert sorted(item for share in shares for item in share) == list(range(len(sizes)))
    assert len(shares) == max(1, min(count, len(sizes)))
    loads = [sum(sizes[item] for item in share) for share in shares]
    assert max(loads) - min(loads) <= max(sizes, default=0)
    assert all(share == sorted(share, key=sizes.__getitem__, reverse=True) for share in shares)
