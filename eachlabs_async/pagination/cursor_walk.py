"""The state of a walk by cursor: what to request next, and what an answer means.

Sending the requests is left to `execution_pager`.

A *chain* is a request without a cursor and the requests that follow its cursors, as long as the service states that
there are more rows; a short or empty page is not the end. The pages of a chain cannot be requested ahead. So with
look-ahead, the walk splits the time below the chain into *spans* of about one page each, estimated from the density of
the last rows, and requests the first page of several spans. A span with more rows continues by its cursor or is split
again. Below an empty span, the rest is requested as one span, because the length of the gap is unknown. Pages are
accepted in the order of the spans, newest first, whatever the order of the answers. If a cursor is refused, the chain
restarts at the time of the last row (see `frontier`).

The segments of a walk are its chains and the *gaps* not yet requested, from the newest to the oldest.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from attrs import define, field, frozen

from ..errors import PaginationError
from ..transport.arguments import rfc3339
from .frontier import MARGIN, Frontier
from .pages import AcceptedPage, WalkStats
from .recent_ids import RecentIds

MAX_REPEATED: Final = 4
MAX_EMPTY: Final = 50
_CURSORS_KEPT: Final = 10_000
_MAX_FILL: Final = 0.92
_MIN_FILL: Final = 0.5
_DENSE: Final = 0.25
"""Pages per second above which spans do not pay off, because each of them repeats a second of rows."""


@frozen
class CursorRequest:
    """One request of a walk by cursor. `since` and `until` are in the format of the API.

    `number` (of the chain) and `page` (in the chain, from 0) identify the request.
    """

    number: int
    page: int
    since: str | None
    until: str | None
    cursor: str | None
    size: int

    @property
    def description(self) -> str:
        """A description of the request for error messages."""
        return f"page {self.page + 1} of the chain up to {self.until or 'now'}"


@define(eq=False)
class _Gap:
    """A time span that is not yet requested. If `since` is None, it extends to the oldest row."""

    until: datetime
    since: datetime | None


@define(eq=False)
class _Chain:
    """Requests that follow each other's cursors through a time span. A bound is None if the listing sets it."""

    number: int
    since: datetime | None
    until: datetime | None
    since_text: str | None
    until_text: str | None
    waiting: deque[CursorRequest] = field(factory=deque[CursorRequest])  # requested but not accepted
    answered: int = 0  # how many of those were answered
    pages: int = 0
    cursor: str | None = None
    more: bool = True
    used: RecentIds = field(factory=lambda: RecentIds(_CURSORS_KEPT))
    last: datetime | None = None  # the time of the last accepted row
    broken: str = ""

    @property
    def can_continue(self) -> bool:
        return self.more and self.answered == len(self.waiting)


class CursorWalk:
    """The state of one walk by cursor, from `frontier` down to the oldest time."""

    def __init__(
        self,
        frontier: Frontier,
        stats: WalkStats,
        *,
        size: int,
        since: str | None,
        until: str | None,
        ahead: bool,
    ) -> None:
        self._frontier = frontier
        self._stats = stats
        self._size = size
        self._since, self._until = since, until
        self._oldest = datetime.fromisoformat(since) if since else None
        self._bounded = since is not None
        self._ahead = ahead
        self._numbers = 0
        self._repeated = self._empty = 0  # consecutive pages without a new row
        self._restarts = 0  # since the last new row
        self._known_pages_allowed = 0  # further pages of known rows allowed after a restart
        # The density of the rows: rows and seconds of the last spans.
        self._recent: deque[tuple[int, float]] = deque(maxlen=8)
        self._fill = 0.85  # the planned fill of a page
        self._server_rows = float(size)  # how many rows the service returns per page
        self._segments: list[_Chain | _Gap] = []
        self._begin(frontier.resume_at)

    def set_oldest(self, oldest: datetime | None) -> None:
        """Set the oldest time that the service goes back to, before the second request; None if unknown."""
        if not self._bounded:
            self._bounded, self._oldest = True, oldest
            self._since = rfc3339(oldest) if oldest is not None else None

    def _begin_overlap(self) -> None:
        frontier = self._frontier
        frontier.begin_overlap()
        again = frontier.ties if frontier.at is not None and frontier.ordered else self._stats.rows
        self._known_pages_allowed = again // self._size + 1

    def _begin(self, at: datetime | None) -> None:
        self._begin_overlap()
        self._segments = [self._chain(at, self._oldest)]

    def _chain(self, until: datetime | None, since: datetime | None) -> _Chain:
        self._numbers += 1
        since = self._oldest if since is None else since
        since_text = self._since if since == self._oldest else rfc3339(since) if since is not None else None
        until_text = self._until
        if until is not None:
            wider = until + MARGIN
            if self._until is None or wider < datetime.fromisoformat(self._until):
                until_text = rfc3339(wider)
        return _Chain(self._numbers, since, until, since_text, until_text)

    # ---- requests

    def next_requests(self, most: int, *, needed: bool = True) -> list[CursorRequest]:
        """Return the requests to send now, in order: up to `most`, and at least the next one if `needed`.

        Earlier requests that are not accepted yet are included. Raises `PaginationError` if the walk cannot continue.
        """
        while len(self._segments) > 1 and self._is_done(self._segments[0]):
            self._segments.pop(0)
            self._begin_overlap()
        first = self._segments[0]
        if needed and isinstance(first, _Chain) and first.broken and not first.waiting:
            raise PaginationError(first.broken)
        room = most - sum(len(each.waiting) for each in self._segments if isinstance(each, _Chain))
        if needed and not (isinstance(first, _Chain) and first.waiting):
            room = max(room, 1)
        at = 0
        while at < len(self._segments) and room > 0:
            each = self._segments[at]
            if isinstance(each, _Gap):
                self._plan(at, each)
                continue
            if each.can_continue and not each.broken:
                each.waiting.append(self._next(each))
                room -= 1
            at += 1
        return [request for each in self._segments if isinstance(each, _Chain) for request in each.waiting]

    @staticmethod
    def _is_done(each: _Chain | _Gap) -> bool:
        return isinstance(each, _Chain) and not each.waiting and not each.more

    def _next(self, chain: _Chain) -> CursorRequest:
        page, chain.pages = chain.pages, chain.pages + 1
        return CursorRequest(chain.number, page, chain.since_text, chain.until_text, chain.cursor, self._size)

    def _plan(self, at: int, gap: _Gap) -> None:
        """Replace the top of a gap with the next chain."""
        rows, seconds = sum(rows for rows, _ in self._recent), sum(seconds for _, seconds in self._recent)
        since = None
        if rows and seconds > 0:
            width = max(self._fill * self._server_rows * seconds / rows, 1.0)
            lowest = gap.until - datetime.min.replace(tzinfo=UTC) - timedelta(seconds=2)
            since = (gap.until - min(timedelta(seconds=width), lowest)).replace(microsecond=0)
            if gap.since is not None and (since - gap.since).total_seconds() < width / 4:
                since = None
        if since is None:
            self._segments[at] = self._chain(gap.until, gap.since)
            return
        self._segments[at : at + 1] = [self._chain(gap.until, since), _Gap(since, gap.since)]

    # ---- recording answers

    def record_answer(
        self, request: CursorRequest, times: Sequence[datetime | None], *, more: bool | None, cursor: str | None
    ) -> None:
        """Record an answer, possibly before its turn, so that the chain can continue."""
        at, chain = self._find(request)
        if chain is None:
            return
        chain.answered += 1
        chain.more = bool(cursor) if more is None else more
        chain.cursor = cursor or None
        last = times[-1] if times else None
        if last is not None and self._has_older_span(chain) and chain.since is not None and last < chain.since:
            chain.more = False  # The following rows belong to the next span, even if the service ignores `from`.
        self._measure_density(chain, request, times)
        if not chain.more:
            return
        if chain.cursor is not None and chain.used.holds(chain.cursor):
            chain.broken = (
                f"the service returned a cursor for the second time after {request.description}: an endless loop"
            )
            return
        if chain.cursor is not None:
            chain.used.add([chain.cursor])
        if last is None or not self._worth_splitting(chain, last):
            return
        chain.more = False
        self._segments.insert(at + 1, _Gap(last, self._oldest if chain.since is None else chain.since))

    def _find(self, request: CursorRequest) -> tuple[int, _Chain | None]:
        for at, each in enumerate(self._segments):
            if isinstance(each, _Chain) and each.number == request.number:
                new = each.answered < len(each.waiting) and each.waiting[each.answered] == request
                return at, each if new else None
        return -1, None

    def _has_older_span(self, chain: _Chain) -> bool:
        """Whether another span follows below a chain."""
        return chain.since is not None and chain.since != self._oldest

    def _measure_density(self, chain: _Chain, request: CursorRequest, times: Sequence[datetime | None]) -> None:
        """Measure the density of the rows, from the first page of a chain."""
        known = [time for time in times if time is not None]
        if chain.more and known:
            self._server_rows = float(len(known)) if not self._recent else max(len(known), 0.9 * self._server_rows)
        if request.page:
            return
        if not known:
            if not chain.more and chain.until is not None:
                self._recent.clear()  # The length of a gap is unknown.
            return
        top = chain.until or known[0]
        bottom = known[-1] if chain.more or chain.since is None else chain.since
        count = sum(time <= top for time in known)
        seconds = (top - bottom).total_seconds()
        if seconds <= 0:
            return
        rows = sum(rows for rows, _ in self._recent)
        expected = rows * seconds / sum(each for _, each in self._recent) if rows else float(count)
        if count > 2 * expected or count < expected / 4:
            self._recent.clear()
        self._recent.append((count, seconds))
        if chain.until is not None and self._has_older_span(chain):
            self._fill = max(_MIN_FILL, self._fill - 0.1) if chain.more else min(_MAX_FILL, self._fill + 0.005)

    def _worth_splitting(self, chain: _Chain, last: datetime) -> bool:
        """Whether the rest of a chain has more than a page, and is sparse enough to be split."""
        rows, seconds = sum(rows for rows, _ in self._recent), sum(seconds for _, seconds in self._recent)
        if not self._ahead or not self._bounded or not self._frontier.ordered or not rows or not seconds:
            return False
        if rows / seconds > _DENSE * self._server_rows:
            return False
        if chain.since is None:
            return True
        return rows / seconds * (last - chain.since).total_seconds() > 1.3 * self._server_rows

    # ---- accepting pages

    def take(
        self,
        request: CursorRequest,
        ids: Sequence[str],
        times: Sequence[datetime | None],
        bounded: Sequence[datetime | None] | None = None,
    ) -> AcceptedPage:
        """Accept the answer to the first request, which `record_answer` has recorded.

        `bounded` are the times with those of `with_bound`, if that changed any. They say where to go on, and not which
        rows were accepted before: that takes the time of the row above, which may be on the page before.

        Raises `PaginationError` if too many pages in a row have no new row.
        """
        frontier, stats = self._frontier, self._stats
        chain = self._segments[0]
        assert isinstance(chain, _Chain)
        assert chain.waiting[0] == request
        chain.waiting.popleft()
        chain.answered -= 1
        stats.longest_page = max(stats.longest_page, len(ids))
        fresh, seen = frontier.seen.unseen(ids)
        if bounded is None:
            bounded = times
        else:
            pairs = zip(times, bounded, strict=True)
            times = [chain.last if time is None and bound is not None else time for time, bound in pairs]
        excluded = frontier.excluded(ids, times)
        coming = [position for position in fresh if position not in excluded] if excluded else fresh
        below: list[int] = []
        if chain.since is not None and self._has_older_span(chain):
            # Rows of the next span, from a service that compares times less precisely than it states them.
            below = [at for at in coming if (time := times[at]) is not None and time < chain.since]
            coming = [at for at in coming if at not in below] if below else coming
        accepted = frontier.take(bounded, coming)
        stats.duplicates += len(seen) if request.page else 0
        frontier.seen.add([identity for at, identity in enumerate(ids) if at not in below] if below else ids)
        last = times[-1] if times else None
        # An overlap can be several pages long; a page that reaches further down is progress.
        down = last is not None and chain.last is not None and last < chain.last
        chain.last = last
        self._count(chain, request, len(ids), new=bool(fresh) or down, coming=bool(coming))
        if chain.more and not chain.broken:
            if request.page == 0 and self._is_ignored(request, times):
                self._restart_unsplit()
            elif chain.cursor is None and not self.restart_chain():
                raise PaginationError(
                    f"the service states that there are more rows but returned no cursor ({request.description})"
                )
        ended = not chain.broken and all(self._is_done(each) for each in self._segments)
        return AcceptedPage(accepted, ended)

    def _count(self, chain: _Chain, request: CursorRequest, rows: int, *, new: bool, coming: bool) -> None:
        """Count the pages without a new row. Too many in a row are an error."""
        if coming:
            self._repeated = self._empty = self._restarts = self._known_pages_allowed = 0
        elif chain.more and not rows:
            self._empty += 1
        elif chain.more and not new:
            self._repeated += 1
        if self._repeated == MAX_REPEATED + self._known_pages_allowed or self._empty == MAX_EMPTY:
            count = max(self._repeated, self._empty)
            raise PaginationError(
                f"{count} pages in a row brought no new row, although the service states that there are more: the "
                f"listing cannot be walked ({request.description})"
            )

    @staticmethod
    def _is_ignored(request: CursorRequest, times: Sequence[datetime | None]) -> bool:
        """Whether a page has newer rows than requested, which shows that the service ignores `to`."""
        if request.until is None or not times:
            return False
        newest = datetime.fromisoformat(request.until) + MARGIN
        return any(time is not None and time > newest for time in times)

    def _restart_unsplit(self) -> None:
        """Restart with one chain from the top, through the known rows: the service cannot list a span."""
        self._ahead = False
        self._begin_overlap()
        self._known_pages_allowed = self._stats.rows // self._size + 1
        self._segments = [self._chain(None, self._oldest)]

    def restart_chain(self) -> bool:
        """Restart at the time of the last row without a cursor; False if this has been tried without success."""
        self._restarts += 1
        if self._restarts > 2:
            return False
        chain, at = self._segments[0], self._frontier.resume_at
        assert isinstance(chain, _Chain)
        if at is None:
            self._restart_unsplit()
            return True
        self._begin_overlap()
        self._segments[0] = self._chain(at, chain.since)
        return True
