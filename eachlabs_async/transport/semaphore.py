"""Owns the client-wide bound on requests in flight; refuses to know what a request is.

A semaphore is a semaphore with two queues. Single calls and the crowd of a bulk job or a walk wait apart, and a place
that falls free goes to a single call first, so that a job of a million ids never keeps one `get` waiting for
longer than a place takes to fall free. After seven single calls in a row, as a stream of them makes, the crowd has its
turn, so that neither starves.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from typing import Final

BACKGROUND_SHARE: Final = 8


class PrioritySemaphore:
    """A bound of `size` places; `free` is how many are free now (it may be taken down directly, see `enter`)."""

    __slots__ = ("_background", "_foreground", "_in_a_row", "available", "size")

    def __init__(self, size: int) -> None:
        self.size = size
        self.available = size
        self._foreground: deque[asyncio.Future[None]] = deque()
        self._background: deque[asyncio.Future[None]] = deque()
        self._in_a_row = 0  # single calls that went before a crowd that waits

    async def acquire(self, *, background: bool) -> None:
        """Take a place, waiting for one if need be.

        Nobody waits while a place is free, so a caller in a hurry may do the same without a coroutine:
        `if semaphore.available: semaphore.available -= 1`.
        """
        if self.available:
            self.available -= 1
            return
        place = asyncio.get_running_loop().create_future()
        queue = self._background if background else self._foreground
        queue.append(place)
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():
                self.release()  # The place was granted in the same turn of the loop: hand it on.
            else:
                with suppress(ValueError):  # A grant may have passed over it already.
                    queue.remove(place)
            raise

    def release(self) -> None:
        """Give a place back: straight to the next in line where somebody waits."""
        while self._foreground or self._background:
            place = self._next()
            # Who was cancelled in this turn of the loop still stands in line.
            if not place.done():
                place.set_result(None)
                return
        self.available += 1

    def _next(self) -> asyncio.Future[None]:
        if self._background and (not self._foreground or self._in_a_row >= BACKGROUND_SHARE - 1):
            self._in_a_row = 0
            return self._background.popleft()
        self._in_a_row = self._in_a_row + 1 if self._background else 0
        return self._foreground.popleft()
