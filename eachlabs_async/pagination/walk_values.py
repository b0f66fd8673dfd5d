"""The values of a walk: requests, answers, and what the engine keeps of a page."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final, Literal, NamedTuple, TypeAlias

Drift = Literal["resync", "raise"]
DRIFT_MODES: Final[tuple[Drift, ...]] = ("resync", "raise")
Span: TypeAlias = tuple[datetime | None, datetime | None]
Dialect = Literal["offset", "page", "cursor"]


class Request(NamedTuple):
    """A request for `size` rows from `offset`, or of those after `cursor`, none of them newer than `until`.

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
    `readable` is False if the times of some rows are only the latest that they can be.
    """

    keys: Sequence[str]
    total: int | None = None
    exact: bool = False
    size: int | None = None
    times: Sequence[datetime | None] | None = None
    cursor: str | None = None
    more: bool = False
    readable: bool = True


class Accepted(NamedTuple):
    """The positions of the rows to deliver, and whether the walk ends with them."""

    positions: Sequence[int]
    ended: bool


class JoinedPage(NamedTuple):
    """The page that was joined last: the rows at `positions`, whose keys are `keys`, were new.

    `at` is the offset of its first row, `next_offset` that of the first new one, `end` the offset behind the page.
    `below` known rows should follow it; `reach` says how far down the known rows its last one stands. `serial` is the
    number of its answer, 0 before the first. `until` and `cursor` belong to the next request. `lowest` is the time of
    the lowest row delivered before, and `ordered` says whether all rows so far came in the order of their times.
    """

    end: int
    next_offset: int
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

    def lowest_after(self, delivered: int) -> datetime | None:
        """Return the time of the lowest row once `delivered` new rows are; None if the rows are not in order."""
        if not self.ordered or self.times is None or not delivered:
            return self.lowest if self.ordered else None
        last = self.times[self.positions[delivered - 1]]
        return last if last is None or self.lowest is None else min(last, self.lowest)


class Stretch(NamedTuple):
    """The rows that an answer shows, from offset `at` to `end`, and whether the listing ends with them.

    `grown` is the difference between its exact total and the one before.
    """

    at: int
    end: int
    total: int | None
    grown: int
    is_last: bool
