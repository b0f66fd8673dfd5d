"""Async iteration that is done once, goes on after a cancelled wait, and ends the work behind it.

Pagers, bulk fetches, maps and window walks are streams: each says what is at hand (`_take`), how to wait for more
(`_advance`) and how to end its tasks (`_stop`). This module leaves the items to them.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from enum import Enum
from types import TracebackType
from typing import Any, Final, Literal, Self, TypeVar
from weakref import ref

from .tasks import Interruptible, is_being_cancelled

R = TypeVar("R")


class Nothing(Enum):
    """The absence of an item, for streams whose items may be None."""

    NOTHING = "nothing"


NOTHING: Final = Nothing.NOTHING


class Stream(ABC):
    """Something to be iterated once; `async with` or `aclose()` ends it at once, with all that works for it."""

    def __init__(self, *, reused: str, closed: str) -> None:
        """Create a stream; `reused` and `closed` are the messages of the errors for a second and a closed use."""
        self._reused = reused
        self._used = False
        self._in_block = False
        self._iterator: Callable[[], StreamIterator[Any] | None] = _no_iterator
        self._waiting = Interruptible(closed)

    @abstractmethod
    async def _advance(self) -> None:
        """Wait until an item may be at hand; `StopAsyncIteration` at the end. Cancelling it must lose nothing."""

    @abstractmethod
    async def _stop(self) -> None:
        """End all tasks of the stream. May be called more than once, also at the same time."""

    def _iterate(self, take: Callable[[], R | Literal[Nothing.NOTHING]]) -> StreamIterator[R]:
        """Return the one iterator of this stream, over what `take` returns."""
        if self._used:
            raise RuntimeError(self._reused)
        self._used = True
        iterator = StreamIterator(self, take, self._advance, self._waiting)
        # Weak outside of a block: a loop left by `break` then drops the iterator, and its clean-up starts at once.
        self._iterator = (lambda: iterator) if self._in_block else ref(iterator)
        return iterator

    async def __aenter__(self) -> Self:
        self._in_block = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """End the iteration now: what is under way is cancelled, and has ended when this returns."""
        self._used = True
        # Another task that waits for an item gets an error: it must not take this for the end of the items.
        await self._waiting.end()
        iterator = self._iterator()
        if iterator is not None:
            await iterator.aclose()
        await self._stop()


class StreamIterator(AsyncIterator[R]):
    """The iterator of a stream. After a cancelled wait the next call goes on where this one was."""

    __slots__ = ("__weakref__", "_advance", "_ended", "_guard", "_stream", "_take", "_waiting")

    def __init__(
        self,
        stream: Stream,
        take: Callable[[], R | Literal[Nothing.NOTHING]],
        advance: Callable[[], Coroutine[Any, Any, None]],
        waiting: Interruptible,
    ) -> None:
        self._stream = stream
        self._take = take
        self._advance = advance
        self._waiting = waiting
        self._guard: AsyncGenerator[None, None] | None = None
        self._ended = False

    async def __anext__(self) -> R:
        if self._ended:
            raise StopAsyncIteration
        if self._guard is None:
            self._guard = _guard(self._stream)
            await anext(self._guard)
        try:
            while (item := self._take()) is NOTHING:
                await self._waiting.result(self._advance())
        except asyncio.CancelledError:
            if not is_being_cancelled():
                await self.aclose()  # A task of the stream was cancelled, not this one, so the stream has failed.
            raise
        except (Exception, StopAsyncIteration):
            await self.aclose()
            raise
        return item

    async def aclose(self) -> None:
        """End the iteration and the stream's tasks."""
        self._ended = True
        guard, self._guard = self._guard, None
        if guard is not None:
            await guard.aclose()
        else:
            await self._stream._stop()  # pyright: ignore[reportPrivateUsage]


async def _guard(stream: Stream) -> AsyncGenerator[None, None]:
    """Stop a stream when its iterator is closed or collected: asyncio closes a generator that nobody holds."""
    try:
        yield
    finally:
        await stream._stop()  # pyright: ignore[reportPrivateUsage]


def _no_iterator() -> None:
    return None
