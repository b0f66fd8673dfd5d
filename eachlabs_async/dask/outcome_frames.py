"""Bulk fetches by id as Dask DataFrames of outcomes."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, cast
from uuid import uuid4

from ..bulk.fetch import BulkFetch
from ..bulk.outcomes import Outcome
from ..codec.arrow import arrow_schema, import_pyarrow, record_batch
from ..records import FlowExecution, Prediction, Run, WorkflowExecution
from ..transport.arguments import checked_count
from .frames import KEEP_TYPES
from .worker_client import WorkerClient
from .worker_plugin import run_in_worker

if TYPE_CHECKING:
    import dask.bag
    import dask.dataframe as dd
    import pyarrow as pa

Kind: TypeAlias = Literal["workflow_executions", "predictions", "runs", "flow_executions"]

_RECORDS: Final[dict[Kind, type[Any]]] = {
    "workflow_executions": WorkflowExecution,
    "predictions": Prediction,
    "runs": Run,
    "flow_executions": FlowExecution,
}
_BATCH: Final = 1_000
"""Outcomes that are held as records, before they become columns."""


def fetch_many(
    ids: dask.bag.Bag | dd.Series, *, kind: Kind, workflow_id: str | None = None, concurrency: int = 32
) -> dd.DataFrame:
    """Return the outcomes of fetching ids as a Dask DataFrame, one row for each id in the order of `ids`.

    `ids` is a `dask.bag.Bag` or a Dask `Series` of texts; each of its partitions is fetched by one worker when it is
    computed. The index is that of the `Series`; for a `Bag` it counts from 0 in each partition. `kind` is the resource:
    `"workflow_executions"`, `"predictions"`, `"runs"` or `"flow_executions"`. The last one needs the `workflow_id` of
    its flow. `concurrency` is the number of requests of a partition at once, from 1; the bound of `EachLabsPlugin`
    limits it too.

    The columns, Arrow-backed, are `id`, those of `arrow_schema` of the record except a second `id`, `error_type` (the
    name of the error's class) and `error_text`. A column of the record that has one of these names begins with
    `record_`. Values are null where there is an error.

    Raises `ValueError` or `TypeError` for an invalid argument. Computing raises an error that every id would meet, such
    as `AuthenticationError`, and `ConfigurationError` if the workers lack the `EachLabsPlugin`.
    """
    if kind not in _RECORDS:
        raise ValueError(f"kind must be one of {', '.join(_RECORDS)}, not {kind!r}")
    if (workflow_id is None) == (kind == "flow_executions"):
        raise ValueError("workflow_id is needed for flow_executions, and for no other kind")
    checked_count("concurrency", concurrency, least=1)
    options: dict[str, Any] = {"kind": kind, "workflow_id": workflow_id, "concurrency": concurrency}
    dask: Any = import_module("dask")  # Its functions have no types.
    bags: Any = import_module("dask.bag")
    frames: Any = import_module("dask.dataframe")
    given: Any = ids
    name = f"eachlabs-fetch-{uuid4().hex}"
    empty = _frame_of([_batch_of(kind, [])])
    if isinstance(ids, frames.Series):
        empty.index = given._meta.index
        return cast("dd.DataFrame", given.map_partitions(fetch_series, meta=empty, token=name, **options))
    if not isinstance(ids, bags.Bag):
        raise TypeError(f"ids must be a dask Bag or Series, not {type(ids).__name__}")
    read = dask.delayed(fetch_partition, pure=False)
    parts = [read(part, **options, dask_key_name=(name, at)) for at, part in enumerate(given.to_delayed())]
    with dask.config.set(KEEP_TYPES):
        return cast("dd.DataFrame", frames.from_delayed(parts, meta=empty, prefix="eachlabs-outcomes"))


def fetch_series(ids: Any, **options: Any) -> Any:
    """Fetch the ids of a partition that is a `pandas.Series`, and keep its index. A task."""
    frame = fetch_partition(ids.tolist(), **options)
    frame.index = ids.index
    return frame


def fetch_partition(ids: Iterable[object], *, kind: Kind, workflow_id: str | None, concurrency: int) -> Any:
    """Fetch the ids of one partition as a `pandas.DataFrame`. A task."""
    texts = [each if isinstance(each, str) else None for each in ids]  # A missing id is an outcome with an error.

    async def fetch(client: WorkerClient) -> list[pa.Table]:
        batches: list[pa.Table] = []
        outcomes: list[Outcome[Any]] = []
        async with _fetch(client, cast("list[str]", texts), kind, workflow_id, concurrency) as found:
            async for outcome in found:
                outcomes.append(outcome)
                if len(outcomes) == _BATCH:
                    batches.append(_batch_of(kind, outcomes))
                    outcomes = []
        return [*batches, _batch_of(kind, outcomes)]

    return _frame_of(run_in_worker(fetch, wanted=concurrency))


def _fetch(
    client: WorkerClient, ids: list[str], kind: Kind, workflow_id: str | None, concurrency: int
) -> BulkFetch[Any]:
    if kind == "flow_executions":
        return client.flow_executions.get_many(workflow_id or "", ids, concurrency=concurrency, ordered=True)
    resource: Any = getattr(client, kind)
    return cast("BulkFetch[Any]", resource.get_many(ids, concurrency=concurrency, ordered=True))


def _batch_of(kind: Kind, outcomes: list[Outcome[Any]]) -> pa.Table:
    """Return outcomes as a table."""
    arrow = import_pyarrow()
    record = _RECORDS[kind]
    values = [outcome.value for outcome in outcomes if outcome.error is None]
    number = iter(range(len(values)))
    places = arrow.array([next(number) if outcome.error is None else None for outcome in outcomes], arrow.int64())
    text = arrow.large_string()
    errors = [outcome.error for outcome in outcomes]
    found: dict[str, Any] = {"id": arrow.array([outcome.id for outcome in outcomes], text)}
    batch: Any = record_batch(record, values)
    schema: Any = arrow_schema(record)
    for name in schema.names:
        if name != "id":
            renamed = f"record_{name}" if name in ("error_type", "error_text") else name
            found[renamed] = batch.column(name).take(places)
    found["error_type"] = arrow.array([None if error is None else type(error).__name__ for error in errors], text)
    found["error_text"] = arrow.array([None if error is None else str(error) for error in errors], text)
    return cast("pa.Table", arrow.table(found))


def _frame_of(batches: list[pa.Table]) -> Any:
    pandas: Any = import_module("pandas")
    table: Any = import_pyarrow().concat_tables(batches)
    return table.to_pandas(types_mapper=pandas.ArrowDtype)
