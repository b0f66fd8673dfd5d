"""When to look at a running execution again, from its age and from how long others took, as pure functions.

Executions of one map take similar times. While none has ended, an execution is looked at whenever its age has grown by
a share. Later it is looked at a few times around the ages at which others ended, and after that ever more rarely.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from attrs import define, field

MIN_PAUSE_S: Final = 0.02
MAX_PAUSE_S: Final = 10.0
GROWTH: Final = 0.4
"""The pause as a share of the age, for an execution of which it is not known when it will end."""
LOOKS: Final = 5
"""How often an execution is looked at, at most, between the ages at which others ended."""
_SHARE: Final = 0.04
"""The shortest time between two checks of a map, as a share of the time that an execution takes."""
_REMEMBERED: Final = 64


@define
class WatchSchedule:
    """How long the latest executions of one map took, and the pauses that follow from it. Times are in seconds."""

    _took_s: deque[float] = field(factory=lambda: deque[float](maxlen=_REMEMBERED))
    _earliest_s: float = 0.0
    _latest_s: float = 0.0
    _typical_s: float = 0.0

    def ended(self, took_s: float) -> None:
        """Record that an execution took this long."""
        self._took_s.append(took_s)
        ordered = sorted(self._took_s)
        last = len(ordered) - 1
        self._typical_s = ordered[last // 2]
        # What was seen to end has ended a little before.
        self._earliest_s = 0.9 * ordered[last // 20]
        self._latest_s = 1.05 * ordered[last - last // 20]

    def pause_s(self, age_s: float) -> float:
        """Return how long to wait before the next look at an execution of this age."""
        if not self._typical_s:
            return _bounded(GROWTH * age_s)
        if age_s < self._earliest_s:
            return _bounded(self._earliest_s - age_s)
        step_s = max(_SHARE * self._typical_s, (self._latest_s - self._earliest_s) / LOOKS)
        return _bounded(step_s if age_s < self._latest_s else max(step_s, GROWTH * age_s))

    @property
    def floor_s(self) -> float:
        """The shortest time between two checks, however many executions are due."""
        return min(max(MIN_PAUSE_S, _SHARE * self._typical_s), MAX_PAUSE_S / 2)


def _bounded(pause_s: float) -> float:
    return min(max(pause_s, MIN_PAUSE_S), MAX_PAUSE_S)
