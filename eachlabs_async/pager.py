"""Owns the walking of a listing: asking ahead, keeping order, dropping doubles, cleaning up.

It refuses to decide where a walk stands or ends (`_paging` does) and to retry (`_session` does). No `yield` stands
inside a task group or a time-out scope; the only tasks are those of pages asked for ahead, and the walk's own
`finally` ends them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing
from operator import attrgetter
from types import TracebackType
from typing import Any, Final, Generic, Literal, Self, TypedDict, TypeVar
from weakref import ReferenceType, ref

from attrs import define, field, frozen

from ._arguments import checked_count
from ._paging import (
    WINDOW_ROWS,
    Ask,
    Facts,
    Mark,
    Verdict,
    Window,
    adjoins,
    advance,
    begin,
    plan,
)
from ._session import Transport
from ._tasks import end
from ._wire import MAX_BODY_TEXT, query
from .endpoints import Endpoint
from .errors import EachLabsError, ResponseDecodeError

T = TypeVar("T")
R = TypeVar("R")

Drift = Literal["dedupe"]
DRIFT_MODES: Final = ("dedupe",)


@frozen(kw_only=True, eq=False)
class Page(Generic[T]):
    """One page of a walk.

    `rows` are the rows that did not come before, `number` counts the pages handed out from 1, `offset` is the
    position of the page's first row in the listing, `requested` the rows asked for. `total` is what the page
    states, None where it states none, and only a count if `total_is_exact`, else a lower bound. `raw` is the
    body as it came.
    """

    rows: list[T]
    number: int
    offset: int
    requested: int
    total: int | None
    total_is_exact: bool
    raw: bytes = field(repr=False)


@define
class WalkStats:
    """What a walk did so far; the object is kept up to date while the walk goes on.

    `requests` counts pages asked for, `rows` those handed out, `duplicates` rows dropped because they came
    before, `longest_page` rows in the longest answer; `total` is the last that was stated.
    """

    requests: int = 0
    rows: int = 0
    duplicates: int = 0
    longest_page: int = 0
    total: int | None = None
    total_is_exact: bool = False


class WalkOptions(TypedDict, total=False):
    """What every `list` takes besides its filters.

    `max_rows` bounds the walk (None: all rows). `look_ahead` is how many pages, at most, are asked for while one is
    in hand. `on_progress` is called with the walk's stats after each page. `drift="dedupe"` drops rows that come
    twice because others were inserted before them meanwhile.
    """

    max_rows: int | None
    look_ahead: int
    on_progress: Callable[[WalkStats], object] | None
    drift: Drift


@frozen
class _Read(Generic[T]):
    """An answer, decoded: what came for one `Ask`."""

    rows: list[T]
    ids: list[str]
    total: int | None
    exact: bool
    stated_size: int | None
    raw: bytes


class Pager(Generic[T]):
    """A listing to be walked; making one does no I/O, and it is walked once.

    `async for row in pager` gives rows. Use `async with pager as rows:` or `await pager.aclose()` where you may
    leave the loop early with `look_ahead` on: then nothing is left running when you go on.
    """

    def __init__(
        self,
        transport: Transport,
        endpoint: Endpoint,
        path: str,
        filters: Mapping[str, object],
        *,
        start: int,
        size: int,
        walk: WalkOptions,
    ) -> None:
        assert endpoint.page is not None
        unknown = walk.keys() - WalkOptions.__annotations__.keys()
        if unknown:
            raise TypeError(f"list() has no argument {min(unknown)!r}")
        max_rows = walk.get("max_rows")
        drift = walk.get("drift", "dedupe")
        if drift not in DRIFT_MODES:
            raise ValueError(f"drift must be one of {', '.join(DRIFT_MODES)}, not {drift!r}")
        self._transport = transport
        self._endpoint = endpoint
        self._shape = endpoint.page
        self._path = path
        self._filters = query(filters)
        self._max_rows = None if max_rows is None else checked_count("max_rows", max_rows)
        self._look_ahead = checked_count("look_ahead", walk.get("look_ahead", 0))
        self._on_progress = walk.get("on_progress")
        self._standing = begin(start, size, ahead=self._look_ahead > 0)
        self._identity: Callable[[T], str] = attrgetter(endpoint.page.identity)
        self._walked = False
        # Weak: a loop left by `break` then lets the generator go, and its clean-up starts at once.
        self._walk: ReferenceType[AsyncGenerator[Any, None]] | None = None
        self._ahead: dict[Ask, tuple[asyncio.Task[_Read[T]], int]] = {}
        self.stats = WalkStats()

    def __repr__(self) -> str:
        return f"<Pager of {self._endpoint.name}: {self.stats.rows} rows so far>"

    # ---- ways to walk

    def __aiter__(self) -> AsyncIterator[T]:
        """Walk the rows, in the listing's order."""
        return self._claim(self._rows())

    def pages(self) -> AsyncIterator[Page[T]]:
        """Walk the pages; `max_rows` cuts the last one."""
        return self._claim(self._pages())

    async def first(self) -> T | None:
        """Give the first row, None if the listing is empty: one request, with the limit that was given."""
        self._look_ahead = 0
        async with aclosing(self._claim(self._pages())) as pages:
            async for page in pages:
                if page.rows:
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
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """End the walk now: what was asked for ahead is cancelled, and gone when this returns."""
        walk = self._walk() if self._walk is not None else None
        if walk is not None:
            await walk.aclose()
        await self._drop(list(self._ahead))

    # ---- the walk

    def _claim(self, walk: AsyncGenerator[R, None]) -> AsyncGenerator[R, None]:
        if self._walked:
            raise RuntimeError("a Pager is walked once: make a new one with list()")
        self._walked = True
        self._walk = ref(walk)
        return walk

    async def _rows(self) -> AsyncGenerator[T, None]:
        async with aclosing(self._pages()) as pages:
            async for page in pages:
                for row in page.rows:
                    yield row

    async def _pages(self) -> AsyncGenerator[Page[T], None]:
        if self._max_rows == 0:
            return
        shape, stats = self._shape, self.stats
        window = Window(WINDOW_ROWS + (self._look_ahead + 2) * max(shape.largest, self._standing.size))
        mark: Mark | None = None
        number = taken = 0
        try:
            while True:
                asks = plan(shape, self._standing, self._look_ahead, self._max_rows)
                read, asked_at = await self._answer(asks, taken)
                ask, ids = asks[0], read.ids
                # Rows before the start are there because page numbers count whole pages.
                early = max(0, self._standing.start - ask.offset)
                fresh = window.unseen(ids[early:] if early else ids)
                facts = Facts(len(ids), len(fresh), read.total, read.exact, read.stated_size)
                stats.longest_page = max(stats.longest_page, len(ids))
                if asked_at < taken and mark is not None and not adjoins(mark, ask, facts, ids):
                    continue  # Rows moved between two answers that were asked for at once: read the gap again.
                verdict, self._standing = advance(shape, self._standing, ask, facts)
                if verdict is Verdict.AGAIN:
                    continue
                window.add(ids)
                mark = Mark(self._standing.place, read.total if read.exact else None, frozenset(ids))
                taken += 1
                rows = read.rows[early:] if early else read.rows
                if len(fresh) < len(rows):
                    stats.duplicates += len(rows) - len(fresh)
                    rows = [rows[position] for position in fresh]
                ended = verdict is Verdict.END
                if self._max_rows is not None and stats.rows + len(rows) >= self._max_rows:
                    rows, ended = rows[: self._max_rows - stats.rows], True
                stats.rows += len(rows)
                stats.total, stats.total_is_exact = self._standing.total, self._standing.exact
                if not ended:
                    self._ask_ahead(plan(shape, self._standing, self._look_ahead - 1, self._max_rows), taken)
                else:
                    await self._drop(list(self._ahead))
                if self._on_progress is not None:
                    self._on_progress(stats)
                if rows:
                    number += 1
                    yield Page(
                        rows=rows,
                        number=number,
                        offset=ask.offset,
                        requested=ask.size,
                        total=read.total,
                        total_is_exact=read.exact,
                        raw=read.raw,
                    )
                if ended:
                    return
        finally:
            await self._drop(list(self._ahead))

    async def _answer(self, asks: list[Ask], taken: int) -> tuple[_Read[T], int]:
        """Wait for the answer to the first of `asks`, keeping the others on their way; and when it was asked for."""
        wanted = asks[0]
        stale = [ask for ask in self._ahead if ask not in asks]
        if stale:
            await self._drop(stale)
        self._ask_ahead(asks[1:], taken)
        asked = self._ahead.pop(wanted, None)
        if asked is None:
            return await self._fetch(wanted), taken
        task, asked_at = asked
        try:
            return await task, asked_at
        except asyncio.CancelledError:
            await end([task])
            raise

    def _ask_ahead(self, asks: list[Ask], taken: int) -> None:
        if self._look_ahead == 0:
            return
        for ask in asks:
            if ask not in self._ahead:
                self._ahead[ask] = asyncio.create_task(self._fetch(ask)), taken

    async def _drop(self, asks: list[Ask]) -> None:
        tasks = [self._ahead.pop(ask)[0] for ask in asks if ask in self._ahead]
        if tasks:
            await end(tasks)

    async def _fetch(self, ask: Ask) -> _Read[T]:
        shape = self._shape
        self.stats.requests += 1
        window = (
            f"limit={ask.size}&offset={ask.offset}"
            if shape.dialect == "offset"
            else f"page={ask.number}&size={ask.size}"
        )
        call = self._transport.call(
            self._endpoint,
            self._path,
            f"{self._filters}&{window}" if self._filters else window,
            crowd=self._look_ahead > 0,
        )
        body = await self._transport.send(call)
        envelope = self._transport.decoded(call, body, self._endpoint.answer)
        rows: list[T] | None = getattr(envelope, shape.rows)
        total: int | None = getattr(envelope, shape.total) if shape.total else None
        if total is not None and total < 0:
            total = None
        if rows is None:
            if total != 0:
                raise self._transport.settled(
                    call,
                    ResponseDecodeError(
                        "expected an array, found null (null rows are an empty page only where the total is 0)",
                        path=f"$.{shape.rows}",
                        body=body[:MAX_BODY_TEXT].decode("utf-8", "replace"),
                    ),
                )
            rows = []
        return _Read(
            rows,
            list(map(self._identity, rows)),
            total,
            total is not None and (shape.capped is None or getattr(envelope, shape.capped) is False),
            getattr(envelope, shape.size) if shape.size else None,
            body,
        )
