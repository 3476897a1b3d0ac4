"""Streams that pass through untouched and tell what they used once they end."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import TracebackType


class StreamWatch:
    """Sees each chunk of one stream, and its end, once, in the process that opened it."""

    def __init__(self, *, on_chunk: Callable[[object], None], on_end: Callable[[StreamWatch], None]) -> None:
        self._on_chunk = on_chunk
        self._on_end = on_end
        self._is_over = False
        self._process_id = os.getpid()

    def see(self, chunk: object) -> None:
        if not self._is_over:
            self._on_chunk(chunk)

    def end(self) -> None:
        if not self._is_over:
            self._is_over = True
            # a process forked meanwhile drops its copy, and would record half of what its parent will
            if os.getpid() == self._process_id:
                self._on_end(self)


class TrackedStream:
    """An iterator of chunks that is used like the stream it stands for, whose other members it has too.

    It ends when the stream does, when it is closed or left, when it raises, and when nobody holds it any more.
    """

    def __init__(self, stream: Any, watch: StreamWatch) -> None:
        self._watch = watch
        self._stream = stream
        self._chunks: Iterator[Any] = iter(stream)

    def __iter__(self) -> TrackedStream:
        return self

    def __next__(self) -> Any:
        try:
            chunk = next(self._chunks)
        except BaseException:  # its own end is one too
            self._watch.end()
            raise
        self._watch.see(chunk)
        return chunk

    def close(self) -> None:
        """End here; closes the stream if it can be closed."""
        self._watch.end()
        getattr(self._stream, "close", _nothing)()

    def __enter__(self) -> TrackedStream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def __del__(self) -> None:
        self._watch.end()


class TrackedAsyncStream:
    """The same for `async for`."""

    def __init__(self, stream: Any, watch: StreamWatch) -> None:
        self._watch = watch
        self._stream = stream
        self._chunks: AsyncIterator[Any] = aiter(stream)

    def __aiter__(self) -> TrackedAsyncStream:
        return self

    async def __anext__(self) -> Any:
        try:
            chunk = await anext(self._chunks)
        except BaseException:  # its own end is one too, and so is being cancelled
            self._watch.end()
            raise
        self._watch.see(chunk)
        return chunk

    async def close(self) -> None:
        """End here; closes the stream if it can be closed."""
        self._watch.end()
        await getattr(self._stream, "close", getattr(self._stream, "aclose", _nothing_async))()

    aclose = close

    async def __aenter__(self) -> TrackedAsyncStream:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def __del__(self) -> None:
        self._watch.end()


def _nothing() -> None:
    pass


async def _nothing_async() -> None:
    pass
