"""Tests for bulk fetches by id as Dask DataFrames, on a cluster of processes."""

from __future__ import annotations

from typing import Any

import dask.bag
import dask.dataframe as dd
import pandas as pd
import pyarrow as pa
import pytest
from cluster import IGNORED, with_client
from distributed import Client

from eachlabs_async import (
    AuthenticationError,
    EachLabs,
    Prediction,
    RetryPolicy,
    Run,
    WorkflowExecution,
    arrow_schema,
)
from eachlabs_async.codec.arrow import record_batch
from eachlabs_async.dask import EachLabsPlugin, fetch_many
from eachlabs_async.emulator import Emulator, Fault

pytestmark = IGNORED

KINDS: dict[str, Any] = {"workflow_executions": WorkflowExecution, "predictions": Prediction, "runs": Run}


def ids_of(emulator: Emulator, kind: str) -> list[str]:
    if kind == "predictions" and not emulator.predictions.ids():

        async def create(client: EachLabs) -> None:
            for _ in range(7):
                await client.predictions.run("openai-chatgpt-5", {"seconds": 0})

        with_client(emulator, create)
    rows: Any = getattr(emulator, kind)
    return rows.ids()[:60]


@pytest.fixture(autouse=True)
def _registered(workers: Client, emulator: Emulator) -> None:
    workers.register_plugin(EachLabsPlugin(hosts=emulator.hosts, retry=RetryPolicy(max_attempts=1)))


@pytest.mark.parametrize("kind", KINDS)
def test_the_values_are_those_of_a_local_fetch(kind: Any, emulator: Emulator, workers: Client) -> None:
    """Each column of each record is equal, in the order of the ids."""
    ids = ids_of(emulator, kind)
    emulator.faults.add(Fault.latency(0.001, jitter=0.02))  # The answers come in another order.

    async def fetch(client: EachLabs) -> list[Any]:
        found = await getattr(client, kind).get_many(ids).collect()
        return [found.values[each] for each in ids]

    _compare(kind, ids, with_client(emulator, fetch))


def _compare(kind: Any, ids: list[str], values: list[Any]) -> None:
    frame = fetch_many(dask.bag.from_sequence(ids, npartitions=3), kind=kind)
    found = frame.compute()
    assert list(frame.columns) == list(found.columns)
    assert ids
    assert [*found.id] == ids
    assert found.error_type.isna().all()
    schema = arrow_schema(KINDS[kind])
    table = pa.Table.from_pandas(found, schema=schema, preserve_index=False).replace_schema_metadata(None)
    assert table == pa.Table.from_batches([record_batch(KINDS[kind], values)])


def test_a_failed_id_is_a_row_with_its_error(emulator: Emulator, workers: Client) -> None:
    """A Series keeps its index and divisions; a missing id and a 404 have errors, and the others their values."""
    ids: list[Any] = ids_of(emulator, "workflow_executions")[:20]
    series = pd.Series([*ids[:10], None, "00000000-0000-4000-8000-000000000000", *ids[10:]], index=range(100, 122))
    given = dd.from_pandas(series, npartitions=4)
    frame = fetch_many(given, kind="workflow_executions")
    assert frame.divisions == given.divisions
    found = frame.compute()
    assert list(found.index) == list(series.index)
    assert found.error_type.dropna().to_dict() == {110: "TypeError", 111: "NotFoundError"}
    assert "HTTP 404" in found.error_text[111]
    assert list(found.execution_id.dropna()) == ids
    assert {each.dtype for _, each in frame.dtypes.items() if not hasattr(each, "pyarrow_dtype")} == set()


def test_flow_executions_are_those_of_one_flow(emulator: Emulator, workers: Client) -> None:
    """They are fetched in chunks, and need their flow."""
    workflow_id = emulator.workflow_ids[0]
    ids = emulator.flow_executions[workflow_id].ids()[:30]
    bag = dask.bag.from_sequence(ids, npartitions=2)
    found = fetch_many(bag, kind="flow_executions", workflow_id=workflow_id).compute()
    assert list(found.execution_id) == ids
    for wrong in ({"kind": "flow_executions"}, {"kind": "predictions", "workflow_id": workflow_id}, {"kind": "files"}):
        with pytest.raises(ValueError, match="kind|workflow_id"):
            fetch_many(bag, **wrong)
    with pytest.raises(TypeError, match="not list"):
        fetch_many(ids, kind="predictions")  # type: ignore[arg-type]


def test_an_error_of_every_id_ends_the_computation(emulator: Emulator, workers: Client) -> None:
    """A refused key is raised and not repeated in every row."""
    emulator.faults.add(Fault.status(401))
    ids = dask.bag.from_sequence(ids_of(emulator, "workflow_executions"), npartitions=2)
    with pytest.raises(AuthenticationError):
        fetch_many(ids, kind="workflow_executions").compute()
