"""Owns where a walk stands and when it ends, as pure functions over small values; refuses I/O and tasks.

The theory. A walk has a *place*: the start plus the rows that came. The limit and the offset that a server states
decide nothing, because servers clamp limits and name other things "offset". A `PageRequest` is a request at a place,
`PageInfo` is what its answer says, `advance` turns a `Position` and both into the next position and a verdict, and
`plan` says what to ask next. Inserts only push rows down, so a page may repeat rows: `RecentIds` recognises them.

Rules, in the order in which they are tried:

1. A page with new rows ends the walk if an exact total is reached; without an exact total, if every stated lower
   bound is reached and the page is shorter than the longest of this walk.
2. An empty page ends it if no total that was stated exceeds the place. Otherwise the place is asked again.
3. A page of rows that all came before is passed over, and ends the walk only if all of an exact total were seen. Where
   an exact total stands still, so that nothing explains such a page, its place is asked again first.
4. The fourth page in a row without a new row is an error, as is a fourth that `repeats`: a server that repeats itself
   must not be walked for ever. Pages of rows that came before do not count while each shows others: so a listing
   looks that was pushed down far.
5. Page numbers depend on a size that both sides agree on. Where the server shows another size, that one is used.
6. Pages that were asked for ahead of time are joined only where they are known to adjoin (`adjoins`).
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
    """One request of a walk: `size` rows from `offset` on (for page numbers, `offset` is a multiple of `size`)."""

    offset: int
    size: int

    @property
    def number(self) -> int:
        """The page number, counted from 1, for a listing that pages by numbers."""
        return self.offset // self.size + 1


@frozen
class PageInfo:
    """What an answer says: its rows, how many of them are new, the total and size that it states."""

    rows: int
    fresh: int
    total: int | None = None
    exact: bool = False
    stated_size: int | None = None


@frozen(kw_only=True)
class Position:
    """Where a walk stands.

    `server_page_size` is the most rows that the server seems to give at once, where that is less than was asked for.
    `ahead` tells that pages are asked for ahead of time; `overlap` is then 1 from the first total that is not exact
    on, so that neighbours share a row. `largest_seen` is the most rows that an answer by page number had, taken or not.
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
    """What becomes of a page: `TAKE` hands out its new rows, `END` does so and ends, `RETRY` asks anew."""

    TAKE = "take"
    END = "end"
    RETRY = "again"


def begin(start: int, size: int, *, ahead: bool = False) -> Position:
    """Give the standing of a walk before its first request."""
    return Position(start=start, next_offset=start, size=size, ahead=ahead)


def advance(
    shape: PageShape, position: Position, request: PageRequest, info: PageInfo, *, repeats: bool = True
) -> tuple[Verdict, Position]:
    """Decide what the answer to `request` means, whose rows `agree` found to be those that were asked for.

    Raises `PaginationError` where the walk cannot go on. `repeats` is False for a page whose rows came before, but not
    all of them since the last new row.
    """
    end = request.offset + info.rows
    if info.fresh:
        return _progress(shape, position, request, info, max(position.next_offset, end))
    if info.rows and request.offset < position.next_offset and end <= position.next_offset and position.overlap:
        # The row that neighbours share and nothing more: the end, unless the server gives one row at a time.
        if info.rows < min(position.longest, request.size) and (
            info.total is None or info.total <= position.next_offset
        ):
            return Verdict.END, position
        return Verdict.RETRY, evolve(position, overlap=0, ahead=False)
    if info.rows == 0 or end <= position.next_offset:
        return _empty(position, info)
    return _repeated(position, info, end, repeats)


def agree(shape: PageShape, position: Position, request: PageRequest, info: PageInfo) -> tuple[bool, Position]:
    """Settle the size that page numbers count by, and say whether the rows are those that were asked for.

    Which rows a page has depends on the size: where that changes it is known of the first page alone, and that one
    may end above the place of a resumed walk.
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
    """Decide as `advance` does, for a page by offset that is known to continue what was seen before it.

    Such a page proves more: if it reaches the end of the listing, so does the walk, whatever the counts say; and one
    of rows that all came before is a step on the way, unless it `repeats`.
    """
    end = request.offset + info.rows
    longest = max(position.longest, info.rows)
    if info.exact and info.total is not None:
        ended = info.total <= end
    else:
        # (Of a resumed walk no page may have come yet that an empty one is shorter than.)
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
        moved = evolve(moved, overlap=0)  # Perhaps the server gives one row at a time: then none can be shared.
    return Verdict.RETRY, _bounded(
        evolve(moved, longest=position.longest, stalled_pages=position.stalled_pages + 1), info
    )


def _empty(position: Position, info: PageInfo) -> tuple[Verdict, Position]:
    before = position.total if position.total is not None else position.next_offset
    if info.total is None:
        more = before > position.next_offset
    else:
        # The page before spoke of more rows and this one does not: one more look tells a fall from a slip.
        more = info.total > position.next_offset or (before > position.next_offset and position.stalled_pages == 0)
    stalled_pages = evolve(position, stalled_pages=position.stalled_pages + 1)
    if not more:
        return Verdict.END, stalled_pages
    return Verdict.RETRY, _bounded(stalled_pages, info)


def _repeated(position: Position, info: PageInfo, end: int, repeats: bool) -> tuple[Verdict, Position]:
    passed = evolve(
        position,
        next_offset=end,
        stalled_pages=position.stalled_pages + 1 if repeats else 0,
        total=info.total if info.total is not None else position.total,
        exact=info.exact,
    )
    # Rows above the start are counted as come, though some may be gone: from there only the listing's end is one.
    total = info.total if info.exact and (not position.start or (info.total or 0) <= end) else None
    if total is not None and position.start + position.distinct >= total:
        return Verdict.END, passed
    at_rest = info.exact and position.exact and info.total == position.total
    if repeats and at_rest and position.stalled_pages == 0:
        # The counts say that no row entered and pushed these down, and that others are there: a slip, most likely.
        return Verdict.RETRY, evolve(position, stalled_pages=1)
    return Verdict.TAKE, _bounded(passed, info)


def _bounded(position: Position, info: PageInfo) -> Position:
    if position.stalled_pages >= MAX_STALLED_PAGES:
        total = info.total if info.total is not None else position.total
        raise PaginationError(
            f"{position.stalled_pages} pages in a row brought no new row at offset {position.next_offset}, although the "
            "total "
            f"is given as {total}: the listing cannot be walked"
        )
    return position


def _agreed_size(shape: PageShape, position: Position, request: PageRequest, info: PageInfo) -> int:
    """Find the size that page numbers count by: the smaller where the server gives less, the larger where more."""
    stated = info.stated_size if info.stated_size is not None and info.stated_size > 0 else None
    if stated is not None and stated < request.size:
        return stated
    if info.rows > request.size:
        return stated if stated is not None and stated > request.size else min(info.rows, shape.largest)
    if 0 < info.rows < request.size:
        # The last page may be short. A short first page may be any page: behind page 1 unless the server has given as
        # many rows at once as are asked for, on page 1 where no total tells that those are all.
        begun = position.longest > 0 or request.size <= position.largest_seen or (request.number == 1 and info.exact)
        last = begun and (not info.exact or request.offset + info.rows == info.total)
        return request.size if last else info.rows
    return request.size


# ---- what to ask next


def plan(shape: PageShape, position: Position, ahead: int, most: int | None = None) -> list[PageRequest]:
    """Give the request at the place and up to `ahead` more behind it, in order.

    Nothing is asked for ahead before the first page came, past an exact total, past `most` rows from the start, or
    where neighbours have neither an exact total nor a shared row to be joined by.
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
    """What is kept of the page before, to join the next one to it."""

    end: int
    total: int | None
    ids: frozenset[str]


def adjoins(mark: PreviousPage, request: PageRequest, info: PageInfo, ids: Sequence[str]) -> bool:
    """Say whether a page that was asked for before its neighbour came continues it without a gap.

    Rows may have moved between the two answers. They adjoin if they share a row, or if both state the same exact
    total and no position lies between them.
    """
    if not mark.ids.isdisjoint(ids):
        return True
    return info.exact and info.total == mark.total and request.offset <= mark.end


def covered(request: PageRequest, info: PageInfo, next_offset: int) -> int:
    """Give how many rows of an answer stand before `next_offset`."""
    return min(max(0, next_offset - request.offset), info.rows)


class RecentIds:
    """The ids that came last: at least `keep` of them, at most twice as many; all of them if `keep` is None."""

    __slots__ = ("_keep", "_older", "_recent")

    def __init__(self, keep: int | None) -> None:
        self._keep = keep
        # Two generations instead of an ordered dict: forgetting is then one assignment, whatever the size.
        self._recent: set[str] = set()
        self._older: set[str] = set()

    def unseen(self, ids: Sequence[str]) -> tuple[list[int], list[int]]:
        """Give the positions in `ids` of those that are new (of twins the first), and of those that came before."""
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
        """Say whether this id came before."""
        return identity in self._recent or identity in self._older

    def add(self, ids: Sequence[str]) -> None:
        """Note that these came; an id that came before counts as come now."""
        if self._keep is not None and len(self._recent) + len(ids) > self._keep:
            self._older, self._recent = self._recent, set()
        self._recent.update(ids)
