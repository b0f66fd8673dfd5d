"""Owns how far down a listing by time a walk has come, and what may follow; refuses I/O, clocks and requests.

The theory. Executions come newest first, and the time at which one was created never changes. So a walk that has
taken every row down to the time `at` can begin anew anywhere, by asking for what was created up to `at`: nothing that
enters or leaves above that matters to it. Nobody says whether the service's ends are inclusive or how finely it reads
a time, so such a request asks for a second more, and its first rows are known ones: that is a *seam*. In a seam

- a row above `at` that is not known entered late, or stands above the first row that was wanted: it is barred;
- of the rows created at `at` itself the first `ties` were taken. Those that are known are dropped as everywhere; one
  that is not known comes next if it stands behind a known one, or behind as many as were taken;
- a row below `at` comes next, and ends the seam.

A checkpoint from before times were kept names rows alone: everything is barred until one of those is met.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Final

from .rules import RecentIds

MARGIN: Final = timedelta(seconds=1)
SPAN_BY_DEFAULT: Final = timedelta(days=90)
"""How far the service goes back from the newest time asked for, where no oldest one is given."""


class Frontier:
    """The lowest row that a walk has taken: its time, and how many of that very time were taken.

    `ordered` is False once rows came that are not in the order of their times, or have none. `skip` rows are still to
    be passed over; `seeking` is True while the rows of an old checkpoint are looked for.
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
        """Say whether the rows of an old checkpoint have still to be met."""
        return bool(self._anchors)

    @property
    def resume_at(self) -> datetime | None:
        """The time to ask for in order to go on; None where the rows do not say, so that it is from the top."""
        return self.at if self.ordered else self._newest

    def begin_overlap(self) -> None:
        """Note that the next page begins anew, at `resume_at` or at the top."""
        self._in_overlap, self._known_met, self._index = self.at is not None, False, 0

    def excluded(self, ids: Sequence[str], times: Sequence[datetime | None]) -> Collection[int]:
        """Give the positions of the rows of a page that must not be handed out; `take` makes that final."""
        self._pending = None
        if self._anchors:
            return self._before_anchor(ids)
        if not self._in_overlap or self.at is None:
            return ()
        in_overlap, met, index = True, self._known_met, self._index
        excluded: set[int] = set()
        # Where the order does not hold a time proves nothing, and only what is known is dropped.
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
            met = met or known
            if not met and index < self.ties:
                excluded.add(position)
            index += 1
        self._pending = in_overlap, met, index, self._anchors
        return excluded

    def _before_anchor(self, ids: Sequence[str]) -> Collection[int]:
        met = [position for position, identity in enumerate(ids) if identity in self._anchors]
        if not met:
            return range(len(ids))
        self._pending = False, False, 0, frozenset()
        return range(met[-1] + 1)

    def take(self, times: Sequence[datetime | None], fresh: list[int]) -> list[int]:
        """Note that a page was taken, whose rows at `fresh` come next; gives those that are not passed over."""
        if self._pending is not None:
            self._in_overlap, self._known_met, self._index, self._anchors = self._pending
            self._pending = None
        if times:
            self._look_at(times)
        if fresh:
            self._advance(times, fresh)
        if self.skip:
            passed = min(self.skip, len(fresh))
            self.skip -= passed
            return fresh[passed:]
        return fresh

    def _look_at(self, times: Sequence[datetime | None]) -> None:
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


def lowest(
    times: Sequence[datetime | None], positions: Sequence[int], at: datetime | None, ties: int
) -> tuple[datetime | None, int]:
    """Give the lowest time among `at` and the rows at `positions`, and how many rows there are of it."""
    here = [time for position in positions if (time := times[position]) is not None]
    if not here:
        return at, ties
    least = min(here)
    if at is not None and least > at:
        return at, ties
    return least, here.count(least) + (ties if least == at else 0)
