"""Walking a listing page by page over the network: requests, look-ahead, and what is handed out.

`Walk` decides what to request next and which rows of an answer are new; `Checkpoint` is the text that a walk resumes
from; the transport carries out the requests. A page that was asked for ahead of time is held until its turn.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from operator import attrgetter
from typing import Any, Final, Generic, Literal, TypeVar

from ..errors import EachLabsError, PaginationError, ResponseDecodeError
from ..transport.arguments import checked_callback, checked_count
from ..transport.call import Call
from ..transport.endpoints import Endpoint
from ..transport.stream import NOTHING, Nothing, Stream
from ..transport.tasks import cancel_and_wait
from ..transport.transport import Transport
from ..transport.wire import MAX_BODY_TEXT, Body, query
from .checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from .pages import CurrentPage, PageResponse, PageStep
from .pages import Page as Page
from .pages import WalkOptions as WalkOptions
from .pages import WalkStats as WalkStats
from .rules import DRIFT_MODES, Drift, PageRequest
from .walk import Walk

T = TypeVar("T")

_NULL_ROWS: Final = "expected an array, found null (null rows are an empty page only where the total is 0)"


class Pager(Stream, Generic[T]):
    """A listing to be walked. Creating one does no I/O; it is walked once.

    `async for row in pager` yields rows. Use `async with pager as rows:` or `await pager.aclose()` where you may leave
    the loop early with `look_ahead` on: nothing is left running then. After a cancelled wait, such as
    `asyncio.wait_for(anext(rows), 1)`, the next one goes on. `stats` says at any time what the walk has done so far.
    """

    def __init__(
        self,
        transport: Transport,
        endpoint: Endpoint,
        path: str,
        filters: Mapping[str, object],
        *,
        named: Mapping[str, object] | None = None,
        start: int,
        size: int,
        walk: WalkOptions,
        pin: Callable[[dict[str, object]], Awaitable[None]] | None = None,
    ) -> None:
        super().__init__(
            reused="a Pager is walked once: make a new one with list()",
            closed="the walk was closed while a row was awaited",
        )
        assert endpoint.page is not None
        unknown = walk.keys() - WalkOptions.__annotations__.keys()
        if unknown:
            raise TypeError(f"list() has no argument {min(unknown)!r}")
        drift = walk.get("drift", "dedupe")
        if drift not in DRIFT_MODES:
            raise ValueError(f"drift must be one of {', '.join(DRIFT_MODES)}, not {drift!r}")
        max_rows = walk.get("max_rows")
        resume = walk.get("resume")
        self._transport = transport
        self._endpoint = endpoint
        self._shape = endpoint.page
        self._path = path
        self._filters = dict(filters)
        self._named = dict(named or {})
        self._max_rows = None if max_rows is None else checked_count("max_rows", max_rows)
        self._look_ahead = checked_count("look_ahead", walk.get("look_ahead", 0))
        self._on_progress = checked_callback("on_progress", walk.get("on_progress"))
        self._pin = pin
        self._drift: Drift = drift
        checkpoint = None
        if resume is not None:
            checkpoint, self._filters = read_checkpoint(
                resume, endpoint.name, self._edition, self._filters | self._named
            )
            self._filters = {name: self._filters[name] for name in filters}
            if checkpoint.anchors:
                self._pin = None  # What was pinned then stands in the checkpoint; before the first row it may not.
            if start not in (0, checkpoint.start):
                raise ValueError(
                    f"resume is the checkpoint of a walk from row {checkpoint.start}, not from row {start}"
                )
        self._resumed = checkpoint
        self._walk = Walk(
            self._shape,
            start=start,
            size=size,
            drift=drift,
            ahead=self._look_ahead,
            most=self._max_rows,
            resume=checkpoint,
        )
        self._place = self._walk.position.place if checkpoint is None else checkpoint.place
        self._page: CurrentPage[T] | None = None
        self._number = 0  # pages handed out
        self._step: PageStep[T] | None = None  # taken, and not in hand yet
        self._source: AsyncGenerator[None, None] | None = None
        self._ended = max_rows == 0
        self._patient = False  # a wait was cancelled
        self._stepping: asyncio.Task[bool] | None = None
        self._identity: Callable[[T], str] = attrgetter(endpoint.page.identity)
        self._ahead: dict[Any, tuple[asyncio.Task[PageResponse[T]], int]] = {}
        self._answered: tuple[Any, int] | None = None  # the last request that was answered, and its attempts
        self.stats = self._walk.stats

    def __repr__(self) -> str:
        return f"<Pager of {self._endpoint.name}: {self.stats.rows} rows so far>"

    @property
    def _edition(self) -> str | None:
        """The edition that a checkpoint is bound to."""
        return self._transport.session.hosts.edition

    @property
    def checkpoint(self) -> str:
        """Where the walk stands, as short text for `list(..., resume=checkpoint)`; the row in hand counts as done.

        It holds at any moment, after a crash too: resuming loses no row and repeats none, also where rows were
        inserted in between.
        """
        return write_checkpoint(self._endpoint.name, self._edition, self._filters | self._named, self._checkpoint_at())

    def _checkpoint_at(self) -> Checkpoint:
        page = self._page
        if page is not None and page.delivered:
            return self._walk.checkpoint_at(page.place, page.ids[: page.delivered])
        return self._walk.checkpoint_at(self._place)

    # ---- ways to walk

    def __aiter__(self) -> AsyncIterator[T]:
        """Walk the rows, in the listing's order."""
        return self._iterate(self._take_row)

    def pages(self) -> AsyncIterator[Page[T]]:
        """Walk the pages; `max_rows` cuts the last one."""
        return self._iterate(self._take_page)

    async def first(self) -> T | None:
        """Return the first row, or None if the listing is empty. Sends one request (two with `snapshot=True`)."""
        self._look_ahead = 0
        async with aclosing(self._iterate(self._take_row)) as rows:
            async for row in rows:
                return row
        return None

    async def collect(self, max_rows: int | None = None) -> list[T]:
        """Return all rows as a list, at most `max_rows`. An error carries the rows before it as `error.partial`."""
        if max_rows is not None:
            checked = checked_count("max_rows", max_rows)
            self._max_rows = checked if self._max_rows is None else min(self._max_rows, checked)
            self._ended = self._max_rows == 0
        rows: list[T] = []
        try:
            async with aclosing(self._iterate(self._take_page)) as pages:
                async for page in pages:
                    rows += page.rows
        except EachLabsError as exc:
            exc.partial = rows
            raise
        return rows

    # ---- iteration

    def _take_row(self) -> T | Literal[Nothing.NOTHING]:
        page = self._page
        if page is None or page.delivered == len(page.rows):
            return NOTHING
        row = page.rows[page.delivered]
        page.delivered += 1
        return row

    def _take_page(self) -> Page[T] | Literal[Nothing.NOTHING]:
        page = self._page
        if page is None or page.delivered or not page.rows:
            return NOTHING
        page.delivered = len(page.rows)
        self._number += 1
        response = page.step.read
        return Page(
            rows=page.rows,
            number=self._number,
            offset=page.offset,
            requested=page.step.request.size,
            total=response.total,
            total_is_exact=response.exact,
            raw=response.raw,
        )

    async def _advance(self) -> None:
        if self._page is not None:
            self._mark_delivered(self._page)
            # Gone before the next page comes, which then takes this one's place in memory and in the caches.
            self._page = None
        try:
            if self._step is None or self._stepping is not None:
                await self._next_step()
        except EachLabsError as exc:
            if isinstance(exc, PaginationError) and exc.method is None and self._answered is not None:
                call = self._call(self._answered[0])  # Equal to the call that was answered.
                call.attempts = self._answered[1]
                self._transport.session.with_call_details(call, exc)
            exc.checkpoint = self.checkpoint
            raise
        step, self._step = self._step, None
        assert step is not None
        rows, ids = step.read.rows, step.read.ids
        if len(step.fresh) < len(rows):
            rows, ids = [rows[at] for at in step.fresh], [ids[at] for at in step.fresh]
        self._page = CurrentPage(step, ids, rows)
        self.stats.rows += len(rows)
        if self._on_progress is not None:
            self._on_progress(self.stats)

    async def _next_step(self) -> None:
        if self._ended and self._stepping is None:
            raise StopAsyncIteration
        if self._pin is not None:
            await self._pin(self._filters)
            self._pin = None
        if self._source is None:
            self._source = self._steps()
        if self._patient:
            self._stepping = self._stepping or asyncio.create_task(self._step_once(self._source))
            await asyncio.wait([self._stepping])
            stepping, self._stepping = self._stepping, None
            if not stepping.result():
                raise StopAsyncIteration
            return
        try:
            await anext(self._source)
        except asyncio.CancelledError:
            # That has ended the generator. All that was taken is in the walk, so that another one can go on; it runs in
            # tasks that outlive the waits, because an answer may take longer than each of them.
            self._source, self._patient = None, True
            await self._drop(list(self._ahead))
            raise

    async def _step_once(self, source: AsyncGenerator[None, None]) -> bool:
        async for _ in source:
            return True
        return False

    async def _stop(self) -> None:
        source, self._source = self._source, None
        if self._stepping is not None:
            await cancel_and_wait([self._stepping])
        if source is not None:
            await source.aclose()
        await self._drop(list(self._ahead))

    async def _steps(self) -> AsyncGenerator[None, None]:
        """Take one page after the other as `_step`, and request the following ones ahead."""
        walk = self._walk
        requests = walk.next_requests(self._look_ahead)
        while not self._ended:
            request, search = requests[0], walk.search
            read, asked_at = await self._answer(requests)
            taken = walk.take(request, asked_at, read.ids, read.total, exact=read.exact, stated_size=read.stated_size)
            requests = walk.next_requests(self._look_ahead)
            if taken is None:
                await self._keep(requests if walk.search == search else [])
                continue
            fresh, self._ended = self._cut(taken.fresh, taken.ended)
            # A page that `max_rows` cut short is not done: then the place is behind its last row.
            place = walk.position.place if fresh is taken.fresh else request.offset + fresh[-1] + 1
            self._step = PageStep(read, request, fresh, request.offset, place)
            del taken, fresh, read
            await self._prepare([] if self._ended else requests)
            yield

    def _cut(self, fresh: list[int], ended: bool) -> tuple[list[int], bool]:
        """Return the rows of a page that `max_rows` still allows, and whether the walk ends with them."""
        if self._max_rows is None or self.stats.rows + len(fresh) < self._max_rows:
            return fresh, ended
        left = self._max_rows - self.stats.rows
        return (fresh if left == len(fresh) else fresh[:left]), True

    async def _prepare(self, requests: Sequence[Any]) -> None:
        """Request what follows while a page is handed out, and drop what does not follow."""
        if self._look_ahead:
            await self._keep(requests[: self._look_ahead])
            self._request_ahead(requests[: self._look_ahead])

    def _mark_delivered(self, page: CurrentPage[T]) -> None:
        """Record that all rows of a page were handed out."""
        self._walk.mark_delivered(page.ids)
        self._place = page.step.place

    async def _answer(self, requests: Sequence[Any]) -> tuple[PageResponse[T], int]:
        """Return the answer to the first of `requests`, and when it was requested; the others are sent meanwhile."""
        self._request_ahead(requests[1:])
        wanted, asked_at = requests[0], self._walk.taken
        if wanted not in self._ahead:
            read = await self._fetch(wanted)
            self._answered = wanted, read.attempts
            return read, asked_at
        task, asked_at = self._ahead[wanted]
        read = await task
        del self._ahead[wanted]
        self._answered = wanted, read.attempts
        return read, asked_at

    def _request_ahead(self, requests: Sequence[Any]) -> None:
        for request in requests:
            if request not in self._ahead:
                self._ahead[request] = asyncio.create_task(self._fetch(request)), self._walk.taken

    async def _keep(self, requests: Sequence[Any]) -> None:
        """Drop the requests that are not wanted any more, before more are sent: both would exceed the look-ahead."""
        if stale := [request for request in self._ahead if request not in requests]:
            await self._drop(stale)

    async def _drop(self, requests: Sequence[Any]) -> None:
        tasks = [self._ahead[request][0] for request in requests if request in self._ahead]
        if tasks:
            # They stay listed until they have ended, so that `_stop` waits for them too.
            await cancel_and_wait(tasks)
            for request in requests:
                self._ahead.pop(request, None)

    def _call(self, request: PageRequest) -> Call:
        words, by_offset = self._shape.words, self._shape.dialect == "offset"
        window = (
            f"limit={request.size}&offset={request.offset}"
            if by_offset
            else f"page={request.number}&size={request.size}"
        )
        filters = query({words.get(name, name): value for name, value in self._filters.items()})
        text = f"{filters}&{window}" if filters else window
        return self._transport.call(self._endpoint, self._path, text, background=self._look_ahead > 0)

    async def _fetch(self, request: PageRequest) -> PageResponse[T]:
        self.stats.requests += 1
        call, shape = self._call(request), self._shape
        body = Body(await self._transport.send(call))
        envelope = await self._transport.decoder.decode(call, body, self._endpoint.response)
        rows: list[T] | None = getattr(envelope, shape.rows) if shape.rows else envelope
        total: int | None = getattr(envelope, shape.total) if shape.total else None
        if total is not None and total < 0:
            total = None
        if rows is None:
            if total != 0:
                text = body[:MAX_BODY_TEXT].decode("utf-8", "replace")
                raise self._transport.session.with_call_details(
                    call, ResponseDecodeError(_NULL_ROWS, path=f"$.{shape.rows}", body=text)
                )
            rows = []
        return PageResponse(
            rows,
            list(map(self._identity, rows)),
            total,
            total is not None and (shape.capped is None or getattr(envelope, shape.capped) is False),
            getattr(envelope, shape.size) if shape.size else None,
            body,
            request,
            call.attempts,
        )
