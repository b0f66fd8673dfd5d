"""A local copy of the executions of an account, in one file of SQLite."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from functools import partial
from os import PathLike
from types import TracebackType
from typing import Final, Self

from ..client import EachLabs
from ..costs.report import CostReport
from ..pagination.pages import UnreadableRow
from ..sqlite.database import MEMORY, Database, checked_file
from ..transport.arguments import checked_callback, checked_count, checked_moment, checked_span, checked_text
from ..transport.guidance import NamesGuide, WithGuide
from .archive_costs import costs_of
from .archive_error import ArchiveError
from .archive_rows import ArchiveRows
from .execution_sync import ExecutionSync
from .row_filter import RowFilter
from .schema import KIND, SCHEMA
from .store import Store
from .sync_stats import SyncStats
from .workflow_sync import WorkflowSync

OPEN_TIMEOUT_S: Final = 5.0
"""Seconds to wait for a transaction of another process, which takes some milliseconds."""
LOCK_TIMEOUT_S: Final = 0.5
"""Seconds to wait for a sync of another process, which may take hours: it is refused, rather than waited for."""


class Archive(NamesGuide, WithGuide):
    """A local copy of the executions of an account. Use it with `async with`; creating it does no I/O.

    `path` is a file, which is created if it is not there, or `":memory:"`. Only its owner can read it. Its tables are
    documented in README: other programs can query them at any time, also during a sync. The first sync binds the file
    to the account and host of its client.

    SQLite works in a thread of the archive's own, so that the event loop never waits for the disk.

    `async with` raises `ArchiveError` if the file is not an archive, is of a newer version, or cannot be opened; the
    file of another program is left as it is.
    """

    def __init__(self, path: str | PathLike[str]) -> None:
        self.path = MEMORY if path == MEMORY else checked_file("path", path)
        self._database: Database | None = None
        self._syncing = False

    def __repr__(self) -> str:
        return f"<Archive {self.path}, {'closed' if self._database is None else 'open'}>"

    async def __aenter__(self) -> Self:
        if self._database is not None:
            raise RuntimeError("the archive is open already")
        database = Database(self.path, KIND, _failed)
        try:
            await database.run(lambda: database.open_shared(SCHEMA, OPEN_TIMEOUT_S))
        except BaseException:
            await database.close()
            raise
        self._database = database
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        database, self._database = self._database, None
        if database is not None:
            await database.close()

    @property
    def _open(self) -> Database:
        if self._database is None:
            raise RuntimeError("the archive is not open: use `async with Archive(path) as archive`")
        return self._database

    # ---- bringing it up to date

    async def sync(
        self,
        client: EachLabs,
        since: datetime | str | None = None,
        until: datetime | str | None = None,
        *,
        verify: bool = False,
        overlap_s: float = 300.0,
        look_ahead: int = 8,
        new_key: bool = False,
        on_progress: Callable[[SyncStats], object] | None = None,
        on_unreadable: Callable[[UnreadableRow], object] | None = None,
    ) -> SyncStats:
        """Fetch the executions that the archive does not have, and those that had not finished.

        `since` and `until`, aware datetimes or RFC 3339 text, limit the creation time, `since <= created_at < until`.
        Without `since` the first sync goes back 90 days, as the service does, and later ones to the earliest time that
        the archive has. Without `until` it goes up to the newest execution.

        The archive knows which spans of time it has in full; only the others are walked. Executions that may become
        visible late are fetched by walking the last `overlap_s` seconds before the newest one again. Unfinished ones
        are found by the listing by status, and those of them that have ended are read in the short spans around them.

        A row that a complete walk of its span no longer shows is marked as deleted. Rows of spans that need no walk are
        checked only with `verify=True`, which walks the whole span again, at one request per hundred rows.

        The rows of a thousand at a time and the checkpoint after them are one transaction: after an error, Ctrl-C or a
        kill, the next sync goes on there. Rows that cannot be read are kept in the table `unreadable_rows`, and
        `on_unreadable` gets each. `look_ahead` is the number of pages requested ahead. `on_progress` is called with the
        statistics after each transaction. `new_key=True` says that the client's key is a new one of the account, or its
        hosts are other ones of it.

        Raises `ArchiveError` if another sync of this file is in progress, if it belongs to another account, or if it
        cannot be written, `ValueError` or `TypeError` for an argument, and the errors of the walk.
        """
        checked_span(since, until)
        overlap = _checked_overlap(overlap_s)
        checked_count("look_ahead", look_ahead)
        checked_callback("on_progress", on_progress)
        checked_callback("on_unreadable", on_unreadable)
        async with self._one_at_a_time(client, new_key=new_key) as (database, store):
            sync = ExecutionSync(
                client,
                database,
                store,
                overlap=overlap,
                look_ahead=look_ahead,
                on_progress=on_progress,
                on_unreadable=on_unreadable,
            )
            first, last = (
                None if time is None else checked_moment(name, time)
                for name, time in (("since", since), ("until", until))
            )
            return await sync.run(first, last, verify=verify)

    async def sync_workflow(
        self,
        client: EachLabs,
        workflow_id: str,
        *,
        verify: bool = False,
        overlap_s: float = 300.0,
        concurrency: int = 32,
        new_key: bool = False,
        on_progress: Callable[[SyncStats], object] | None = None,
        on_unreadable: Callable[[UnreadableRow], object] | None = None,
    ) -> SyncStats:
        """Fetch the executions of one workflow in full, with their steps, into the table `workflow_executions`.

        `workflow_id` is a UUID or a slug; use the same one each time. The first sync walks the workflow's listing to
        its end and fetches each execution by id, `concurrency` at once. Later ones fetch those that are new, down to
        `overlap_s` seconds before the newest one that is known, and those that had not finished. With `verify=True` the
        whole listing is walked, and executions that it no longer shows are marked as deleted; finished ones are not
        fetched again. A page and the checkpoint after it are one transaction, as in `sync`, whose other arguments these
        are.

        Raises as `sync`, and `NotFoundError` for an unknown workflow.
        """
        if checked_text("workflow_id", workflow_id) is None:
            raise TypeError("workflow_id must be a str, not None")
        overlap = _checked_overlap(overlap_s)
        checked_count("concurrency", concurrency, least=1)
        checked_callback("on_progress", on_progress)
        checked_callback("on_unreadable", on_unreadable)
        async with self._one_at_a_time(client, new_key=new_key) as (database, store):
            sync = WorkflowSync(
                client,
                database,
                store,
                workflow_id,
                overlap=overlap,
                concurrency=concurrency,
                on_progress=on_progress,
                on_unreadable=on_unreadable,
            )
            return await sync.run(verify=verify)

    @asynccontextmanager
    async def _one_at_a_time(self, client: EachLabs, *, new_key: bool) -> AsyncGenerator[tuple[Database, Store], None]:
        """Keep other syncs of the file out of the block, and check the account."""
        database = self._open
        # The account and the hosts are those of the session, which has no public name.
        account = client._session.account("api")  # pyright: ignore[reportPrivateUsage]
        if self._syncing:
            raise database.failure("is being synced by another task; wait until that has ended")
        self._syncing = True
        try:
            if self.path != MEMORY:
                await database.run(lambda: database.lock.acquire(LOCK_TIMEOUT_S))
            store = Store(lambda: database.connection)
            other = await database.run(partial(store.bind, account, new_key=new_key))
            if other:
                raise database.failure(
                    f"belongs to another account or host: {other}, not {account}: use another path, or new_key=True if "
                    "the key or the hosts of the account have changed"
                )
            yield database, store
        finally:
            self._syncing = False
            if not database.closed:
                await database.run(database.lock.release)

    # ---- reading it

    def rows(
        self,
        since: datetime | str | None = None,
        until: datetime | str | None = None,
        model: str | None = None,
        status: str | Iterable[str] | None = None,
        workflow_id: str | None = None,
        *,
        deleted: bool = False,
        max_rows: int | None = None,
        resume: str | None = None,
    ) -> ArchiveRows:
        """Read executions, newest first, with flat memory.

        `since` and `until` limit the creation time, `since <= created_at < until`; with one of them, rows without a
        time are left out. `status` takes one word or several: `created`, `starting`, `success` or `error` as the
        service writes them, a `State`, or any word that means one. `deleted` includes the rows that are marked as
        deleted. `max_rows` is the number of rows at most, and `resume` the `checkpoint` of earlier rows with the same
        filters.

        Raises `ValueError` or `TypeError` at once for an argument that cannot be right.
        """
        filters = {
            "since": since,
            "until": until,
            "model": model,
            "status": status if status is None or isinstance(status, str) else list(status),
            "workflow_id": workflow_id,
            "deleted": deleted,
        }
        return ArchiveRows(self._open, filters, walk={"max_rows": max_rows, "resume": resume})

    async def count(
        self,
        since: datetime | str | None = None,
        until: datetime | str | None = None,
        model: str | None = None,
        status: str | Iterable[str] | None = None,
        workflow_id: str | None = None,
        *,
        deleted: bool = False,
    ) -> int:
        """Return the number of executions that `rows` would read with these filters."""
        wanted = RowFilter.of(
            since=since, until=until, model=model, status=status, workflow_id=workflow_id, deleted=deleted
        )
        database = self._open
        query = f"SELECT count(*) FROM executions WHERE {wanted.condition}"
        return await database.run(lambda: int(database.connection.execute(query, wanted.values).fetchone()[0]))

    async def costs(
        self,
        since: datetime | str | None = None,
        until: datetime | str | None = None,
        by: str | Iterable[str] = ("model",),
        *,
        model: str | None = None,
        status: str | Iterable[str] | None = None,
        workflow_id: str | None = None,
    ) -> CostReport:
        """Add up what the executions of the archive cost, as `client.executions.costs` does.

        The filters are those of `rows`. The `notes` of the report name the parts of the time that the archive does not
        have, up to its last sync.

        Raises `ValueError` or `TypeError` at once for an argument that cannot be right.
        """
        rows = self.rows(since, until, model, status, workflow_id)
        first, last = (
            None if time is None else checked_moment(name, time) for name, time in (("since", since), ("until", until))
        )
        return await costs_of(self._open, rows, by, since=first, until=last)


def _checked_overlap(seconds: float) -> timedelta:
    if seconds < 0:
        raise ValueError(f"overlap_s must be at least 0, not {seconds}")
    return timedelta(seconds=seconds)


def _failed(text: str, path: str) -> ArchiveError:
    return ArchiveError(text, path=path)
