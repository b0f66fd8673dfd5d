"""The position of a walk and its end, as pure functions over small values.

These rules count rows. Telling rows apart by their ids is left to `walk`, sending requests to `pager`.

A walk has a *next offset*: the start plus the rows received. The limit and the offset stated by a server decide
nothing, because servers clamp limits and use "offset" for other things. `PageInfo` describes the answer to a
`PageRequest`. `advance` computes the next `Position` and a verdict from them, and `plan` returns the next requests.
Inserted rows push others down, so a page may repeat rows; `RecentIds` recognizes those.

The rules, in the order in which they are tried:

1. A page with new rows ends the walk if an exact total is reached; without an exact total, if every stated lower
   bound is reached and the page is shorter than the longest one of this walk.
2. An empty page ends the walk if no stated total exceeds the next offset. Otherwise the page is requested again.
3. A page of known rows only is skipped. It ends the walk only if all rows of an exact total were seen. If the exact
   total has not changed, nothing explains such a page, so it is first requested again.
4. The fourth page in a row without a new row is an error, and so is the fourth that `repeats`: a server that repeats
   itself must not cause an endless walk. Pages of known rows do not count as long as each shows other rows, because a
   listing into which many rows were inserted looks like that.
5. Page numbers depend on a size on which both sides agree. If the server uses another size, the walk adopts it.
6. A page that was requested ahead is used only if it is known to be adjacent to the one before it (`adjoins`).
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Final, Literal

from attrs import evolve, frozen

from ..errors import PaginationError
from ..transport.page_shape import PageShape

Drift = Literal["dedupe", "resync", "raise"]
DRIFT_MODES: Final[tuple[Drift, ...]] = ("dedupe", "resync", "raise")
MAX_STALLED_PAGES: Final = 4
WINDOW_ROWS: Final = 10_000


@frozen
class PageRequest:
    """One request of a walk: `size` rows from `offset` on. For page numbers, `offset` is a multiple of `size`."""

    offset: int
    size: int

    @property
    def number(self) -> int:
        """The page number, counted from 1, for a listing that pages by numbers."""
        return self.offset // self.size + 1


@frozen
class PageInfo:
    """A summary of an answer: the number of its rows and of the new ones, and the total and size that it states."""

    rows: int
    fresh: int
    total: int | None = None
    exact: bool = False
    stated_size: int | None = None


@frozen(kw_only=True)
class Position:
    """The position of a walk.

    `server_page_size` is the number of rows that the server seems to return at most, if less than requested. `ahead` is
    whether pages are requested ahead; `overlap` is then 1 from the first inexact total on, so that adjacent pages share
    a row. `largest_seen` is the largest number of rows in an answer by page number, used or not.
    """

    start: int
    next_offset: int
    size: int
    longest: int = 0
    largest_seen: int = 0
    server_page_size: int | None = None
    distinct: int = 0
    stalled_pages: int = 0
    total: int | None = None
    exact: bool = False
    ahead: bool = False
    overlap: int = 0


class Verdict(Enum):
    """The decision about a page: `TAKE` delivers its new rows, `END` also ends the walk, `RETRY` requests anew."""

    TAKE = "take"
    END = "end"
    RETRY = "again"


def begin(start: int, size: int, *, ahead: bool = False) -> Position:
    """Return the position of a walk before its first request."""
    return Position(start=start, next_offset=start, size=size, ahead=ahead)


def advance(
    shape: PageShape, position: Position, request: PageRequest, info: PageInfo, *, repeats: bool = True
) -> tuple[Verdict, Position]:
    """Return the verdict on an answer to `request`, and the next position. `agree` must have accepted the answer.

    `repeats` is False for a page of known rows that were not all received since the last new row. Raises
    `PaginationError` if the walk cannot continue.
    """
    end = request.offset + info.rows
    if info.fresh:
        return _progress(shape, position, request, info, max(position.next_offset, end))
    if info.rows and request.offset < position.next_offset and end <= position.next_offset and position.overlap:
        # Only the shared row: this is the end, unless the server returns one row at a time.
        if info.rows < min(position.longest, request.size) and (
            info.total is None or info.total <= position.next_offset
        ):
            return Verdict.END, position
        return Verdict.RETRY, evolve(position, overlap=0, ahead=False)
    if info.rows == 0 or end <= position.next_offset:
        return _empty(position, info)
    return _repeated(position, info, end, repeats)


def agree(shape: PageShape, position: Position, request: PageRequest, info: PageInfo) -> tuple[bool, Position]:
    """Determine the size of numbered pages; return whether the rows are the requested ones, and the position.

    The size decides which rows a page has. If it changes, only the rows of the first page are certain, and that page
    may end above the next offset of a resumed walk.
    """
    if shape.dialect != "page":
        return True, position
    size = _agreed_size(shape, position, request, info)
    if info.rows > position.largest_seen:
        position = evolve(position, largest_seen=info.rows)
    if size == request.size:
        return True, position
    position = evolve(position, size=size)
    if request.number == 1 and (not info.rows or info.rows > position.next_offset):
        return True, position
    return False, _bounded(evolve(position, stalled_pages=position.stalled_pages + 1), info)


def _progress(
    shape: PageShape, position: Position, request: PageRequest, info: PageInfo, next_offset: int
) -> tuple[Verdict, Position]:
    joined = position.overlap or (position.ahead and shape.dialect == "offset" and not info.exact)
    longest = max(position.longest, info.rows)
    moved = evolve(
        position,
        next_offset=next_offset,
        longest=longest,
        server_page_size=info.rows if info.rows < request.size else None,
        distinct=position.distinct + info.fresh,
        stalled_pages=0,
        total=info.total if info.total is not None else position.total,
        exact=info.exact,
        overlap=int(joined),
    )
    if info.exact and info.total is not None:
        ended = info.total <= next_offset
    else:
        ended = (info.total is None or info.total <= next_offset) and info.rows < min(longest, request.size)
    return (Verdict.END if ended else Verdict.TAKE), moved


def advance_joined(
    position: Position, request: PageRequest, info: PageInfo, *, repeats: bool
) -> tuple[Verdict, Position]:
    """Decide like `advance`, for a page by offset that is known to continue the rows before it.

    Such a page proves more. If it reaches the end of the listing, the walk ends, whatever the counts say. A page of
    known rows is progress unless it `repeats`.
    """
    end = request.offset + info.rows
    longest = max(position.longest, info.rows)
    if info.exact and info.total is not None:
        ended = info.total <= end
    else:
        # An empty page always counts as short: a resumed walk may have no longer page to compare it with.
        short = not info.rows or info.rows < min(longest, request.size)
        ended = (info.total is None or info.total <= end) and short
    moved = evolve(
        position,
        longest=longest,
        server_page_size=info.rows if info.rows < request.size else None,
        distinct=position.distinct + info.fresh,
        total=info.total if info.total is not None else position.total,
        exact=info.exact,
    )
    if info.fresh or ended:
        return (Verdict.END if ended else Verdict.TAKE), evolve(moved, next_offset=end, stalled_pages=0)
    if end > position.next_offset:
        stalled_pages = position.stalled_pages + 1 if repeats else 0
        return Verdict.TAKE, _bounded(evolve(moved, next_offset=end, stalled_pages=stalled_pages), info)
    if info.rows == 1 and request.size > 1:
        moved = evolve(moved, overlap=0)  # The server may return one row at a time; then pages cannot overlap.
    return Verdict.RETRY, _bounded(
        evolve(moved, longest=position.longest, stalled_pages=position.stalled_pages + 1), info
    )


def _empty(position: Position, info: PageInfo) -> tuple[Verdict, Position]:
    before = position.total if position.total is not None else position.next_offset
    if info.total is None:
        more = before > position.next_offset
    else:
        # The page before stated more rows than this one: request once more, to tell removed rows from a faulty answer.
        more = info.total > position.next_offset or (before > position.next_offset and position.stalled_pages == 0)
    stalled_pages = evolve(position, stalled_pages=position.stalled_pages + 1)
    if not more:
        return Verdict.END, stalled_pages
    return Verdict.RETRY, _bounded(stalled_pages, info)


def _repeated(position: Position, info: PageInfo, end: int, repeats: bool) -> tuple[Verdict, Position]:
    skipped = evolve(
        position,
        next_offset=end,
        stalled_pages=position.stalled_pages + 1 if repeats else 0,
        total=info.total if info.total is not None else position.total,
        exact=info.exact,
    )
    # Rows above the start count as received, though some may be gone. Then only the end of the listing ends the walk.
    total = info.total if info.exact and (not position.start or (info.total or 0) <= end) else None
    if total is not None and position.start + position.distinct >= total:
        return Verdict.END, skipped
    total_unchanged = info.exact and position.exact and info.total == position.total
    if repeats and total_unchanged and position.stalled_pages == 0:
        # The totals are equal, so no inserted row explains this page: most likely it is a faulty answer.
        return Verdict.RETRY, evolve(position, stalled_pages=1)
    return Verdict.TAKE, _bounded(skipped, info)


def _bounded(position: Position, info: PageInfo) -> Position:
    if position.stalled_pages >= MAX_STALLED_PAGES:
        total = info.total if info.total is not None else position.total
        raise PaginationError(
            f"{position.stalled_pages} pages in a row brought no new row at offset {position.next_offset}, although "
            f"the total is given as {total}: the listing cannot be walked"
        )
    return position


def _agreed_size(shape: PageShape, position: Position, request: PageRequest, info: PageInfo) -> int:
    """Return the size of numbered pages: the server's if it is smaller or larger than the requested one."""
    stated = info.stated_size if info.stated_size is not None and info.stated_size > 0 else None
    if stated is not None and stated < request.size:
        return stated
    if info.rows > request.size:
        return stated if stated is not None and stated > request.size else min(info.rows, shape.largest)
    if 0 < info.rows < request.size:
        # The last page may be short. A short page that comes first proves nothing: on page 1 if no exact total shows
        # that these are all rows, on other pages if the server never returned as many rows as requested.
        begun = position.longest > 0 or request.size <= position.largest_seen or (request.number == 1 and info.exact)
        last = begun and (not info.exact or request.offset + info.rows == info.total)
        return request.size if last else info.rows
    return request.size


# ---- the next requests


def plan(shape: PageShape, position: Position, ahead: int, most: int | None = None) -> list[PageRequest]:
    """Return the request at the next offset and up to `ahead` following ones, in order.

    Nothing is requested ahead before the first page, past an exact total, past `most` rows from the start, or if
    neither an exact total nor a shared row can prove that pages are adjacent.
    """
    requests = [_request(shape, position, position.next_offset)]
    if not position.longest or not (position.exact or position.overlap):
        return requests
    end = position.total if position.exact and position.total is not None else None
    if most is not None:
        end = position.start + most if end is None else min(end, position.start + most)
    while len(requests) <= ahead:
        last = requests[-1]
        next_offset = last.offset + min(last.size, position.server_page_size or last.size)
        if end is not None and next_offset >= end:
            break
        following = _request(shape, position, next_offset)
        if following.offset <= last.offset:
            break
        requests.append(following)
    return requests


def _request(shape: PageShape, position: Position, next_offset: int) -> PageRequest:
    size = position.size
    if shape.dialect == "page":
        return PageRequest(next_offset // size * size, size)
    overlap = min(position.overlap, next_offset)
    return PageRequest(next_offset - overlap, min(size + overlap, shape.largest))


@frozen
class PreviousPage:
    """The data of the previous page that show whether the next one is adjacent to it."""

    end: int
    total: int | None
    ids: frozenset[str]


def adjoins(previous: PreviousPage, request: PageRequest, info: PageInfo, ids: Sequence[str]) -> bool:
    """Whether a page that was requested before the previous one arrived continues it without a gap.

    Rows may have moved between the two answers. They are adjacent if they share a row, or if both state the same exact
    total and no offset lies between them.
    """
    if not previous.ids.isdisjoint(ids):
        return True
    return info.exact and info.total == previous.total and request.offset <= previous.end


def covered(request: PageRequest, info: PageInfo, next_offset: int) -> int:
    """Return how many rows of an answer lie before `next_offset`."""
    return min(max(0, next_offset - request.offset), info.rows)


class RecentIds:
    """The most recent ids: at least `keep`, at most twice as many, or all of them if `keep` is None."""

    __slots__ = ("_keep", "_older", "_recent")

    def __init__(self, keep: int | None) -> None:
        self._keep = keep
        # Two generations instead of an ordered dict: dropping the old ids is then a single assignment.
        self._recent: set[str] = set()
        self._older: set[str] = set()

    def unseen(self, ids: Sequence[str]) -> tuple[list[int], list[int]]:
        """Return the positions in `ids` of new ids (of duplicates the first one), and of known ids."""
        recent, older = self._recent, self._older
        distinct = set(ids)
        if len(distinct) == len(ids) and recent.isdisjoint(distinct) and older.isdisjoint(distinct):
            return list(range(len(ids))), []
        here: set[str] = set()
        fresh: list[int] = []
        seen: list[int] = []
        for position, identity in enumerate(ids):
            if identity in recent or identity in older:
                seen.append(position)
            elif identity not in here:
                here.add(identity)
                fresh.append(position)
        return fresh, seen

    def holds(self, identity: str) -> bool:
        """Whether this id is known."""
        return identity in self._recent or identity in self._older

    def add(self, ids: Sequence[str]) -> None:
        """Add ids; known ones count as recent again."""
        if self._keep is not None and len(self._recent) + len(ids) > self._keep:
            self._older, self._recent = self._recent, set()
        self._recent.update(ids)
