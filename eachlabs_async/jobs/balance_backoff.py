"""Owns when a map that was refused for the balance tries again; refuses clocks, requests and amounts.

Executions that run reserve their estimated cost, so a 402 can pass: when one ends, money is there again.
"""

from __future__ import annotations

from typing import Final

from attrs import define

from ..transport.ours import OwnExecutions

FIRST_S: Final = 0.2
"""The pause after the first refusal, in seconds; each further one in a row doubles it."""
MOST_S: Final = 30.0
BALANCE_CHECK_S: Final = 0.5
"""How often it is looked whether another map of the client saw an execution end."""


@define
class BalanceBackoff:
    """The refusals in a row of one map; times are those of the loop."""

    refusals: int = 0
    _not_before: float = 0.0
    _ended: int = 0

    def refuse(self, ended: int, now: float) -> None:
        """Note a refusal; `ended` is how many executions had ended when its request was sent."""
        self._ended = max(self._ended, ended)
        if self.refusals and now < self._not_before:
            return  # Of a request that was under way with the one before.
        self._not_before = now + min(MOST_S, FIRST_S * 2.0 ** min(self.refusals, 20))
        self.refusals += 1

    def accept(self) -> None:
        """Note that there is money."""
        self.refusals = 0

    def wait_s(self, ours: OwnExecutions, now: float) -> float:
        """Give the seconds until it is worth asking again, or looking again whether it is.

        It is when one of ours has ended since, and where nobody would tell of an end: each time after a longer pause.
        """
        if not self.refusals:
            return 0.0
        left = max(0.0, self._not_before - now)
        if not left and ours.ended == self._ended and ours.is_watched:
            return BALANCE_CHECK_S
        return left
