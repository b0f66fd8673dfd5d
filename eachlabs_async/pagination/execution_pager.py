"""Walking executions by cursor or by seeking, whichever the service offers.

`/v2/executions` pages by cursor. `/v1/executions` pages by offset and serves only the first thousand rows, so a walk
*seeks*: it reads a block of pages by offset, then requests the rows older than the last one (see `frontier`) and reads
the next block. `Hosts.executions_by` selects the listing. With "auto", if the service refuses one listing, the walk
continues with the other (see `listing_choice`).
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
"""The number of rows that `/v1/executions` serves, since September 2026."""
ANCHORS: Final = 24
"""The number of ids in a checkpoint."""
_CURSOR_REFUSED: Final = frozenset({400, 404, 410, 422})


class _UnusableListingError(Exception):
    """One of the two listings cannot be used: the service refuses it, or does not serve the next rows by it."""

    def __init__(self, cause: APIStatusError | PaginationError) -> None:
        super().__init__()
        self.cause = cause


class ExecutionPager(Pager[Execution]):
    """A pager over executions, by cursor or by seeking."""

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
        self._last_checkpoint = before or Checkpoint(start, start)
        self._bottom = before.bottom if before is not None else None
        self._bottom_known = before is not None and (before.bottom is not None or before.at is not None)
        self._frontier = self._initial_frontier(by_offset=False)
        self._started = False  # a page was accepted
        self._in_first_block = False
        self._until: str | None = None  # the upper time bound of the current block
        self._call_with_date: Call | None = None

    @property
    def _edition(self) -> None:
        return None  # Both editions list the same rows, so a checkpoint of one is valid in the other.

    # ---- the beginning of a walk

    def _initial_frontier(self, *, by_offset: bool) -> Frontier:
        """Return the frontier of a new or resumed walk; `by_offset` if its first row can be requested by offset."""
        before, seen = self._resumed, RecentIds(WINDOW_ROWS + (self._look_ahead + 2) * self._size)
        if before is None or not before.anchors:
            return Frontier(seen, skip=0 if by_offset else self._last_checkpoint.start)
        if by_offset:
            return Frontier(seen)
        return Frontier(seen, at=before.at, ties=before.ties, anchors=before.anchors)

    def _fix_bottom(self, times: Sequence[datetime | None]) -> None:
        """Fix the oldest time, which the service sets to 90 days before the newest one by its own clock.

        Without this it would move down along with `to`. If a page has older rows, the service sets no such limit.
        """
        if self._bottom_known or self._filters.get("since") is not None:
            return
        self._bottom_known = True
        headers = getattr(self._call_with_date, "headers", None)
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
        last = self._last_checkpoint if page is None else self._checkpoint_after(page, page.delivered)
        return super()._checkpoint_at() if last.at is None and self._in_first_block else last

    def _checkpoint_after(self, page: CurrentPage[Execution], delivered: int) -> Checkpoint:
        """Return the checkpoint after `delivered` rows of a page."""
        last = self._last_checkpoint
        if not delivered:
            return last
        times = [row.created_at for row in page.rows[:delivered]]
        at, ties = lowest(times, range(delivered), last.at, last.ties) if self._frontier.ordered else (None, 0)
        return Checkpoint(
            last.start,
            last.next_offset + delivered,
            (*last.anchors, *page.ids[:delivered])[-ANCHORS:],
            self.stats.total if self.stats.total_is_exact else None,
            at,
            ties,
            self._bottom,
        )

    def _mark_delivered(self, page: CurrentPage[Execution]) -> None:
        self._last_checkpoint = self._checkpoint_after(page, len(page.rows))
        self._next_offset = page.step.next_offset

    # ---- choosing the listing

    async def _steps(self) -> AsyncGenerator[None, None]:
        choice = ListingChoice(self._transport.session, self._refused)
        while True:
            strategy = choice.next_strategy()
            refused: APIStatusError | PaginationError
            try:
                async with aclosing(self._by_cursor() if strategy == "cursor" else self._by_seeking()) as steps:
                    async for _ in steps:
                        yield
                return
            except _UnusableListingError as exc:
                refused = exc.cause
            await self._drop(list(self._ahead))
            choice.reject(refused)

    # ---- by cursor

    async def _by_cursor(self) -> AsyncGenerator[None, None]:
        if not self._started:
            self._frontier = self._initial_frontier(by_offset=False)
        frontier, ahead, stats = self._frontier, self._look_ahead, self.stats
        until = None if self._filters.get("until") is None else str(self._filters["until"])
        walk = CursorWalk(frontier, stats, size=self._size, since=self._since, until=until, ahead=ahead > 0)
        if self._bottom_known:
            walk.set_oldest(self._bottom)
        requests = walk.next_requests(1)
        while not self._ended:
            request = requests[0]
            try:
                response, _ = await self._answer(requests)
            except APIStatusError as exc:
                if request.cursor is not None and exc.status in _CURSOR_REFUSED and walk.restart_chain():
                    requests = walk.next_requests(self._request_limit(ahead + 1))
                    await self._keep_only(requests)
                    continue
                if is_refused(exc, "cursor", self._transport.session):
                    raise _UnusableListingError(exc) from None
                raise
            times = [row.created_at for row in response.rows]
            self._fix_bottom(times)
            walk.set_oldest(self._bottom)
            walk.record_answer(request, times, more=response.more, cursor=response.cursor)
            for other, (task, _) in self._ahead.items():
                if task.done() and not task.cancelled() and task.exception() is None:
                    page = task.result()
                    walk.record_answer(other, [row.created_at for row in page.rows], more=page.more, cursor=page.cursor)
            duplicates = stats.duplicates
            accepted = walk.take(request, response.ids, times)
            if stats.duplicates > duplicates:
                stats.drift_seen += 1
                if self._drift == "raise":
                    raise DriftError("the listing moved while it was walked: rows delivered before were repeated")
            fresh, self._ended = self._apply_max_rows(accepted.fresh, accepted.ended)
            self._check_anchors_found(ended=accepted.ended)
            self._started, self._in_first_block = True, False
            offset, room = self._last_checkpoint.next_offset, self._request_limit(ahead, fresh)
            self._step = PageStep(response, request, fresh, offset, offset + len(fresh))
            del response, accepted, fresh
            await self._request_next([] if self._ended else walk.next_requests(room, needed=False))
            yield
            if not self._ended:
                requests = walk.next_requests(self._request_limit(ahead + 1))

    def _request_limit(self, most: int, coming: Sequence[int] = ()) -> int:
        """Return how many requests may be in flight at once: `most`, or fewer if `max_rows` needs fewer."""
        if self._max_rows is None:
            return most
        wanted = self._max_rows - self.stats.rows - len(coming) + self._frontier.skip
        return min(most, max(1, -(-wanted // self._size)))

    def _check_anchors_found(self, *, ended: bool) -> None:
        if ended and self._frontier.seeking:
            raise DriftError("none of the rows recorded in the checkpoint exists any more")

    # ---- by seeking

    async def _by_seeking(self) -> AsyncGenerator[None, None]:
        self._in_first_block = self._in_first_block and not self._started
        walk = self._first_block() if not self._started else self._block()
        requests = self._within_depth(walk, walk.next_requests(self._look_ahead))
        new = 0  # new rows in this block
        while not self._ended:
            if not requests:
                raise _UnusableListingError(self._depth_error())
            request, search = requests[0], walk.search
            try:
                response, asked_at = await self._answer(requests)
            except APIStatusError as exc:
                deep = is_too_deep(exc)
                if is_refused(exc, "seek", self._transport.session) or (deep and not request.offset):
                    raise _UnusableListingError(exc) from None
                if not deep:
                    raise
                # The service serves fewer rows than `_depth`: continue with smaller blocks.
                await self._drop(list(self._ahead))
                self._depth = min(self._depth, request.offset + request.size - 1)
                if self._started and not new:
                    raise _UnusableListingError(self._depth_error()) from None
                walk, new = self._block() if self._started else self._first_block(), 0
                requests = self._within_depth(walk, walk.next_requests(self._look_ahead))
                continue
            times = [row.created_at for row in response.rows]
            self._fix_bottom(times)
            accepted = walk.take(
                request,
                asked_at,
                response.ids,
                response.total,
                exact=response.exact,
                excluded=self._frontier.excluded(response.ids, times),
            )
            requests = self._within_depth(walk, walk.next_requests(self._look_ahead))
            if accepted is None and requests:
                await self._keep_only(requests if walk.search == search else [])
                continue
            taking = walk
            if accepted is not None:
                new += len(accepted.fresh)
                fresh = self._frontier.take(times, accepted.fresh)
                self._check_anchors_found(ended=accepted.ended)
                self._started = True
                found, self._ended = self._apply_max_rows(fresh, accepted.ended)
                offset = request.offset if self._in_first_block else self._last_checkpoint.next_offset
                cut = found and len(found) < len(accepted.fresh)
                next_offset = request.offset + found[-1] + 1 if cut else taking.position.next_offset
                self._step = PageStep(response, request, found, offset, next_offset)
            frontier = self._frontier
            if not self._ended and not requests and new and frontier.resume_at is not None and frontier.ordered:
                await self._keep_only([])
                walk, new = self._block(), 0
                requests = self._within_depth(walk, walk.next_requests(self._look_ahead))
            if self._step is None:
                continue
            delivered = [response.ids[at] for at in self._step.fresh]
            del response, accepted
            await self._request_next([] if self._ended else requests)
            yield
            taking.mark_delivered(delivered)
            self._in_first_block = self._in_first_block and walk is taking

    def _first_block(self) -> Walk:
        """Begin the first block, at the start of the walk or at its checkpoint."""
        before = self._resumed
        start, limit = self._last_checkpoint.start, self._depth - self._size
        by_offset = start <= limit and (
            before is None or not before.anchors or (before.at is None and before.next_offset <= limit)
        )
        self._frontier = self._initial_frontier(by_offset=by_offset)
        if self._frontier.at is not None:
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
            seen=self._frontier.seen,
            before=self._walk,
        )
        return self._walk

    def _block(self) -> Walk:
        """Begin the next block at the time of the last accepted row."""
        at, until = self._frontier.resume_at, self._filters.get("until")
        if at is None:
            raise PaginationError("cannot continue after rows without a creation time: resume from the checkpoint")
        wider = at + MARGIN
        if until is not None and checked_moment("until", until) < wider:
            wider = checked_moment("until", until)
        self._until = rfc3339(wider)
        self._frontier.begin_overlap()
        most = None if self._max_rows is None else self._max_rows - self.stats.rows + self._frontier.skip + self._size
        self._walk = Walk(
            self._shape,
            start=0,
            size=self._size,
            drift=self._drift,
            ahead=self._look_ahead,
            most=most,
            seen=self._frontier.seen,
            before=self._walk,
        )
        return self._walk

    def _within_depth(self, walk: Walk, requests: list[PageRequest]) -> list[PageRequest]:
        """Return the requests that lie within the block, or none if the first of them does not.

        With look-ahead, a block ends after a multiple of the pages requested at once, because the next block cannot
        begin before the last page has arrived.
        """
        depth, position, at_once = self._depth, walk.position, self._look_ahead + 1
        ends_here = position.exact and position.total is not None and position.total <= depth
        pages = depth // self._size
        if not ends_here and 1 < at_once < pages:
            depth = pages // at_once * at_once * self._size
        within = [request for request in requests if request.offset + request.size <= depth]
        return within if within[:1] == requests[:1] else []

    def _depth_error(self) -> PaginationError:
        """Return the error for a walk whose next rows `/v1/executions` does not serve."""
        frontier = self._frontier
        if frontier.at is not None and frontier.ordered:
            return PaginationError(
                f"more than {self._depth} executions share the second of {rfc3339(frontier.at)}, and /v1/executions "
                "serves no more rows of one time span: only /v2/executions can list them, see Hosts.executions_by"
            )
        return PaginationError(
            f"/v1/executions serves {self._depth} rows, and the following ones cannot be requested by time, because "
            "the rows are not ordered by time: only /v2/executions can list them, see Hosts.executions_by"
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
        # Warn that v1 is deprecated only if the caller selected it.
        chosen = self._transport.session.hosts.executions_by != "auto"
        call = self._transport.call(
            endpoint, self._path, text, background=self._look_ahead > 0, chosen_by_caller=chosen
        )
        if not self._bottom_known:
            self._call_with_date = call
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
