"""Walking executions by cursor or by seeking, whichever the service offers.

`/v2/executions` pages by cursor. `/v1/executions` pages by offset and serves only the first thousand rows, so a walk
*seeks*: it reads a block of pages by offset, then requests the rows not newer than the last one and reads the next
block. `engine` decides which rows come next; `spans` plans the look-ahead of a walk by cursor. `Hosts.executions_by`
selects the listing. With "auto", if the service refuses one, the walk continues with the other (see `listing_choice`).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final

from attrs import evolve

from ..errors import APIStatusError, PaginationError
from ..records import Execution, ExecutionCursorPage
from ..transport.arguments import checked_moment, rfc3339
from ..transport.call import Call
from ..transport.endpoints import LIST_EXECUTIONS, LIST_EXECUTIONS_BY_CURSOR
from ..transport.transport import Transport
from ..transport.wire import http_date, query
from .checkpoint import Checkpoint
from .engine import Engine
from .known_rows import ANCHORS, keys_of
from .listing_choice import ListingChoice, RefusedListings, is_refused, is_too_deep, too_deep
from .pager import Pager
from .pages import CurrentPage, PageResponse, PageStep, WalkOptions
from .row_times import lowest, with_bound
from .spans import SpanRequest, SpanWalk
from .walk_values import Answer, Request, Span

DEPTH: Final = 1000
"""The number of rows that `/v1/executions` serves, since September 2026."""
SPAN_BY_DEFAULT: Final = timedelta(days=90)
"""How far the service goes back from the newest time requested, if no oldest time is given."""
_EARLIEST: Final = datetime.min.replace(tzinfo=UTC)
_FUTURE: Final = timedelta(days=1)
"""Added to the local time for a time that no execution has reached, whatever the clocks."""
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
        self._depth = DEPTH
        before = self._resumed
        self._last_checkpoint = before or Checkpoint(start, start)
        self._bottom = before.bottom if before is not None else None
        self._bottom_known = before is not None and (before.bottom is not None or before.at is not None)
        self._skip = 0  # rows before the start, which are read because their offset cannot be requested
        self._encoded: tuple[dict[str, object], str] = {}, ""  # the filters of the last request, and their text
        self._is_ordered = True  # All rows so far came in the order of their times.
        self._seeks = False  # the engine has the state of the walk
        self._call_with_date: Call | None = None
        self._latest = datetime.now(UTC) + _FUTURE  # the time of unreadable rows above all readable ones

    @property
    def _edition(self) -> None:
        return None  # Both editions list the same rows, so a checkpoint of one is valid in the other.

    # ---- the beginning of a walk

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

    @property
    def _oldest(self) -> datetime | None:
        """The time to which the walk goes, or None before the first answer, if that is to tell."""
        if self._since is not None:
            return checked_moment("since", self._since)
        return _EARLIEST if self._bottom_known else None

    # ---- the checkpoint

    def _checkpoint_at(self) -> Checkpoint:
        page = self._page
        return self._last_checkpoint if page is None else self._checkpoint_after(page, page.delivered)

    def _checkpoint_after(self, page: CurrentPage[Execution], delivered: int) -> Checkpoint:
        """Return the checkpoint after `delivered` rows of a page."""
        last = self._last_checkpoint
        if not delivered:
            return last
        if isinstance(page.step.request, Request) and page.step.request.until is None and not self._from_top:
            last = evolve(last, next_offset=self._engine.checkpoint(delivered).next_offset - delivered)
        at, ties = (last.at, last.ties) if self._is_ordered else (None, 0)
        times = [row.created_at for row in page.rows[:delivered] if row.created_at != self._latest]
        if self._is_ordered and times:
            at, ties = lowest(times, at, ties)
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

    def _span_walk(self, *, ahead: bool) -> SpanWalk:
        """Return a walk by cursor from where this walk stands."""
        last = self._last_checkpoint
        self._skip = 0 if last.anchors else last.start
        limit, drift, stats, resume = self._size, self._drift, self.stats, last if last.anchors else None

        def engine(span: Span) -> Engine:
            before = resume if span == (None, None) else None
            made = Engine(dialect="cursor", limit=limit, drift=drift, resume=before, span=span)
            made.stats = stats
            return made

        return SpanWalk(engine, stats, size=limit, ahead=ahead, oldest=self._oldest)

    async def _by_cursor(self) -> AsyncGenerator[None, None]:
        self._seeks, ahead = False, self._look_ahead
        walk = self._span_walk(ahead=ahead > 0)
        requests = walk.requests(1)
        while not self._ended:
            request = requests[0]
            try:
                response = await self._answer(requests)
            except APIStatusError as exc:
                if request.request.cursor is not None and exc.status in _CURSOR_REFUSED and walk.restart(request):
                    requests = walk.requests(self._request_limit(ahead + 1))
                    await self._keep_only(requests)
                    continue
                if is_refused(exc, "cursor", self._transport.session):
                    raise _UnusableListingError(exc) from None
                raise
            if walk.oldest is None:
                self._fix_bottom([row.created_at for row in response.rows])
                walk.oldest = self._oldest
            accepted = [walk.accept(other, answer) for other, answer in self._answers(walk)]
            if not all(accepted):
                # A span cannot be told from the others by the times of its rows.
                await self._drop(list(self._ahead))
                walk = self._span_walk(ahead=ahead > 0 and not walk.ignores_times)
                requests = walk.requests(1)
                continue
            response = await self._answer(requests)  # with the times of unreadable rows
            taken = walk.take(request)
            del self._ahead[request]
            if taken is not None:
                offset = self._last_checkpoint.next_offset
                fresh = self._to_deliver(taken.positions, ended=taken.ended, ordered=taken.ordered)
                self._step = PageStep(response, request, fresh, offset)
                room = self._request_limit(ahead)
                del response, taken, fresh
                if ahead:
                    await self._request_next([] if self._ended else walk.requests(room, needed=False))
                yield
            if not self._ended:
                requests = walk.requests(self._request_limit(ahead + 1))
                await self._keep_only(requests)

    def _answers(self, walk: SpanWalk) -> list[tuple[SpanRequest, Answer]]:
        """Return the answers that have come, to pages that were not delivered yet."""
        found: list[tuple[SpanRequest, Answer]] = []
        for request, task in [(each, self._ahead[each]) for each in self._ahead if walk.awaits(each)]:
            if isinstance(task, asyncio.Task) and (not task.done() or task.cancelled() or task.exception() is not None):
                continue
            page = task.result() if isinstance(task, asyncio.Task) else task
            if not page.readable:
                self._ahead[request] = page = self._with_times(page, walk.lowest(request))
            times = [row.created_at for row in page.rows]
            more = bool(page.cursor) if page.more is None else page.more
            answer = Answer(page.ids, None, False, None, times, page.cursor or None, more, page.readable)
            found.append((request, answer))
        return found

    def _with_times(self, response: PageResponse[Execution], bound: datetime | None) -> PageResponse[Execution]:
        """Return an answer with times for the unreadable rows on top of it, of which `bound` is the latest possible."""
        bound = bound or self._last_checkpoint.at or self._latest
        return evolve(response, rows=with_bound(response.rows, bound))

    def _to_deliver(self, positions: Sequence[int], *, ended: bool, ordered: bool) -> Sequence[int]:
        """Return the positions to deliver, without the rows to skip and those beyond `max_rows`."""
        self._is_ordered = self._is_ordered and ordered
        skipped = min(self._skip, len(positions))
        self._skip -= skipped
        fresh, self._ended = positions[skipped:], ended
        if self._max_rows is not None and self.stats.rows + len(fresh) >= self._max_rows:
            fresh, self._ended = fresh[: self._max_rows - self.stats.rows], True
        self.stats.rows += len(fresh)
        return fresh

    def _request_limit(self, most: int) -> int:
        """Return how many requests may be in flight at once: `most`, or fewer if `max_rows` needs fewer."""
        if self._max_rows is None:
            return most
        wanted = self._max_rows - self.stats.rows + self._skip
        return min(most, max(1, -(-wanted // self._size)))

    # ---- by seeking

    async def _by_seeking(self) -> AsyncGenerator[None, None]:
        if not self._seeks:
            self._begin_to_seek()
        engine = self._engine
        requests = self._within_depth(engine.requests())
        while not self._ended:
            if not requests:
                raise _UnusableListingError(too_deep(self._depth, self._last_checkpoint.at))
            request: Request = requests[0]
            try:
                response = await self._answer(requests)
            except APIStatusError as exc:
                deep = is_too_deep(exc)
                if is_refused(exc, "seek", self._transport.session) or (deep and not request.offset):
                    raise _UnusableListingError(exc) from None
                if not deep:
                    raise
                # The service serves fewer rows than `_depth`.
                await self._drop(list(self._ahead))
                self._depth = min(self._depth, request.offset + request.size - 1)
                engine.limit_depth(self._block_depth())
                requests = self._within_depth(engine.requests())
                continue
            times = [row.created_at for row in response.rows]
            self._fix_bottom(times)
            if not response.readable:
                response = self._with_times(response, engine.lowest)
                times = [row.created_at for row in response.rows]
            answer = Answer(response.ids, response.total, response.exact, times=times)
            accepted = engine.accept(request, answer)
            if accepted is None:
                requests = self._within_depth(engine.requests())
                await self._keep_only(requests)
                continue
            del self._ahead[request]
            self.stats.rows -= len(accepted.positions)  # They are counted here, without those that are skipped.
            fresh = self._to_deliver(accepted.positions, ended=accepted.ended, ordered=engine.page.ordered)
            offset = request.offset + next(iter(fresh), 0)
            if request.until is not None or self._from_top:
                offset = self._last_checkpoint.next_offset
            self._step = PageStep(response, request, fresh, offset)
            del response, answer, accepted
            requests = [] if self._ended else self._within_depth(engine.requests())
            await self._request_next(requests)
            yield

    def _begin_to_seek(self) -> None:
        """Let the engine begin where the walk stands: at its start, at its checkpoint, or after a walk by cursor."""
        last = self._last_checkpoint
        self._skip = last.start if self._from_top and not last.anchors else 0
        self._engine = Engine(
            largest=self._shape.largest,
            start=0 if self._from_top else last.start,
            limit=self._size,
            drift=self._drift,
            look_ahead=self._look_ahead,
            max_rows=None if self._skip else self._max_rows,
            depth=self._block_depth(),
            resume=last if last.anchors else None,
            from_top=self._from_top,
        )
        self._engine.stats = self.stats
        self._seeks = True

    @property
    def _from_top(self) -> bool:
        """Whether the first row can be requested neither by offset nor by time, so that all rows before it are read."""
        last = self._last_checkpoint
        return last.at is None and max(last.start, last.next_offset) > self._depth - self._size

    def _block_depth(self) -> int:
        """Return the rows to request below one time: a whole number of rounds of the requests in flight at once.

        The next block can begin only when the last page of this one is there.
        """
        at_once, pages = self._look_ahead + 1, self._depth // self._size
        return pages // at_once * at_once * self._size if 1 < at_once < pages else self._depth

    def _within_depth(self, requests: Sequence[Request]) -> list[Request]:
        """Return the requests that the service serves, or none if it does not serve the first of them."""
        within = [request for request in requests if request.offset + request.size <= self._depth]
        return within if within[:1] == list(requests[:1]) else []

    # ---- requests

    def _call(self, request: Any) -> Call:
        words, filters = self._shape.words, dict(self._filters)
        by_cursor = isinstance(request, SpanRequest)
        page: Request = request.request if by_cursor else request
        if page.until is not None:
            filters["since"], filters["until"] = self._since, self._earlier(page.until)
        if by_cursor and request.since is not None:
            oldest = self._oldest
            filters["since"] = rfc3339(request.since if oldest is None else max(oldest, request.since))
        if filters != self._encoded[0]:
            named = {words.get(name, name): value for name, value in filters.items()}
            self._encoded = filters, query(named)
        place = {"cursor": page.cursor} if by_cursor else {"offset": page.offset}
        text = "&".join(filter(None, (self._encoded[1], f"limit={page.size}", query(place))))
        endpoint = LIST_EXECUTIONS_BY_CURSOR if by_cursor else self._endpoint
        # Warn that v1 is deprecated only if the caller selected it.
        chosen = self._transport.session.hosts.executions_by != "auto"
        call = self._transport.call(
            endpoint, self._path, text, background=self._look_ahead > 0, chosen_by_caller=chosen
        )
        if not self._bottom_known:
            self._call_with_date = call
        return call

    def _earlier(self, until: datetime) -> str:
        """Return the earlier of a time and the `until` of the filters, as text."""
        given = self._filters.get("until")
        return rfc3339(until if given is None else min(until, checked_moment("until", given)))

    async def _fetch(self, request: Any) -> PageResponse[Execution]:
        if not isinstance(request, SpanRequest):
            return await super()._fetch(request)
        self.stats.requests += 1
        call = self._call(request)
        decode = partial(
            self._transport.decoder.decode_page, call, ExecutionCursorPage, rows="executions", identity="id"
        )
        body, (page, rows, readable) = await self._transport.receive(call, decode)
        rows = rows or []
        keys = keys_of(rows, "id", unique=True, readable=readable)
        return PageResponse(
            rows, keys, None, False, page.limit, body, request, call.attempts, page.has_more, page.next_cursor, readable
        )
