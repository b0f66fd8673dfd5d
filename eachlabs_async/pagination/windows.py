"""Splitting a time span into windows, and walking several windows at once.

Deep offsets are slow on real databases. Windows keep offsets shallow, and they can be walked concurrently, by one
process or by several. Of the rows only `created_at` is used here; counting and listing them is left to the caller.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Generic, Literal, Protocol, TypeVar

from attrs import define, field, frozen

from ..transport.stream import NOTHING, Nothing, Stream
from ..transport.tasks import cancel_and_wait, gather_or_cancel
from .pager import Pager

_MARGIN: Final = timedelta(seconds=1)
_SHORTEST: Final = timedelta(seconds=1)
_BUFFERED_PAGES: Final = 2
_COUNTS_PER_PART: Final = 8
_SAMPLES_PER_PART: Final = 4
_EARLIEST: Final = datetime.min.replace(tzinfo=UTC) + _MARGIN
_LATEST: Final = datetime.max.replace(tzinfo=UTC) - _MARGIN


class Created(Protocol):
    """A row with a creation time."""

    @property
    def created_at(self) -> datetime | None:
        """When the row was created, in UTC; None if unknown."""
        ...


R = TypeVar("R", bound=Created)


@frozen
class Window:
    """A part of a time span, `since <= created_at < until`, with the filters of its listing. It can be pickled.

    `rows` is the approximate number of rows when the window was created, or None if the service did not count them.
    """

    since: datetime
    until: datetime
    filters: dict[str, str] = field(factory=dict[str, str])
    rows: int | None = None

    def holds(self, row: Created) -> bool:
        """Whether a row belongs to this window. A row without a time does."""
        return row.created_at is None or self.since <= row.created_at < self.until

    @property
    def wider(self) -> tuple[datetime, datetime]:
        """The span to request: a second wider on each side, because the service may exclude either end."""
        return max(self.since, _EARLIEST) - _MARGIN, min(self.until, _LATEST) + _MARGIN


@define
class _Span:
    """A piece of the span while it is split. `rows` is None if the service stated only a lower bound."""

    since: datetime
    until: datetime
    rows: int | None

    @property
    def divisible(self) -> bool:
        return self.until - self.since >= 2 * _SHORTEST

    @property
    def cost(self) -> int:
        """The number of counts needed to halve the piece, see `_halved`."""
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
    """Split a span into at most `parts` windows with about the same number of rows, oldest first.

    `count` returns the number of rows of a span, or None if unknown. Pieces with more than half a window's rows are
    halved until none is left (or 8 counts per part are used up). Neighboring pieces are then merged into windows.
    """
    spans = [_Span(since, until, await count(since, until))]
    budget = _COUNTS_PER_PART * parts - 1
    while budget > 0:
        total = _total(spans)
        most = None if total is None else total / (2 * parts)
        large = [span for span in spans if span.divisible and (span.rows is None or (most or 0) < span.rows)]
        large.sort(key=_priority, reverse=True)
        while sum(span.cost for span in large) > budget:
            large.pop()
        if parts == 1 or not large:
            break
        budget -= sum(span.cost for span in large)
        halves = await gather_or_cancel(_halved(span, count) for span in large)
        for span, (older, newer) in zip(large, halves, strict=True):
            at = spans.index(span)
            spans[at : at + 1] = [older, newer]
    return [Window(span.since, span.until, filters, span.rows) for span in _merged(spans, parts)]


@frozen
class Sample:
    """The newest rows up to some time: how many there are, and the creation time of the oldest of them."""

    rows: int
    since: datetime


async def split_by_density(
    since: datetime,
    until: datetime,
    parts: int,
    filters: dict[str, str],
    sample: Callable[[datetime], Coroutine[Any, Any, Sample]],
) -> list[Window]:
    """Split a span as `split` does, without counts: `sample` returns the newest rows up to a time.

    The span is sampled at the ends of equal pieces, four per part. Each piece is assumed to be as dense as its sample.
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
    return [Window(span.since, span.until, filters, None) for span in _merged(spans, parts)]


async def _halved(span: _Span, count: Callable[[datetime, datetime], Awaitable[int | None]]) -> tuple[_Span, _Span]:
    """Halve a piece, oldest first. The second count is needed only if the rows of the whole piece are unknown."""
    older = await count(span.since, span.middle)
    if span.rows is None:
        newer = await count(span.middle, span.until)
    else:
        older = None if older is None else min(older, span.rows)
        newer = None if older is None else span.rows - older
    return _Span(span.since, span.middle, older), _Span(span.middle, span.until, newer)


def _priority(span: _Span) -> float:
    """The priority for halving a piece: its rows, or infinity if they could not be counted."""
    return float("inf") if span.rows is None else span.rows


def _total(spans: Sequence[_Span]) -> int | None:
    counts = [span.rows for span in spans]
    return None if None in counts else sum(rows or 0 for rows in counts)


def _merged(spans: Sequence[_Span], parts: int) -> list[_Span]:
    """Merge neighboring pieces until at most `parts` are left, each with about an equal share of the rows."""
    known = [span.rows for span in spans if span.rows is not None]
    # A piece that could not be counted has at least as many rows as the largest counted one.
    assumed = max(known, default=1) or 1
    weights = [assumed if span.rows is None else span.rows for span in spans]
    whole = sum(weights)
    merged: list[_Span] = []
    before, current = 0, -1
    for span, weight in zip(spans, weights, strict=True):
        # A piece belongs to the share in which its middle lies.
        share = min(parts - 1, int((before + weight / 2) * parts / whole)) if whole else 0
        before += weight
        if share == current:
            last = merged[-1]
            rows = None if last.rows is None or span.rows is None else last.rows + span.rows
            merged[-1] = _Span(last.since, span.until, rows)
        else:
            merged.append(span)
        current = share
    return merged


class WindowWalk(Stream, Generic[R]):
    """An iterator over the rows of several windows, walked concurrently. Creating one does no I/O.

    It can be iterated once. Use `async with` or `aclose()` if you may leave the loop early.
    """

    def __init__(
        self,
        windows: Iterable[Window],
        make_pager: Callable[[Window], Pager[R]],
        *,
        concurrency: int,
        ordered: bool,
    ) -> None:
        super().__init__(
            reused="a WindowWalk is walked once: make a new one with walk_windows()",
            closed="the walk was closed while a row was awaited",
        )
        chosen = list(windows)
        for one in chosen:
            if not isinstance(one, Window):
                raise TypeError(f"windows must hold Window objects, not {type(one).__name__}")
        if ordered:
            chosen.sort(key=lambda window: window.since, reverse=True)
        self._waiting_windows = deque(enumerate(chosen))
        self._make_pager = make_pager
        self._concurrency = concurrency
        self._ordered = ordered
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._pages: dict[int, deque[list[R]]] = {}
        self._rows: deque[R] = deque()
        self._changed = asyncio.Event()
        self._page_consumed = asyncio.Event()

    def __aiter__(self) -> AsyncIterator[R]:
        """Iterate over the rows of all windows."""
        return self._iterate(self._take)

    def _take(self) -> R | Literal[Nothing.NOTHING]:
        return self._rows.popleft() if self._rows else NOTHING

    async def _advance(self) -> None:
        while self._waiting_windows and len(self._tasks) < self._concurrency:
            number, window = self._waiting_windows.popleft()
            self._pages[number] = deque()
            self._tasks[number] = asyncio.create_task(self._walk_one(number, window))
        if not self._tasks:
            raise StopAsyncIteration
        self._changed.clear()
        # Ordered, only the first window delivers rows; the other windows buffer theirs.
        for number in [min(self._tasks)] if self._ordered else self._tasks:
            pages, task = self._pages[number], self._tasks[number]
            if pages:
                self._rows.extend(pages.popleft())
                self._page_consumed.set()
                return
            if task.done():
                del self._tasks[number], self._pages[number]
                task.result()
                return
        await self._changed.wait()

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
                        self._page_consumed.clear()
                        await self._page_consumed.wait()
        finally:
            self._changed.set()

    async def _stop(self) -> None:
        tasks, self._tasks = list(self._tasks.values()), {}
        self._waiting_windows.clear()
        self._rows.clear()
        await cancel_and_wait(tasks)
