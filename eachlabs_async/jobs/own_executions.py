"""The executions of one client that are believed to run. Others may use the same account, so this is no full count.

An execution counts from its creation until this client sees it finished. One that no map watches is forgotten ten
minutes after it was last seen running. Times are those of the event loop.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

FORGET_S: Final = 600.0
"""Seconds for which an execution that no map watches counts as running after its creation or its last sighting."""
MAX_REMEMBERED: Final = 10_000
"""Executions remembered at most; the oldest ones are forgotten first."""
_WATCHED: Final = float("inf")


class OwnExecutions:
    """The running executions of one client; `ended` counts those that this client saw finish."""

    __slots__ = ("_until", "ended")

    def __init__(self) -> None:
        self.ended = 0
        self._until: dict[str, float] = {}

    def created(self, ids: Iterable[str], now: float) -> None:
        """Record executions that were just created."""
        for identity in ids:
            self._until.setdefault(identity, now + FORGET_S)
        while len(self._until) > MAX_REMEMBERED:
            del self._until[next(iter(self._until))]

    def watch(self, identity: str) -> None:
        """Record that a map watches an execution and will report its end."""
        self._until[identity] = _WATCHED

    def unwatch(self, ids: Iterable[str], now: float) -> None:
        """Record that no map watches these executions any more; they may still run."""
        for identity in ids:
            if identity in self._until:
                self._until[identity] = now + FORGET_S

    def seen(self, identity: str, *, finished: bool, now: float) -> bool:
        """Record the state in which an execution was found; one that is not this client's is ignored.

        Returns whether one that was believed to run has ended.
        """
        if finished:
            return self.end(identity)
        if self._until.get(identity, _WATCHED) != _WATCHED:
            self._until[identity] = now + FORGET_S
        return False

    def end(self, identity: str) -> bool:
        """Record that an execution has ended. Returns whether it was believed to run."""
        is_own = self._until.pop(identity, None) is not None
        self.ended += is_own
        return is_own

    def running(self, now: float) -> int:
        """Return how many executions run."""
        self._until = {identity: until for identity, until in self._until.items() if until > now}
        return len(self._until)

    @property
    def is_watched(self) -> bool:
        """Whether a map watches at least one of them."""
        return _WATCHED in self._until.values()
