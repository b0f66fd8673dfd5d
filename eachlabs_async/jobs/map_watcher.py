"""Owns the watching of what a map runs: polls that fit how long executions take, and reading what is finished.

It refuses to send.
"""

from __future__ import annotations

import asyncio
import random
import time
from typing import Final, Generic, TypeVar

from ..errors import EachLabsError
from ..transport.tasks import cancel_and_wait
from .map_state import FATAL_FOR_MAP, Item, MapState
from .wait import GRACE_S

T = TypeVar("T")

_POLL_LEAST_S: Final = 0.02
_POLL_MOST_S: Final = 5.0
_POLL_SHARE: Final = 0.04
"""A poll follows after this share of the time that an execution takes."""


class MapWatcher(Generic[T]):
    """The watcher of one map."""

    def __init__(self, run: MapState[T]) -> None:
        self.run = run
        self._takes_s = 0.0  # how long an execution takes, as a moving mean
        self._failed_in_a_row = 0
        self._reading: set[asyncio.Task[None]] = set()

    async def watch(self) -> None:
        """Watch until nothing runs and nothing more is sent, and all that finished is read."""
        run, reading = self.run, self._reading
        try:
            while run.running or run.senders_left:
                if not run.running:
                    await run.change()
                    continue
                await asyncio.sleep(self._poll_s())
                # Read while the next looks are taken: a place that falls free is not to wait for it.
                for items in await self._listing_watcher():
                    reading.add(task := asyncio.create_task(self._complete(items)))
                    task.add_done_callback(self._completed)
            if reading:
                await asyncio.wait(reading)
        finally:
            await cancel_and_wait(list(reading))

    async def _listing_watcher(self) -> list[list[Item[T]]]:
        """Look once; give what has settled."""
        run, now = self.run, time.monotonic()
        run.stats.polls += 1
        fresh = {identity for identity, items in run.running.items() if now - items[0].began < GRACE_S}
        try:
            settled = await run.work.finished(list(run.running), fresh)
        except FATAL_FOR_MAP:
            raise
        except EachLabsError:
            self._failed_in_a_row += 1
            return []  # The session tried again already; the next look is another try.
        self._failed_in_a_row = 0
        now = time.monotonic()
        done = [run.running.pop(identity) for identity in settled]
        for identity in settled:
            run.ours.end(identity)
        for items in done:
            took = now - items[0].began
            self._takes_s = took if not self._takes_s else 0.8 * self._takes_s + 0.2 * took
            run.limit.release(len(items))
        run.signal()
        return done

    def _poll_s(self) -> float:
        takes = self._takes_s
        if not takes:
            takes = time.monotonic() - min(items[0].began for items in self.run.running.values())
        failed_s = _POLL_LEAST_S * 2.0 ** min(self._failed_in_a_row, 10) if self._failed_in_a_row else 0.0
        wait = min(_POLL_MOST_S, max(_POLL_LEAST_S, takes * _POLL_SHARE, failed_s))
        return wait * (0.9 + 0.2 * random.random())

    async def _complete(self, items: list[Item[T]]) -> None:
        """Read an execution whole, once, for all who wait for it."""
        value, error = None, None
        try:
            value = await self.run.work.fetch(items[0].outcome.id)
        except EachLabsError as exc:
            error = exc.with_traceback(None)
        for item in items:
            item.outcome.value = value
            item.outcome.elapsed_s = time.monotonic() - item.began
            self.run.finish(item, error)

    def _completed(self, task: asyncio.Task[None]) -> None:
        self._reading.discard(task)
        if not task.cancelled() and (failure := task.exception()) is not None:
            self.run.stop_for(failure)  # An outcome is missing, which must not pass for the end.
