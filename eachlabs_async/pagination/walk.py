"""Owns the identity of rows in a walk: which came before, whether pages adjoin, where to read again.

Pure, like `rules`, which says where a walk stands by counting; here rows are told apart by their ids. It refuses
I/O and tasks: `next_requests` says what to request, `take` what an answer means.

The theory. A listing is ordered, and rows that stay keep their order; others come and go between two answers. One
answer is a stretch without gaps. All that a walk has *seen* is a run without gaps too, so a stretch that holds any
row that was seen continues it: what follows that row in the stretch is next, and nothing that stayed was skipped,
whenever the answers were given. A stretch that shares no row with the run may lie beyond a gap. So the walks that
must lose nothing (`resync`, every resumed walk) ask for one row more than they need, the last that they have, and
step back where it is not there. The plain walk (`dedupe`) asks for no row twice and can lose rows only where others
vanish before its place; it takes the same care where pages are asked for ahead, which can come out of order.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

from attrs import evolve

from ..errors import DriftError
from ..transport.page_shape import PageShape
from .checkpoint import Checkpoint
from .pages import TakenPage, WalkStats
from .rules import (
    WINDOW_ROWS,
    Drift,
    PageInfo,
    PageRequest,
    Position,
    PreviousPage,
    RecentIds,
    Verdict,
    adjoins,
    advance,
    advance_joined,
    agree,
    begin,
    covered,
    plan,
)

MAX_STEPS_BACK: Final = 5
ANCHORS: Final = 8
"""Ids that a bookmark keeps: the last that were handed out, in case the very last is gone when it is used."""


class Walk:
    """The course of one walk over a listing of one shape."""

    def __init__(
        self,
        shape: PageShape,
        *,
        start: int,
        size: int,
        drift: Drift = "dedupe",
        ahead: int = 0,
        most: int | None = None,
        resume: Checkpoint | None = None,
        seen: RecentIds | None = None,
        before: Walk | None = None,
    ) -> None:
        """Begin a walk; `seen` are rows that came already, `before` the walk of the block above this one."""
        self.stats: WalkStats = WalkStats() if before is None else before.stats
        self._shape = shape
        self._drift = drift
        # `most` counts from where the walk goes on, `plan` from where it began.
        self._most = most if most is None or resume is None else most + resume.next_offset - resume.start
        self._resumed = resume is not None and bool(resume.anchors)
        # Page numbers cannot overlap by one row, so only a walk by offsets can prove that every page joins.
        self._pages_overlap = shape.dialect == "offset" and (drift != "dedupe" or self._resumed)
        # How far before its true place a resumed walk stands, until a page was taken: by numbers, the page that holds
        # the last row, so that it can be found again.
        self._back = int(self._resumed and not self._pages_overlap)
        position = begin(start if resume is None else resume.start, size, ahead=ahead > 0)
        if resume is not None:
            position = evolve(position, next_offset=resume.next_offset - self._back, overlap=int(self._pages_overlap))
        self.position = position
        if before is not None and before.position.longest:
            # The pages of a block are asked for at once: what the block above showed says how many there may be.
            above = before.position
            total = None if above.total is None or not above.exact else max(above.total - above.next_offset, size)
            exact = total is not None
            overlap = int(self._pages_overlap or not exact)
            position = evolve(position, longest=above.longest, total=total, exact=exact, overlap=overlap)
        self.position = position
        keep = None if drift == "resync" else WINDOW_ROWS + (ahead + 2) * max(shape.largest, size)
        self._window = RecentIds(keep) if seen is None else seen
        self._last = list(resume.anchors) if resume else []  # out, the lowest of them last
        self._below: list[str] = []  # out too, and perhaps still to be met
        self._window.add(self._last)
        self._total = resume.total if resume else None  # the last that was exact
        self._previous_page: PreviousPage | None = None
        self._stalled_ids: frozenset[str] = frozenset()  # the rows of the last page with a new one, and of those since
        self._held_checkpoint: Checkpoint | None = (
            None  # where the lowest row that is out stood, while rows above it are read
        )
        self._known_met = True  # the page in hand shows one of those rows
        self._above = 0  # how many rows of the page in hand stand above it
        self._taken = 0
        self._steps_back = 0  # since the last new row
        self._lowest = self.position.next_offset  # the place behind the last page with a new row
        self._probes = 0
        self._probe: Position | None = None  # where to go on if the rows that entered did not do so at the top
        self.search = 0  # for a known row: 1 near by, 2 from the top; answers from before that are too old for it

    # ---- asking

    @property
    def taken(self) -> int:
        """How many pages were taken, and looks elsewhere; an ask is dated by it."""
        return self._taken + self._probes

    def next_requests(self, ahead: int) -> list[PageRequest]:
        """Give what to ask for now: the page at the place, and up to `ahead` more behind it."""
        return plan(self._shape, self.position, ahead, self._most)

    def mark_delivered(self, ids: Sequence[str]) -> None:
        """Note that these rows, all of a page, were handed out."""
        self._last = [*self._last, *ids[self._above :]][-ANCHORS:]
        self._above = 0
        if self._known_met:
            self._held_checkpoint = None

    def checkpoint_at(self, next_offset: int, ids: Sequence[str] = ()) -> Checkpoint:
        """Give the bookmark of a walk that handed out `ids` of a page, the last of them just before `next_offset`.

        It stands at the lowest row that is out: what is above that is out too, or came too late.
        """
        if self._held_checkpoint is not None and len(ids) <= self._above:
            return self._held_checkpoint
        last = [*self._last, *ids[self._above :]][-min(ANCHORS, 2 * ANCHORS - len(self._below)) :]
        return Checkpoint(self.position.start, next_offset, (*last, *self._below), self._total)

    # ---- taking

    def take(
        self,
        request: PageRequest,
        asked_at: int,
        ids: Sequence[str],
        total: int | None,
        *,
        exact: bool,
        stated_size: int | None = None,
        excluded: Collection[int] = (),
    ) -> TakenPage | None:
        """Take the answer to `request`, which was asked when `asked_at` pages were taken; None to ask anew.

        The rows at the positions `excluded` are not handed out, whether they came before or not. Raises
        `PaginationError` where the walk cannot go on, and `DriftError` where the listing moved in a way that the drift
        mode does not accept or cannot mend.
        """
        fresh, seen = self._window.unseen(ids)
        first_seen = seen[0] if seen else None
        info = PageInfo(len(ids), len(fresh), total, exact, stated_size)
        self.stats.longest_page = max(self.stats.longest_page, len(ids))
        # Of rows that are not those that were asked for nothing can be told, movement neither.
        usable, self.position = agree(self._shape, self.position, request, info)
        if not usable:
            return None
        if self._started:
            self._look_for_drift(request, info, first_seen)
            if not self._continues(request, asked_at, ids, info, first_seen):
                return None
        above = request.offset < self.position.start
        if seen and (self._pages_overlap or self._resumed or above):
            # What stands before a row that was seen was inserted there, or is out since before, or was not wanted.
            fresh = [position for position in fresh if position > seen[-1]]
        elif above and not self._started:
            # Page numbers count whole pages: these rows stand before the first that was wanted.
            fresh = [position for position in fresh if position >= self.position.start - request.offset]
        if excluded:
            fresh = [position for position in fresh if position not in excluded]
        info = info if info.fresh == len(fresh) else evolve(info, fresh=len(fresh))
        before = self._previous_page.end if self._previous_page is not None else self.position.next_offset + self._back
        repeats = not fresh and self._stalled_ids.issuperset(ids)
        if self._pages_overlap and self._started:
            verdict, self.position = advance_joined(self.position, request, info, repeats=repeats)
        else:
            verdict, self.position = advance(self._shape, self.position, request, info, repeats=repeats)
        if verdict is Verdict.RETRY:
            return None
        self._update_lowest(request, ids, info, fresh, seen)
        self._accept(ids, info, covered(request, info, before))
        return TakenPage(fresh, verdict is Verdict.END)

    @property
    def _started(self) -> bool:
        return self._taken > 0 or self._resumed

    def _update_lowest(
        self, request: PageRequest, ids: Sequence[str], info: PageInfo, fresh: list[int], seen: list[int]
    ) -> None:
        """See to it that a bookmark stands at the lowest row that is out, where this page has rows above it.

        That is so where the page shows the last rows that are out with new ones before them, and where it shows none
        of them: because it joins further up, or because the walk had to go to the top.
        """
        known = [*self._last, *self._below]
        self._known_met = True
        if not known:
            return
        before = self._previous_page or PreviousPage(self.position.next_offset, self._total, frozenset())
        met = [position for position in seen if ids[position] in known]
        if met:
            lowest = max(known.index(ids[position]) for position in met)
            # The longer a row is not met, the likelier it is gone: those that were out last come first.
            self._last, self._below = known[: lowest + 1], known[lowest + 1 :][: ANCHORS + ANCHORS // 2]
            self._above = sum(position < met[-1] for position in fresh)
        elif self._held_checkpoint is not None or (self._pages_overlap and (seen or request.offset == 0)):
            self._above, self._known_met = len(fresh), False
        elif seen:
            self._above = sum(position < seen[-1] for position in fresh)
            self._known_met = self._above < len(fresh)
        if self._above and self._held_checkpoint is None:
            self._held_checkpoint = Checkpoint(self.position.start, before.end, tuple(known), before.total)

    def _accept(self, ids: Sequence[str], info: PageInfo, shared: int) -> None:
        self.stats.duplicates += max(0, info.rows - info.fresh - shared)
        self.stats.total, self.stats.total_is_exact = self.position.total, self.position.exact
        self._window.add(ids)
        self._previous_page = PreviousPage(
            self.position.next_offset, info.total if info.exact else None, frozenset(ids)
        )
        self._taken += 1
        self._back = 0
        self.search = 0
        self._stalled_ids = self._previous_page.ids if info.fresh else self._stalled_ids | self._previous_page.ids
        if info.fresh:
            self._steps_back = 0
        if info.fresh > self._above:
            self._lowest = self.position.next_offset
        else:
            self._lowest += _growth(info, self._total)
        if info.exact:
            self._total = info.total
        if self._pages_overlap and not self.position.overlap and self._taken == 1:
            self.position = evolve(self.position, overlap=1)

    def _look_for_drift(self, request: PageRequest, info: PageInfo, first_seen: int | None) -> None:
        """Note how an answer shows that rows came or went since the one before."""
        position = self.position
        shared = covered(request, info, position.next_offset + self._back)  # rows that should be those we have
        sign = ""
        if info.exact and self._total is not None and info.total != self._total:
            sign = f"the total went from {self._total} to {info.total}"
        elif first_seen is not None and info.rows - info.fresh > shared:
            sign = f"rows that came before came again at offset {request.offset}"
        elif self._pages_overlap and position.overlap and first_seen != 0 and not _slipped(request, info):
            sign = f"the row before offset {position.next_offset} is not the one that came last"
        if sign:
            self.stats.drift_seen += 1
            if self._drift == "raise":
                raise DriftError(f"the listing moved while it was walked: {sign}")

    # ---- joining

    def _continues(
        self, request: PageRequest, asked_at: int, ids: Sequence[str], info: PageInfo, first_seen: int | None
    ) -> bool:
        """Say whether an answer joins the run of what was seen; where not, set the place to read from instead."""
        if self._pages_overlap and self.position.overlap:
            if first_seen is not None:
                return True
            if _slipped(request, info):
                return True  # Not a gap: it is asked for again.
            top = request.offset == 0
            if self._resumed or self.search or (top and self.position.start and info.rows):
                return self._seek(request, info)  # For a walk from the middle the top is no place to begin.
            # From the very top there can be no gap: all that was seen is gone, or comes further down.
            return top or self._step_back(request, info)
        if self._pages_overlap:
            return first_seen is not None or self._steady(request, info)
        if self._shape.dialect == "page" and first_seen is None:
            if asked_at < self.taken and _growth(info, self._total):
                return False  # It may be older than the page before it: then its total says nothing new.
            if self._by_number(request, info):
                return False
        if self._probe is not None and asked_at < self.taken:
            return False  # It was asked before, for another reason.
        if not self._resumed and not self._probed(request, info, first_seen):
            return False
        if asked_at < self.taken and self._previous_page is not None:
            return adjoins(self._previous_page, request, info, ids)
        return True

    def _probed(self, request: PageRequest, info: PageInfo, first_seen: int | None) -> bool:
        """Say whether a page that shares no row may be taken, where pages are not joined.

        If rows entered at the top, the lowest row that is out stands as much further down, and should have been met.
        Where it stands below the page, so many entered that the page lies above all that was seen. To hand out such
        rows does no harm now, but a bookmark among them would not know those below: so one look tells whether the
        lowest row is there, and the walk then goes on behind it.
        """
        grown = _growth(info, self._total)
        if first_seen is None and info.rows and grown > 0 and self._lowest + grown > request.offset:
            self._probe = self._probe or self.position
            self._lowest += grown
            self._probes += 1
            self.position = evolve(self.position, next_offset=self._lowest - 1)
        elif self._probe is not None and first_seen is None:
            self.position, self._probe = self._probe, None
        else:
            self._probe = None
            return True
        self._total = info.total
        return False

    def _by_number(self, request: PageRequest, info: PageInfo) -> bool:
        """Say whether a page by number, all of whose rows are new, has to be read from another place."""
        grown = _growth(info, self._total)
        fallen = self._drift == "resync" and grown < 0
        if self.search or (self._resumed and (not self._taken or grown > 0)):
            return not self._seek(request, info)
        if fallen and (self._resumed or self.position.start):
            # Further up stand rows that this walk does not know and that must not come: find one that it knows.
            return not self._seek(request, info)
        return fallen and not self._step_back(request, info)

    def _steady(self, request: PageRequest, info: PageInfo) -> bool:
        """Without a shared row, an unchanged exact total is the only proof left that a row comes next."""
        if not info.rows or (
            info.exact and self._previous_page is not None and info.total == self._previous_page.total
        ):
            return True
        if info.rows > 1:
            self.position = evolve(self.position, overlap=1)  # It gives more now: then a row can be shared.
            return False
        raise DriftError(
            f"the server gives one row at a time, and the total is not steady: no page can be joined to the one "
            f"before it at offset {request.offset}"
        )

    def _step_back(self, request: PageRequest, info: PageInfo) -> bool:
        """Set the place further up: as far as rows are known to be gone, or by pages, twice as many each time."""
        if self._steps_back == MAX_STEPS_BACK:
            raise DriftError(f"{MAX_STEPS_BACK} steps back, to offset {self.position.next_offset}, brought no new row")
        gone = max(-_growth(info, self._total), 0)
        if info.exact:
            self._total = info.total
        page = self.position.size * 2**self._steps_back
        next_offset = self.position.next_offset
        by = max(gone, page) if self._pages_overlap else gone
        self._steps_back += 1
        self.stats.steps_back += 1
        top = min(request.offset, info.total) if info.total is not None else request.offset
        self.position = evolve(
            self.position,
            next_offset=max(0, (top if self._pages_overlap else next_offset) - by),
            stalled_pages=0,
            distinct=0,
        )
        return False

    def _seek(self, request: PageRequest, info: PageInfo) -> bool:
        """Look for a row that is known, or a bookmark names: where the totals say it went, then from the top on."""
        position, grown = self.position, _growth(info, self._total)
        end = request.offset + info.rows
        if self.search == 2:
            if end <= position.next_offset or (info.exact and info.total is not None and info.total <= end):
                stood = "checkpoint" if self._resumed else "walk"
                raise DriftError(f"none of the rows is there any more at which the {stood} stood")
            next_offset = end
        elif self.search == 1 or request.offset == 0:
            self.search, next_offset = 2, 0 if request.offset else end
        else:
            self.search = 1
            behind = 0 if self._pages_overlap or not self._taken else 1
            next_offset = position.next_offset - behind + grown
            if grown <= 0:
                next_offset = max(0, request.offset - max(behind - grown, position.size))
        self.stats.steps_back += next_offset < position.next_offset
        if info.exact:
            self._total = info.total
        self.position = evolve(position, next_offset=next_offset)
        return False


def _slipped(request: PageRequest, info: PageInfo) -> bool:
    """Whether this is an empty page by mistake: its own total says that there are rows."""
    return not info.rows and info.total is not None and info.total > request.offset


def _growth(info: PageInfo, before: int | None) -> int:
    """By how many rows the exact total grew; 0 where that is not known."""
    if not info.exact or info.total is None or before is None:
        return 0
    return info.total - before
