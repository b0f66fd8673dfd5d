"""The values of a walk: what its engine is given and returns, and what it keeps of a page."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple


class Request(NamedTuple):
    """A request for `size` rows from `offset`, or for those behind `cursor`; below the time `until` if there is one.

    `overlap` rows at its top should be known. `serial` is the number of answers that there were when it was planned.
    """

    offset: int
    size: int
    overlap: int = 0
    serial: int = 0
    until: datetime | None = None
    cursor: str | None = None

    @property
    def number(self) -> int:
        """The page number, from 1, for a listing that pages by numbers."""
        return self.offset // self.size + 1


class Answer(NamedTuple):
    """What an answer says: the keys of its rows, the total and whether it is exact, the page size that it states.

    `times` are the creation times of the rows, for seeking; `cursor` and `more` are those of a listing by cursor.
    """

    keys: Sequence[str]
    total: int | None = None
    exact: bool = False
    size: int | None = None
    times: Sequence[datetime | None] | None = None
    cursor: str | None = None
    more: bool = False


class Taken(NamedTuple):
    """The positions of the rows that come next, and whether the walk ends with them."""

    positions: Sequence[int]
    ended: bool


class Checkpoint(NamedTuple):
    """Where a walk stands: `place` rows stand above the next one, and `anchors` are keys of the last known rows.

    `total` is the exact total of the answer that showed them, `at` the time of the lowest row, for seeking.
    """

    start: int
    place: int
    anchors: tuple[str, ...] = ()
    total: int | None = None
    at: datetime | None = None


class Page(NamedTuple):
    """The page that was joined last. `end` is the place behind it, `place` that of its first row that came next.

    `below` are known rows that should follow it. `reach` says how far down the known rows its last one stands.
    `lowest` is the time of the lowest row above it, `ordered` whether all rows so far came in the order of times.
    """

    end: int
    place: int
    total: int | None = None
    serial: int = 0
    at: int = 0
    positions: Sequence[int] = ()
    keys: Sequence[str] = ()
    below: int = 0
    reach: int = 0
    until: datetime | None = None
    cursor: str | None = None
    times: Sequence[datetime | None] | None = None
    lowest: datetime | None = None
    ordered: bool = True

    def time(self, handed: int) -> datetime | None:
        """Return the time of the lowest row after `handed` rows of the page; None where the order does not hold."""
        if not self.ordered or self.times is None or not handed:
            return self.lowest if self.ordered else None
        last = self.times[self.positions[handed - 1]]
        return last if last is None or self.lowest is None else min(last, self.lowest)


class Stretch(NamedTuple):
    """The rows that an answer shows, from `at` to `end`; `grown` is by how much its exact total differs from before.

    `is_last` says whether the listing ends with them.
    """

    at: int
    end: int
    total: int | None
    grown: int
    is_last: bool
