"""An account and one map on it, simulated event by event on a clock of its own, to see how well the limit is used.

The map sends through a few senders, each of which waits for its answer, and learns of an end some time after it.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from itertools import count

from eachlabs_async.jobs.account_limit import AccountLimit


class Simulation:
    """Runs executions of about `takes_s` seconds for `until_s` seconds; `places(now)` is how many may run at once.

    `ended` holds the time at which each execution ended, `sent` counts the requests.
    """

    def __init__(
        self,
        limit: AccountLimit,
        places: Callable[[float], int],
        *,
        takes_s: float,
        until_s: float,
        senders: int = 4,
        chunk: int = 1,
        answer_s: float = 0.02,
        notice_s: float = 0.05,
        seed: int = 1,
    ) -> None:
        self.limit = limit
        self.ended: list[float] = []
        self.sent = 0
        self._places = places
        self._takes_s, self._answer_s, self._notice_s = takes_s, answer_s, notice_s
        self._chunk = chunk
        self._idle = senders
        self._running = 0
        self._chance = random.Random(seed)
        self._events: list[tuple[float, int, Callable[[float], None]]] = []
        self._numbers = count()
        self._at(0.0, self._send)
        now = 0.0
        while now < until_s and self._events:
            now, _, act = heapq.heappop(self._events)
            act(now)

    def _at(self, when: float, act: Callable[[float], None]) -> None:
        heapq.heappush(self._events, (when, next(self._numbers), act))

    def _send(self, now: float) -> None:
        self.limit.probe(now)
        while self._idle and (found := min(self.limit.available, self._chunk)) > 0:
            self._idle -= 1
            self.sent += 1
            self.limit.start(found)
            self._at(now + self._answer_s / 2, lambda at, wanted=found: self._arrive(at, wanted))  # type: ignore[misc]  # mypy does not infer the default
        wait_s = self.limit.probe_in_s(now)
        if wait_s:
            self._at(now + wait_s, self._send)

    def _arrive(self, now: float, wanted: int) -> None:
        accepted = self._running + wanted <= self._places(now)
        if accepted:
            self._running += wanted
            for _ in range(wanted):
                self._at(now + self._takes_s * self._chance.uniform(0.8, 1.2), self._end)
        self._at(now + self._answer_s / 2, lambda at: self._answer(at, wanted, accepted))

    def _answer(self, now: float, wanted: int, accepted: bool) -> None:
        self._idle += 1
        if accepted:
            self.limit.accept()
        else:
            self.limit.refuse(wanted, now)
        self._send(now)

    def _end(self, now: float) -> None:
        self._running -= 1
        self.ended.append(now)
        self._at(now + self._notice_s * self._chance.uniform(0.5, 1.5), self._noticed)

    def _noticed(self, now: float) -> None:
        self.limit.end()
        self._send(now)

    def rate(self, since: float, until: float) -> float:
        """Return how many executions ended per second in a span of time."""
        return sum(since <= at < until for at in self.ended) / (until - since)
