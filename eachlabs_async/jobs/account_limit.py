"""An estimate of how many executions an account may run at once.

The service never states the limit. A request that would exceed it is refused with a 429, creates nothing and bills
nothing. The estimate is therefore learned from refusals: the number tried is halved until it is accepted, and the
result is remembered for a while. Others use the account too, so a limit that was found may be gone a moment later. A
refusal costs no more than its request: once as many executions as the estimate have ended without a refusal, or after a
quiet time, one more is tried, then two, four and so on until one is refused.
"""

from __future__ import annotations

from typing import Final

from attrs import define, frozen

MIN_ENDED: Final = 2
"""Executions that end before more than the estimate is tried, if the estimate is lower than that."""
MIN_ENDED_AFTER_402: Final = 16
"""The same after a refusal for the balance: what others reserve does not change as quickly."""
QUIET_S: Final = 2.0
"""Seconds without a refusal after which more is tried although nothing has ended; doubled each time it is refused."""
MAX_QUIET_S: Final = 32.0
REMEMBERED_S: Final = 60.0
"""Seconds for which a later map starts from the estimate of an earlier one."""
_UNBOUNDED: Final = 1_000_000


@frozen
class RememberedLimit:
    """The estimate that a map ended with, and when; `at` is a time of the event loop."""

    estimate: int
    at: float

    def is_recent(self, now: float) -> bool:
        """Whether a map that begins now may start from it."""
        return now - self.at < REMEMBERED_S


@define
class AccountLimit:
    """The number of executions that the account seems to run at once: `estimate`, between 1 and `maximum`.

    `running` counts the executions that run or are being created. `confirmed` is the highest count that was accepted,
    `refusals` the number of refusals, and `known` is True if the estimate was learned from one, in this map or before.
    Times are in seconds, by any clock that does not go back.
    """

    maximum: int
    estimate: int
    running: int = 0
    confirmed: int = 0
    refusals: int = 0
    known: bool = False
    _increment: int = _UNBOUNDED  # how far beyond `confirmed` the next try may go
    _probing: bool = False
    _ended: int = 0  # since the last refusal or probe
    _estimate_before: int = 0  # before the refusals since the last acceptance
    _min_ended: int = MIN_ENDED
    _quiet_s: float = QUIET_S
    _quiet_since: float = 0.0

    @property
    def available(self) -> int:
        """How many more may be tried now: up to the confirmed count at once, and beyond it in increments."""
        free = max(0, self.estimate - self.running)
        return min(free, max(self.confirmed - self.running, self._increment))

    def start_from(self, estimate: int) -> None:
        """Begin with an estimate that an earlier map learned."""
        self.estimate = self.confirmed = min(self.maximum, estimate)
        self.known = True

    def remembered(self, now: float) -> RememberedLimit | None:
        """Return what a later map may start from, or None if the account allowed all that was tried."""
        return RememberedLimit(self.estimate, now) if self.estimate < self.maximum else None

    def start(self, count: int) -> None:
        """Count executions as running; call it before they are sent."""
        self.running += count

    def accept(self) -> None:
        """Record that the running executions were accepted. If more than the estimate was tried, try twice as many."""
        self.confirmed = max(self.confirmed, self.running)
        self._estimate_before = 0
        if self._probing and self.confirmed >= self.estimate:
            self._quiet_s = QUIET_S
            self._increment = min(2 * self._increment, _UNBOUNDED)
            self.estimate = min(self.maximum, self.estimate + self._increment)

    def discard(self, count: int) -> None:
        """Stop counting executions that never ran, for another reason than the limit."""
        self.running -= count

    def end(self, count: int = 1) -> None:
        """Count executions as ended. After enough of them without a refusal, try one more than the estimate."""
        self.running -= count
        self._ended += count
        if self._can_probe and self._ended >= max(self.estimate, self._min_ended):
            self._probe()

    def probe_in_s(self, now: float) -> float | None:
        """Return the seconds until `probe` may try more, or None if the estimate does not hold anything back."""
        if not self._can_probe or self.running < self.estimate:
            return None
        return max(0.0, self._quiet_since + self._quiet_s - now)

    def probe(self, now: float) -> None:
        """Try one more than the estimate, if the time since the last refusal or probe was quiet."""
        if self.probe_in_s(now) == 0.0:
            self._quiet_since = now
            self._probe()

    @property
    def _can_probe(self) -> bool:
        return self.known and not self._probing and self.estimate < self.maximum

    def _probe(self) -> None:
        self._ended = 0
        self.estimate += 1
        self._increment = 1
        self._probing = True

    def refuse(self, count: int, now: float) -> None:
        """Record that `count` executions were refused together: with all of them the limit would be exceeded."""
        below = max(1, self.running - 1)
        self._estimate_before = max(self._estimate_before, self.estimate)
        self.running -= count
        self.refusals += 1
        self.known = True
        self._ended = 0
        if self._probing and now > self._quiet_since:
            self._quiet_s = min(2 * self._quiet_s, MAX_QUIET_S)
        self._quiet_since = now
        self._probing = False
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

    def refuse_for_balance(self, count: int, now: float) -> None:
        """Record that `count` executions were refused for the balance: it may cover fewer than were once accepted."""
        self.refuse(count, now)
        self.confirmed = min(self.confirmed, self.running)
        self._min_ended, self._quiet_s = MIN_ENDED_AFTER_402, MAX_QUIET_S
