"""Owns the course of a walk by cursor: what to ask next, and what an answer means; refuses I/O, tasks and clocks.

The theory. A *chain* is a request without a cursor and those that follow its cursors, while the service says that
there is more: a short or empty page is not the end. A chain cannot be read ahead, so a walk that looks ahead cuts the
time below it into *spans*, which hold about a page each, going by the rows seen last, and asks for the first page of
several. A span that holds more goes on by its cursor, or is cut again; below an empty one the rest is asked for whole,
since nobody knows how far the gap goes. Pages are taken in the order of the spans, newest first, whatever the order of
the answers. Where a cursor is refused, the chain begins anew at the time of the last row (see `frontier`).

The line of a walk holds its chains and the *gaps* not asked for yet, from the newest to the oldest.
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
from .pages import TakenPage, WalkStats
from .rules import RecentIds

MAX_REPEATED: Final = 4
MAX_EMPTY: Final = 50
_CURSORS_KEPT: Final = 10_000
_MAX_FILL: Final = 0.92
_MIN_FILL: Final = 0.5
_DENSE: Final = 0.25
"""Pages a second from which on spans are not worth it: each of them repeats a second of rows."""


@frozen
class CursorRequest:
    """One request of a walk by cursor; `since` and `until` are as the wire takes them.

    `number` and `page` tell the request from all others: the chain it belongs to, and its page in it, from 0.
    """

    number: int
    page: int
    since: str | None
    until: str | None
    cursor: str | None
    size: int

    @property
    def description(self) -> str:
        """The request in words, for errors."""
        return f"page {self.page + 1} of the chain up to {self.until or 'now'}"


@define(eq=False)
class _Gap:
    """A span of time that is not asked for yet; `since` None: down to the oldest."""

    until: datetime
    since: datetime | None


@define(eq=False)
class _Chain:
    """Requests that follow each other's cursors, through a span of time; None where an end is the listing's own."""

    number: int
    since: datetime | None
    until: datetime | None
    since_text: str | None
    until_text: str | None
    waiting: deque[CursorRequest] = field(factory=deque[CursorRequest])  # asked for, and not taken
    answered: int = 0  # how many of those came
    pages: int = 0
    cursor: str | None = None
    more: bool = True
    used: RecentIds = field(factory=lambda: RecentIds(_CURSORS_KEPT))
    last: datetime | None = None  # the time of the last row that was taken
    broken: str = ""

    @property
    def can_continue(self) -> bool:
        return self.more and self.answered == len(self.waiting)


class CursorWalk:
    """The course of one walk by cursor, from where `frontier` is down to `oldest`."""

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
        self._repeated = self._empty = 0  # pages in a row without a new row
        self._restarts = 0  # since the last new row
        self._known_pages_allowed = 0  # pages of known rows that may come besides, where rows are read again
        # How dense the rows are: of the last spans, the rows and the seconds.
        self._recent: deque[tuple[int, float]] = deque(maxlen=8)
        self._fill = 0.85  # how full a page is planned to be
        self._server_rows = float(size)  # how many rows the service gives at once
        self._segments: list[_Chain | _Gap] = []
        self._begin(frontier.resume_at)

    def set_oldest(self, oldest: datetime | None) -> None:
        """Say down to where the service goes by itself, before the second request; None where nobody knows."""
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

    # ---- asking

    def next_requests(self, most: int, *, needed: bool = True) -> list[CursorRequest]:
        """Give what to ask for now, `most` requests at most, in order; at least the next one where it is `needed`.

        What was asked for before stays among them. Raises `PaginationError` where the walk cannot go on.
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
        """Put the next chain in the place of the top of a gap."""
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

    # ---- what came

    def record_answer(
        self, request: CursorRequest, times: Sequence[datetime | None], *, more: bool | None, cursor: str | None
    ) -> None:
        """Note an answer that came, maybe before its turn: the chain can then go on."""
        at, chain = self._find(request)
        if chain is None:
            return
        chain.answered += 1
        chain.more = bool(cursor) if more is None else more
        chain.cursor = cursor or None
        last = times[-1] if times else None
        if last is not None and self._has_older_span(chain) and chain.since is not None and last < chain.since:
            chain.more = False  # What follows belongs to the next span, whatever the service makes of `from`.
        self._measure_density(chain, request, times)
        if not chain.more:
            return
        if chain.cursor is not None and chain.used.holds(chain.cursor):
            chain.broken = (
                f"the service gave a cursor for the second time after {request.description}: a loop without end"
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
        """Say whether other rows follow below a chain."""
        return chain.since is not None and chain.since != self._oldest

    def _measure_density(self, chain: _Chain, request: CursorRequest, times: Sequence[datetime | None]) -> None:
        """Learn how dense the rows are, from the first page of a chain."""
        known = [time for time in times if time is not None]
        if chain.more and known:
            self._server_rows = float(len(known)) if not self._recent else max(len(known), 0.9 * self._server_rows)
        if request.page:
            return
        if not known:
            if not chain.more and chain.until is not None:
                self._recent.clear()  # Nobody knows how far a gap goes.
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
        """Say whether what is left of a chain is more than a page, and spread widely enough to be cut."""
        rows, seconds = sum(rows for rows, _ in self._recent), sum(seconds for _, seconds in self._recent)
        if not self._ahead or not self._bounded or not self._frontier.ordered or not rows or not seconds:
            return False
        if rows / seconds > _DENSE * self._server_rows:
            return False
        if chain.since is None:
            return True
        return rows / seconds * (last - chain.since).total_seconds() > 1.3 * self._server_rows

    # ---- taking

    def take(self, request: CursorRequest, ids: Sequence[str], times: Sequence[datetime | None]) -> TakenPage:
        """Take the answer to the first of the requests; `record_answer` was told of it before.

        Raises `PaginationError` where page after page brings no new row.
        """
        frontier, stats = self._frontier, self._stats
        chain = self._segments[0]
        assert isinstance(chain, _Chain)
        assert chain.waiting[0] == request
        chain.waiting.popleft()
        chain.answered -= 1
        stats.longest_page = max(stats.longest_page, len(ids))
        fresh, seen = frontier.seen.unseen(ids)
        excluded = frontier.excluded(ids, times)
        coming = [position for position in fresh if position not in excluded] if excluded else fresh
        below: list[int] = []
        if chain.since is not None and self._has_older_span(chain):
            # Rows of the next span, from a service that reads times more coarsely than it writes them.
            below = [at for at in coming if (time := times[at]) is not None and time < chain.since]
            coming = [at for at in coming if at not in below] if below else coming
        taken = frontier.take(times, coming)
        stats.duplicates += len(seen) if request.page else 0
        frontier.seen.add([identity for at, identity in enumerate(ids) if at not in below] if below else ids)
        last = times[-1] if times else None
        # A seam can be pages long: what goes further down gets somewhere.
        down = last is not None and chain.last is not None and last < chain.last
        chain.last = last
        self._count(chain, request, len(ids), new=bool(fresh) or down, coming=bool(coming))
        if chain.more and not chain.broken:
            if request.page == 0 and self._is_ignored(request, times):
                self._restart_unsplit()
            elif chain.cursor is None and not self.restart_chain():
                raise PaginationError(
                    f"the service says that there are more rows and gives no cursor for them ({request.description})"
                )
        ended = not chain.broken and all(self._is_done(each) for each in self._segments)
        return TakenPage(taken, ended)

    def _count(self, chain: _Chain, request: CursorRequest, rows: int, *, new: bool, coming: bool) -> None:
        """Count the pages without a new row; too many in a row are an error."""
        if coming:
            self._repeated = self._empty = self._restarts = self._known_pages_allowed = 0
        elif chain.more and not rows:
            self._empty += 1
        elif chain.more and not new:
            self._repeated += 1
        if self._repeated == MAX_REPEATED + self._known_pages_allowed or self._empty == MAX_EMPTY:
            count = max(self._repeated, self._empty)
            raise PaginationError(
                f"{count} pages in a row brought no new row, although the service says that there are more: the "
                f"listing cannot be walked ({request.description})"
            )

    @staticmethod
    def _is_ignored(request: CursorRequest, times: Sequence[datetime | None]) -> bool:
        """Say whether a page has newer rows than were asked for: then the service does not heed `to`."""
        if request.until is None or not times:
            return False
        newest = datetime.fromisoformat(request.until) + MARGIN
        return any(time is not None and time > newest for time in times)

    def _restart_unsplit(self) -> None:
        """Read one chain from the top, past what is known: no span can be asked for."""
        self._ahead = False
        self._begin_overlap()
        self._known_pages_allowed = self._stats.rows // self._size + 1
        self._segments = [self._chain(None, self._oldest)]

    def restart_chain(self) -> bool:
        """Go on without the cursor in hand, at the time of the last row; False where that was tried in vain."""
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
