"""Owns the values of a walk: its options, a page that is handed out, an answer on its way to one; refuses to walk."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypedDict, TypeVar

from attrs import define, field, frozen

from .rules import Drift

T = TypeVar("T")


@frozen
class TakenPage:
    """A page that was taken: the positions of its rows to hand out, and whether the walk ends with it."""

    fresh: list[int]
    ended: bool


@define
class WalkStats:
    """What a walk did so far; the object is kept up to date while the walk goes on.

    `requests` counts pages asked for, `rows` those handed out, `duplicates` rows dropped because they came before
    (the row that neighbours share by design not counted), `steps_back` how often the walk read again further up,
    `drift_seen` the answers that showed that the listing moved, `longest_page` rows in the longest answer; `total`
    is the last that was stated.
    """

    requests: int = 0
    rows: int = 0
    duplicates: int = 0
    steps_back: int = 0
    drift_seen: int = 0
    longest_page: int = 0
    total: int | None = None
    total_is_exact: bool = False


@frozen(kw_only=True, eq=False)
class Page(Generic[T]):
    """One page of a walk.

    `rows` are the rows that did not come before, `number` counts the pages handed out from 1, `offset` is the
    position of the page's first row in the listing, `requested` the rows asked for. `total` is what the page
    states, None where it states none, and only a count if `total_is_exact`, else a lower bound. `raw` is the
    body as it came.
    """

    rows: list[T]
    number: int
    offset: int
    requested: int
    total: int | None
    total_is_exact: bool
    raw: bytes = field(repr=False)


class WalkOptions(TypedDict, total=False):
    """What every `list` takes besides its filters.

    `max_rows` bounds the walk, from where it starts or resumes (None: all rows). `look_ahead` is how many pages, at
    most, are asked for while one is in hand. `on_progress` is called with the walk's stats after each page.
    `resume` is the checkpoint of an earlier walk with the same filters.

    `drift` says what happens when the listing moves while it is walked:

    - `"dedupe"` (the default) drops rows that come again because others were inserted before them, as long as
      fewer than 10,000 enter between two requests. Rows can be missed where others vanish before the walk's place.
    - `"resync"` gives every row that stays from the first request to the last exactly once, whatever is inserted or
      removed: pages overlap by one row (at most 1/(limit - 1) more requests), and where that row is missing the
      walk steps back and reads again. It remembers every id, some 0.15 KB a row. Listings by page number (`runs`)
      step back when the total falls; a row that vanishes while another enters they cannot see.
    - `"raise"` raises a `DriftError` with a checkpoint at the first sign of movement.
    """

    max_rows: int | None
    look_ahead: int
    on_progress: Callable[[WalkStats], object] | None
    drift: Drift
    resume: str | None


@frozen
class PageResponse(Generic[T]):
    """An answer, decoded: what came for one `PageRequest`."""

    rows: list[T]
    ids: list[str]
    total: int | None
    exact: bool
    stated_size: int | None
    raw: bytes
    request: Any
    attempts: int
    more: bool | None = None
    cursor: str | None = None


@frozen
class PageStep(Generic[T]):
    """A page that was taken: the answer to `request`, the positions of its rows to hand out, where they stand."""

    read: PageResponse[T]
    request: Any
    fresh: list[int]
    offset: int
    place: int


@define
class CurrentPage(Generic[T]):
    """The page whose rows are being handed out, and how many of them were."""

    step: PageStep[T]
    ids: list[str]
    rows: list[T]
    delivered: int = 0

    @property
    def offset(self) -> int:
        """The position in the listing of the first row of the answer."""
        return self.step.offset

    @property
    def place(self) -> int:
        """The position behind the last row that was handed out."""
        return self.offset + self.step.fresh[self.delivered - 1] + 1
