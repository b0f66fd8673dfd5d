"""Owns the emulator's time: what it is, and what happens when.

The clock runs as real time does, or stands still until it is told to `advance`; a running one can be advanced too.
What is due happens in the order of its times, and `now` is then exactly the time that it was due. It refuses to
know what happens.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from heapq import heappop, heappush
from itertools import count

from attrs import define, field

__all__ = ["Clock", "Timer"]


@define(order=True)
class Timer:
    """Something to happen at a time of the clock, in seconds since its start."""

    due: float
    number: int
    call: Callable[[], object] | None = field(order=False)

    def cancel(self) -> None:
        """Let it not happen; nothing changes where it has."""
        self.call = None


class Clock:
    """The time of one emulator, from `start` (default: now).

    `virtual=True` makes a clock that stands still: it goes on by `advance` alone.
    """

    def __init__(self, start: datetime | None = None, *, virtual: bool = False) -> None:
        self._start = start or datetime.now(UTC)
        self._started_at = None if virtual else time.monotonic()
        self._skipped = 0.0
        self._frozen_at: float | None = None
        self._numbers = count()
        self._timers: list[Timer] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._alarm: asyncio.TimerHandle | None = None

    @property
    def seconds(self) -> float:
        """The seconds since the start."""
        if self._frozen_at is not None:
            return self._frozen_at
        return self._skipped + (0.0 if self._started_at is None else time.monotonic() - self._started_at)

    def now(self) -> datetime:
        """Give the time, aware and in UTC."""
        return self._start + timedelta(seconds=self.seconds)

    def after(self, seconds: float, call: Callable[[], object]) -> Timer:
        """Let `call` happen in so many seconds; gives the timer, which can be cancelled."""
        timer = Timer(self.seconds + seconds, next(self._numbers), call)
        heappush(self._timers, timer)
        self._arm()
        return timer

    async def sleep(self, seconds: float) -> None:
        """Wait for so many seconds of this clock."""
        over = asyncio.Event()
        timer = self.after(seconds, over.set)
        try:
            await over.wait()
        finally:
            timer.cancel()

    def advance(self, seconds: float) -> None:
        """Let so many seconds pass at once, with all that happens in them; tasks go on at the next `await`."""
        if seconds < 0:
            raise ValueError(f"seconds must be at least 0, not {seconds}")
        until = self.seconds + seconds
        self._run_due(until)
        self._skipped += seconds
        self._arm()

    def start(self) -> None:
        """Let what is due happen in the running loop, from now on."""
        self._loop = asyncio.get_running_loop()
        self._arm()

    def stop(self) -> None:
        """Let nothing happen any more; what was to happen waits for the next `start`."""
        self._loop = None
        self._disarm()

    def _run_due(self, until: float) -> None:
        while self._timers and self._timers[0].due <= until:
            timer = heappop(self._timers)
            if timer.call is None:
                continue
            self._frozen_at = timer.due
            try:
                timer.call()
            finally:
                self._frozen_at = None

    def _on_alarm(self) -> None:
        self._alarm = None
        self._run_due(self.seconds)
        self._arm()

    def _arm(self) -> None:
        # While something happens the alarm waits: whoever made it happen sets it again.
        if self._frozen_at is not None:
            return
        self._disarm()
        if self._loop is not None and self._started_at is not None and self._timers:
            self._alarm = self._loop.call_later(max(0.0, self._timers[0].due - self.seconds), self._on_alarm)

    def _disarm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
