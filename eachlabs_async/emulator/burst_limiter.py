"""A limiter on how fast executions may be started. A burst starts a block, and every attempt prolongs it."""

from __future__ import annotations

from collections import deque

from attrs import define, field

__all__ = ["BurstLimiter"]


@define
class BurstLimiter:
    """The recent starts, and the end of the block in seconds of the caller's clock."""

    blocked_until: float = 0.0
    _starts: deque[float] = field(factory=deque[float], init=False)

    def refuses(self, wanted: int, now: float, *, most: int, seconds: float, silence: float) -> bool:
        """Whether `wanted` starts are refused: they exceed `most` within `seconds`, or a block is in force.

        A block ends after `silence` seconds without an attempt.
        """
        while self._starts and self._starts[0] <= now - seconds:
            self._starts.popleft()
        blocked = now < self.blocked_until or len(self._starts) + wanted > most
        if blocked:
            self.blocked_until = now + silence
        return blocked

    def record_start(self, now: float) -> None:
        """Count one start."""
        self._starts.append(now)
