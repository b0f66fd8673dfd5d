"""Single-use async iteration that survives cancelled waits and stops its background tasks at the end.

Pagers, bulk fetches, maps and window walks are streams. Each of them implements how to take an available item, how to
wait for the next one (`_advance`) and how to stop its tasks (`_stop`).
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from enum import Enum
from types import TracebackType
from typing import Any, Final, Literal, Self, TypeVar
from weakref import ref

from .guidance import AsyncForGuide
from .tasks import Interruptible, is_being_cancelled

R = TypeVar("R")


class Nothing(Enum):
    """The type of `NOTHING`, which means that no item is available; an item itself may be None."""

    NOTHING = "nothing"


NOTHING: Final = Nothing.NOTHING


class Stream(AsyncForGuide, ABC):
    """An async iterable that can be iterated once. `async with` or `aclose()` stops it and its tasks immediately."""

    def __init__(self, *, reused: str, closed: str) -> None:
        """Create a stream.

        `reused` is the error message for a second iteration, `closed` the one for a wait interrupted by `aclose()`.
        """
        self._reused = reused
        self._used = False
        self._in_block = False
        self._iterator: Callable[[], StreamIterator[Any] | None] = _no_iterator
        self._waiting = Interruptible(closed)

    @abstractmethod
    async def _advance(self) -> None:
        """Wait until an item may be available; raise `StopAsyncIteration` at the end. Cancelling must lose nothing."""

    @abstractmethod
    async def _stop(self) -> None:
        """Stop all tasks of the stream. It may be called several times, also concurrently."""

    def _iterate(self, take: Callable[[], R | Literal[Nothing.NOTHING]]) -> StreamIterator[R]:
        """Return the only iterator of this stream. `take` returns the next available item, or `NOTHING`."""
        if self._used:
            raise RuntimeError(self._reused)
        self._used = True
        iterator = StreamIterator(self, take, self._advance, self._waiting)
        # Weak outside a block: after `break` the iterator is collected, which stops the tasks at once.
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
        """End the iteration: cancel the stream's tasks and requests, and wait until they have ended."""
        self._used = True
        # Another task that waits for an item gets an error, because this is not the end of the items.
        await self._waiting.end()
        iterator = self._iterator()
        if iterator is not None:
            await iterator.aclose()
        await self._stop()


class StreamIterator(AsyncForGuide, AsyncIterator[R]):
    """The iterator of a stream. After a cancelled wait, the next call continues at the same item."""

    __slots__ = ("__weakref__", "_advance", "_deferred", "_ended", "_failure", "_guard", "_stream", "_take", "_waiting")

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
        self._failure: BaseException | None = None  # the error that ended the stream, until a wait has raised it
        self._deferred: Exception | None = None  # an error behind the items that `available` returned

    async def __anext__(self) -> R:
        if self._ended:
            failure, self._failure = self._failure, None
            raise failure or StopAsyncIteration
        if self._guard is None:
            self._guard = _guard(self._stream)
            await anext(self._guard)
        try:
            if self._deferred is not None:
                raise self._deferred
            while (item := self._take()) is NOTHING:
                await self._waiting.result(self._advance())
        except asyncio.CancelledError:
            if not is_being_cancelled():
                # A task of the stream was cancelled, not this one: the stream cannot continue.
                await self.aclose()
            raise
        except (Exception, StopAsyncIteration) as exc:
            # If this wait is cancelled while the tasks end, the next one raises the error: it is not a quiet end.
            self._failure = exc
            await self.aclose()
            self._failure = None
            raise
        return item

    def available(self, most: int) -> list[R]:
        """Return up to `most` of the next items, those that need no wait, at less cost than one by one.

        An error behind them is raised by the next wait.
        """
        items: list[R] = []
        if self._guard is None:
            return items
        try:
            while len(items) < most and self._deferred is None and (item := self._take()) is not NOTHING:
                items.append(item)
        except Exception as exc:
            self._deferred = exc
        return items

    async def aclose(self) -> None:
        """End the iteration and the stream's tasks."""
        self._ended = True
        guard, self._guard = self._guard, None
        if guard is not None:
            await guard.aclose()
        else:
            await self._stream._stop()  # pyright: ignore[reportPrivateUsage]  # the iterator is a part of the stream


async def _guard(stream: Stream) -> AsyncGenerator[None, None]:
    """Stop a stream when its iterator is closed or collected; asyncio closes generators that are collected."""
    try:
        yield
    finally:
        await stream._stop()  # pyright: ignore[reportPrivateUsage]  # the iterator is a part of the stream


def _no_iterator() -> None:
    return None
