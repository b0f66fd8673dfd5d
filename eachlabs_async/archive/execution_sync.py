"""Bringing an archive up to date with the listing of executions: the walks, and what is written after some pages."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from operator import itemgetter
from typing import Final

from attrs import evolve, frozen

from ..client import EachLabs
from ..errors import EachLabsError
from ..pagination.pager import Pager
from ..pagination.pages import UnreadableRow, WalkOptions
from ..records import Execution
from ..sqlite.database import Database
from ..transport.tasks import cancel_and_wait
from .archive_error import ArchiveError
from .spans import TimeSpan
from .store import Store, Walk
from .sync_stats import SyncStats
from .table import EXECUTIONS
from .unreadable import Unreadable
from .values import Values, execution_values

BATCH_ROWS: Final = 5000
"""The rows that are written in one transaction, at most. The index of ids makes small transactions slow."""
BATCH_S: Final = 2.0
"""Seconds after which fewer rows are written, so that a sync that is killed has little to read again."""
SPAN_BY_DEFAULT: Final = timedelta(days=90)
"""How far the first sync goes back, as the service does."""
_MARGIN: Final = timedelta(seconds=1)
"""How much wider a span is requested, because the service may exclude either end."""
_EARLIEST: Final = datetime.min.replace(tzinfo=UTC) + _MARGIN
_LATEST: Final = datetime.max.replace(tzinfo=UTC) - _MARGIN
_UNFINISHED: Final = ("created", "starting")


@frozen
class _Batch:
    """What is written in one transaction: rows, and the checkpoint of the walk after them."""

    rows: list[Values]
    unreadable: list[Unreadable]
    checkpoint: str


class ExecutionSync:
    """One sync of the executions of an account."""

    def __init__(
        self,
        client: EachLabs,
        database: Database,
        store: Store,
        *,
        overlap: timedelta,
        look_ahead: int,
        on_progress: Callable[[SyncStats], object] | None,
        on_unreadable: Callable[[UnreadableRow], object] | None,
    ) -> None:
        self._client = client
        self._database = database
        self._store = store
        self._overlap = overlap
        self._look_ahead = look_ahead
        self._on_progress = on_progress
        self._on_unreadable = on_unreadable
        self._unreadable: list[Unreadable] = []
        self._began = time.monotonic()
        self._requests = 0  # those of the walks that have ended
        self._stats = SyncStats()

    async def run(self, since: datetime | None, until: datetime | None, *, verify: bool) -> SyncStats:
        """Bring a span of the archive up to date. `verify` reads all of it again."""
        run, store = self._database.run, self._store
        first = since or await run(store.earliest) or datetime.now(UTC) - SPAN_BY_DEFAULT
        self._stats = evolve(self._stats, since=first, until=until)
        wanted = TimeSpan(first, until)
        last_walk = await run(store.last_walk)
        for walk in await run(store.walks):
            await self._walk(walk)
        for span in [wanted] if verify else await run(partial(store.gaps, wanted)):
            await self._walk(await run(partial(store.begin, span)))
        await self._refresh(wanted, last_walk)
        await run(store.index_ids)
        return self._told()

    async def _refresh(self, wanted: TimeSpan, last_walk: int) -> None:
        """Read the executions again that had not finished, in few requests.

        The listing by status shows which of them still run. What became of the others is read in the short spans around
        them, because the service has no call for one execution.
        """
        run, unfinished = self._database.run, partial(self._store.unfinished, wanted, last_walk)
        spans = await run(unfinished)
        if len(spans) > 1 or (spans and not await run(partial(self._store.fits_a_page, spans[0]))):
            await self._read_unfinished(TimeSpan(spans[-1].since, spans[0].until))
            spans = await run(unfinished)
        for span in spans:
            await self._walk(await run(partial(self._store.begin, span)))

    async def _read_unfinished(self, span: TimeSpan) -> None:
        # Its number tells which rows it saw. It has no checkpoint: a later sync asks again.
        walk = await self._database.run(partial(self._store.number, span))
        await self._read(walk, self._pager(walk, _UNFINISHED))

    # ---- one walk

    async def _walk(self, walk: Walk) -> None:
        try:
            pager = self._pager(walk)
        except ValueError:
            if walk.checkpoint is None:
                raise
            pager = self._pager(evolve(walk, checkpoint=None))  # The checkpoint is of another version: begin again.
        await self._read(walk, pager)
        deleted = await self._database.run(partial(self._store.end, walk, self._overlap))
        self._stats = evolve(self._stats, deleted=self._stats.deleted + deleted)
        self._tell()

    def _pager(self, walk: Walk, status: Sequence[str] | None = None) -> Pager[Execution]:
        options: WalkOptions = {"look_ahead": self._look_ahead, "on_unreadable": partial(self._keep, walk)}
        if walk.checkpoint is not None:
            options["resume"] = walk.checkpoint
        since = max(walk.since, _EARLIEST) - _MARGIN
        until = None if walk.until is None else min(walk.until, _LATEST) + _MARGIN
        return self._client.executions.list(since=since, until=until, status=status, **options)

    async def _read(self, walk: Walk, pager: Pager[Execution]) -> None:
        """Read a walk to its end. While a batch is written, the next one is read."""
        rows: list[Values] = []
        writing: asyncio.Task[None] | None = None
        cut_at = time.monotonic()
        try:
            async with pager:
                async for page in pager.pages():
                    # Page by page: that is short work for the event loop, and the records are freed at once.
                    rows += self._values(walk, page.rows)
                    if len(rows) < BATCH_ROWS and time.monotonic() < cut_at + BATCH_S:
                        continue
                    if writing is not None:
                        await writing
                    writing = asyncio.create_task(self._write(walk, self._cut(rows, pager), pager))
                    rows, cut_at = [], time.monotonic()
        except EachLabsError as exc:
            if not isinstance(exc, ArchiveError):  # So that a sync that often fails advances.
                if writing is not None:
                    await writing
                await self._write(walk, self._cut(rows, pager), pager)
            raise
        else:
            if writing is not None:
                await writing
            await self._write(walk, self._cut(rows, pager), pager)
        finally:
            if writing is not None:
                await cancel_and_wait([writing])
            self._requests += pager.stats.requests

    def _values(self, walk: Walk, rows: list[Execution]) -> list[Values]:
        """Return the values of the rows of a page that belong to the walk, without those that have no id."""
        if not (walk.holds(rows[0]) and walk.holds(rows[-1])):
            rows = [row for row in rows if walk.holds(row)]
        values = execution_values(rows)
        if "" in map(itemgetter(1), values):
            self._unreadable += [Unreadable.without_id(row) for row in rows if not row.id]
            values = [row for row in values if row[1]]
        return values

    def _cut(self, rows: list[Values], pager: Pager[Execution]) -> _Batch:
        """Return what was read since the last batch, with the place of the pager, which then goes on."""
        unreadable, self._unreadable = self._unreadable, []
        return _Batch(rows, unreadable, pager.checkpoint)

    def _keep(self, walk: Walk, row: UnreadableRow) -> None:
        if not walk.holds(row):
            return
        self._unreadable.append(Unreadable.of(row))
        if self._on_unreadable is not None:
            self._on_unreadable(row)

    async def _write(self, walk: Walk, batch: _Batch, pager: Pager[Execution]) -> None:
        commit = partial(self._store.commit, walk.number, EXECUTIONS, batch.rows, batch.unreadable, batch.checkpoint)
        written = await self._database.run(commit)
        stats = self._stats
        self._stats = evolve(
            stats,
            rows=stats.rows + len(batch.rows),
            new=stats.new + written.new,
            changed=stats.changed + written.changed,
            unreadable=stats.unreadable + len(batch.unreadable),
        )
        self._tell(pager.stats.requests)

    # ---- statistics

    def _told(self, requests: int = 0) -> SyncStats:
        return evolve(self._stats, requests=self._requests + requests, elapsed_s=time.monotonic() - self._began)

    def _tell(self, requests: int = 0) -> None:
        if self._on_progress is not None:
            self._on_progress(self._told(requests))
