"""Owns where a walk stands and when it ends, as pure functions over small values; refuses I/O and tasks.

The theory. A walk has a *place*: the start plus the rows that came. The limit and the offset that a server states
decide nothing, because servers clamp limits and name other things "offset". An `Ask` is a request at a place, `Facts`
are what its answer says, `advance` turns a `Standing` and both into the next standing and a verdict, and `plan` says
what to ask next. Inserts only push rows down, so a page may repeat rows: a `Window` of ids tells them.

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
MAX_BARREN: Final = 4
WINDOW_ROWS: Final = 10_000


@frozen
class Ask:
    """One request of a walk: `size` rows from `offset` on (for page numbers, `offset` is a multiple of `size`)."""

    offset: int
    size: int

    @property
    def number(self) -> int:
        """The page number, counted from 1, for a listing that pages by numbers."""
        return self.offset // self.size + 1


@frozen
class Facts:
    """What an answer says: its rows, how many of them are new, the total and size that it states."""

    rows: int
    fresh: int
    total: int | None = None
    exact: bool = False
    stated_size: int | None = None


@frozen(kw_only=True)
class Standing:
    """Where a walk stands.

    `reach` is the most rows that the server seems to give at once, where that is less than was asked for.
    `ahead` tells that pages are asked for ahead of time; `overlap` is then 1 from the first total that is not exact
    on, so that neighbours share a row. `shown` is the most rows that an answer by page number had, taken or not.
    """

    start: int
    place: int
    size: int
    longest: int = 0
    shown: int = 0
    reach: int | None = None
    distinct: int = 0
    barren: int = 0
    total: int | None = None
    exact: bool = False
    ahead: bool = False
    overlap: int = 0


class Verdict(Enum):
    """What becomes of a page: `TAKE` hands out its new rows, `END` does so and ends, `AGAIN` asks anew."""

    TAKE = "take"
    END = "end"
    AGAIN = "again"


def begin(start: int, size: int, *, ahead: bool = False) -> Standing:
    """Give the standing of a walk before its first request."""
    return Standing(start=start, place=start, size=size, ahead=ahead)


def advance(
    shape: PageShape, standing: Standing, ask: Ask, facts: Facts, *, repeats: bool = True
) -> tuple[Verdict, Standing]:
    """Decide what the answer to `ask` means, whose rows `agree` found to be those that were asked for.

    Raises `PaginationError` where the walk cannot go on. `repeats` is False for a page whose rows came before, but not
    all of them since the last new row.
    """
    end = ask.offset + facts.rows
    if facts.fresh:
        return _progress(shape, standing, ask, facts, max(standing.place, end))
    if facts.rows and ask.offset < standing.place and end <= standing.place and standing.overlap:
        # The row that neighbours share and nothing more: the end, unless the server gives one row at a time.
        if facts.rows < min(standing.longest, ask.size) and (facts.total is None or facts.total <= standing.place):
            return Verdict.END, standing
        return Verdict.AGAIN, evolve(standing, overlap=0, ahead=False)
    if facts.rows == 0 or end <= standing.place:
        return _empty(standing, facts)
    return _repeated(standing, facts, end, repeats)


def agree(shape: PageShape, standing: Standing, ask: Ask, facts: Facts) -> tuple[bool, Standing]:
    """Settle the size that page numbers count by, and say whether the rows are those that were asked for.

    Which rows a page has depends on the size: where that changes it is known of the first page alone, and that one
    may end above the place of a resumed walk.
    """
    if shape.dialect != "page":
        return True, standing
    size = _agreed_size(shape, standing, ask, facts)
    if facts.rows > standing.shown:
        standing = evolve(standing, shown=facts.rows)
    if size == ask.size:
        return True, standing
    standing = evolve(standing, size=size)
    if ask.number == 1 and (not facts.rows or facts.rows > standing.place):
        return True, standing
    return False, _bounded(evolve(standing, barren=standing.barren + 1), facts)


def _progress(shape: PageShape, standing: Standing, ask: Ask, facts: Facts, place: int) -> tuple[Verdict, Standing]:
    joined = standing.overlap or (standing.ahead and shape.dialect == "offset" and not facts.exact)
    longest = max(standing.longest, facts.rows)
    moved = evolve(
        standing,
        place=place,
        longest=longest,
        reach=facts.rows if facts.rows < ask.size else None,
        distinct=standing.distinct + facts.fresh,
        barren=0,
        total=facts.total if facts.total is not None else standing.total,
        exact=facts.exact,
        overlap=int(joined),
    )
    if facts.exact and facts.total is not None:
        ended = facts.total <= place
    else:
        ended = (facts.total is None or facts.total <= place) and facts.rows < min(longest, ask.size)
    return (Verdict.END if ended else Verdict.TAKE), moved


def advance_joined(standing: Standing, ask: Ask, facts: Facts, *, repeats: bool) -> tuple[Verdict, Standing]:
    """Decide as `advance` does, for a page by offset that is known to continue what was seen before it.

    Such a page proves more: if it reaches the end of the listing, so does the walk, whatever the counts say; and one
    of rows that all came before is a step on the way, unless it `repeats`.
    """
    end = ask.offset + facts.rows
    longest = max(standing.longest, facts.rows)
    if facts.exact and facts.total is not None:
        ended = facts.total <= end
    else:
        # (Of a resumed walk no page may have come yet that an empty one is shorter than.)
        short = not facts.rows or facts.rows < min(longest, ask.size)
        ended = (facts.total is None or facts.total <= end) and short
    moved = evolve(
        standing,
        longest=longest,
        reach=facts.rows if facts.rows < ask.size else None,
        distinct=standing.distinct + facts.fresh,
        total=facts.total if facts.total is not None else standing.total,
        exact=facts.exact,
    )
    if facts.fresh or ended:
        return (Verdict.END if ended else Verdict.TAKE), evolve(moved, place=end, barren=0)
    if end > standing.place:
        barren = standing.barren + 1 if repeats else 0
        return Verdict.TAKE, _bounded(evolve(moved, place=end, barren=barren), facts)
    if facts.rows == 1 and ask.size > 1:
        moved = evolve(moved, overlap=0)  # Perhaps the server gives one row at a time: then none can be shared.
    return Verdict.AGAIN, _bounded(evolve(moved, longest=standing.longest, barren=standing.barren + 1), facts)


def _empty(standing: Standing, facts: Facts) -> tuple[Verdict, Standing]:
    before = standing.total if standing.total is not None else standing.place
    if facts.total is None:
        more = before > standing.place
    else:
        # The page before spoke of more rows and this one does not: one more look tells a fall from a slip.
        more = facts.total > standing.place or (before > standing.place and standing.barren == 0)
    barren = evolve(standing, barren=standing.barren + 1)
    if not more:
        return Verdict.END, barren
    return Verdict.AGAIN, _bounded(barren, facts)


def _repeated(standing: Standing, facts: Facts, end: int, repeats: bool) -> tuple[Verdict, Standing]:
    passed = evolve(
        standing,
        place=end,
        barren=standing.barren + 1 if repeats else 0,
        total=facts.total if facts.total is not None else standing.total,
        exact=facts.exact,
    )
    # Rows above the start are counted as come, though some may be gone: from there only the listing's end is one.
    total = facts.total if facts.exact and (not standing.start or (facts.total or 0) <= end) else None
    if total is not None and standing.start + standing.distinct >= total:
        return Verdict.END, passed
    at_rest = facts.exact and standing.exact and facts.total == standing.total
    if repeats and at_rest and standing.barren == 0:
        # The counts say that no row entered and pushed these down, and that others are there: a slip, most likely.
        return Verdict.AGAIN, evolve(standing, barren=1)
    return Verdict.TAKE, _bounded(passed, facts)


def _bounded(standing: Standing, facts: Facts) -> Standing:
    if standing.barren >= MAX_BARREN:
        total = facts.total if facts.total is not None else standing.total
        raise PaginationError(
            f"{standing.barren} pages in a row brought no new row at offset {standing.place}, although the total "
            f"is given as {total}: the listing cannot be walked"
        )
    return standing


def _agreed_size(shape: PageShape, standing: Standing, ask: Ask, facts: Facts) -> int:
    """Find the size that page numbers count by: the smaller where the server gives less, the larger where more."""
    stated = facts.stated_size if facts.stated_size is not None and facts.stated_size > 0 else None
    if stated is not None and stated < ask.size:
        return stated
    if facts.rows > ask.size:
        return stated if stated is not None and stated > ask.size else min(facts.rows, shape.largest)
    if 0 < facts.rows < ask.size:
        # The last page may be short. A short first page may be any page: behind page 1 unless the server has given as
        # many rows at once as are asked for, on page 1 where no total tells that those are all.
        begun = standing.longest > 0 or ask.size <= standing.shown or (ask.number == 1 and facts.exact)
        last = begun and (not facts.exact or ask.offset + facts.rows == facts.total)
        return ask.size if last else facts.rows
    return ask.size


# ---- what to ask next


def plan(shape: PageShape, standing: Standing, ahead: int, most: int | None = None) -> list[Ask]:
    """Give the request at the place and up to `ahead` more behind it, in order.

    Nothing is asked for ahead before the first page came, past an exact total, past `most` rows from the start, or
    where neighbours have neither an exact total nor a shared row to be joined by.
    """
    asks = [_ask(shape, standing, standing.place)]
    if not standing.longest or not (standing.exact or standing.overlap):
        return asks
    end = standing.total if standing.exact and standing.total is not None else None
    if most is not None:
        end = standing.start + most if end is None else min(end, standing.start + most)
    while len(asks) <= ahead:
        last = asks[-1]
        place = last.offset + min(last.size, standing.reach or last.size)
        if end is not None and place >= end:
            break
        following = _ask(shape, standing, place)
        if following.offset <= last.offset:
            break
        asks.append(following)
    return asks


def _ask(shape: PageShape, standing: Standing, place: int) -> Ask:
    size = standing.size
    if shape.dialect == "page":
        return Ask(place // size * size, size)
    overlap = min(standing.overlap, place)
    return Ask(place - overlap, min(size + overlap, shape.largest))


@frozen
class Mark:
    """What is kept of the page before, to join the next one to it."""

    end: int
    total: int | None
    ids: frozenset[str]


def adjoins(mark: Mark, ask: Ask, facts: Facts, ids: Sequence[str]) -> bool:
    """Say whether a page that was asked for before its neighbour came continues it without a gap.

    Rows may have moved between the two answers. They adjoin if they share a row, or if both state the same exact
    total and no position lies between them.
    """
    if not mark.ids.isdisjoint(ids):
        return True
    return facts.exact and facts.total == mark.total and ask.offset <= mark.end


def covered(ask: Ask, facts: Facts, place: int) -> int:
    """Give how many rows of an answer stand before `place`."""
    return min(max(0, place - ask.offset), facts.rows)


class Window:
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
