"""A budget for a map: what was spent, what runs at the mean cost so far, and how many more executions it allows."""

from __future__ import annotations

import math
from decimal import ROUND_CEILING, Decimal
from typing import Final

from ..errors import BudgetReachedError

NO_LIMIT: Final = 1_000_000
"""More executions than are ever sent at once."""


def checked_budget(value: object) -> Decimal | None:
    """Return the argument `budget_usd` as an exact amount, or None.

    Raises `TypeError` if it is no number, and `ValueError` if it is not above 0 and finite.
    """
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise TypeError(f"budget_usd must be a number, not {type(value).__name__}")
    if not math.isfinite(value) or value <= 0:
        raise ValueError(f"budget_usd must be more than 0 and finite, not {value}")
    return Decimal(repr(value)) if isinstance(value, float) else Decimal(value)


class Budget:
    """The budget of one map; with a `limit` of None it only counts.

    `spent` is the sum of the stated costs. `running` is the number of executions that run or are being created.
    Executions that ended without a stated cost count at the mean of the others.

    Executions start as long as `expected`, which is `spent` and what runs at the mean, is below the limit. So the limit
    is exceeded by no more than what ran at once. Before a cost above 0 is known, no more run at once than have ended,
    or one.
    """

    __slots__ = ("_ended", "_priced", "limit", "running", "spent")

    def __init__(self, limit: Decimal | None) -> None:
        self.limit = limit
        self.spent = Decimal()
        self.running = 0
        self._priced = 0  # executions that ended with a stated cost
        self._ended = 0

    @property
    def mean(self) -> Decimal:
        """The mean of the stated costs, 0 if there is none."""
        return self.spent / self._priced if self._priced else Decimal()

    @property
    def expected(self) -> Decimal:
        """What was spent, and what the executions without a stated cost and the running ones cost at the mean."""
        return self.spent + self.mean * (self._ended - self._priced + self.running)

    @property
    def available(self) -> int:
        """How many more executions may start now."""
        if self.limit is None:
            return NO_LIMIT
        mean = self.mean
        if not mean:
            return max(0, max(1, self._ended) - self.running)
        left = (self.limit - self.expected) / mean
        return min(NO_LIMIT, max(0, int(left.to_integral_value(ROUND_CEILING))))

    def start(self) -> None:
        """Count an execution as running."""
        self.running += 1

    def end(self, cost: float | None, *, has_run: bool) -> None:
        """Count a running execution as ended, with the `cost` that it states. One that was refused has not run."""
        self.running -= 1
        if not has_run:
            return
        self._ended += 1
        if cost is not None and math.isfinite(cost) and cost >= 0:
            self._priced += 1
            self.spent += Decimal(repr(cost))

    def reached(self) -> BudgetReachedError:
        """Return the error of an input that is not sent because the budget is reached."""
        assert self.limit is not None
        return BudgetReachedError(
            f"the budget of {self.limit} USD is reached: {self.spent:f} USD were spent, {self.expected:f} USD with "
            "executions that state no cost. This input was not sent: run the rest with another budget",
            budget_usd=self.limit,
            spent_usd=self.spent,
        )
