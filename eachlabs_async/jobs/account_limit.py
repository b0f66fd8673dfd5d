"""An estimate of how many executions an account may run at once.

The service never states the limit. A request that would exceed it is refused with a 429, creates nothing and bills
nothing. The estimate is therefore learned from refusals: the number tried is halved until it is accepted, and the
result is remembered. From time to time one more is tried, less often each time that it is refused.
"""

from __future__ import annotations

from typing import Final

from attrs import define

PROBE_AFTER: Final = 16
"""Executions that end before one more than the estimate is tried; doubled each time that the probe is refused."""
MAX_PROBE_AFTER: Final = 1024


@define
class AccountLimit:
    """The number of executions that the account seems to run at once: `estimate`, between 1 and `maximum`.

    `running` counts the executions that run or are being created. `confirmed` is the highest count that was accepted,
    `refusals` the number of refusals, and `known` is True if the estimate was learned from one, in this map or before.
    """

    maximum: int
    estimate: int
    running: int = 0
    confirmed: int = 0
    refusals: int = 0
    known: bool = False
    _increment: int = 1_000_000  # how far beyond `confirmed` the next try may go
    _probing: bool = False
    _ended: int = 0  # since the last refusal or probe
    _estimate_before: int = 0  # before the refusals since the last acceptance
    _probe_after: int = PROBE_AFTER

    @property
    def available(self) -> int:
        """How many more may be tried now: up to the confirmed count at once, and beyond it in increments."""
        free = max(0, self.estimate - self.running)
        return min(free, max(self.confirmed - self.running, self._increment))

    def start(self, count: int) -> None:
        """Count executions as running; call it before they are sent."""
        self.running += count

    def accept(self) -> None:
        """Record that the running executions were accepted."""
        self.confirmed = max(self.confirmed, self.running)
        self._estimate_before = 0

    def discard(self, count: int) -> None:
        """Stop counting executions that never ran, for another reason than the limit."""
        self.running -= count

    def end(self, count: int = 1) -> None:
        """Count executions as ended. After enough of them without a refusal, raise the estimate by one, as a probe."""
        self.running -= count
        self._ended += count
        if self.known and self._ended >= max(self._probe_after, self.estimate) and self.estimate < self.maximum:
            self._ended = 0
            self.estimate += 1
            self._increment = 1
            self._probing = True

    def refuse(self, count: int) -> None:
        """Record that `count` executions were refused together: with all of them the limit would be exceeded."""
        below = max(1, self.running - 1)
        self._estimate_before = max(self._estimate_before, self.estimate)
        self.running -= count
        self.refusals += 1
        self.known = True
        self._ended = 0
        if self._probing:
            self._probing = False
            self._probe_after = min(2 * self._probe_after, MAX_PROBE_AFTER)
        self.estimate = min(self.estimate, below)
        self.confirmed = min(self.confirmed, below)
        self._increment = max(1, count // 2)

    def refuse_for_pause(self, count: int) -> None:
        """Record that `count` executions were refused until a pause is over, which says nothing about the limit.

        The refusals since the last acceptance may have had the same reason, so the estimate from before them is
        restored, and approached one execution at a time.
        """
        self.running -= count
        self.refusals += 1
        self.estimate = max(self.estimate, self._estimate_before)
        self.confirmed = min(self.confirmed, self.running)
        self._estimate_before = 0
        self._increment = 1

    def refuse_for_balance(self, count: int) -> None:
        """Record that `count` executions were refused for the balance: it may cover fewer than were once accepted."""
        self.refuse(count)
        self.confirmed = min(self.confirmed, self.running)
