"""Walking a listing page by page over the network: requests, look-ahead, and delivery of rows.

`Engine` decides what to request next and which rows of an answer are new, `checkpoint` reads and writes the text that a
walk resumes from, and the transport sends the requests. An answer that was requested ahead is kept until its turn.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from functools import partial
from typing import Any, Final, Literal, TypeVar, cast

from ..codec.strict import kind_of_rows
from ..codec.undecoded_row import UndecodedRow
from ..errors import EachLabsError, NotFoundError, PaginationError
from ..transport.arguments import checked_callback, checked_count
from ..transport.call import Call
from ..transport.endpoints import Endpoint
from ..transport.stream import NOTHING, Nothing
from ..transport.tasks import cancel_and_wait
from ..transport.transport import Transport
from ..transport.wire import query
from .checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from .engine import Engine
from .exports import Exports
from .known_rows import keys_of
from .page_events import page_reporter
from .pages import CurrentPage, Page, PageResponse, PageStep, UnreadableRow, WalkOptions, check_names
from .walk_values import DRIFT_MODES, Answer, Drift, Request

T = TypeVar("T")

_GO_ON: Final = "Pass on_unreadable=... to go on without such rows"
MAX_MISSING: Final = 8
"""Pages in a row that may be refused with a 404 behind the last page, at most."""


class Pager(Exports[T]):
    """A listing to iterate over. Creating a pager does no I/O. It can be iterated once.

    `async for row in pager` yields rows. If you may leave the loop early with `look_ahead` on, use
    `async with pager as rows:` or `await pager.aclose()`, so that no request is left running. After a cancelled wait,
    such as `asyncio.wait_for(anext(rows), 1)`, the next one continues the walk. `stats` can be read at any time.
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
        check_names(walk, [*filters, *(named or {})], by_number=endpoint.page.dialect == "page")
        if (drift := walk.get("drift", "resync")) not in DRIFT_MODES:
            raise ValueError(f"drift must be one of {', '.join(DRIFT_MODES)}, not {drift!r}")
        max_rows, resume = walk.get("max_rows"), walk.get("resume")
        self._transport = transport
        self._endpoint = endpoint
        self._shape = endpoint.page
        self._path = path
        self._record_class = kind_of_rows(endpoint.response, endpoint.page.rows)
        self._filters = dict(filters)
        self._named = dict(named or {})
        self._max_rows = None if max_rows is None else checked_count("max_rows", max_rows)
        self._look_ahead = checked_count("look_ahead", walk.get("look_ahead", 0))
        self._on_progress = page_reporter(transport.session.hooks, endpoint.name, walk.get("on_progress"))
        self._on_unreadable = checked_callback("on_unreadable", walk.get("on_unreadable"))
        self._pin = pin
        self._drift: Drift = drift
        checkpoint = None
        if resume is not None:
            checkpoint, self._filters = read_checkpoint(
                resume, endpoint.name, self._edition, self._filters | self._named
            )
            self._filters = {name: self._filters[name] for name in filters}
            if checkpoint.anchors:
                self._pin = None  # The checkpoint has the pinned filter once a row was delivered.
            if start not in (0, checkpoint.start):
                raise ValueError(
                    f"resume is the checkpoint of a walk from row {checkpoint.start}, not from row {start}"
                )
        self._resumed = checkpoint
        self._start = start if checkpoint is None else checkpoint.start
        self._size = size
        self._engine = Engine(
            dialect=self._shape.dialect,
            largest=self._shape.largest,
            start=start,
            limit=size,
            drift=drift,
            look_ahead=self._look_ahead,
            max_rows=self._max_rows,
            resume=checkpoint,
        )
        self._delivered = 0  # rows delivered of the page that was accepted last
        self._page: CurrentPage[T] | None = None
        self._number = 0  # pages delivered
        self._step: PageStep[T] | None = None  # accepted, but not the current page yet
        self._source: AsyncGenerator[None, None] | None = None
        self._ended = max_rows == 0
        self._wait_cancelled = False  # a wait was cancelled
        self._stepping: asyncio.Task[bool] | None = None
        self._ahead: dict[Any, asyncio.Task[PageResponse[T]] | PageResponse[T]] = {}
        self._answered: tuple[Any, int] | None = None  # the last answered request and its attempts
        self.stats = self._engine.stats

    def __repr__(self) -> str:
        return f"<Pager of {self._endpoint.name}: {self.stats.rows} rows so far>"

    @property
    def _edition(self) -> str | None:
        """The edition that a checkpoint is bound to, or None if it is bound to no edition."""
        return self._transport.session.hosts.edition

    @property
    def checkpoint(self) -> str:
        """The state of the walk as short text, for `list(..., resume=checkpoint)`.

        It can be read at any time; the row delivered last counts as done. Resuming neither misses nor repeats a row,
        even after a crash or if rows were inserted meanwhile.
        """
        return write_checkpoint(self._endpoint.name, self._edition, self._filters | self._named, self._checkpoint_at())

    def _checkpoint_at(self) -> Checkpoint:
        if self._step is not None:
            return self._engine.checkpoint(0)  # It was accepted, and is not the current page yet.
        return self._engine.checkpoint(self._delivered if self._page is None else self._page.delivered)

    # ---- ways to walk

    def __aiter__(self) -> AsyncIterator[T]:
        """Iterate over the rows, in the order of the listing."""
        return self._iterate(self._take_row)

    def pages(self) -> AsyncIterator[Page[T]]:
        """Iterate over the pages. `max_rows` may shorten the last one."""
        return self._iterate(self._take_page)

    async def first(self) -> T | None:
        """Return the first row, or None if the listing is empty. Sends one request (two with `snapshot=True`)."""
        self._look_ahead = self._engine.look_ahead = 0
        async with aclosing(self._iterate(self._take_row)) as rows:
            async for row in rows:
                return row
        return None

    async def collect(self, max_rows: int | None = None) -> list[T]:
        """Return all rows as a list, at most `max_rows`. An error carries the rows before it as `error.partial`."""
        if max_rows is not None:
            checked = checked_count("max_rows", max_rows)
            self._max_rows = checked if self._max_rows is None else min(self._max_rows, checked)
            self._engine.max_rows, self._ended = self._max_rows, self._max_rows == 0
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
        while page is not None and page.delivered < len(page.rows):
            row = page.rows[page.delivered]
            page.delivered += 1
            if not isinstance(row, UndecodedRow):
                return row
            self._report_unreadable(row, page.offset + page.delivered - 1)
        return NOTHING

    def _take_page(self) -> Page[T] | Literal[Nothing.NOTHING]:
        page = self._page
        rows = [] if page is None else self._take_readable(page)
        if page is None or not rows:
            return NOTHING
        response = page.step.response
        self._number += 1
        return Page(
            rows=rows,
            number=self._number,
            offset=page.offset,
            requested=page.step.request.size,
            total=response.total,
            total_is_exact=response.exact,
            raw=response.raw,
        )

    def _take_readable(self, page: CurrentPage[T]) -> list[T]:
        """Take the readable rows of a page; without a callback only those before the next unreadable one."""
        rows: list[T] = []
        if page.step.response.readable:
            rows = rows if page.delivered else cast("list[T]", page.rows)
            page.delivered = len(page.rows)
            return rows
        for at in range(page.delivered, len(page.rows)):
            row = page.rows[at]
            if not isinstance(row, UndecodedRow):
                rows.append(row)
                continue
            if self._on_unreadable is None:
                page.delivered = at if rows else at + 1
                if rows:
                    return rows
            self._report_unreadable(row, page.offset + at)
        page.delivered = len(page.rows)
        return rows

    def _report_unreadable(self, row: UndecodedRow, position: int) -> None:
        """Call `on_unreadable` with a row of the listing, or raise the row's error."""
        self.stats.unreadable += 1
        if self._on_unreadable is not None:
            self._on_unreadable(UnreadableRow.of(row, position))
            return
        row.error.message += f". {_GO_ON}"
        row.error.checkpoint = self.checkpoint
        raise row.error

    async def _advance(self) -> None:
        if self._page is not None:
            self._mark_delivered(self._page)
            # Free this page before the next one is decoded, so that the memory is reused.
            self._page = None
        try:
            if self._step is None or self._stepping is not None:
                await self._next_step()
        except EachLabsError as exc:
            if isinstance(exc, PaginationError) and exc.method is None and self._answered is not None:
                call = self._call(self._answered[0])  # A reconstruction of the answered call, for its method and URL.
                call.attempts = self._answered[1]
                self._transport.session.with_call_details(call, exc)
            exc.checkpoint = self.checkpoint
            raise
        step, self._step = self._step, None
        assert step is not None
        rows, ids = step.response.rows, step.response.ids
        if len(step.fresh) < len(rows):
            rows, ids = [rows[at] for at in step.fresh], [ids[at] for at in step.fresh]
        self._page = CurrentPage(step, ids, rows)
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
        if self._wait_cancelled:
            self._stepping = self._stepping or asyncio.create_task(self._step_once(self._source))
            await asyncio.wait([self._stepping])
            stepping, self._stepping = self._stepping, None
            if not stepping.result():
                raise StopAsyncIteration
            return
        try:
            await anext(self._source)
        except asyncio.CancelledError:
            # The cancellation ended the generator. The walk has the state, so a new generator can continue it. That one
            # runs in tasks that outlive the waits, because an answer may take longer than any single wait.
            self._source, self._wait_cancelled = None, True
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
        """Set `_step` to one accepted page after the other, and request the following pages ahead."""
        engine = self._engine
        requests, missing = engine.requests(), 0
        while not self._ended:
            request = requests[0]
            try:
                response = await self._answer(requests)
                missing = 0
            except NotFoundError:
                missing += 1
                if request.offset <= self._start or missing > MAX_MISSING:
                    raise
                # Behind the last page this means an empty page: the engine reads the end of the listing again.
                self._ahead[request] = response = PageResponse[T]([], [], None, False, None, b"", request, 1)
            answer = Answer(response.ids, response.total, response.exact, response.stated_size)
            accepted = engine.accept(request, answer)
            requests = engine.requests() if accepted is None or not accepted.ended else []
            if accepted is None:
                await self._keep_only(requests)
                continue
            del self._ahead[request]
            self._ended = accepted.ended
            offset = request.offset + next(iter(accepted.positions), 0)
            self._step = PageStep(response, request, accepted.positions, offset)
            del accepted, response, answer
            await self._request_next(requests)
            yield

    async def _request_next(self, requests: Sequence[Any]) -> None:
        """Request the following pages while a page is delivered, and cancel requests that are no longer needed."""
        if self._look_ahead:
            await self._keep_only(requests[: self._look_ahead])
            self._request_ahead(requests[: self._look_ahead])

    def _mark_delivered(self, page: CurrentPage[T]) -> None:
        """Record that all rows of a page were delivered."""
        self._delivered = len(page.rows)

    async def _answer(self, requests: Sequence[Any]) -> PageResponse[T]:
        """Return the answer to the first of `requests`. The others are sent meanwhile.

        The answer is kept until `_keep_only` or the caller drops it, because the engine may want it again.
        """
        self._request_ahead(requests[1:])
        wanted = requests[0]
        answer = self._ahead.get(wanted)
        if answer is None:
            response = await self._fetch(wanted)
            self._ahead[wanted] = response
        else:
            response = answer if isinstance(answer, PageResponse) else await answer
        self._answered = wanted, response.attempts
        return response

    def _request_ahead(self, requests: Sequence[Any]) -> None:
        for request in requests:
            if request not in self._ahead:
                self._ahead[request] = asyncio.create_task(self._fetch(request))

    async def _keep_only(self, requests: Sequence[Any]) -> None:
        """Cancel all other requests, before more are sent: both together would exceed the look-ahead."""
        if stale := [request for request in self._ahead if request not in requests]:
            await self._drop(stale)

    async def _drop(self, requests: Sequence[Any]) -> None:
        answers = [self._ahead[request] for request in requests if request in self._ahead]
        tasks = [answer for answer in answers if isinstance(answer, asyncio.Task)]
        if tasks:
            # Remove them only once they have ended, so that `_stop` waits for them too.
            await cancel_and_wait(tasks)
        for request in requests:
            self._ahead.pop(request, None)

    def _call(self, request: Request) -> Call:
        words, by_offset = self._shape.words, self._shape.dialect == "offset"
        window = (
            f"limit={request.size}&offset={request.offset}"
            if by_offset
            else f"page={request.number}&size={request.size}"
        )
        filters = query({words.get(name, name): value for name, value in self._filters.items()})
        window = f"{filters}&{window}" if filters else window
        return self._transport.call(self._endpoint, self._path, window, background=self._look_ahead > 0)

    async def _fetch(self, request: Request) -> PageResponse[T]:
        self.stats.requests += 1
        call, shape = self._call(request), self._shape
        kind, decoder = self._endpoint.response, self._transport.decoder
        decode = partial(decoder.decode_page, call, kind, rows=shape.rows, identity=shape.identity)
        body, (envelope, rows, readable) = await self._transport.receive(call, decode)
        total: int | None = getattr(envelope, shape.total) if shape.total else None
        if total is not None and total < 0:
            total = None
        return PageResponse(
            rows or [],
            keys_of(rows or [], shape.identity, unique=shape.unique, readable=readable),
            total,
            total is not None and (shape.capped is None or getattr(envelope, shape.capped) is False),
            getattr(envelope, shape.size) if shape.size else None,
            body,
            request,
            call.attempts,
            readable=readable,
        )
