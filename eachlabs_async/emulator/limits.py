"""Owns how fast executions may be started: a burst too many starts a block, which every try during it keeps alive.

It refuses to know time (each call brings it), HTTP and what is started.
"""

from __future__ import annotations

from collections import deque

from attrs import define, field

__all__ = ["Burst"]


@define
class Burst:
    """The starts of late, and until when (in the clock's seconds) nothing may be started."""

    blocked_until: float = 0.0
    _starts: deque[float] = field(factory=deque[float], init=False)

    def refuses(self, wanted: int, now: float, *, most: int, seconds: float, silence: float) -> bool:
        """Say whether so many may not be started now: more than `most` within `seconds`, or during a block.

        A block ends when nobody asked for `silence` seconds.
        """
        while self._starts and self._starts[0] <= now - seconds:
            self._starts.popleft()
        blocked = now < self.blocked_until or len(self._starts) + wanted > most
        if blocked:
            self.blocked_until = now + silence
        return blocked

    def start(self, now: float) -> None:
        """Note that one was started."""
        self._starts.append(now)
