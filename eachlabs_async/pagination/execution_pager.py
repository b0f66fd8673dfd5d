"""Walking executions, by cursor or by seeking, whichever the service offers.

`/v2/executions` pages by cursor. `/v1/executions` pages by offset and serves only the first thousand rows, so a walk
*seeks*: it reads a block of pages by offset, then asks for what is older than the last row (see `frontier`) and reads
the next block. `Hosts.executions_by` chooses; where the service refuses one, the walk goes on with the other.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Any, Final

from ..errors import APIStatusError, DriftError, PaginationError
from ..records import Execution, ExecutionCursorPage
from ..transport.arguments import checked_moment, rfc3339
from ..transport.call import Call
from ..transport.endpoints import LIST_EXECUTIONS, LIST_EXECUTIONS_BY_CURSOR
from ..transport.transport import Transport
from ..transport.wire import Body, http_date, query
from .checkpoint import Checkpoint
from .cursor_walk import CursorRequest, CursorWalk
from .frontier import MARGIN, SPAN_BY_DEFAULT, Frontier, lowest
from .listing_choice import ListingChoice, RefusedListings, is_refused, is_too_deep
from .pager import Pager
from .pages import CurrentPage, PageResponse, PageStep, WalkOptions
from .rules import WINDOW_ROWS, PageRequest, RecentIds
from .walk import Walk

DEPTH: Final = 1000
"""Rows that `/v1/executions` serves, since September 2026."""
ANCHORS: Final = 24
"""Ids that a checkpoint keeps."""
_CURSOR_REFUSED: Final = frozenset({400, 404, 410, 422})


class _RefusedError(Exception):
    """One of the two listings cannot be used: the service does not offer it, or it does not reach far enough."""

    def __init__(self, cause: APIStatusError | PaginationError) -> None:
        super().__init__()
        self.cause = cause


class ExecutionPager(Pager[Execution]):
    """The listing of executions, by cursor or by seeking; otherwise a pager as any other."""

    def __init__(
        self,
        transport: Transport,
        refused: RefusedListings,
        filters: Mapping[str, object],
        *,
        start: int = 0,
        size: int = 100,
        walk: WalkOptions | None = None,
        pin: Callable[[dict[str, object]], Awaitable[None]] | None = None,
    ) -> None:
        super().__init__(
            transport,
            LIST_EXECUTIONS,
            LIST_EXECUTIONS.expand(transport.session.hosts.edition),
            filters,
            start=start,
            size=size,
            walk=walk or {},
            pin=pin,
        )
        self._refused = refused
        self._size = size
        self._depth = DEPTH
        before = self._resumed
        self._out = before or Checkpoint(start, start)
        self._bottom = before.bottom if before is not None else None
        self._bottom_known = before is not None and (before.bottom is not None or before.at is not None)
        self._front = self._entry(by_offset=False)
        self._begun = False  # a page was taken
        self._in_first_block = False
        self._until: str | None = None  # of the block that is read
        self._call_that_dates: Call | None = None

    @property
    def _edition(self) -> None:
        return None  # Both editions have the same rows, so that a checkpoint of one holds in the other.

    # ---- where a walk begins

    def _entry(self, *, by_offset: bool) -> Frontier:
        """Give the frontier of a walk that has taken nothing; `by_offset` where its first row can be asked for."""
        before, seen = self._resumed, RecentIds(WINDOW_ROWS + (self._look_ahead + 2) * self._size)
        if before is None or not before.anchors:
            return Frontier(seen, skip=0 if by_offset else self._out.start)
        if by_offset:
            return Frontier(seen)
        return Frontier(seen, at=before.at, ties=before.ties, anchors=before.anchors)

    def _settle_bottom(self, times: Sequence[datetime | None]) -> None:
        """Fix down to where the service goes by itself: 90 days before the newest time, by its own clock.

        Once `to` moves that would move with it. Where older rows come all the same, the service does not do so.
        """
        if self._bottom_known or self._filters.get("since") is not None:
            return
        self._bottom_known = True
        headers = getattr(self._call_that_dates, "headers", None)
        until = self._filters.get("until")
        served = http_date(headers.get("Date")) if headers is not None else None
        newest = checked_moment("until", until) if until is not None else served or datetime.now(UTC)
        bottom = newest - SPAN_BY_DEFAULT
        if all(time is None or time >= bottom for time in times):
            self._bottom = bottom

    @property
    def _since(self) -> str | None:
        if (since := self._filters.get("since")) is not None:
            return str(since)
        return None if self._bottom is None else rfc3339(self._bottom)

    # ---- the checkpoint

    def _checkpoint_at(self) -> Checkpoint:
        page = self._page
        out = self._out if page is None else self._after(page, page.delivered)
        return super()._checkpoint_at() if out.at is None and self._in_first_block else out

    def _after(self, page: CurrentPage[Execution], delivered: int) -> Checkpoint:
        """Give the bookmark of a walk that has handed out so many rows of a page."""
        out = self._out
        if not delivered:
            return out
        times = [row.created_at for row in page.rows[:delivered]]
        at, ties = lowest(times, range(delivered), out.at, out.ties) if self._front.ordered else (None, 0)
        return Checkpoint(
            out.start,
            out.place + delivered,
            (*out.anchors, *page.ids[:delivered])[-ANCHORS:],
            self.stats.total if self.stats.total_is_exact else None,
            at,
            ties,
            self._bottom,
        )

    def _mark_delivered(self, page: CurrentPage[Execution]) -> None:
        self._out = self._after(page, len(page.rows))
        self._place = page.step.place

    # ---- which of the two

    async def _steps(self) -> AsyncGenerator[None, None]:
        choice = ListingChoice(self._transport.session, self._refused)
        while True:
            way = choice.make()
            refused: APIStatusError | PaginationError
            try:
                async with aclosing(self._by_cursor() if way == "cursor" else self._by_seeking()) as steps:
                    async for _ in steps:
                        yield
                return
            except _RefusedError as exc:
                refused = exc.cause
            await self._drop(list(self._ahead))
            choice.refuse(refused)

    # ---- by cursor

    async def _by_cursor(self) -> AsyncGenerator[None, None]:
        if not self._begun:
            self._front = self._entry(by_offset=False)
        front, ahead, stats = self._front, self._look_ahead, self.stats
        until = None if self._filters.get("until") is None else str(self._filters["until"])
        walk = CursorWalk(front, stats, size=self._size, since=self._since, until=until, ahead=ahead > 0)
        if self._bottom_known:
            walk.bound(self._bottom)
        requests = walk.next_requests(1)
        while not self._ended:
            request = requests[0]
            try:
                read, _ = await self._answer(requests)
            except APIStatusError as exc:
                if request.cursor is not None and exc.status in _CURSOR_REFUSED and walk.begin_anew():
                    requests = walk.next_requests(self._room(ahead + 1))
                    await self._keep(requests)
                    continue
                if is_refused(exc, "cursor", self._transport.session):
                    raise _RefusedError(exc) from None
                raise
            times = [row.created_at for row in read.rows]
            self._settle_bottom(times)
            walk.bound(self._bottom)
            walk.arrived(request, times, more=read.more, cursor=read.cursor)
            for other, (task, _) in self._ahead.items():
                if task.done() and not task.cancelled() and task.exception() is None:
                    came = task.result()
                    walk.arrived(other, [row.created_at for row in came.rows], more=came.more, cursor=came.cursor)
            duplicates = stats.duplicates
            taken = walk.take(request, read.ids, times)
            if stats.duplicates > duplicates:
                stats.drift_seen += 1
                if self._drift == "raise":
                    raise DriftError("the listing moved while it was walked: rows that came before came again")
            fresh, self._ended = self._cut(taken.fresh, taken.ended)
            self._see_found(ended=taken.ended)
            self._begun, self._in_first_block = True, False
            offset, room = self._out.place, self._room(ahead, fresh)
            self._step = PageStep(read, request, fresh, offset, offset + len(fresh))
            del read, taken, fresh
            await self._prepare([] if self._ended else walk.next_requests(room, needed=False))
            yield
            if not self._ended:
                requests = walk.next_requests(self._room(ahead + 1))

    def _room(self, most: int, coming: Sequence[int] = ()) -> int:
        """Give how many requests may be out at once: no more than `max_rows` still wants."""
        if self._max_rows is None:
            return most
        wanted = self._max_rows - self.stats.rows - len(coming) + self._front.skip
        return min(most, max(1, -(-wanted // self._size)))

    def _see_found(self, *, ended: bool) -> None:
        if ended and self._front.seeking:
            raise DriftError("none of the rows is there any more at which the checkpoint stood")

    # ---- by seeking

    async def _by_seeking(self) -> AsyncGenerator[None, None]:
        self._in_first_block = self._in_first_block and not self._begun
        walk = self._first_block() if not self._begun else self._block()
        requests = self._reached(walk, walk.next_requests(self._look_ahead))
        new = 0  # rows of this block
        while not self._ended:
            if not requests:
                raise _RefusedError(self._out_of_reach())
            request, search = requests[0], walk.search
            try:
                read, asked_at = await self._answer(requests)
            except APIStatusError as exc:
                deep = is_too_deep(exc)
                if is_refused(exc, "seek", self._transport.session) or (deep and not request.offset):
                    raise _RefusedError(exc) from None
                if not deep:
                    raise
                # It serves less than was thought: what it still does is the depth of a block.
                await self._drop(list(self._ahead))
                self._depth = min(self._depth, request.offset + request.size - 1)
                if self._begun and not new:
                    raise _RefusedError(self._out_of_reach()) from None
                walk, new = self._block() if self._begun else self._first_block(), 0
                requests = self._reached(walk, walk.next_requests(self._look_ahead))
                continue
            times = [row.created_at for row in read.rows]
            self._settle_bottom(times)
            taken = walk.take(
                request,
                asked_at,
                read.ids,
                read.total,
                exact=read.exact,
                barred=self._front.barred(read.ids, times),
            )
            requests = self._reached(walk, walk.next_requests(self._look_ahead))
            if taken is None and requests:
                await self._keep(requests if walk.search == search else [])
                continue
            taking = walk
            if taken is not None:
                new += len(taken.fresh)
                fresh = self._front.take(times, taken.fresh)
                self._see_found(ended=taken.ended)
                self._begun = True
                found, self._ended = self._cut(fresh, taken.ended)
                offset = request.offset if self._in_first_block else self._out.place
                cut = found and len(found) < len(taken.fresh)
                place = request.offset + found[-1] + 1 if cut else taking.position.place
                self._step = PageStep(read, request, found, offset, place)
            if not self._ended and not requests and new and self._front.resume_at is not None and self._front.ordered:
                await self._keep([])
                walk, new = self._block(), 0
                requests = self._reached(walk, walk.next_requests(self._look_ahead))
            if self._step is None:
                continue
            out = [read.ids[at] for at in self._step.fresh]
            del read, taken
            await self._prepare([] if self._ended else requests)
            yield
            taking.mark_delivered(out)
            self._in_first_block = self._in_first_block and walk is taking

    def _first_block(self) -> Walk:
        """Begin a walk at its first row, or where its checkpoint stood."""
        before = self._resumed
        start, limit = self._out.start, self._depth - self._size
        by_offset = start <= limit and (
            before is None or not before.anchors or (before.at is None and before.place <= limit)
        )
        self._front = self._entry(by_offset=by_offset)
        if self._front.at is not None:
            return self._block()
        self._in_first_block = by_offset
        self._until = None
        self._walk = Walk(
            self._shape,
            start=start if by_offset else 0,
            size=self._size,
            drift=self._drift,
            ahead=self._look_ahead,
            most=self._max_rows if by_offset else None,
            resume=before if by_offset else None,
            seen=self._front.seen,
            before=self._walk,
        )
        return self._walk

    def _block(self) -> Walk:
        """Begin a block of offsets at the time of the last row that was taken."""
        at, until = self._front.resume_at, self._filters.get("until")
        if at is None:
            raise PaginationError("the walk was interrupted among rows without a time: resume it from its checkpoint")
        wider = at + MARGIN
        if until is not None and checked_moment("until", until) < wider:
            wider = checked_moment("until", until)
        self._until = rfc3339(wider)
        self._front.begin_seam()
        most = None if self._max_rows is None else self._max_rows - self.stats.rows + self._front.skip + self._size
        self._walk = Walk(
            self._shape,
            start=0,
            size=self._size,
            drift=self._drift,
            ahead=self._look_ahead,
            most=most,
            seen=self._front.seen,
            before=self._walk,
        )
        return self._walk

    def _reached(self, walk: Walk, requests: list[PageRequest]) -> list[PageRequest]:
        """Leave out the requests that lie beyond a block.

        Where pages are asked for ahead a block ends with as many as are asked for at once: the next one can only begin
        when its last page is there.
        """
        depth, position, at_once = self._depth, walk.position, self._look_ahead + 1
        ends_here = position.exact and position.total is not None and position.total <= depth
        pages = depth // self._size
        if not ends_here and 1 < at_once < pages:
            depth = pages // at_once * at_once * self._size
        within = [request for request in requests if request.offset + request.size <= depth]
        return within if within[:1] == requests[:1] else []

    def _out_of_reach(self) -> PaginationError:
        """Give the error of a walk whose next rows `/v1/executions` does not serve."""
        front = self._front
        if front.at is not None and front.ordered:
            return PaginationError(
                f"more than {self._depth} executions share the second of {rfc3339(front.at)}, and /v1/executions "
                "serves no more of one span of time: only /v2/executions can list them, see Hosts.executions_by"
            )
        return PaginationError(
            f"/v1/executions serves {self._depth} rows, and those behind them cannot be asked for by time, because the "
            "rows are not in its order: only /v2/executions can list them, see Hosts.executions_by"
        )

    # ---- requests

    def _call(self, request: Any) -> Call:
        words, filters = self._shape.words, dict(self._filters)
        if isinstance(request, CursorRequest):
            filters["since"], filters["until"] = request.since, request.until
            window = {"limit": request.size, "cursor": request.cursor}
        else:
            if self._until is not None:
                filters["since"], filters["until"] = self._since, self._until
            window = {"limit": request.size, "offset": request.offset}
        text = query({**{words.get(name, name): value for name, value in filters.items()}, **window})
        endpoint = LIST_EXECUTIONS_BY_CURSOR if isinstance(request, CursorRequest) else self._endpoint
        # That v1 is deprecated is worth a warning only to who chose it.
        chosen = self._transport.session.hosts.executions_by != "auto"
        call = self._transport.call(
            endpoint, self._path, text, background=self._look_ahead > 0, chosen_by_caller=chosen
        )
        if not self._bottom_known:
            self._call_that_dates = call
        return call

    async def _fetch(self, request: Any) -> PageResponse[Execution]:
        if not isinstance(request, CursorRequest):
            return await super()._fetch(request)
        self.stats.requests += 1
        call = self._call(request)
        body = Body(await self._transport.send(call))
        page = await self._transport.decoder.decode(call, body, ExecutionCursorPage)
        rows = page.executions or []
        ids = [row.id for row in rows]
        return PageResponse(
            rows, ids, None, False, page.limit, body, request, call.attempts, page.has_more, page.next_cursor
        )
