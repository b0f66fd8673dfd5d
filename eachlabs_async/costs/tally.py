"""Add up what executions cost, one after the other: the memory depends on the number of groups alone."""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import datetime
from decimal import Context, Decimal, Inexact, Overflow
from typing import Final

from ..records import Execution, State
from .groupings import GROUPINGS, Key, checked_groupings, is_time
from .report import CostGroup, CostReport

EXACT: Final = Context(prec=1500, Emax=999_999, Emin=-999_999, traps=[Inexact, Overflow])
"""Digits for any sum of floats, of which the largest has 309 before the point and the smallest 767 behind it."""
DEFAULT_SPAN: Final = "since was not given: the service counts 90 days back, so older executions are not included"


class CostTally:
    """The sums of the executions that were added, grouped `by` words such as `("model", "day")`.

    The words are "model", "requested_model", "status", "state" (the same for all services), "workflow_id", and "hour",
    "day" and "month" of the creation in UTC.
    """

    def __init__(self, by: str | Iterable[str] = ("model",)) -> None:
        """Raises `ValueError` for an unknown word, `TypeError` if `by` has something else than words."""
        self.by = checked_groupings(by)
        self._keys_of = [GROUPINGS[word] for word in self.by]
        self._sums: dict[Key, _Sum] = {}

    def add(self, execution: Execution) -> None:
        """Add an execution."""
        key = tuple([key_of(execution) for key_of in self._keys_of])
        found = self._sums.get(key)
        if found is None:
            found = self._sums[key] = _Sum()
        found.add(execution)

    def report(
        self, *, since: datetime | None = None, until: datetime | None = None, notes: Iterable[str] = ()
    ) -> CostReport:
        """Return the sums so far.

        `since` and `until` are the limits of what was added. `notes` come before those that follow from the sums.
        """
        total = _Sum()
        for each in self._sums.values():
            total.include(each)
        groups = [each.group(key) for key, each in self._sums.items()]
        groups.sort(key=lambda group: (-group.cost, tuple(word or "" for word in group.key)))
        if self.by and is_time(self.by[0]):
            groups.sort(key=lambda group: group.key[0] or "")
        return CostReport(
            since=since,
            until=until,
            by=self.by,
            groups=tuple(groups),
            total=(found := total.group(())),
            notes=(*notes, *_notes_on(found)),
        )


class _Sum:
    __slots__ = ("cancelled", "cost", "executions", "failed", "run_time_s", "succeeded", "unpriced")

    def __init__(self) -> None:
        self.cost = self.run_time_s = Decimal()
        self.executions = self.succeeded = self.failed = self.cancelled = self.unpriced = 0

    def add(self, execution: Execution) -> None:
        self.executions += 1
        state = execution.state
        if state is State.SUCCEEDED:
            self.succeeded += 1
        elif state is State.FAILED:
            self.failed += 1
        elif state is State.CANCELLED:
            self.cancelled += 1
        cost = execution.execution_cost
        if cost is not None and math.isfinite(cost):
            self.cost = EXACT.add(self.cost, exact(cost))
        elif state is State.SUCCEEDED or state is State.FAILED:
            self.unpriced += 1
        run_time_s = execution.run_time
        if run_time_s is not None and math.isfinite(run_time_s):
            self.run_time_s = EXACT.add(self.run_time_s, exact(run_time_s))

    def include(self, other: _Sum) -> None:
        self.cost, self.run_time_s = EXACT.add(self.cost, other.cost), EXACT.add(self.run_time_s, other.run_time_s)
        self.executions += other.executions
        self.succeeded += other.succeeded
        self.failed += other.failed
        self.cancelled += other.cancelled
        self.unpriced += other.unpriced

    def group(self, key: Key) -> CostGroup:
        return CostGroup(
            key=key,
            cost=self.cost,
            run_time_s=self.run_time_s,
            executions=self.executions,
            succeeded=self.succeeded,
            failed=self.failed,
            cancelled=self.cancelled,
            unfinished=self.executions - self.succeeded - self.failed - self.cancelled,
            unpriced=self.unpriced,
        )


def exact(number: float) -> Decimal:
    """Return the shortest decimal that stands for a number, as a service writes it: 0.1 for 0.1."""
    return Decimal(repr(number))


def _notes_on(total: CostGroup) -> list[str]:
    notes: list[str] = []
    if total.unpriced:
        notes.append(
            f"{total.unpriced:,} of {total.succeeded + total.failed:,} executions that ended state no cost: "
            "they count as 0"
        )
    if total.unfinished:
        notes.append(f"{total.unfinished:,} executions had not ended: what they cost is not known yet")
    return notes
