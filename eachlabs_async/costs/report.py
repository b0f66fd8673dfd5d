"""A report of costs: the groups, their total, and what makes the figures partial."""

from __future__ import annotations

import os
from datetime import datetime
from decimal import Decimal
from typing import Any

from attrs import frozen

from .groupings import Key


@frozen(kw_only=True)
class CostGroup:
    """The executions of one group.

    `key` has one value for each word of the report's `by`; a value is None where the executions have none. `cost` is in
    USD and exact. `run_time_s` is the sum of the stated run times, in seconds. `executions` counts all of the group:
    `succeeded`, `failed` and `cancelled` those that ended so, `unfinished` those that may still run. `unpriced` counts
    those that succeeded or failed and state no cost; they count as 0 in `cost`.
    """

    key: Key
    cost: Decimal
    run_time_s: Decimal
    executions: int
    succeeded: int
    failed: int
    cancelled: int
    unfinished: int
    unpriced: int

    @property
    def failure_rate(self) -> float | None:
        """The share that failed of those that succeeded or failed, 0 to 1; None if there are none."""
        ended = self.succeeded + self.failed
        return self.failed / ended if ended else None

    @property
    def unpriced_share(self) -> float | None:
        """The share without a stated cost of those that succeeded or failed, 0 to 1; None if there are none."""
        ended = self.succeeded + self.failed
        return self.unpriced / ended if ended else None

    def to_dict(self) -> dict[str, Any]:
        """Return the group as JSON values. Decimals are texts, which keep them exact."""
        return {
            "key": list(self.key),
            "cost": f"{self.cost:f}",
            "run_time_s": f"{self.run_time_s:f}",
            "executions": self.executions,
            "succeeded": self.succeeded,
            "failed": self.failed,
            "cancelled": self.cancelled,
            "unfinished": self.unfinished,
            "unpriced": self.unpriced,
            "failure_rate": self.failure_rate,
            "unpriced_share": self.unpriced_share,
        }


@frozen(kw_only=True)
class CostReport:
    """What executions cost, in groups.

    `since` and `until` limit the creation times, None where no limit was given. `by` are the words of the grouping.
    `groups` come with the highest cost first, or in the order of time if the first word is one of time. `total` is over
    all groups, with an empty key. `notes` are sentences that say in what way the figures are partial; show them beside
    the figures.
    """

    since: datetime | None
    until: datetime | None
    by: tuple[str, ...]
    groups: tuple[CostGroup, ...]
    total: CostGroup
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON values. Decimals are texts, and a group's key is an object of words and values."""
        return {
            "since": None if self.since is None else self.since.isoformat(),
            "until": None if self.until is None else self.until.isoformat(),
            "by": list(self.by),
            "groups": [{**group.to_dict(), "key": dict(zip(self.by, group.key, strict=True))} for group in self.groups],
            "total": {**self.total.to_dict(), "key": {}},
            "notes": list(self.notes),
        }

    def chart(self, path: str | os.PathLike[str]) -> None:
        """Write a bar chart of the costs to a `.svg` or `.png` file.

        One word of `by` gives a bar per group, by time a bar per day, month or hour. A second word divides the bars.
        Groups beyond the twelve most expensive are summed up as "other". Without any word there is one bar.

        Raises `ImportError` without the extra `charts`, `ValueError` for another suffix, and `OSError` if the file
        cannot be written.
        """
        from .chart import write_chart  # imports altair

        write_chart(self, path)
