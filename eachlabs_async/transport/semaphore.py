"""Bound the requests in flight of a client with a semaphore that serves single calls first."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import Final

BACKGROUND_SHARE: Final = 8
"""While both kinds of calls wait, one acquisition in this many goes to a background call."""


class PrioritySemaphore:
    """A semaphore with two queues: single calls, and background calls of bulk jobs and walks.

    A slot that is released goes to a single call first, so that a job of a million ids never delays one `get` for
    longer than it takes a slot to be released. After seven single calls in a row a background call is next, so that a
    stream of single calls cannot starve the others. `available` is the number of free slots.
    """

    __slots__ = ("_background", "_foreground", "_in_a_row", "available", "size")

    def __init__(self, size: int) -> None:
        self.size = size
        self.available = size
        # Ordered dicts, because a waiter that is cancelled leaves the middle of its queue in constant time.
        self._foreground: OrderedDict[asyncio.Future[None], None] = OrderedDict()
        self._background: OrderedDict[asyncio.Future[None], None] = OrderedDict()
        self._in_a_row = 0  # single calls served in a row while background calls waited

    async def acquire(self, *, background: bool) -> None:
        """Acquire a slot, waiting for one if none is available.

        No call waits while a slot is available, so code that must be fast may do the same without a coroutine:
        `if semaphore.available: semaphore.available -= 1`.
        """
        if self.available:
            self.available -= 1
            return
        waiter = asyncio.get_running_loop().create_future()
        queue = self._background if background else self._foreground
        queue[waiter] = None
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():
                self.release()  # The slot was granted in the same turn of the loop.
            else:
                queue.pop(waiter, None)  # `release` may have removed it already.
            raise

    def release(self) -> None:
        """Release a slot, or hand it to the next waiter."""
        while self._foreground or self._background:
            waiter = self._next()
            # A waiter that was cancelled in this turn of the loop is still in its queue.
            if not waiter.done():
                waiter.set_result(None)
                return
        self.available += 1

    def _next(self) -> asyncio.Future[None]:
        if self._background and (not self._foreground or self._in_a_row >= BACKGROUND_SHARE - 1):
            self._in_a_row = 0
            return self._background.popitem(last=False)[0]
        self._in_a_row = self._in_a_row + 1 if self._background else 0
        return self._foreground.popitem(last=False)[0]
