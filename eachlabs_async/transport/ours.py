"""Owns what this client runs at the service, as far as it knows, and the silence after a refusal that names no time.

An execution counts from its creation until this client sees it ended; one that no map watches is forgotten ten minutes
after it was seen last. It refuses clocks, requests and the truth: others may use the same account.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Protocol

FORGET_S: Final = 600.0
"""Seconds for which an execution that no map watches is taken to run, since it was created or last seen to run."""
MAX_KNOWN: Final = 10_000
"""Executions remembered, the latest ones."""
_WATCHED: Final = float("inf")
_GROWTH: Final = (1.0, 4 / 3, 5 / 3, 2.0)
"""How long each silence in a row is, as multiples of the first: of 90 s these are 90, 120, 150 and 180 s."""


class UnderWay(Protocol):
    """A call that asks for executions; `in_flight` while one of its requests is out."""

    in_flight: bool


class OwnExecutions:
    """What all views of one client have at the service; times are those of the loop.

    `calls` are the calls that ask for executions and have not ended, `ended` counts the executions that were seen to
    end, and until `silent_until` nothing that creates is sent.
    """

    __slots__ = ("_refusals", "_until", "calls", "ended", "silent_until")

    def __init__(self) -> None:
        self.calls: set[UnderWay] = set()
        self.ended = 0
        self.silent_until = 0.0
        self._refusals = 0
        self._until: dict[str, float] = {}

    def created(self, ids: Iterable[str], now: float) -> None:
        """Note executions that were just created: they run, and creating is possible again."""
        for identity in ids:
            self._refusals = 0
            self._until.setdefault(identity, now + FORGET_S)
        while len(self._until) > MAX_KNOWN:
            del self._until[next(iter(self._until))]

    def watch(self, identity: str) -> None:
        """Note that a map waits for an execution: it will tell the end."""
        self._until[identity] = _WATCHED

    def leave(self, ids: Iterable[str], now: float) -> None:
        """Note that a map waits for these no longer; they may run on."""
        for identity in ids:
            if identity in self._until:
                self._until[identity] = now + FORGET_S

    def seen(self, identity: str, *, finished: bool, now: float) -> None:
        """Note how an execution was found; nothing changes for one that is not known to be ours."""
        if finished:
            self.end(identity)
        elif self._until.get(identity, _WATCHED) != _WATCHED:
            self._until[identity] = now + FORGET_S

    def end(self, identity: str) -> None:
        """Note that an execution has ended."""
        if self._until.pop(identity, None) is not None:
            self.ended += 1

    def running(self, now: float, *, besides: UnderWay | None = None) -> int:
        """Give how many run or are being created, `besides` one call."""
        self._until = {identity: until for identity, until in self._until.items() if until > now}
        return len(self._until) + self._sent(besides)

    @property
    def is_watched(self) -> bool:
        """Whether somebody will tell of an end: a map that watches, or a call that is under way."""
        return bool(self._sent(None)) or _WATCHED in self._until.values()

    def _sent(self, besides: UnderWay | None) -> int:
        return sum(call.in_flight for call in self.calls if call is not besides)

    def keep_silence(self, first_s: float, now: float) -> float:
        """Begin a silence, longer than the one before, or begin the present one anew; gives its seconds."""
        if now >= self.silent_until:
            self._refusals += 1
        pause_s = first_s * _GROWTH[min(max(self._refusals, 1), len(_GROWTH)) - 1]
        self.silent_until = max(self.silent_until, now + pause_s)
        return pause_s
