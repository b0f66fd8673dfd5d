"""The emulator's clock, and the calls that are scheduled on it.

The clock runs in real time, or stands still until `advance`; a running clock can be advanced too. Calls are made in the
order of their due times, and during a call `now()` is exactly its due time.
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
    """A scheduled call; `due` is in seconds since the start of the clock."""

    due: float
    number: int
    call: Callable[[], object] | None = field(order=False)

    def cancel(self) -> None:
        """Cancel the call; does nothing after it was made."""
        self.call = None


class Clock:
    """The clock of one emulator, which starts at `start` (default: now).

    With `virtual=True` it stands still except for `advance`.
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
        """Return the time, aware and in UTC."""
        return self._start + timedelta(seconds=self.seconds)

    def after(self, seconds: float, call: Callable[[], object]) -> Timer:
        """Schedule `call` in `seconds` seconds, and return the timer, which can be cancelled."""
        timer = Timer(self.seconds + seconds, next(self._numbers), call)
        heappush(self._timers, timer)
        self._arm()
        return timer

    async def sleep(self, seconds: float) -> None:
        """Wait for `seconds` seconds of this clock."""
        over = asyncio.Event()
        timer = self.after(seconds, over.set)
        try:
            await over.wait()
        finally:
            timer.cancel()

    def advance(self, seconds: float) -> None:
        """Advance the clock at once, and make all calls that become due. Other tasks continue at the next `await`."""
        if seconds < 0:
            raise ValueError(f"seconds must be at least 0, not {seconds}")
        until = self.seconds + seconds
        self._run_due(until)
        self._skipped += seconds
        self._arm()

    def start(self) -> None:
        """Start making due calls, in the running loop."""
        self._loop = asyncio.get_running_loop()
        self._arm()

    def stop(self) -> None:
        """Stop making calls; those still scheduled wait for the next `start`."""
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
        # During a call the alarm is not set; `_run_due`'s caller sets it afterwards.
        if self._frozen_at is not None:
            return
        self._disarm()
        if self._loop is not None and self._started_at is not None and self._timers:
            self._alarm = self._loop.call_later(max(0.0, self._timers[0].due - self.seconds), self._on_alarm)

    def _disarm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
