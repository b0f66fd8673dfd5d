"""Owns the guess at how many executions an account may run at once; refuses clocks, requests and the truth.

The service never tells the cap: a request that would exceed it is refused with a 429, creates nothing and bills
nothing. So the level is found from refusals, by halving what is tried, and remembered; now and then one more is tried,
ever more rarely while that is refused.
"""

from __future__ import annotations

from typing import Final

from attrs import define

PROBE_AFTER: Final = 16
"""Executions that settle, at least, between two tries of one more."""
PROBE_AT_MOST: Final = 1024


@define
class AccountLimit:
    """The level of executions at once that seems to be allowed: `level`, between 1 and `most`.

    `running` counts what is under way or on its way, `confirmed` is the highest count that was
    accepted, `refusals` counts
    what was refused; `known` tells that the level was found from some, now or earlier.
    """

    most: int
    level: int
    running: int = 0
    confirmed: int = 0
    refusals: int = 0
    known: bool = False
    _step: int = 1_000_000
    _probing: bool = False
    _settled: int = 0
    _before: int = 0
    _probe_after: int = PROBE_AFTER

    @property
    def available(self) -> int:
        """How many more may be tried now: all that were proven at once, and beyond them a step."""
        free = max(0, self.level - self.running)
        return min(free, max(self.confirmed - self.running, self._step))

    def start(self, count: int) -> None:
        """Count executions as under way; to be said before they are sent."""
        self.running += count

    def accept(self) -> None:
        """Note that what is under way was accepted."""
        self.confirmed = max(self.confirmed, self.running)
        self._before = 0

    def withdraw(self, count: int) -> None:
        """Take back `count` that never ran, for reasons other than the cap."""
        self.running -= count

    def release(self, count: int = 1) -> None:
        """Count executions as settled; after enough of them without a refusal one more is tried than seemed allowed."""
        self.running -= count
        self._settled += count
        if self.known and self._settled >= max(self._probe_after, self.level) and self.level < self.most:
            self._settled = 0
            self.level += 1
            self._step = 1
            self._probing = True

    def refuse(self, count: int) -> None:
        """Take back `count` that were refused together: the cap is less than what would have run with all of them."""
        below = max(1, self.running - 1)
        self._before = max(self._before, self.level)
        self.running -= count
        self.refusals += 1
        self.known = True
        self._settled = 0
        if self._probing:
            self._probing = False
            self._probe_after = min(2 * self._probe_after, PROBE_AT_MOST)
        self.level = min(self.level, below)
        self.confirmed = min(self.confirmed, below)
        self._step = max(1, count // 2)

    def hold(self, count: int) -> None:
        """Take back `count` that were refused for no cap: what was learned since the last acceptance is in doubt.

        Then one is tried, and one more each time that is accepted, up to the level from before.
        """
        self.running -= count
        self.refusals += 1
        self.level = max(self.level, self._before)
        self.confirmed = min(self.confirmed, self.running)
        self._before = 0
        self._step = 1

    def lower(self, count: int) -> None:
        """Take back `count` that were refused for the balance: what was accepted once may be too many now."""
        self.refuse(count)
        self.confirmed = min(self.confirmed, self.running)
