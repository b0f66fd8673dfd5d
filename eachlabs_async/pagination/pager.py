"""Owns the walking of a listing: asking ahead, keeping order, dropping doubles, cleaning up.

It refuses to decide where a walk stands or ends (`rules` does) and to retry (`transport` does). No `yield` stands
inside a task group or a time-out scope; the only tasks are those of single pages, and the walk's own `finally` ends
them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from operator import attrgetter
from types import TracebackType
from typing import Any, Final, Generic, Self, TypeVar
from weakref import ref

from ..errors import EachLabsError, PaginationError, ResponseDecodeError
from ..transport.arguments import checked_callback, checked_count
from ..transport.call import Call
from ..transport.endpoints import Endpoint
from ..transport.tasks import Interruptible, cancel_and_wait, is_running
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
R = TypeVar("R")

_NULL_ROWS: Final = "expected an array, found null (null rows are an empty page only where the total is 0)"


class Pager(Generic[T]):
    """A listing to be walked; making one does no I/O, and it is walked once.

    `async for row in pager` gives rows. Use `async with pager as rows:` or `await pager.aclose()` where you may
    leave the loop early with `look_ahead` on: then nothing is left running when you go on. `stats` tells at any time
    what the walk did so far.
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
        self._page: CurrentPage | None = None
        self._identity: Callable[[T], str] = attrgetter(endpoint.page.identity)
        self._walked = False
        self._in_block = False
        self._generator: Callable[[], AsyncGenerator[Any, None] | None] | None = None
        self._awaited = Interruptible("the walk was closed while a row was awaited")
        self._ahead: dict[Any, tuple[asyncio.Task[PageResponse[T]], int]] = {}
        self._answered: tuple[Any, int] | None = None  # the last request that was answered, and its tries
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
        return self._claim(self._rows())

    def pages(self) -> AsyncIterator[Page[T]]:
        """Walk the pages; `max_rows` cuts the last one."""
        return self._claim(self._pages())

    async def first(self) -> T | None:
        """Give the first row, None if the listing is empty: one request, with the limit given; two with `snapshot`."""
        self._look_ahead = 0
        async with aclosing(self._claim(self._pages())) as pages:
            async for page in pages:
                return page.rows[0]
        return None

    async def collect(self, max_rows: int | None = None) -> list[T]:
        """Give all rows as a list, `max_rows` at most. An error carries the rows that came as `error.partial`."""
        if max_rows is not None:
            checked = checked_count("max_rows", max_rows)
            self._max_rows = checked if self._max_rows is None else min(self._max_rows, checked)
        rows: list[T] = []
        try:
            async with aclosing(self._claim(self._pages())) as pages:
                async for page in pages:
                    rows += page.rows
        except EachLabsError as exc:
            exc.partial = rows
            raise
        return rows

    async def __aenter__(self) -> Self:
        self._in_block = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """End the walk now: what was asked for is cancelled, and gone when this returns."""
        self._walked = True
        walk = self._generator() if self._generator is not None else None
        if walk is not None and is_running(walk):
            await self._awaited.end()  # Another task awaits a row: it must not take this end for the listing's.
        elif walk is not None:
            await walk.aclose()
        await self._drop(list(self._ahead))

    # ---- the walk

    def _claim(self, walk: AsyncGenerator[R, None]) -> AsyncGenerator[R, None]:
        if self._walked:
            raise RuntimeError("a Pager is walked once: make a new one with list()")
        self._walked = True
        # Weak outside of a block: a loop left by `break` then lets the generator go, and its clean-up starts at once.
        self._generator = (lambda: walk) if self._in_block else ref(walk)
        return walk

    async def _rows(self) -> AsyncGenerator[T, None]:
        async with aclosing(self._pages(whole=False)) as pages:
            async for page in pages:
                current = self._page
                assert current is not None
                for row in page.rows:
                    current.delivered += 1
                    yield row
                del page, current  # See `pages`.

    async def _pages(self, *, whole: bool = True) -> AsyncGenerator[Page[T], None]:
        """Walk the pages; one counts as done when it is handed out if it is handed out `whole`."""
        if self._max_rows == 0:
            return
        stats, number = self.stats, 0
        try:
            if self._pin is not None:
                await self._awaited.result(self._pin(self._filters))
            async with aclosing(self._steps()) as steps:
                async for step in steps:
                    read, rows, ids = step.read, step.read.rows, step.read.ids
                    if len(step.fresh) < len(rows):
                        rows, ids = [rows[at] for at in step.fresh], [ids[at] for at in step.fresh]
                    current = self._page = CurrentPage(step.offset, step.fresh, ids, rows)
                    stats.rows += len(rows)
                    if self._on_progress is not None:
                        self._on_progress(stats)
                    if rows:
                        number += 1
                        if whole:
                            current.delivered = len(rows)
                        yield Page(
                            rows=rows,
                            number=number,
                            offset=step.offset,
                            requested=step.request.size,
                            total=read.total,
                            total_is_exact=read.exact,
                            raw=read.raw,
                        )
                    self._mark_delivered(step, current)
                    self._page = None
                    # Gone before the next page comes, which then takes this one's place in memory and in the caches.
                    del step, read, rows, ids, current
        except EachLabsError as exc:
            if isinstance(exc, PaginationError) and exc.method is None and self._answered is not None:
                call = self._call(self._answered[0])  # Like the one that was answered; who raised it did not know it.
                call.attempts = self._answered[1]
                self._transport.session.with_call_details(call, exc)
            exc.checkpoint = self.checkpoint
            raise
        finally:
            await self._drop(list(self._ahead))

    async def _steps(self) -> AsyncGenerator[PageStep[T], None]:
        """Take one page after the other, asking ahead for those that follow."""
        walk = self._walk
        requests, ended = walk.next_requests(self._look_ahead), False
        while not ended:
            request, search = requests[0], walk.search
            read, asked_at = await self._answer(requests)
            taken = walk.take(request, asked_at, read.ids, read.total, exact=read.exact, stated_size=read.stated_size)
            requests = walk.next_requests(self._look_ahead)
            if taken is None:
                await self._keep(requests if walk.search == search else [])
                continue
            fresh, ended = self._cut(taken.fresh, taken.ended)
            await self._prepare([] if ended else requests)
            # A page that `max_rows` cut short is not done: then the place is behind its last row.
            place = walk.position.place if fresh is taken.fresh else request.offset + fresh[-1] + 1
            yield PageStep(read, request, fresh, request.offset, place)
            del taken, fresh, read

    def _cut(self, fresh: list[int], ended: bool) -> tuple[list[int], bool]:
        """Cut the rows of a page to those that `max_rows` still allows, and say whether the walk ends with them."""
        if self._max_rows is None or self.stats.rows + len(fresh) < self._max_rows:
            return fresh, ended
        left = self._max_rows - self.stats.rows
        return (fresh if left == len(fresh) else fresh[:left]), True

    async def _prepare(self, requests: Sequence[Any]) -> None:
        """Ask for what follows while a page is handed out, and drop what does not."""
        if self._look_ahead:
            await self._keep(requests[: self._look_ahead])
            self._request_ahead(requests[: self._look_ahead])

    def _mark_delivered(self, step: PageStep[T], current: CurrentPage) -> None:
        """Note that all rows of a page that were wanted are out."""
        self._walk.mark_delivered(current.ids)
        self._place = step.place

    async def _answer(self, requests: Sequence[Any]) -> tuple[PageResponse[T], int]:
        """Wait for the answer to the first of `requests`, with the others on their way; and when it was asked for."""
        self._awaited.check()
        self._request_ahead(requests[1:])
        wanted, asked_at = requests[0], self._walk.taken
        if wanted not in self._ahead:
            read = await self._awaited.result(self._fetch(wanted))
            self._answered = wanted, read.attempts
            return read, asked_at
        task, asked_at = self._ahead[wanted]
        read = await self._awaited.result(task)
        self._ahead.pop(wanted, None)
        self._answered = wanted, read.attempts
        return read, asked_at

    def _request_ahead(self, requests: Sequence[Any]) -> None:
        for request in requests:
            if request not in self._ahead:
                self._ahead[request] = asyncio.create_task(self._fetch(request)), self._walk.taken

    async def _keep(self, requests: Sequence[Any]) -> None:
        """Drop what nobody wants any more before more is asked for: both together would be beyond the look-ahead."""
        if stale := [request for request in self._ahead if request not in requests]:
            await self._drop(stale)

    async def _drop(self, requests: Sequence[Any]) -> None:
        tasks = [self._ahead[request][0] for request in requests if request in self._ahead]
        if tasks:
            # They stay listed until they have ended, so that whoever else ends the walk meanwhile waits for them too.
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
        envelope = await self._transport.read(call, body, self._endpoint.answer)
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
