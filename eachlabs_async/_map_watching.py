"""Owns the watching of what a map runs: polls that fit how long executions take, and reading what is finished.

It refuses to send.
"""

from __future__ import annotations

import asyncio
import random
import time
from typing import Final, Generic, TypeVar

from ._map_run import STOPS_ALL, Item, Run
from ._tasks import end
from .errors import EachLabsError

T = TypeVar("T")

_POLL_LEAST_S: Final = 0.02
_POLL_MOST_S: Final = 5.0
_POLL_SHARE: Final = 0.04
"""A poll follows after this share of the time that an execution takes."""


class Watching(Generic[T]):
    """The watcher of one map."""

    def __init__(self, run: Run[T]) -> None:
        self.run = run
        self._takes_s = 0.0  # how long an execution takes, as a moving mean

    async def watch(self) -> None:
        """Watch until nothing runs and nothing more is sent, and all that finished is read."""
        run = self.run
        reading: set[asyncio.Task[None]] = set()
        try:
            while run.running or run.senders_left:
                if not run.running:
                    await run.change()
                    continue
                await asyncio.sleep(self._poll_s())
                # Read while the next looks are taken: a place that falls free is not to wait for it.
                for item in await self._look():
                    reading.add(task := asyncio.create_task(self._complete(item)))
                    task.add_done_callback(reading.discard)
            if reading:
                await asyncio.wait(reading)
        finally:
            await end(list(reading))

    async def _look(self) -> list[Item[T]]:
        """Look once; give what has settled."""
        run = self.run
        run.stats.polls += 1
        try:
            settled = await run.work.finished(list(run.running))
        except STOPS_ALL:
            raise
        except EachLabsError:
            return []  # The session tried again already; the next look is another try.
        now = time.monotonic()
        done = [run.running.pop(identity) for identity in settled]
        for item in done:
            took = now - item.began
            self._takes_s = took if not self._takes_s else 0.8 * self._takes_s + 0.2 * took
        run.cap.settle(len(done))
        run.signal()
        return done

    def _poll_s(self) -> float:
        takes = self._takes_s
        if not takes:
            takes = time.monotonic() - min(item.began for item in self.run.running.values())
        wait = min(_POLL_MOST_S, max(_POLL_LEAST_S, takes * _POLL_SHARE))
        return wait * (0.9 + 0.2 * random.random())

    async def _complete(self, item: Item[T]) -> None:
        outcome, error = item.outcome, None
        try:
            outcome.value = await self.run.work.fetch(outcome.id)
        except EachLabsError as exc:
            error = exc.with_traceback(None)
        outcome.elapsed_s = time.monotonic() - item.began
        self.run.finish(item, error)
