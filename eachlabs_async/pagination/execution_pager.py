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
from functools import partial
from typing import Any, Final

from attrs import evolve

from ..errors import APIStatusError, DriftError, PaginationError
from ..records import Execution, ExecutionCursorPage
from ..transport.arguments import checked_moment, rfc3339
from ..transport.call import Call
from ..transport.endpoints import LIST_EXECUTIONS, LIST_EXECUTIONS_BY_CURSOR
from ..transport.transport import Transport
from ..transport.wire import http_date, query
from .checkpoint import Checkpoint
from .cursor_walk import CursorRequest, CursorWalk
from .engine import Engine
from .frontier import SPAN_BY_DEFAULT, Frontier, lowest
from .known_rows import row_keys
from .listing_choice import ListingChoice, RefusedListings, is_refused, is_too_deep
from .pager import Pager
from .pages import CurrentPage, PageResponse, PageStep, WalkOptions
from .recent_ids import WINDOW_ROWS, RecentIds
from .walk_values import Answer, Request

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
        self._depth = DEPTH
        before = self._resumed
        self._last_checkpoint = before or Checkpoint(start, start)
        self._bottom = before.bottom if before is not None else None
        self._bottom_known = before is not None and (before.bottom is not None or before.at is not None)
        self._frontier = self._initial_frontier(by_offset=False)
        self._started = False  # a page was accepted
        self._seeks = False  # the engine has the state of the walk
        self._skips = False  # rows before the start, or before a checkpoint, are read and dropped
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
        return self._last_checkpoint if page is None else self._checkpoint_after(page, page.delivered)

    def _checkpoint_after(self, page: CurrentPage[Execution], delivered: int) -> Checkpoint:
        """Return the checkpoint after `delivered` rows of a page."""
        last = self._last_checkpoint
        if not delivered:
            return last
        if isinstance(page.step.request, Request) and page.step.request.until is None and not self._skips:
            last = evolve(last, next_offset=self._engine.checkpoint(delivered).next_offset - delivered)
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
                response = await self._answer(requests)
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
            for other, task in self._ahead.items():
                if isinstance(task, PageResponse) or not task.done() or task.cancelled():
                    continue
                if task.exception() is None:
                    page = task.result()
                    walk.record_answer(other, [row.created_at for row in page.rows], more=page.more, cursor=page.cursor)
            duplicates = stats.duplicates
            accepted = walk.take(request, response.ids, times)
            if stats.duplicates > duplicates:
                stats.drift_seen += 1
                if self._drift == "raise":
                    raise DriftError("the listing moved while it was walked: rows delivered before were repeated")
            del self._ahead[request]
            fresh = self._apply_max_rows(accepted.fresh, ended=accepted.ended)
            self._check_anchors_found(ended=accepted.ended)
            self._started, self._seeks = True, False
            offset, room = self._last_checkpoint.next_offset, self._request_limit(ahead)
            self._step = PageStep(response, request, fresh, offset)
            del response, accepted, fresh
            await self._request_next([] if self._ended else walk.next_requests(room, needed=False))
            yield
            if not self._ended:
                requests = walk.next_requests(self._request_limit(ahead + 1))

    def _apply_max_rows(self, fresh: Sequence[int], *, ended: bool) -> Sequence[int]:
        """Return the positions that `max_rows` still allows, counted as rows of the walk."""
        self._ended = ended
        if self._max_rows is not None and self.stats.rows + len(fresh) >= self._max_rows:
            fresh, self._ended = fresh[: self._max_rows - self.stats.rows], True
        self.stats.rows += len(fresh)
        return fresh

    def _request_limit(self, most: int) -> int:
        """Return how many requests may be in flight at once: `most`, or fewer if `max_rows` needs fewer."""
        if self._max_rows is None:
            return most
        wanted = self._max_rows - self.stats.rows + self._frontier.skip
        return min(most, max(1, -(-wanted // self._size)))

    def _check_anchors_found(self, *, ended: bool) -> None:
        if ended and self._frontier.seeking:
            raise DriftError("none of the rows recorded in the checkpoint exists any more")

    # ---- by seeking

    async def _by_seeking(self) -> AsyncGenerator[None, None]:
        if not self._seeks:
            self._begin_to_seek()
        engine = self._engine
        requests = self._within_depth(engine.requests())
        while not self._ended:
            if not requests:
                raise _UnusableListingError(self._depth_error())
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
            excluded = self._frontier.excluded(response.ids, times) if self._frontier.seeking else ()
            answer = Answer(response.ids, response.total, response.exact, times=times)
            accepted = engine.accept(request, answer)
            if accepted is None:
                requests = self._within_depth(engine.requests())
                await self._keep_only(requests)
                continue
            del self._ahead[request]
            new = [at for at in accepted.positions if at not in excluded]
            self.stats.rows -= len(accepted.positions)  # They are counted below, without those that are skipped.
            self._frontier.seen.add(response.ids)
            fresh = self._apply_max_rows(self._frontier.take(times, new), ended=accepted.ended)
            self._check_anchors_found(ended=accepted.ended)
            self._started = True
            offset = request.offset + next(iter(fresh), 0)
            if request.until is not None or self._skips:
                offset = self._last_checkpoint.next_offset
            self._step = PageStep(response, request, fresh, offset)
            del response, answer, accepted
            requests = [] if self._ended else self._within_depth(engine.requests())
            await self._request_next(requests)
            yield

    def _begin_to_seek(self) -> None:
        """Let the engine begin where the walk stands: at its start, at its checkpoint, or after a walk by cursor."""
        last = self._last_checkpoint
        within = max(last.start, last.next_offset) <= self._depth - self._size
        # What cannot be requested by offset, nor by time, is reached by reading all rows before it.
        self._skips = last.at is None and not within
        if not self._started:
            self._frontier = self._initial_frontier(by_offset=not self._skips)
        self._engine = Engine(
            largest=self._shape.largest,
            start=0 if self._skips else last.start,
            limit=self._size,
            drift=self._drift,
            look_ahead=self._look_ahead,
            max_rows=None if self._skips else self._max_rows,
            depth=self._block_depth(),
            resume=None if self._skips or not last.anchors else last,
        )
        self._engine.stats = self.stats
        self._seeks = True

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
            if request.until is not None:
                filters["since"], filters["until"] = self._since, self._earlier(request.until)
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

    def _earlier(self, until: datetime) -> str:
        """Return the earlier of a time and the `until` of the filters, as text."""
        given = self._filters.get("until")
        return rfc3339(until if given is None else min(until, checked_moment("until", given)))

    async def _fetch(self, request: Any) -> PageResponse[Execution]:
        if not isinstance(request, CursorRequest):
            return await super()._fetch(request)
        self.stats.requests += 1
        call = self._call(request)
        decode = partial(self._transport.decoder.decode, call, ExecutionCursorPage)
        body, page = await self._transport.receive(call, decode)
        rows = page.executions or []
        ids = row_keys([row.id for row in rows], rows)
        return PageResponse(
            rows, ids, None, False, page.limit, body, request, call.attempts, page.has_more, page.next_cursor
        )
