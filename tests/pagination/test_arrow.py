"""Tests for listings as Arrow tables: the schema of every record, exact values, and batches that can be resumed."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import attrs
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from listings import KINDS, Reached, ids_of, reached

from eachlabs_async import Execution, ServerError, arrow_schema, records, to_dict
from eachlabs_async.codec.arrow import record_batch
from eachlabs_async.codec.columns import SECRETS, columns_of, exact_cost
from eachlabs_async.emulator import Fault
from eachlabs_async.records import Model, Prediction, Webhook, Workflow, WorkflowExecution, WorkflowExecutionSummary

CLASSES = [getattr(records, name) for name in records.__all__ if attrs.has(getattr(records, name))]
TIME = pa.timestamp("us", "UTC")
TEXT = pa.large_string()


@pytest.fixture
async def listing() -> AsyncIterator[Reached]:
    async with reached(KINDS[0], 250) as found:
        yield found


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_every_record_has_a_schema(kind: Any) -> None:
    """It has each field but those with secrets, by the API's name, and depends on no row."""
    schema = arrow_schema(kind)
    names = {field.name: field.metadata.get("wire name", field.name) for field in attrs.fields(kind)}
    assert schema.names == [wire for name, wire in names.items() if name not in SECRETS]
    required = {names[field.name] for field in attrs.fields(kind) if field.default is attrs.NOTHING} - SECRETS
    assert {field.name for field in schema if not field.nullable} == required
    empty = record_batch(kind, [])
    assert empty.schema == schema
    assert empty.num_rows == 0


def test_the_schema_of_an_execution_is_stable() -> None:
    """This table is what other programs rely on: change it only with a note in the changelog."""
    assert {field.name: field.type for field in arrow_schema(Execution)} == {
        "id": TEXT,
        "status": TEXT,
        "model": TEXT,
        "requested_model": TEXT,
        "workflow_id": TEXT,
        "workflow_execution_id": TEXT,
        "execution_cost": pa.decimal128(38, 18),
        "run_time": pa.float64(),
        "created_at": TIME,
        "started_at": TIME,
        "completed_at": TIME,
        "output": TEXT,
    }


@pytest.mark.parametrize(
    ("kind", "name", "wanted"),
    [
        (WorkflowExecution, "total_cost", pa.decimal128(38, 18)),
        (WorkflowExecution, "step_outputs", TEXT),
        (Workflow, "tags", pa.list_(TEXT)),
        (Workflow, "trigger_count", pa.int64()),
        (Workflow, "locked", pa.bool_()),
        (Model, "cost", TEXT),
        (Prediction, "urls", TEXT),
    ],
)
def test_a_type_follows_from_the_record(kind: Any, name: str, wanted: pa.DataType) -> None:
    assert arrow_schema(kind).field(name).type == wanted


@pytest.mark.parametrize("wrong", [dict, int, "Execution", None, Execution(id="1", status="x")])
def test_what_is_no_record_class_is_refused(wrong: Any) -> None:
    with pytest.raises(TypeError, match="must be a record class"):
        arrow_schema(wrong)


def test_secrets_have_no_column() -> None:
    for kind in CLASSES:
        assert not {"api_key", "presigned_url", "headers", "required_headers"} & set(arrow_schema(kind).names)
    batch = record_batch(Webhook, [Webhook(execution_id="1", headers={"X-Webhook-Secret": "hidden"})])
    assert "hidden" not in str(batch.to_pylist())
    assert "api_key" in {field.name for field in attrs.fields(WorkflowExecutionSummary)}


@given(
    st.one_of(
        st.floats(min_value=-1e15, max_value=1e15),
        st.decimals("-1000", "1000", places=6).map(float),
    )
)
def test_a_cost_is_the_decimal_that_was_written(cost: float) -> None:
    """It differs from the shortest text of the number by less than its last place, and fits its column."""
    exact = exact_cost(cost)
    assert abs(exact - Decimal(repr(cost))) <= Decimal("5e-19")
    assert pa.array([exact], pa.decimal128(38, 18))[0].as_py() == exact


def test_costs_add_up_exactly() -> None:
    rows = [Execution(id=str(number), status="success", execution_cost=0.1) for number in range(1000)]
    table = pa.Table.from_batches([record_batch(Execution, rows)])
    assert sum(table["execution_cost"].to_pylist()) == 100


def test_values_of_each_type_are_kept() -> None:
    """Open values are JSON, also those that hold records and texts that UTF-8 cannot encode."""
    time = datetime(2026, 9, 1, 12, 30, 0, 123456, tzinfo=UTC)
    cases: list[tuple[Any, dict[str, Any]]] = [
        (
            Execution(id="\ud800é", status="success", created_at=time, output="é"),
            {"id": "\\ud800é", "created_at": time, "output": "é", "execution_cost": None},
        ),
        (
            WorkflowExecutionSummary(execution_id="1", status="x", inputs={"é": ["\ud800", None]}, cost=float("inf")),
            {"inputs": '{"\\u00e9":["\\ud800",null]}', "cost": "Infinity", "output_json": None},
        ),
        (
            WorkflowExecution(
                execution_id="1",
                status="x",
                output="a text",
                step_outputs={"s": records.StepOutput(step_id="s", status="x", started_at=time)},
            ),
            {"output": '"a text"', "total_cost": None},
        ),
        (
            Workflow(workflow_id="w", tags=["a", "é"], locked=True, trigger_count=3),
            {"tags": ["a", "é"], "locked": True},
        ),
    ]
    for record, wanted in cases:
        found = record_batch(type(record), [record]).to_pylist()[0]
        assert found == {**found, **wanted}
    nested = json.loads(record_batch(WorkflowExecution, [cases[2][0]]).to_pylist()[0]["step_outputs"])
    assert nested == to_dict(cases[2][0])["step_outputs"]


def test_a_number_that_does_not_fit_is_named() -> None:
    with pytest.raises(ValueError, match="trigger_count has a value that does not fit int64"):
        record_batch(Workflow, [Workflow(workflow_id="w", trigger_count=2**70)])
    with pytest.raises(ValueError, match="execution_cost"):
        record_batch(Execution, [Execution(id="1", status="x", execution_cost=1e300)])


@pytest.mark.parametrize("kind", KINDS)
async def test_a_table_has_the_rows_of_the_listing(kind: str) -> None:
    """So it is for every listing, in its order, with the times and texts of the records."""
    async with reached(kind, 120) as listing:
        rows = [row async for row in listing.list()]
        table = await listing.list(look_ahead=2).to_arrow()
    names = {column.name: column for column in columns_of(type(rows[0]))}
    assert table.schema == arrow_schema(type(rows[0]))
    for name, column in names.items():
        if column.content in ("text", "time", "number", "integer", "boolean"):
            assert table[name].to_pylist() == [getattr(row, column.attribute) for row in rows]


async def test_an_empty_listing_has_the_columns() -> None:
    async with reached(KINDS[0], 0) as listing:
        table = await listing.list().to_arrow()
        assert [batch async for batch in listing.list().arrow_batches()] == []
        frame = await listing.list().to_arrow()
    assert table.schema == frame.schema == arrow_schema(Execution)
    assert table.num_rows == 0


async def test_windows_become_a_table(listing: Reached) -> None:
    now = listing.emulator.now
    windows = await listing.client.executions.windows(now - timedelta(days=61), now + timedelta(seconds=1), parts=5)
    table = await listing.client.executions.walk_windows(iter(windows)).to_arrow()
    assert table["id"].to_pylist() == listing.rows.ids()


@pytest.mark.parametrize("size", [1, 100, 249, 250, 251])
async def test_batches_have_the_size_asked_for(listing: Reached, size: int) -> None:
    sizes = [batch.num_rows async for batch in listing.list().arrow_batches(size)]
    assert sum(sizes) == 250
    assert set(sizes[:-1]) <= {size}
    assert 0 < sizes[-1] <= size


@pytest.mark.parametrize("wrong", [0, -1, 1.5, True])
async def test_a_wrong_size_is_refused(listing: Reached, wrong: Any) -> None:
    with pytest.raises((ValueError, TypeError), match="rows"):
        listing.list().arrow_batches(wrong)


async def test_a_walk_resumes_behind_a_batch(listing: Reached) -> None:
    async with listing.list() as pager:
        async for batch in pager.arrow_batches(70):
            got = batch["id"].to_pylist()
            break
        rest = await listing.list(resume=pager.checkpoint).to_arrow()
    assert got + rest["id"].to_pylist() == listing.rows.ids()


async def test_the_rows_before_an_error_come_first(listing: Reached) -> None:
    """So its checkpoint loses none of them. `to_arrow` leaves them in the error."""
    listing.emulator.faults.add(Fault.status(500), after=2)
    got: list[str] = []
    with pytest.raises(ServerError) as caught:
        async for batch in listing.list().arrow_batches(150):
            got += batch["id"].to_pylist()
    with pytest.raises(ServerError) as partial:
        await listing.list().to_arrow()
    listing.emulator.faults.clear()
    rest = ids_of([row async for row in listing.list(resume=caught.value.checkpoint)])
    assert got
    assert got + rest == listing.rows.ids()
    assert partial.value.partial.schema == arrow_schema(Execution)


async def test_a_cancelled_wait_loses_no_row(listing: Reached) -> None:
    got: list[str] = []
    batches = listing.list(limit=10).arrow_batches(90)
    listing.emulator.faults.add(Fault.latency(0.01))
    while True:
        try:
            batch = await asyncio.wait_for(anext(batches), 0.025)
        except TimeoutError:
            continue
        except StopAsyncIteration:
            break
        got += batch["id"].to_pylist()
    assert got == listing.rows.ids()


@pytest.mark.parametrize("name", ["pandas", "polars"])
async def test_data_frames_have_the_rows(listing: Reached, name: str) -> None:
    """In the order of the listing."""
    frame = await getattr(listing.list(), f"to_{name}")()
    assert list(frame["id"]) == listing.rows.ids()


@pytest.mark.parametrize("call", ["arrow_batches()", "write_parquet('x')", "to_arrow()"])
def test_without_pyarrow_the_error_says_what_to_install(call: str, tmp_path: Any) -> None:
    """The package itself, CSV and JSON Lines do without it."""
    code = f"""
import asyncio, sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("pyarrow", "pandas", "polars"):
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Missing())
from eachlabs_async import EachLabs
from eachlabs_async.emulator import Emulator
async def main():
    async with Emulator(5) as emulator, EachLabs(emulator.api_key, hosts=emulator.hosts) as client:
        listed = client.executions.list
        done = await listed().write_csv("{tmp_path}/csv"), await listed().write_jsonl("{tmp_path}/jsonl")
        assert [each.rows for each in done] == [5, 5]
        try:
            found = listed().{call}
            if hasattr(found, "__await__"):
                await found
        except ImportError as error:
            print(error)
asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert 'pip install "eachlabs-async[arrow]"' in done.stdout, done.stderr


def test_pyarrow_is_imported_only_on_demand() -> None:
    code = (
        "import sys, eachlabs_async; eachlabs_async.Pager; eachlabs_async.EachLabs; assert 'pyarrow' not in sys.modules"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
