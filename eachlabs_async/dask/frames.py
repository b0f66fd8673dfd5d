"""Executions as a Dask DataFrame, whose partitions are windows of time."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, TypedDict, Unpack, cast
from uuid import uuid4

from ..codec.arrow import arrow_schema
from ..errors import EachLabsError, PaginationError
from ..pagination.windows import Window
from ..records import Execution
from ..transport.arguments import checked_count, checked_span
from .worker_client import WorkerClient
from .worker_plugin import cluster, run_in_worker

if TYPE_CHECKING:
    import dask.dataframe as dd
    import pyarrow as pa

INDEX: Final = "created"
KEEP_TYPES: Final = {"dataframe.convert-string": False}
"""Settings of Dask, which would else give texts another type than `arrow_schema`."""
_ROWS: Final = 100_000
_BUFFER_ROWS: Final = 10_000
_UNCOUNTED: Final = 32
"""The number of partitions of a span whose rows the service does not count."""


class Filters(TypedDict, total=False):
    """The filters of `client.executions.list`."""

    model: str | None
    status: str | Iterable[str] | None
    workflow_id: str | None
    workflow_execution_id: str | None
    error_classification: str | Iterable[str] | None


def executions(
    since: datetime | str,
    until: datetime | str,
    *,
    partitions: int | None = None,
    npartitions_rows: int | None = None,
    concurrency: int = 8,
    **filters: Unpack[Filters],
) -> dd.DataFrame:
    """Return the executions of a time span as a Dask DataFrame, which the workers of the cluster read.

    A partition is a window of time, `since <= created_at < until`, and is read by one worker when it is computed. There
    are up to `partitions` (from 1), or as many as hold about `npartitions_rows` rows each (100,000 by default); 32 if
    the service does not count its rows. The windows are planned at once, by a task on one worker, as by
    `client.executions.windows`. `concurrency` is the number of requests of a partition at once, from 1; the bound of
    `EachLabsPlugin` limits it too. The filters are those of `client.executions.list`.

    The columns are those of `arrow_schema(Execution)`, Arrow-backed. The index, `created`, is `created_at` as a
    `DatetimeIndex` in UTC and ascends, with known divisions: `frame.loc["2026-03-01":"2026-03-07"]` reads only the
    partitions with these days. The rows are those of a walk of the span, in the opposite order: oldest first.

    Dask reads a partition again from its beginning if its worker is lost, so rows are neither lost nor doubled. A frame
    that is computed twice reads twice: `persist()` it, or write it to Parquet. Nothing of a frame is in the scheduler:
    after a restart, register the plugin and compute it again.

    Raises `ConfigurationError` without a current `distributed.Client`, or if its workers lack the `EachLabsPlugin`;
    `ValueError` or `TypeError` for an invalid argument, and the errors of a call. Computing raises the error of the
    partition that failed, whose `checkpoint` belongs to `walk_windows` of the window that its notes name.
    """
    if partitions is not None and npartitions_rows is not None:
        raise ValueError("pass either partitions or npartitions_rows")
    if partitions is not None:
        checked_count("partitions", partitions, least=1)
    rows = checked_count("npartitions_rows", _ROWS if npartitions_rows is None else npartitions_rows, least=1)
    checked_count("concurrency", concurrency, least=1)
    checked_span(since, until)
    windows: list[Window] = (
        cluster().submit(_plan, since, until, partitions, rows, filters, key=f"eachlabs-windows-{uuid4().hex}").result()
    )
    pandas: Any = import_module("pandas")
    dask: Any = import_module("dask.dataframe")  # Its functions have no types.
    with import_module("dask").config.set(KEEP_TYPES):
        found = dask.from_map(
            read_window,
            windows,
            concurrency=concurrency,
            listing=uuid4().hex,
            meta=_frame_of(arrow_schema(Execution).empty_table()),
            divisions=tuple(pandas.Timestamp(at) for at in [*(window.since for window in windows), windows[-1].until]),
            label="eachlabs-executions",
        )
    return cast("dd.DataFrame", found)


def _plan(
    since: datetime | str, until: datetime | str, partitions: int | None, rows: int, filters: Filters
) -> list[Window]:
    """Split the span into windows, oldest first. A task."""

    async def split(client: WorkerClient) -> list[Window]:
        parts = partitions
        if parts is None:
            windows = await client.executions.windows(since, until, parts=1, **filters)
            if windows[0].rows is None:  # Smaller windows can be counted, if the service counts up to some number.
                windows = await client.executions.windows(since, until, parts=_UNCOUNTED, **filters)
            counts = [window.rows for window in windows]
            if None in counts:
                return windows
            parts = max(1, -(-sum(count or 0 for count in counts) // rows))
        return await client.executions.windows(since, until, parts=parts, **filters)

    return run_in_worker(split, wanted=4)


def read_window(window: Window, *, concurrency: int, listing: str, columns: list[str] | None = None) -> Any:
    """Read one window as a `pandas.DataFrame`, oldest row first. A task; `columns` are those that Dask needs of it.

    `listing` is different for each frame, so that no frame shares what was read for another one at another time.
    """

    async def read(client: WorkerClient) -> pa.Table:
        # All rows are held anyway. A smaller buffer lets a smaller window be cut into as many pieces.
        rows = max(concurrency, min(window.rows or _BUFFER_ROWS, _BUFFER_ROWS))
        walk = client.executions.walk_windows([window], concurrency=concurrency, buffer_rows=rows)
        try:
            return await walk.to_arrow()
        except EachLabsError as error:
            error.partial = None  # It would go through the scheduler.
            raise

    try:
        return _frame_of(run_in_worker(read, wanted=concurrency), columns)
    except EachLabsError as error:
        error.add_note(f"the partition is the window from {window.since.isoformat()} to {window.until.isoformat()}")
        raise


def _frame_of(table: pa.Table, columns: list[str] | None = None) -> Any:
    """Return a table of executions, newest first, as a frame whose index ascends."""
    pandas: Any = import_module("pandas")
    whole: Any = table
    times = whole["created_at"]
    if times.null_count:
        row = whole.filter(times.is_null())["id"][0]
        raise PaginationError(f"execution {row} has no created_at, so it is not known which partition it belongs to")
    selected = whole if columns is None else whole.select(columns)
    frame = selected.to_pandas(types_mapper=pandas.ArrowDtype)
    frame.index = pandas.DatetimeIndex(times.to_pandas(), name=INDEX)
    frame = frame.iloc[::-1]
    return frame if frame.index.is_monotonic_increasing else frame.sort_index(kind="stable")
