"""Owns the splitting of a time span into windows, and walking several of them at once.

Deep offsets are slow on real databases; a window keeps them shallow, and windows can be walked side by side, by one
process or by many. The room refuses to know what a row is beyond its `created_at`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, Final, Generic, Protocol, Self, TypeVar
from weakref import ref

from attrs import define, field, frozen

from ..transport.tasks import cancel_and_wait, gather_or_cancel, is_running
from .pager import Pager

_MARGIN: Final = timedelta(seconds=1)
_SHORTEST: Final = timedelta(seconds=1)
_BUFFERED_PAGES: Final = 2
_COUNTS_PER_PART: Final = 8
_SAMPLES_PER_PART: Final = 4
_FIRST: Final = datetime.min.replace(tzinfo=UTC) + _MARGIN
_LAST: Final = datetime.max.replace(tzinfo=UTC) - _MARGIN


class Created(Protocol):
    """A row that knows when it was created."""

    @property
    def created_at(self) -> datetime | None:
        """When the row was created, in UTC."""
        ...


R = TypeVar("R", bound=Created)


@frozen
class Window:
    """A part of a time span, `since <= created_at < until`, with the filters of its listing; a small picklable value.

    `rows` is about how many rows it had when it was made, None where the service would not count them.
    """

    since: datetime
    until: datetime
    filters: dict[str, str] = field(factory=dict[str, str])
    rows: int | None = None

    def holds(self, row: Created) -> bool:
        """Say whether a row belongs to this window; one without a time does."""
        return row.created_at is None or self.since <= row.created_at < self.until

    @property
    def wider(self) -> tuple[datetime, datetime]:
        """The span to ask for, a second wider on each side: nobody says whether the service's ends are inclusive."""
        return max(self.since, _FIRST) - _MARGIN, min(self.until, _LAST) + _MARGIN


@define
class _Span:
    """A piece of the span while it is split, and its rows: None where the service only gave a lower bound."""

    since: datetime
    until: datetime
    rows: int | None

    @property
    def divisible(self) -> bool:
        return self.until - self.since >= 2 * _SHORTEST

    @property
    def cost(self) -> int:
        """How many counts it takes to halve the piece, see `_halved`."""
        return 2 if self.rows is None else 1

    @property
    def middle(self) -> datetime:
        half = self.since + (self.until - self.since) / 2
        return half.replace(microsecond=0) if self.until - self.since > 4 * _SHORTEST else half


async def split(
    since: datetime,
    until: datetime,
    parts: int,
    filters: dict[str, str],
    count: Callable[[datetime, datetime], Awaitable[int | None]],
) -> list[Window]:
    """Split a span into `parts` windows or fewer of about equal rows, oldest first.

    `count` gives the rows of a span, None where it does not know. Pieces with more than half a window's rows are
    halved until none is left (or the budget of counts is used up), and joined again to windows.
    """
    spans = [_Span(since, until, await count(since, until))]
    budget = _COUNTS_PER_PART * parts - 1
    while budget > 0:
        total = _total(spans)
        most = None if total is None else total / (2 * parts)
        large = [span for span in spans if span.divisible and (span.rows is None or (most or 0) < span.rows)]
        large.sort(key=_weight, reverse=True)
        while sum(span.cost for span in large) > budget:
            large.pop()
        if parts == 1 or not large:
            break
        budget -= sum(span.cost for span in large)
        halves = await gather_or_cancel(_halved(span, count) for span in large)
        for span, (older, newer) in zip(large, halves, strict=True):
            at = spans.index(span)
            spans[at : at + 1] = [older, newer]
    return [Window(span.since, span.until, filters, span.rows) for span in _joined(spans, parts)]


@frozen
class Sample:
    """The newest rows down from some time: how many, and down to when they reach."""

    rows: int
    since: datetime


async def split_by_density(
    since: datetime,
    until: datetime,
    parts: int,
    filters: dict[str, str],
    sample: Callable[[datetime], Coroutine[Any, Any, Sample]],
) -> list[Window]:
    """Split a span as `split` does, where nobody counts: `sample` shows how dense the rows are below a time.

    The span is sampled at the ends of equal pieces, four a part; each piece counts as full as its sample is dense.
    """
    if parts == 1:
        return [Window(since, until, filters, None)]
    pieces = _SAMPLES_PER_PART * parts
    cuts = {(since + (until - since) * number / pieces).replace(microsecond=0) for number in range(1, pieces)}
    ends = [*sorted(cut for cut in cuts if since < cut < until), until]
    samples = await gather_or_cancel(sample(newest) for newest in ends)
    spans: list[_Span] = []
    for begin, newest, found in zip([since, *ends], ends, samples, strict=False):
        seconds = (newest - found.since).total_seconds()
        share = min((newest - begin).total_seconds() / seconds, 1e6) if seconds > 0 else 1e6
        spans.append(_Span(begin, newest, round(found.rows * share)))
    return [Window(span.since, span.until, filters, None) for span in _joined(spans, parts)]


async def _halved(span: _Span, count: Callable[[datetime, datetime], Awaitable[int | None]]) -> tuple[_Span, _Span]:
    """Halve a piece, oldest first, with one count where that says both, else with two."""
    older = await count(span.since, span.middle)
    if span.rows is None:
        newer = await count(span.middle, span.until)
    else:
        older = None if older is None else min(older, span.rows)
        newer = None if older is None else span.rows - older
    return _Span(span.since, span.middle, older), _Span(span.middle, span.until, newer)


def _weight(span: _Span) -> float:
    """How much a piece wants halving: one that could not be counted more than any that could."""
    return float("inf") if span.rows is None else span.rows


def _total(spans: Sequence[_Span]) -> int | None:
    counts = [span.rows for span in spans]
    return None if None in counts else sum(rows or 0 for rows in counts)


def _joined(spans: Sequence[_Span], parts: int) -> list[_Span]:
    """Join neighbours until at most `parts` are left, each with about an equal share of the rows."""
    known = [span.rows for span in spans if span.rows is not None]
    # What could not be counted holds at least as much as anything that could.
    stand_in = max(known, default=1) or 1
    weights = [stand_in if span.rows is None else span.rows for span in spans]
    whole = sum(weights)
    joined: list[_Span] = []
    before, current = 0, -1
    for span, weight in zip(spans, weights, strict=True):
        # A piece goes to the share that its middle falls into.
        share = min(parts - 1, int((before + weight / 2) * parts / whole)) if whole else 0
        before += weight
        if share == current:
            last = joined[-1]
            rows = None if last.rows is None or span.rows is None else last.rows + span.rows
            joined[-1] = _Span(last.since, span.until, rows)
        else:
            joined.append(span)
        current = share
    return joined


class WindowWalk(Generic[R]):
    """Several windows walked at once; making one does no I/O, and it is walked once.

    Use `async with` or `aclose()` where you may leave the loop early.
    """

    def __init__(
        self,
        windows: Iterable[Window],
        make_pager: Callable[[Window], Pager[R]],
        *,
        concurrency: int,
        ordered: bool,
    ) -> None:
        chosen = list(windows)
        for one in chosen:
            if not isinstance(one, Window):
                raise TypeError(f"windows must hold Window objects, not {type(one).__name__}")
        self._windows = sorted(chosen, key=lambda window: window.since, reverse=True) if ordered else chosen
        self._make_pager = make_pager
        self._concurrency = concurrency
        self._ordered = ordered
        self._walked = False
        self._closed = False
        self._in_block = False
        self._generator: Callable[[], AsyncGenerator[R, None] | None] | None = None
        self._tasks: dict[asyncio.Task[None], None] = {}
        self._pages: dict[int, deque[list[R]]] = {}
        self._changed = asyncio.Event()
        self._taken = asyncio.Event()

    def __aiter__(self) -> AsyncIterator[R]:
        """Walk the rows of all windows."""
        if self._walked:
            raise RuntimeError("a WindowWalk is walked once: make a new one with walk_windows()")
        self._walked = True
        walk = self._rows()
        self._generator = (lambda: walk) if self._in_block else ref(walk)
        return walk

    async def __aenter__(self) -> Self:
        self._in_block = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """End the walk now: what is under way is cancelled, and gone when this returns."""
        self._walked = True
        walk = self._generator() if self._generator is not None else None
        if walk is not None and is_running(walk):
            self._closed = True  # Another task awaits a row: it must not take this end for the last window's.
            self._changed.set()
        elif walk is not None:
            await walk.aclose()
        await self._stop()

    async def _rows(self) -> AsyncGenerator[R, None]:
        waiting = deque(enumerate(self._windows))
        running: dict[int, asyncio.Task[None]] = {}
        try:
            while waiting or running:
                while waiting and len(running) < self._concurrency:
                    number, window = waiting.popleft()
                    self._pages[number] = deque()
                    running[number] = task = asyncio.create_task(self._walk_one(number, window))
                    self._tasks[task] = None
                self._changed.clear()  # Before the look: what comes while a row is out must be seen.
                # In order only the first may speak: the others wait with what they have.
                for number in [min(running)] if self._ordered else list(running):
                    pages = self._pages[number]
                    while pages:
                        rows = pages.popleft()
                        self._taken.set()
                        for row in rows:
                            yield row
                    task = running[number]
                    if task.done() and not pages:
                        del running[number], self._pages[number], self._tasks[task]
                        task.result()
                        break
                else:
                    await self._changed.wait()
                if self._closed:
                    raise RuntimeError("the walk was closed while a row was awaited")
        finally:
            await self._stop()

    async def _walk_one(self, number: int, window: Window) -> None:
        pages = self._pages[number]
        try:
            async with self._make_pager(window) as pager:
                async for page in pager.pages():
                    rows = [row for row in page.rows if window.holds(row)]
                    if rows:
                        pages.append(rows)
                        self._changed.set()
                    while not self._ordered and len(pages) >= _BUFFERED_PAGES:
                        self._taken.clear()
                        await self._taken.wait()
        finally:
            self._changed.set()

    async def _stop(self) -> None:
        tasks, self._tasks = list(self._tasks), {}
        await cancel_and_wait(tasks)
