"""Bringing the executions of one workflow into an archive, in full, with their steps."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial

from attrs import evolve

from ..client import EachLabs
from ..errors import EachLabsError, NotFoundError, ResponseDecodeError
from ..pagination.pages import Page, UnreadableRow, WalkOptions
from ..records import WorkflowExecution, WorkflowExecutionSummary
from ..resources.workflow_executions import SummaryPager
from ..sqlite.database import Database
from .store import Store
from .sync_stats import SyncStats
from .table import WORKFLOW_EXECUTIONS
from .unreadable import Unreadable
from .values import Values, text_of, workflow_execution_values
from .workflow_store import WorkflowStore, WorkflowWalk


class WorkflowSync:
    """One sync of the executions of a workflow."""

    def __init__(
        self,
        client: EachLabs,
        database: Database,
        store: Store,
        workflow_id: str,
        *,
        overlap: timedelta,
        concurrency: int,
        on_progress: Callable[[SyncStats], object] | None,
        on_unreadable: Callable[[UnreadableRow], object] | None,
    ) -> None:
        self._client = client
        self._database = database
        self._store = store
        self._walks = WorkflowStore(lambda: database.connection)
        self._workflow_id = workflow_id
        self._overlap = overlap
        self._concurrency = concurrency
        self._on_progress = on_progress
        self._on_unreadable = on_unreadable
        self._unreadable: list[Unreadable] = []
        self._checkpoint: str | None = None
        self._began = time.monotonic()
        self._stats = SyncStats()

    async def run(self, *, verify: bool) -> SyncStats:
        """Bring the archive up to date. `verify` walks the whole listing."""
        run = self._database.run
        last_walk = await run(self._store.last_walk)
        for walk in await run(partial(self._walks.walks, self._workflow_id)):
            await self._walk(walk)
        await self._walk(await run(partial(self._walks.begin, self._workflow_id, verify=verify)))
        await self._refresh(last_walk)
        return evolve(self._stats, elapsed_s=time.monotonic() - self._began)

    async def _walk(self, walk: WorkflowWalk) -> None:
        settled = await self._database.run(partial(self._walks.settled, walk, self._overlap))
        try:
            pager = self._pager(walk.checkpoint)
        except ValueError:
            if walk.checkpoint is None:
                raise
            pager = self._pager(None)  # The checkpoint is of another version: begin again.
        self._checkpoint = walk.checkpoint
        requests = 0
        async with pager:
            async for page in pager.pages():
                known = await self._keep_page(walk, page, pager, pager.stats.requests - requests)
                requests = pager.stats.requests
                times = [row.created_at for row in page.rows]
                if walk.stops and known and settled and all(time is not None and time < settled for time in times):
                    break
        self._count(requests=pager.stats.requests - requests)
        await self._write(walk.number, [], pager.checkpoint)
        deleted = await self._database.run(partial(self._walks.end, walk))
        self._count(deleted=deleted)

    def _pager(self, checkpoint: str | None) -> SummaryPager:
        options: WalkOptions = {"on_unreadable": self._keep_unreadable}
        if checkpoint is not None:
            options["resume"] = checkpoint
        return self._client.workflow_executions.list(self._workflow_id, **options)

    async def _keep_page(
        self, walk: WorkflowWalk, page: Page[WorkflowExecutionSummary], pager: SummaryPager, requests: int
    ) -> bool:
        """Fetch and write the executions of a page that are not known as finished. Return whether all were known."""
        ids = [row.execution_id for row in page.rows]
        known = await self._database.run(partial(self._walks.known, ids))
        done = [identity for identity in ids if known.get(identity)]
        created = {row.execution_id: row.created_at for row in page.rows if not known.get(row.execution_id)}
        before, self._checkpoint = self._checkpoint, pager.checkpoint
        self._count(rows=len(ids), requests=requests)
        values: list[Values] = []
        try:
            await self._fetch(created, values)
        except EachLabsError:
            await self._write(walk.number, values, before)  # So that a sync that often fails advances.
            raise
        await self._write(walk.number, values, self._checkpoint, done)
        return len(known) == len(ids)

    async def _refresh(self, last_walk: int) -> None:
        """Fetch the executions that had not finished and that the walks did not come by."""
        unfinished = await self._database.run(partial(self._walks.unfinished, self._workflow_id, last_walk))
        ids = list(unfinished)
        for start in range(0, len(ids), 100):
            some = {identity: unfinished[identity] for identity in ids[start : start + 100]}
            values: list[Values] = []
            gone = await self._fetch(some, values)
            self._count(rows=len(some), deleted=len(gone))
            await self._write(await self._database.run(self._store.last_walk), values, None)
            await self._database.run(partial(self._walks.mark_deleted, gone))

    async def _fetch(self, created: Mapping[str, datetime | None], values: list[Values]) -> list[str]:
        """Fetch executions by id, and append the values of their rows. Return the ids of those that are gone."""
        gone: list[str] = []
        if not created:
            return gone
        fetch = self._client.workflow_executions.get_many(list(created), concurrency=self._concurrency)
        async with fetch as outcomes:
            async for outcome in outcomes:
                self._count(requests=outcome.attempts)
                if isinstance(outcome.error, NotFoundError):
                    gone.append(outcome.id)
                elif isinstance(outcome.error, ResponseDecodeError):
                    self._unreadable.append(Unreadable(outcome.id, None, str(outcome.error), None))
                else:
                    values += self._values(outcome.unwrap(), created[outcome.id])
        return gone

    def _values(self, row: WorkflowExecution, created_at: datetime | None) -> list[Values]:
        try:
            return [workflow_execution_values(row, self._workflow_id, created_at)]
        except ValueError as error:
            self._unreadable.append(Unreadable(row.execution_id, text_of(created_at), str(error), None))
            return []

    def _keep_unreadable(self, row: UnreadableRow) -> None:
        self._unreadable.append(Unreadable.of(row))
        if self._on_unreadable is not None:
            self._on_unreadable(row)

    async def _write(
        self, walk: int, values: Sequence[Values], checkpoint: str | None, seen: Sequence[str] = ()
    ) -> None:
        unreadable, self._unreadable = self._unreadable, []
        work = partial(self._store.commit, walk, WORKFLOW_EXECUTIONS, values, unreadable, checkpoint, seen)
        written = await self._database.run(work)
        self._count(new=written.new, changed=written.changed, unreadable=len(unreadable))
        if self._on_progress is not None:
            self._on_progress(evolve(self._stats, elapsed_s=time.monotonic() - self._began))

    def _count(self, **more: int) -> None:
        self._stats = evolve(self._stats, **{name: getattr(self._stats, name) + count for name, count in more.items()})
