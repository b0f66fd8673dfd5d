"""The calls of one client that create executions, and the pause after a 429 that only a pause ends.

Times are those of the event loop. Which executions run is known to `jobs.ledger`, which passes a counter in.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

_GROWTH: Final = (1.0, 4 / 3, 5 / 3, 2.0)
"""Lengths of the pauses in a row, as multiples of the first: of 90 s these are 90, 120, 150 and 180 s."""


class CreatingCall(Protocol):
    """A call that creates executions; `in_flight` is True while one of its requests is out."""

    in_flight: bool


class Creations:
    """The creating calls that all views of one client share.

    `calls` holds the calls that have not ended. No request that creates something is sent before `paused_until`.
    `count_running` returns how many executions of this client run at a given time.
    """

    __slots__ = ("_count_running", "_refusals", "calls", "paused_until")

    def __init__(self, count_running: Callable[[float], int]) -> None:
        self._count_running = count_running
        self._refusals = 0
        self.calls: set[CreatingCall] = set()
        self.paused_until = 0.0

    def in_flight(self, *, besides: CreatingCall | None = None) -> int:
        """Return the number of creating requests that are out, without that of the call `besides`."""
        return sum(call.in_flight for call in self.calls if call is not besides)

    def running(self, now: float, *, besides: CreatingCall | None = None) -> int:
        """Return the number of executions that run or are being created, without those of the call `besides`."""
        return self._count_running(now) + self.in_flight(besides=besides)

    def pause(self, first_s: float, now: float) -> float:
        """Begin a pause, or restart the current one, and return its length in seconds.

        The first pause lasts `first_s`; each further one in a row is longer, up to twice as long.
        """
        if now >= self.paused_until:
            self._refusals += 1
        pause_s = first_s * _GROWTH[min(max(self._refusals, 1), len(_GROWTH)) - 1]
        self.paused_until = max(self.paused_until, now + pause_s)
        return pause_s

    def succeeded(self) -> None:
        """Record that something was created: the next pause has the first length again."""
        self._refusals = 0
