"""The data classes of a walk: its options, its statistics, and a page on its way from the answer to the caller."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Generic, TypedDict, TypeVar

from attrs import define, field, frozen

from ..codec.undecoded_row import UndecodedRow
from ..errors import ResponseDecodeError
from ..transport.guidance import did_you_mean
from .walk_values import Drift

T = TypeVar("T")


@define
class WalkStats:
    """Statistics of a walk. The object is updated while the walk goes on.

    `requests` counts pages requested and `rows` rows delivered; `unreadable` counts those of them that could not be
    read (see `on_unreadable`). `duplicates` counts rows dropped as repeats (without the row by which pages overlap on
    purpose), `steps_back` how often the walk went back up to read again, and `drift_seen` answers that showed that the
    listing had moved. `longest_page` is the number of rows in the longest answer, `total` the last total stated by the
    service.
    """

    requests: int = 0
    rows: int = 0
    unreadable: int = 0
    duplicates: int = 0
    steps_back: int = 0
    drift_seen: int = 0
    longest_page: int = 0
    total: int | None = None
    total_is_exact: bool = False


@frozen(kw_only=True, eq=False)
class Page(Generic[T]):
    """One page of a walk.

    `rows` are the rows that were not delivered before. `number` counts the delivered pages, from 1. `offset` is the
    position in the listing of the page's first row, `requested` the number of rows requested. `total` is the total that
    the page states, or None; it is a lower bound unless `total_is_exact`. `raw` is the body as received.
    """

    rows: list[T]
    number: int
    offset: int
    requested: int
    total: int | None
    total_is_exact: bool
    raw: bytes = field(repr=False)


@frozen(kw_only=True, eq=False)
class UnreadableRow:
    """A row of a listing that cannot be read as a record, as `on_unreadable` gets it.

    `position` is its position in the listing, from 0, as far as the walk knows it. `id` is its id, or None if it has no
    readable one. `raw` is the row as plain JSON values, and `error` says which part of it cannot be read. `created_at`
    is its creation time, or None if that cannot be read.
    """

    position: int
    id: str | None
    raw: Any = field(repr=False)
    error: ResponseDecodeError
    created_at: datetime | None = None

    @classmethod
    def of(cls, row: UndecodedRow, position: int) -> UnreadableRow:
        """Return the unreadable row at a position of the listing."""
        return cls(position=position, id=row.id, raw=row.raw, error=row.error, created_at=row.stated_at)


class WalkOptions(TypedDict, total=False):
    """Options that every `list` method takes besides its filters.

    `max_rows` limits the number of rows, counted from where the walk starts or resumes (None: no limit). `look_ahead`
    is the maximum number of pages requested ahead of the current one. `on_progress` is called with the walk's stats
    after each page. `resume` is the checkpoint of an earlier walk with the same filters.

    `on_unreadable` is called with an `UnreadableRow` for each row that cannot be read, once and in its turn, and the
    walk goes on. Such a row counts as delivered, for `max_rows` too. If the callback raises, the walk ends with that
    exception. Without it the walk delivers the rows before such a row, then raises a `ResponseDecodeError`, whose
    checkpoint resumes after the row.

    `drift` sets what happens when rows are inserted or removed during the walk:

    - `"resync"` (the default) delivers every row that exists from the first request to the last exactly once, whatever
      is inserted or removed. Pages overlap by one row, and by more where rows vanish (at rest this costs 1 % more
      requests at the largest page size, and none below it). The last 10,000 rows are remembered: a row that moves
      further is a new one. Listings by page number (`runs`) overlap from the first sign of movement on, and cannot
      detect that one row was removed while another was inserted.
    - `"raise"` raises a `DriftError` with a checkpoint at the first sign of movement.
    """

    max_rows: int | None
    look_ahead: int
    on_progress: Callable[[WalkStats], object] | None
    on_unreadable: Callable[[UnreadableRow], object] | None
    drift: Drift
    resume: str | None


def check_names(walk: Mapping[str, object], filters: Iterable[str], *, by_number: bool) -> None:
    """Raise `TypeError` for an option that `list` does not have, with the most similar one that it has."""
    if unknown := walk.keys() - WalkOptions.__annotations__.keys():
        paging = ("page", "size") if by_number else ("limit", "offset", "snapshot")
        hint = did_you_mean(min(unknown), [*WalkOptions.__annotations__, *filters, *paging])
        raise TypeError(f"list() has no argument {min(unknown)!r}{hint}")


@frozen
class PageResponse(Generic[T]):
    """The decoded answer to one request. `readable` is False if some of its rows are undecoded."""

    rows: list[T | UndecodedRow]
    ids: Sequence[str]
    total: int | None
    exact: bool
    stated_size: int | None
    raw: bytes
    request: Any
    attempts: int
    more: bool | None = None
    cursor: str | None = None
    readable: bool = True


@frozen
class PageStep(Generic[T]):
    """An accepted page: the answer to `request` and the positions in it of the rows to deliver.

    `offset` is the offset in the listing of the first of them.
    """

    response: PageResponse[T]
    request: Any
    fresh: Sequence[int]
    offset: int


@define
class CurrentPage(Generic[T]):
    """The page whose rows are being delivered; `delivered` counts those that already were."""

    step: PageStep[T]
    ids: Sequence[str]
    rows: list[T | UndecodedRow]
    delivered: int = 0

    @property
    def offset(self) -> int:
        """The offset in the listing of the page's first row."""
        return self.step.offset
