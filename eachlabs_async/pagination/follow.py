"""Following executions: polls of the listing, with patience for outages. `follow_state` decides what is new."""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Generator, Mapping
from datetime import datetime
from typing import Final, Generic, Literal, TypeVar

from attrs import field, frozen

from ..errors import DriftError, EachLabsError
from ..records import Execution
from ..transport.arguments import checked_callback
from ..transport.retry import may_pass
from ..transport.stream import NOTHING, Nothing, Stream, StreamIterator
from .follow_checkpoint import write_follow_checkpoint
from .follow_state import FollowState, Reading, ReadingEnd, key_of
from .pager import Pager
from .pages import Page, UnreadableRow

T = TypeVar("T", bound=Execution)

log: Final = logging.getLogger("eachlabs_async")

PART: Final = 1000
"""Rows of a poll that are held to be sorted. If there are more, they are delivered as they are read, newest first."""
LONGEST_PAUSE_S: Final = 60.0
"""The longest pause between two polls while the service fails, unless `every_s` is longer."""

MakePager = Callable[[Reading, Callable[[UnreadableRow], object]], Pager[T]]
Choose = Callable[[list[T]], Awaitable[Collection[str]]]


@frozen(kw_only=True)
class FollowStats:
    """What following has done so far.

    - `polls`: complete polls; `failed_polls`: those that failed after all retries, and were repeated later.
    - `requests`: pages requested, without retries.
    - `rows`: rows delivered; `late`: those of them that appeared after a row that was created later.
    - `unreadable`: rows that could not be read.
    - `vanished`: executions that were awaited and left the listing.
    - `open`: executions that are awaited now (with `finished`); `remembered`: rows read again at each poll.
    - `newest`: the creation time of the newest row so far, or None.
    - `failing`: whether the last poll failed.
    """

    polls: int = 0
    failed_polls: int = 0
    requests: int = 0
    rows: int = 0
    late: int = 0
    unreadable: int = 0
    vanished: int = 0
    open: int = 0
    remembered: int = 0
    newest: datetime | None = field(default=None)
    failing: bool = False


class Follow(Stream, Generic[T]):
    """New executions, for as long as one wants. Creating one sends nothing; it is iterated once.

    Use `async with follow as rows: async for row in rows`, so that nothing is left running. After a cancelled wait,
    such as `asyncio.wait_for(anext(rows), 1)`, the next one goes on.
    """

    def __init__(
        self,
        make_pager: MakePager[T],
        state: FollowState,
        arguments: Mapping[str, object],
        *,
        every_s: float,
        statuses: Collection[str] | None,
        choose: Choose[T] | None,
        on_progress: Callable[[FollowStats], object] | None,
        on_unreadable: Callable[[UnreadableRow], object] | None,
    ) -> None:
        super().__init__(
            reused="a Follow is iterated once: make a new one with follow(resume=...)",
            closed="following was closed while a row was awaited",
        )
        self._make_pager = make_pager
        self._state = state
        self._arguments = dict(arguments)
        self._every_s = every_s
        self._statuses = statuses
        self._choose = choose
        self._on_progress = checked_callback("on_progress", on_progress)
        self._on_unreadable = checked_callback("on_unreadable", on_unreadable)
        self._poll: Generator[Reading, ReadingEnd, None] | None = None
        self._began = 0.0  # when the current poll began
        self._due = 0.0
        self._reading = Reading()
        self._pager: Pager[T] | None = None
        self._pages: AsyncIterator[Page[T]] | None = None
        self._end: ReadingEnd | None = None  # The current reading has ended, and its rows are being delivered.
        self._in_parts = False  # the current reading has more than `PART` rows
        self._part_is_out = False  # a part of it is being delivered
        self._unreadable: list[UnreadableRow] = []
        self._read: list[T | UnreadableRow] = []
        self._ready: deque[T | UnreadableRow] = deque()
        self._polls = self._failed_polls = self._failing = self._requests = 0
        self._rows = self._late = self._unreadable_rows = 0
        self._newest: datetime | None = None  # the newest row before the current poll

    def __repr__(self) -> str:
        return f"<Follow: {self._rows} rows so far>"

    @property
    def stats(self) -> FollowStats:
        """What was done so far, as of now."""
        state = self._state
        return FollowStats(
            polls=self._polls,
            failed_polls=self._failed_polls,
            requests=self._requests + (0 if self._pager is None else self._pager.stats.requests),
            rows=self._rows,
            late=self._late,
            unreadable=self._unreadable_rows,
            vanished=state.vanished,
            open=len(state.open),
            remembered=len(state.remembered),
            newest=state.newest,
            failing=self._failing > 0,
        )

    @property
    def checkpoint(self) -> str:
        """The state as text, for `follow(resume=checkpoint)`; the row delivered last counts as done.

        It can be read at any time. With it, rows that appear while nobody follows are neither missed nor repeated. It
        grows with the rows of the last `settle_s` seconds (12 characters each, for up to 1,000 more while a long poll
        is delivered), and with the executions that are awaited (about 30 each).
        """
        return write_follow_checkpoint(self._arguments, self._state)

    def __aiter__(self) -> StreamIterator[T]:
        """Iterate over the executions as they appear, or as they end with `finished`."""
        return self._iterate(self._take)

    # ---- delivering

    def _take(self) -> T | Literal[Nothing.NOTHING]:
        while self._ready:
            row = self._ready.popleft()
            self._state.delivered(_key_of(row))
            if isinstance(row, UnreadableRow):
                self._report(row)
                continue
            self._rows += 1
            if row.created_at is not None and self._newest is not None and not self._state.finished:
                self._late += row.created_at < self._newest
            return row
        return NOTHING

    def _report(self, row: UnreadableRow) -> None:
        self._unreadable_rows += 1
        if self._on_unreadable is not None:
            self._on_unreadable(row)
            return
        row.error.message += ". Pass on_unreadable=... to go on without such rows"
        row.error.checkpoint = self.checkpoint
        raise row.error

    # ---- polling

    async def _advance(self) -> None:
        """Go one step on. Each step can be repeated after a cancellation."""
        if self._poll is None:
            await self._close_pager()
            await asyncio.sleep(max(0.0, self._due - asyncio.get_running_loop().time()))
            self._begin()
        if self._part_is_out:
            self._state.part_delivered(self._began)
            self._part_is_out = False
        try:
            if self._end is None and len(self._read) < PART:
                await self._read_page()
            if self._read:
                await self._release()
            elif self._end is not None:
                await self._close_pager()
                self._next_reading(self._end)
        except EachLabsError as exc:
            # Nothing is awaited before the poll is given up: its pager has ended, which must not pass for its end.
            self._drop()
            if not (may_pass(exc) or isinstance(exc, DriftError)):
                exc.checkpoint = self.checkpoint
                raise
            self._wait_out(exc)

    def _begin(self) -> None:
        self._began = asyncio.get_running_loop().time()
        self._due = self._began + self._every_s
        self._newest = self._state.newest
        self._poll = self._state.poll(self._began)
        self._open(next(self._poll))

    def _next_reading(self, end: ReadingEnd) -> None:
        assert self._poll is not None
        self._end, self._in_parts = None, False
        try:
            self._open(self._poll.send(end))
        except StopIteration:
            self._poll = None
            self._polls += 1
            if self._failing:
                facts = {"event": "polls succeed", "failed": self._failing}
                log.info(
                    "following executions: the service answers again after %d failed polls", self._failing, extra=facts
                )
            self._failing = 0
            if self._on_progress is not None:
                self._on_progress(self.stats)

    def _open(self, reading: Reading) -> None:
        self._reading = reading
        self._pager = self._make_pager(reading, self._unreadable.append)
        self._pages = self._pager.pages()

    async def _read_page(self) -> None:
        """Read the next page of the current reading, and pick what is to be delivered."""
        assert self._pages is not None
        assert self._pager is not None
        state, rows, whole = self._state, list[T](), False
        try:
            rows = (await anext(self._pages)).rows
        except StopAsyncIteration:
            whole = True
        unreadable = self._unreadable.copy()
        self._unreadable.clear()
        for row in unreadable:
            if state.see(_key_of(row), row.created_at, ended=True):
                self._read.append(row)
        for record in rows:
            if not state.see(_key_of(record), record.created_at, ended=record.is_finished):
                continue
            if self._statuses is None or record.status in self._statuses:
                self._read.append(record)
            else:
                state.delivered(_key_of(record))
        requests, most = self._pager.stats.requests, self._reading.pages
        whole = whole or state.enough
        if whole or (most is not None and requests >= most):
            self._end = ReadingEnd(whole, requests, asyncio.get_running_loop().time())

    async def _release(self) -> None:
        """Let the rows read so far be delivered, once the reading has ended or there are many of them."""
        if self._end is None and len(self._read) < PART:
            return
        rows = self._read
        if self._choose is not None:
            chosen = await self._choose([row for row in rows if not isinstance(row, UnreadableRow)])
            for row in rows:
                if not isinstance(row, UnreadableRow) and row.id not in chosen:
                    self._state.delivered(_key_of(row))
            rows = [row for row in rows if isinstance(row, UnreadableRow) or row.id in chosen]
        self._part_is_out = self._end is None
        self._in_parts = self._in_parts or self._part_is_out
        self._ready.extend(rows if self._in_parts else sorted(rows, key=self._order))
        self._read = []

    def _order(self, row: T | UnreadableRow) -> tuple[bool, datetime | None]:
        time = row.created_at
        if self._state.finished and not isinstance(row, UnreadableRow):
            time = row.completed_at or time
        return time is not None, time

    # ---- failures and the end

    def _drop(self) -> None:
        """Give up the current poll; the next one reads again what was not delivered."""
        if self._poll is not None:
            self._poll.close()
        self._poll = self._end = None
        self._in_parts = self._part_is_out = False
        self._read, self._unreadable = [], []
        self._state.pending.clear()

    def _wait_out(self, failure: EachLabsError) -> None:
        self._failed_polls += 1
        self._failing += 1
        pause_s = max(self._every_s, min(LONGEST_PAUSE_S, self._every_s * 2.0 ** min(self._failing - 1, 20)))
        self._due = asyncio.get_running_loop().time() + pause_s * random.uniform(0.8, 1.2)
        if self._failing == 1:
            log.warning(
                "following executions: a poll failed (%s); the next ones come at least every %g s, and miss nothing",
                failure,
                max(self._every_s, LONGEST_PAUSE_S),
                extra={"event": "polls fail", "error": str(failure), "error_type": type(failure).__name__},
            )

    async def _close_pager(self) -> None:
        pager = self._pager
        if pager is not None:
            await pager.aclose()
            self._requests += pager.stats.requests
            self._pager = self._pages = None

    async def _stop(self) -> None:
        await self._close_pager()


def _key_of(row: Execution | UnreadableRow) -> bytes:
    return key_of(row.id or repr(row.raw if isinstance(row, UnreadableRow) else row))
