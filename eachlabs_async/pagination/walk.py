"""Recognizing rows by their ids: which are known, whether pages are adjacent, and from where to read again.

Like `rules`, which computes the position by counting rows, this module does no I/O. `next_requests` returns what to
request, `take` evaluates an answer; `pager` does the rest.

A listing is ordered, and rows that stay keep their order, while others are inserted and removed between two answers.
One answer is a contiguous range of rows. The *seen* rows of a walk are contiguous too. So if an answer holds any seen
row, the rows after it come next, and no row that stayed was skipped, no matter when the answers were given. An answer
without a seen row may lie beyond a gap. Walks that must not miss rows (`resync`, and every resumed walk) therefore
request one row more than they need, the last seen one, and step back if it is missing. A plain walk (`dedupe`) requests
no row twice and can miss rows only if others are removed above its position. It takes the same care with pages
requested ahead, which can arrive out of order.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

from attrs import evolve

from ..errors import DriftError
from ..transport.page_shape import PageShape
from .checkpoint import Checkpoint
from .pages import AcceptedPage, WalkStats
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
"""The number of ids in a checkpoint: the last ones delivered, in case some of these rows are gone when it is used."""


class Walk:
    """The state of one walk over a listing."""

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
        """Create a walk. `seen` are the known ids, `before` is the walk of the preceding block."""
        self.stats: WalkStats = WalkStats() if before is None else before.stats
        self._shape = shape
        self._drift = drift
        # `most` counts from where the walk resumes, `plan` from where it began.
        self._most = most if most is None or resume is None else most + resume.next_offset - resume.start
        self._resumed = resume is not None and bool(resume.anchors)
        # Page numbers cannot overlap by one row, so only a walk by offset can prove that all pages are adjacent.
        self._pages_overlap = shape.dialect == "offset" and (drift != "dedupe" or self._resumed)
        # By how many rows a resumed walk by page number begins too early, so that it reads the page with the last
        # delivered row.
        self._back = int(self._resumed and not self._pages_overlap)
        position = begin(start if resume is None else resume.start, size, ahead=ahead > 0)
        if resume is not None:
            position = evolve(position, next_offset=resume.next_offset - self._back, overlap=int(self._pages_overlap))
        self.position = position
        if before is not None and before.position.longest:
            # The pages of a block are requested at once; the preceding block shows how many there may be.
            above = before.position
            total = None if above.total is None or not above.exact else max(above.total - above.next_offset, size)
            exact = total is not None
            overlap = int(self._pages_overlap or not exact)
            position = evolve(position, longest=above.longest, total=total, exact=exact, overlap=overlap)
        self.position = position
        keep = None if drift == "resync" else WINDOW_ROWS + (ahead + 2) * max(shape.largest, size)
        self._window = RecentIds(keep) if seen is None else seen
        self._last = list(resume.anchors) if resume else []  # delivered ids, the lowest last
        self._below: list[str] = []  # delivered ids further down that may still be found
        self._window.add(self._last)
        self._total = resume.total if resume else None  # the last exact total
        self._previous_page: PreviousPage | None = None
        self._stalled_ids: frozenset[str] = frozenset()  # the ids since the last page with a new row
        self._held_checkpoint: Checkpoint | None = None  # at the lowest delivered row
        self._known_met = True  # the current page has a delivered row
        self._above = 0  # how many rows of the current page lie above the lowest delivered one
        self._accepted = 0
        self._steps_back = 0  # since the last new row
        self._lowest = self.position.next_offset  # the offset after the last page with a new row
        self._probes = 0
        self._probe: Position | None = None  # where to continue if rows were not inserted at the top
        self.search = 0  # for a known row: 0 none, 1 nearby, 2 from the top; older answers do not count

    # ---- requests

    @property
    def accepted(self) -> int:
        """The number of accepted pages and probes. It serves as the time at which a request was sent."""
        return self._accepted + self._probes

    def next_requests(self, ahead: int) -> list[PageRequest]:
        """Return the requests to send now: the next page and up to `ahead` following ones."""
        return plan(self._shape, self.position, ahead, self._most)

    def mark_delivered(self, ids: Sequence[str]) -> None:
        """Record that all rows of a page were delivered."""
        self._last = [*self._last, *ids[self._above :]][-ANCHORS:]
        self._above = 0
        if self._known_met:
            self._held_checkpoint = None

    def checkpoint_at(self, next_offset: int, ids: Sequence[str] = ()) -> Checkpoint:
        """Return the checkpoint after `ids` of a page were delivered, the last of them just before `next_offset`.

        It is taken at the lowest delivered row. All rows above that were delivered too, or were inserted too late.
        """
        if self._held_checkpoint is not None and len(ids) <= self._above:
            return self._held_checkpoint
        last = [*self._last, *ids[self._above :]][-min(ANCHORS, 2 * ANCHORS - len(self._below)) :]
        return Checkpoint(self.position.start, next_offset, (*last, *self._below), self._total)

    # ---- answers

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
    ) -> AcceptedPage | None:
        """Evaluate the answer to `request`, sent when `accepted` was `asked_at`. Return None to request again.

        The rows at the positions `excluded` are not delivered, whether known or not. Raises `PaginationError` if the
        walk cannot continue, and `DriftError` if the listing moved in a way that the drift mode does not accept or
        cannot repair.
        """
        fresh, seen = self._window.unseen(ids)
        first_seen = seen[0] if seen else None
        info = PageInfo(len(ids), len(fresh), total, exact, stated_size)
        self.stats.longest_page = max(self.stats.longest_page, len(ids))
        # If these are not the requested rows, the answer proves nothing, not even movement.
        usable, self.position = agree(self._shape, self.position, request, info)
        if not usable:
            return None
        if self._started:
            self._look_for_drift(request, info, first_seen)
            if not self._continues(request, asked_at, ids, info, first_seen):
                return None
        above = request.offset < self.position.start
        if seen and (self._pages_overlap or self._resumed or above):
            # Rows above a seen row were inserted there, delivered earlier, or lie above the start of the walk.
            fresh = [position for position in fresh if position > seen[-1]]
        elif above and not self._started:
            # A numbered page may begin above the start of the walk.
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
        return AcceptedPage(fresh, verdict is Verdict.END)

    @property
    def _started(self) -> bool:
        return self._accepted > 0 or self._resumed

    def _update_lowest(
        self, request: PageRequest, ids: Sequence[str], info: PageInfo, fresh: list[int], seen: list[int]
    ) -> None:
        """Keep the checkpoint at the lowest delivered row if this page has rows above it.

        It has such rows if the page shows the last delivered rows with new ones above them, or if it shows none of
        them, because it is adjacent to an earlier row or the walk had to restart from the top.
        """
        known = [*self._last, *self._below]
        self._known_met = True
        if not known:
            return
        before = self._previous_page or PreviousPage(self.position.next_offset, self._total, frozenset())
        found_at = [position for position in seen if ids[position] in known]
        if found_at:
            lowest = max(known.index(ids[position]) for position in found_at)
            # The rows delivered last come first: the longer a row is not found, the likelier it is gone.
            self._last, self._below = known[: lowest + 1], known[lowest + 1 :][: ANCHORS + ANCHORS // 2]
            self._above = sum(position < found_at[-1] for position in fresh)
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
        self._accepted += 1
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
        if self._pages_overlap and not self.position.overlap and self._accepted == 1:
            self.position = evolve(self.position, overlap=1)

    def _look_for_drift(self, request: PageRequest, info: PageInfo, first_seen: int | None) -> None:
        """Detect whether an answer shows that rows were inserted or removed since the previous one."""
        position = self.position
        shared = covered(request, info, position.next_offset + self._back)  # the rows that should be known
        sign = ""
        if info.exact and self._total is not None and info.total != self._total:
            sign = f"the total went from {self._total} to {info.total}"
        elif first_seen is not None and info.rows - info.fresh > shared:
            sign = f"known rows were repeated at offset {request.offset}"
        elif self._pages_overlap and position.overlap and first_seen != 0 and not _is_wrongly_empty(request, info):
            sign = f"the row before offset {position.next_offset} is not the last one received"
        if sign:
            self.stats.drift_seen += 1
            if self._drift == "raise":
                raise DriftError(f"the listing moved while it was walked: {sign}")

    # ---- adjacent pages

    def _continues(
        self, request: PageRequest, asked_at: int, ids: Sequence[str], info: PageInfo, first_seen: int | None
    ) -> bool:
        """Whether an answer is adjacent to the seen rows. If not, set the offset from which to read instead."""
        if self._pages_overlap and self.position.overlap:
            if first_seen is not None:
                return True
            if _is_wrongly_empty(request, info):
                return True  # Not a gap: the page is requested again.
            top = request.offset == 0
            if self._resumed or self.search or (top and self.position.start and info.rows):
                return self._seek(request, info)  # A walk from the middle cannot begin at the top.
            # At the very top there can be no gap: all seen rows are gone, or follow further down.
            return top or self._step_back(request, info)
        if self._pages_overlap:
            return first_seen is not None or self._total_is_unchanged(request, info)
        if self._shape.dialect == "page" and first_seen is None:
            if asked_at < self.accepted and _growth(info, self._total):
                return False  # It may be older than the previous page; then its total proves nothing.
            if self._must_read_elsewhere(request, info):
                return False
        if self._probe is not None and asked_at < self.accepted:
            return False  # It was requested before the probe.
        if not self._resumed and not self._accepts_after_probe(request, info, first_seen):
            return False
        if asked_at < self.accepted and self._previous_page is not None:
            return adjoins(self._previous_page, request, info, ids)
        return True

    def _accepts_after_probe(self, request: PageRequest, info: PageInfo, first_seen: int | None) -> bool:
        """Whether a page without a seen row may be accepted, in a walk whose pages do not overlap.

        If rows were inserted at the top, the lowest delivered row has moved down by as many, and this page should have
        it. If it must be below the page, so many rows were inserted that the page lies above all seen rows. Delivering
        such rows would be harmless, but a checkpoint among them would not know the rows below. So the walk probes once
        for the lowest row, and continues after it if it is found.
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

    def _must_read_elsewhere(self, request: PageRequest, info: PageInfo) -> bool:
        """Whether the walk has to read elsewhere after a numbered page with new rows only."""
        grown = _growth(info, self._total)
        fallen = self._drift == "resync" and grown < 0
        if self.search or (self._resumed and (not self._accepted or grown > 0)):
            return not self._seek(request, info)
        if fallen and (self._resumed or self.position.start):
            # Rows further up are unknown but must not be delivered, so find a known one.
            return not self._seek(request, info)
        return fallen and not self._step_back(request, info)

    def _total_is_unchanged(self, request: PageRequest, info: PageInfo) -> bool:
        """Whether the exact total is unchanged. Without a shared row, nothing else proves that a row comes next."""
        if not info.rows or (
            info.exact and self._previous_page is not None and info.total == self._previous_page.total
        ):
            return True
        if info.rows > 1:
            self.position = evolve(self.position, overlap=1)  # The server returns more rows now, so pages can overlap.
            return False
        raise DriftError(
            f"the server returns one row at a time and the total changes: the page at offset {request.offset} cannot "
            "be proven adjacent to the one before it"
        )

    def _step_back(self, request: PageRequest, info: PageInfo) -> bool:
        """Move the position up by the number of removed rows or by whole pages, twice as many each time."""
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
        """Search for a known row, or one of the checkpoint: first where the totals suggest, then from the top."""
        position, grown = self.position, _growth(info, self._total)
        end = request.offset + info.rows
        if self.search == 2:
            if end <= position.next_offset or (info.exact and info.total is not None and info.total <= end):
                owner = "in the checkpoint" if self._resumed else "by the walk"
                raise DriftError(f"none of the rows recorded {owner} exists any more")
            next_offset = end
        elif self.search == 1 or request.offset == 0:
            self.search, next_offset = 2, 0 if request.offset else end
        else:
            self.search = 1
            behind = 0 if self._pages_overlap or not self._accepted else 1
            next_offset = position.next_offset - behind + grown
            if grown <= 0:
                next_offset = max(0, request.offset - max(behind - grown, position.size))
        self.stats.steps_back += next_offset < position.next_offset
        if info.exact:
            self._total = info.total
        self.position = evolve(position, next_offset=next_offset)
        return False


def _is_wrongly_empty(request: PageRequest, info: PageInfo) -> bool:
    """Whether this is an empty page by mistake: its own total shows that there are rows."""
    return not info.rows and info.total is not None and info.total > request.offset


def _growth(info: PageInfo, before: int | None) -> int:
    """The number of rows by which the exact total grew, or 0 if unknown."""
    if not info.exact or info.total is None or before is None:
        return 0
    return info.total - before
