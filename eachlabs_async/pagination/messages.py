"""What the engine of a walk and its caller exchange: requests, answers, what is taken of them, and checkpoints."""

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
