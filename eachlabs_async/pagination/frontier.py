"""The lowest time that a walk has reached in a listing by time, and the rows that may follow.

Executions are listed newest first, and the creation time of a row never changes. A walk that has accepted every row
down to the time `at` can therefore restart by requesting the rows created up to `at`; rows inserted or removed above
that do not matter. The service does not document whether its time bounds are inclusive, or how precisely it compares
times. So such a request extends a second further, and its first rows *overlap* with known ones. In the overlap

- an unknown row above `at` was inserted late, or lies above the start of the walk, and is excluded;
- of the rows created exactly at `at`, the first `ties` were accepted. Known ones are dropped as usual. An unknown one
  comes next if it follows a known one or as many rows as were accepted;
- a row below `at` comes next and ends the overlap.

Older checkpoints have ids but no time. Then everything is excluded until one of these ids is found.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Final, TypeVar

from attrs import evolve

from ..codec.undecoded_row import UndecodedRow
from .recent_ids import RecentIds

T = TypeVar("T")

MARGIN: Final = timedelta(seconds=1)
SPAN_BY_DEFAULT: Final = timedelta(days=90)
"""How far the service goes back from the newest time requested, if no oldest time is given."""


class Frontier:
    """The creation time `at` of the lowest row that a walk has accepted, and the number of rows `ties` with that time.

    `ordered` is False once rows were out of the order of their times, or had no time. `skip` is the number of rows that
    are still to be skipped. `seeking` is True while the rows of an old checkpoint are searched.
    """

    __slots__ = (
        "_anchors",
        "_in_overlap",
        "_index",
        "_known_met",
        "_newest",
        "_pending",
        "at",
        "ordered",
        "seen",
        "skip",
        "ties",
    )

    def __init__(
        self,
        seen: RecentIds,
        *,
        at: datetime | None = None,
        ties: int = 0,
        anchors: Collection[str] = (),
        skip: int = 0,
    ) -> None:
        self.seen = seen
        self.at = at
        self.ties = ties
        self.skip = skip
        self.ordered = True
        seen.add(list(anchors))
        self._anchors = frozenset(anchors) if at is None else frozenset[str]()
        self._newest = at
        self._in_overlap = self._known_met = False
        self._index = 0
        self._pending: tuple[bool, bool, int, frozenset[str]] | None = None

    @property
    def seeking(self) -> bool:
        """Whether the rows of an old checkpoint are still to be found."""
        return bool(self._anchors)

    @property
    def resume_at(self) -> datetime | None:
        """The time from which to continue; None if the rows have no times, so that the walk restarts from the top."""
        return self.at if self.ordered else self._newest

    def begin_overlap(self) -> None:
        """Prepare for a page that restarts, at `resume_at` or at the top."""
        self._in_overlap, self._known_met, self._index = self.at is not None, False, 0

    def excluded(self, ids: Sequence[str], times: Sequence[datetime | None]) -> Collection[int]:
        """Return the positions of the rows that must not be delivered. Only `take` applies the result to the state."""
        self._pending = None
        if self._anchors:
            return self._before_anchor(ids)
        if not self._in_overlap or self.at is None:
            return ()
        in_overlap, known_met, index = True, self._known_met, self._index
        excluded: set[int] = set()
        # If rows are not ordered, times prove nothing, and only known rows are dropped.
        for position, time in enumerate(times if self.ordered else ()):
            if time is None:
                continue
            if time < self.at:
                in_overlap = False
                break
            known = self.seen.holds(ids[position])
            if time > self.at:
                excluded.add(position)
                continue
            known_met = known_met or known
            if not known_met and index < self.ties:
                excluded.add(position)
            index += 1
        self._pending = in_overlap, known_met, index, self._anchors
        return excluded

    def _before_anchor(self, ids: Sequence[str]) -> Collection[int]:
        anchors = [position for position, identity in enumerate(ids) if identity in self._anchors]
        if not anchors:
            return range(len(ids))
        self._pending = False, False, 0, frozenset()
        return range(anchors[-1] + 1)

    def take(self, times: Sequence[datetime | None], fresh: list[int]) -> list[int]:
        """Record an accepted page, whose rows at `fresh` come next. Return those that are not skipped."""
        if self._pending is not None:
            self._in_overlap, self._known_met, self._index, self._anchors = self._pending
            self._pending = None
        if times:
            self._check_order(times)
        if fresh:
            self._advance(times, fresh)
        if self.skip:
            skipped = min(self.skip, len(fresh))
            self.skip -= skipped
            return fresh[skipped:]
        return fresh

    def _check_order(self, times: Sequence[datetime | None]) -> None:
        known = [time for time in times if time is not None]
        if len(known) < len(times) or known != sorted(known, reverse=True):
            self.ordered = False
        self._newest = max(known, default=None)

    def _advance(self, times: Sequence[datetime | None], fresh: list[int]) -> None:
        at, ties = lowest(times, fresh, self.at, self.ties)
        last = times[fresh[-1]]
        if at is not None and last is not None and last > at:
            self.ordered = False
        self.at, self.ties = at, ties


def with_bound(rows: Sequence[T | UndecodedRow], bound: datetime) -> list[T | UndecodedRow]:
    """Return the rows of an answer, with a time for undecoded rows on top of it that have none.

    It is the latest that these can have: `bound`, the lowest time so far, or the time of the first row below them if
    that is higher. After a time that is too late a walk reads rows again; after one that is too early it loses rows.
    """
    below = next((time for row in rows if (time := getattr(row, "created_at", None)) is not None), bound)
    return [
        evolve(row, created_at=max(bound, below)) if isinstance(row, UndecodedRow) and row.created_at is None else row
        for row in rows
    ]


def lowest(
    times: Sequence[datetime | None], positions: Sequence[int], at: datetime | None, ties: int
) -> tuple[datetime | None, int]:
    """Return the lowest of `at` and the times at `positions`, and the number of rows with that time."""
    here = [time for position in positions if (time := times[position]) is not None]
    if not here:
        return at, ties
    least = min(here)
    if at is not None and least > at:
        return at, ties
    return least, here.count(least) + (ties if least == at else 0)
