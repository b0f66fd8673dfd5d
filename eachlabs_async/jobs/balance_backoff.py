"""When a map that was refused for the balance tries again. It counts refusals and ends, not amounts.

Running executions reserve their estimated cost, so a 402 can pass: when one of them ends, its reservation is released.
"""

from __future__ import annotations

from typing import Final

from attrs import define

from .ledger import Ledger

FIRST_PAUSE_S: Final = 0.2
"""The pause after the first refusal, in seconds; each further one in a row doubles it."""
MAX_PAUSE_S: Final = 30.0
BALANCE_CHECK_S: Final = 0.5
"""Seconds between two checks whether another map of the client saw an execution end."""


@define
class BalanceBackoff:
    """The consecutive refusals of one map; times are those of the event loop."""

    refusals: int = 0
    _not_before: float = 0.0
    _ended: int = 0

    def refuse(self, ended: int, now: float) -> None:
        """Record a refusal; `ended` is the number of executions that had ended when its request was sent."""
        self._ended = max(self._ended, ended)
        if self.refusals and now < self._not_before:
            return  # Its request was in flight together with the one before.
        self._not_before = now + min(MAX_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(self.refusals, 20))
        self.refusals += 1

    def accept(self) -> None:
        """Record that inputs were accepted, which ends the backoff."""
        self.refusals = 0

    def wait_s(self, ledger: Ledger, now: float) -> float:
        """Return the seconds until the next attempt, or until the next check whether to make one.

        An attempt is made after a pause that grows, once one of the client's executions has ended since the refusal.
        If no end would be observed, the attempt is made after the pause alone.
        """
        if not self.refusals:
            return 0.0
        left = max(0.0, self._not_before - now)
        if not left and ledger.executions.ended == self._ended and ledger.ends_are_observed:
            return BALANCE_CHECK_S
        return left
