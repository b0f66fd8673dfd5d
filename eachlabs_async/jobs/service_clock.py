"""The clock of a service relative to this machine's, from the `Date` headers of its answers.

A header has whole seconds, so one answer bounds the difference to a second and the time that the answer took. Several
answers together bound it more closely.
"""

from __future__ import annotations

from collections import deque
from datetime import datetime
from typing import Final

SAMPLES: Final = 32
"""Answers that are remembered, the latest ones: a clock may be set."""
TOLERANCE_S: Final = 2.0
"""The largest difference, in seconds, that is assumed before any answer had a `Date`."""


class ServiceClock:
    """Bounds of the difference between a service's clock and this machine's. Local times are Unix times."""

    __slots__ = ("_bounds",)

    def __init__(self) -> None:
        self._bounds: deque[tuple[float, float]] = deque(maxlen=SAMPLES)

    def observe(self, date: datetime | None, sent_at: float, received_at: float) -> None:
        """Record the `Date` of an answer to a request that was sent and answered at these local times."""
        if date is not None:
            served = date.timestamp()
            self._bounds.append((served - received_at, served + 1 - sent_at))

    @property
    def bounds(self) -> tuple[float, float]:
        """The least and the largest difference, in seconds, by which the service's clock is ahead."""
        if not self._bounds:
            return -TOLERANCE_S, TOLERANCE_S
        least, most = max(low for low, _ in self._bounds), min(high for _, high in self._bounds)
        return (least, most) if least <= most else self._bounds[-1]  # A clock was set.

    def local_span(self, moment: datetime) -> tuple[float, float]:
        """Return the earliest and the latest local time of a moment by the service's clock.

        A moment in whole seconds may be up to one second later.
        """
        least, most = self.bounds
        served = moment.timestamp()
        return served - most, served - least + (0.0 if moment.microsecond else 1.0)
