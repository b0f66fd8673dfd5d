"""Walking several windows at once, with a bounded buffer and one checkpoint for all of them.

A task per window reads pages into a queue, and waits while its queue holds the window's share of the buffer. The rows
are delivered from one queue at a time. A window's place in the checkpoint is that of the rows delivered: what the
buffer holds does not count.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from typing import Final, Generic, Literal, TypeVar

from attrs import define, field, frozen

from ..errors import EachLabsError
from ..records import Execution
from ..transport.stream import NOTHING, Nothing
from ..transport.tasks import cancel_and_wait
from .exports import Exports
from .known_rows import key_without_id, row_keys
from .pager import Pager
from .pages import UnreadableRow, WalkOptions, WalkStats
from .window_checkpoint import WindowPlace, WindowPlaces, read_places, sorted_windows
from .windows import Created, Window

R = TypeVar("R", bound=Created)

_PIECE_ROWS: Final = 100  # A page: smaller pieces would need more requests.
_REPORTED: Final = 10_000
_SUMMED: Final = ("requests", "duplicates", "steps_back", "drift_seen")


@frozen
class _Batch(Generic[R]):
    """The rows of a page that belong to the window, and the place after them."""

    rows: list[R]
    place: WindowPlace


@define(eq=False)
class _Walker(Generic[R]):
    """A window under way; `held` is the number of rows in its queue."""

    stats: WalkStats
    batches: deque[_Batch[R]] = field(factory=deque[_Batch[R]])
    held: int = 0
    released: asyncio.Event = field(factory=asyncio.Event)
    task: asyncio.Task[None] | None = None

    @property
    def reading(self) -> bool:
        return self.task is not None and not self.task.done()


class WindowWalk(Exports[R]):
    """An iterator over the rows of several windows, walked concurrently. Creating one does no I/O.

    It can be iterated once. Use `async with` or `aclose()` if you may leave the loop early. After a cancelled wait,
    such as `asyncio.wait_for(anext(rows), 1)`, the next one continues the walk.
    """

    _record_class = Execution
    _counts_unreadable = False

    def __init__(
        self,
        windows: Sequence[Window],
        make_pager: Callable[[Window, WalkOptions], Pager[R]],
        *,
        concurrency: int,
        ordered: bool,
        buffer_rows: int,
        walk: WalkOptions,
    ) -> None:
        super().__init__(
            reused="a WindowWalk is walked once: make a new one with walk_windows()",
            closed="the walk was closed while a row was awaited",
        )
        for one in windows:
            if not isinstance(one, Window):
                raise TypeError(f"windows must hold Window objects, not {type(one).__name__}")
        given = sorted_windows(windows)
        self._buffer_rows = buffer_rows
        self._share = max(1, buffer_rows // concurrency)
        resume = walk.get("resume")
        if resume is not None:
            self._places = read_places(resume, given)
        else:
            # Pieces that fit their share are read at the same time. A quarter is left for uneven densities.
            rows, share = max(_PIECE_ROWS, self._share * 3 // 4), max(_PIECE_ROWS, self._share)
            cuts = [window.pieces_of(rows) if ordered and (window.rows or 0) > share else 1 for window in given]
            self._places = WindowPlaces(given, cuts)
        self._make_pager = make_pager
        self._options = walk
        self._reported: dict[str, None] = {}  # unreadable rows without a time, which every window holds
        self._stats = WalkStats()
        pieces = self._places.pieces()
        for number, place in self._places.places.items():
            self._pager(pieces[number], place)  # This checks the checkpoint.
        self._waiting_windows = deque(each for each in enumerate(pieces) if each[0] not in self._places.done)
        self._concurrency = concurrency
        self._ordered = ordered
        self._max_rows = walk.get("max_rows")
        self._on_progress = walk.get("on_progress")
        self._walkers: dict[int, _Walker[R]] = {}
        self._current: int | None = None  # the window whose first batch is being delivered
        self._rows: list[R] = []  # that batch, or as much of it as `max_rows` allows
        self._delivered = 0  # rows delivered of it
        self._changed = asyncio.Event()
        self._ended_stats = WalkStats()  # those of the windows done
        counts = [window.rows for window in given]
        self._stats.total = None if None in counts else sum(count or 0 for count in counts)

    @property
    def stats(self) -> WalkStats:
        """The statistics of all windows together; the object is updated when a page is delivered and when this is read.

        `rows` counts rows of pages whose delivery has begun, `total` is the sum of the windows' `rows`, None if one of
        them is unknown. The other counts include the pages that are buffered.
        """
        parts = [self._ended_stats, *(walker.stats for walker in self._walkers.values())]
        for name in _SUMMED:
            setattr(self._stats, name, sum(getattr(part, name) for part in parts))
        self._stats.longest_page = max(part.longest_page for part in parts)
        return self._stats

    @property
    def checkpoint(self) -> str:
        """The state of the walk as JSON text, for `walk_windows(windows, resume=checkpoint)` with the same windows.

        It can be read at any time; the row delivered last counts as done. It lists the windows done and has a place in
        each of those under way. Resuming neither misses nor repeats a row.
        """
        if self._current is None or not self._delivered:
            return self._places.write({})
        return self._places.write({self._current: self._place_in_batch(self._current)})

    def _place_in_batch(self, number: int) -> WindowPlace:
        batch = self._walkers[number].batches[0]
        if self._delivered == len(batch.rows):
            return batch.place
        before = self._places.places.get(number, WindowPlace())
        return WindowPlace(before.checkpoint, before.keys.union(_keys(batch.rows)[: self._delivered]))

    def __aiter__(self) -> AsyncIterator[R]:
        """Iterate over the rows of all windows."""
        return self._iterate(self._take)

    def _take(self) -> R | Literal[Nothing.NOTHING]:
        if self._delivered == len(self._rows):
            return NOTHING
        row = self._rows[self._delivered]
        self._delivered += 1
        return row

    async def _advance(self) -> None:
        self._end_batch()
        left = None if self._max_rows is None else self._max_rows - self._stats.rows
        if left == 0:
            raise StopAsyncIteration
        while self._waiting_windows and self._has_room():
            self._start(*self._waiting_windows.popleft())
        if not self._walkers:
            raise StopAsyncIteration
        self._changed.clear()
        # Ordered, only the first window delivers rows; the other windows buffer theirs.
        for number in [min(self._walkers)] if self._ordered else self._walkers:
            walker = self._walkers[number]
            if walker.batches:
                self._current, self._rows = number, walker.batches[0].rows[:left]
                self._stats.rows += len(self._rows)
                stats = self.stats
                if self._on_progress is not None:
                    self._on_progress(stats)
                return
            assert walker.task is not None
            if walker.task.done():
                self._end_window(number, walker.task)
                return
        await self._changed.wait()

    def _has_room(self) -> bool:
        """Whether one more window may be read: one that was read to its end needs no more than the rows it holds."""
        walkers = self._walkers.values()
        if len(walkers) < self._concurrency:
            return True
        if sum(walker.reading for walker in walkers) >= self._concurrency:
            return False
        # At least some rows each, so that the number of empty windows is bounded too.
        reserved = sum(max(walker.held, self._share if walker.reading else _PIECE_ROWS) for walker in walkers)
        return reserved + self._share <= self._buffer_rows

    def _start(self, number: int, window: Window) -> None:
        place = self._places.places.get(number, WindowPlace())
        pager = self._pager(window, place)
        walker = self._walkers[number] = _Walker[R](pager.stats)
        # Only the task has the pager, which holds a page, so that it is freed at the end of the window.
        walker.task = asyncio.create_task(self._walk_one(walker, window, pager, set(place.keys)))

    def _pager(self, window: Window, place: WindowPlace) -> Pager[R]:
        """Return the pager of a window, with the options that apply to each window."""
        callback = self._options.get("on_unreadable")
        options: WalkOptions = {**self._options, "max_rows": None, "on_progress": None, "resume": place.checkpoint}
        if callback is not None:
            options["on_unreadable"] = partial(self._report, callback, window)
        return self._make_pager(window, options)

    def _report(self, callback: Callable[[UnreadableRow], object], window: Window, row: UnreadableRow) -> None:
        """Call `on_unreadable` once for each row, although windows are requested wider than they are."""
        if not window.holds(row):
            return
        if row.created_at is None:
            key = row.id or key_without_id(row.raw)
            if key in self._reported:
                return
            self._reported[key] = None
            if len(self._reported) > _REPORTED:
                del self._reported[next(iter(self._reported))]
        self._stats.unreadable += 1
        callback(row)

    def _end_batch(self) -> None:
        """Record the current batch as delivered, and let its window read on."""
        if self._current is None:
            return
        walker = self._walkers[self._current]
        self._places.places[self._current] = self._place_in_batch(self._current)
        walker.held -= len(walker.batches.popleft().rows)
        walker.released.set()
        self._current, self._rows, self._delivered = None, [], 0

    def _end_window(self, number: int, task: asyncio.Task[None]) -> None:
        try:
            task.result()
        except EachLabsError as exc:
            if exc.checkpoint is not None:  # That of the window, which is behind a row that cannot be read.
                keys = self._places.places.get(number, WindowPlace()).keys
                self._places.places[number] = WindowPlace(exc.checkpoint, keys)
            exc.checkpoint = self.checkpoint
            raise
        stats, ended = self._walkers.pop(number).stats, self._ended_stats
        for name in _SUMMED:
            setattr(ended, name, getattr(ended, name) + getattr(stats, name))
        ended.longest_page = max(ended.longest_page, stats.longest_page)
        self._places.done.add(number)
        self._places.places.pop(number, None)

    async def _walk_one(self, walker: _Walker[R], window: Window, pager: Pager[R], known: set[str]) -> None:
        """Read a window into its queue. `known` are the keys of rows that were delivered before."""
        try:
            async with pager:
                async for page in pager.pages():
                    rows = [row for row in page.rows if window.holds(row)]
                    if known:
                        fresh = [(key, row) for key, row in zip(_keys(rows), rows, strict=True) if key not in known]
                        known.difference_update(_keys(rows))
                        rows = [row for _, row in fresh]
                    if rows:
                        walker.batches.append(_Batch(rows, WindowPlace(pager.checkpoint, frozenset(known))))
                        walker.held += len(rows)
                        self._changed.set()
                    while walker.held >= self._share:
                        walker.released.clear()
                        await walker.released.wait()
        finally:
            self._changed.set()

    async def _stop(self) -> None:
        if self._current is not None and self._delivered:
            self._places.places[self._current] = self._place_in_batch(self._current)
        self._current, self._rows, self._delivered = None, [], 0
        self._waiting_windows.clear()
        for walker in self._walkers.values():
            walker.batches.clear()
        await cancel_and_wait([walker.task for walker in self._walkers.values() if walker.task is not None])


def _keys(rows: list[R]) -> list[str]:
    return list(row_keys([row.id for row in rows], rows))
