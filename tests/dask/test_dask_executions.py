"""Tests for executions as a Dask DataFrame, on a cluster of processes."""

from __future__ import annotations

import logging
import pickle
import time
from collections import Counter
from typing import Any

import pyarrow as pa
import pytest
from cluster import IGNORED, KEY, RUNS_KEY, SPAN, with_client
from distributed import Client

from eachlabs_async import (
    APITimeoutError,
    ConfigurationError,
    EachLabs,
    Execution,
    PaginationError,
    RetryPolicy,
    ServerError,
    Timeouts,
    arrow_schema,
)
from eachlabs_async.dask import EachLabsPlugin, executions
from eachlabs_async.emulator import Emulator, Fault

pytestmark = IGNORED


def register(workers: Client, emulator: Emulator, **options: Any) -> None:
    workers.register_plugin(EachLabsPlugin(hosts=options.pop("hosts", emulator.hosts), **options))


def as_table(frame: Any) -> pa.Table:
    """Return what was computed as a table, newest row first, with the schema of the record."""
    return pa.Table.from_pandas(frame.iloc[::-1], schema=arrow_schema(Execution), preserve_index=False)


def local_table(emulator: Emulator) -> pa.Table:
    async def walk(client: EachLabs) -> pa.Table:
        windows = await client.executions.windows(*SPAN, parts=3)
        return await client.executions.walk_windows(windows).to_arrow()

    return with_client(emulator, walk)


@pytest.mark.parametrize("edition", ["compat", "unified"])
def test_the_rows_are_those_of_a_local_walk(edition: str, workers: Client, emulator: Emulator) -> None:
    """Every column of every row is equal, in order, across partitions and within each."""
    register(workers, emulator, hosts=emulator.hosts if edition == "compat" else emulator.unified_hosts)
    frame = executions(*SPAN, partitions=6)
    assert frame.npartitions == 6
    found = frame.compute()
    assert as_table(found).replace_schema_metadata(None) == local_table(emulator)
    assert found.index.is_monotonic_increasing
    assert list(found.index) == list(found.created_at)


def test_partitions_lie_within_their_divisions(workers: Client, emulator: Emulator) -> None:
    """The divisions are known, begin and end with the span, and hold the rows of their partition."""
    register(workers, emulator)
    frame = executions(*SPAN, partitions=5, status="success")
    assert frame.known_divisions
    assert [frame.divisions[0].isoformat(), frame.divisions[-1].isoformat()] == [
        text.replace("Z", "+00:00") for text in SPAN
    ]
    parts = workers.gather(workers.compute(frame.to_delayed()))
    for part, low, high in zip(parts, frame.divisions, frame.divisions[1:], strict=False):
        assert len(part)
        assert low <= part.index[0] <= part.index[-1] < high
        assert set(part.status) == {"success"}


def test_a_slice_of_time_reads_its_partitions_only(workers: Client, emulator: Emulator) -> None:
    """`loc` on the index leaves the other windows unread, and a frame without rows has the columns."""
    register(workers, emulator)
    frame = executions(*SPAN, npartitions_rows=500)
    assert 6 <= frame.npartitions <= 7
    emulator.reset_counters()
    day = frame.divisions[1]
    assert len(frame.loc[day:day].compute()) <= 1
    assert 0 < emulator.requests["executions.list"] < 15
    empty = frame.loc["2026-01-01":"2026-01-02"].compute()
    assert not len(empty)
    types = {field.name: field.type for field in arrow_schema(Execution)}
    for each in (empty, frame):
        assert {name: kind.pyarrow_dtype for name, kind in each.dtypes.items()} == types
    assert frame.groupby("status").execution_cost.sum().compute().sum() > 0


def test_the_bound_holds_over_all_workers(workers: Client, emulator: Emulator) -> None:
    """Two workers never have more requests in flight than `max_concurrency`, and one alone may have as many."""
    register(workers, emulator, max_concurrency=5)
    emulator.faults.add(Fault.latency(0.02))
    frame = executions(*SPAN, partitions=6)
    assert len(frame.compute()) == 3000
    assert emulator.max_in_flight in (4, 5)  # The last request of a worker may end before its share is used.
    emulator.reset_counters()
    assert len(executions(*SPAN, partitions=1, concurrency=8).compute()) == 3000
    assert emulator.max_in_flight == 5


def test_one_request_at_a_time_is_enough_for_two_workers(workers: Client, emulator: Emulator) -> None:
    """With fewer requests than workers, one waits before its partition and not in a call, whose deadline would pass."""
    register(workers, emulator, max_concurrency=1, timeouts=Timeouts(deadline_s=0.5))
    emulator.faults.add(Fault.latency(0.01))
    assert len(executions(*SPAN, partitions=2).compute()) == 3000
    assert emulator.max_in_flight == 1


def test_a_pause_holds_all_workers(workers: Client, emulator: Emulator) -> None:
    """After a `Retry-After` that one worker met, no worker sends anything until it has passed."""
    register(workers, emulator, max_concurrency=6)
    emulator.faults.add(Fault.latency(0.02))
    frame = executions(*SPAN, partitions=6)
    emulator.reset_counters()
    met: list[float] = []

    def once(request: Any) -> bool:
        met.append(request.at)
        return True

    emulator.faults.add(Fault.status(503, retry_after=1), endpoint="executions.list", after=8, times=1, when=once)
    assert len(frame.compute()) == 3000
    at = met[8]
    inside = [request.at - at for request in emulator.log if at + 0.2 < request.at < at + 0.99]
    assert not inside
    assert sum(request.at > at + 0.99 for request in emulator.log) > 10
    assert emulator.answers[503] == 1


def count_messages(dask_scheduler: Any) -> None:
    """Count the messages of the package that the scheduler gets."""
    counts = dask_scheduler.eachlabs_counts = Counter()
    handlers = dask_scheduler.stream_handlers
    for name in [name for name in handlers if name.startswith("eachlabs")]:

        def counted(name: str = name, handler: Any = handlers[name], **message: Any) -> None:
            counts[name] += 1
            handler(**message)

        handlers[name] = counted


def messages(dask_scheduler: Any) -> dict[str, int]:
    return dict(dask_scheduler.eachlabs_counts)


def test_messages_are_counted_by_partitions_and_not_by_requests(workers: Client, emulator: Emulator) -> None:
    """A partition costs a few messages, however many requests it needs, and a pause one."""
    register(workers, emulator, max_concurrency=6)
    frame = executions(*SPAN, partitions=4)
    emulator.reset_counters()
    workers.run_on_scheduler(count_messages)
    emulator.faults.add(Fault.status(503, retry_after=0.3), endpoint="executions.list", after=4, times=3)
    frame.compute()
    time.sleep(0.1)
    counts = workers.run_on_scheduler(messages)
    assert emulator.requests["executions.list"] >= 34
    assert counts["eachlabs-want"] == 8
    assert sum(counts.values()) <= 8 + 16 + 3
    assert 1 <= counts["eachlabs-pause"] <= 3


def test_the_error_of_a_partition_arrives_with_its_checkpoint(workers: Client, emulator: Emulator) -> None:
    """The error is of this package, says which window failed, and the walk of that window resumes from it."""
    register(workers, emulator, retry=RetryPolicy(max_attempts=1))
    frame = executions(*SPAN, partitions=3, concurrency=1, status="success")
    rule = emulator.faults.add(Fault.status(500), endpoint="executions.list", after=12)
    with pytest.raises(ServerError) as caught:
        frame.compute()
    emulator.faults.remove(rule)
    error = caught.value
    assert error.status == 500
    assert error.partial is None
    assert error.checkpoint is not None
    _, since, _, until = error.__notes__[0].removeprefix("the partition is the window ").split()

    async def resume(client: EachLabs) -> tuple[int, int]:
        window = next(
            window
            for window in await client.executions.windows(*SPAN, parts=3, status="success")
            if (window.since.isoformat(), window.until.isoformat()) == (since, until)
        )
        whole = await client.executions.walk_windows([window]).to_arrow()
        rest = await client.executions.walk_windows([window], resume=error.checkpoint).to_arrow()
        return whole.num_rows, rest.num_rows

    whole, rest = with_client(emulator, resume)
    assert 0 < rest < whole


def test_the_deadline_of_a_call_ends_the_task(workers: Client, emulator: Emulator) -> None:
    """A deadline that passes within a task is the error of the whole computation."""
    register(workers, emulator, timeouts=Timeouts(deadline_s=0.3))
    frame = executions(*SPAN, partitions=2)
    emulator.faults.add(Fault.latency(5))
    began = time.monotonic()
    with pytest.raises(APITimeoutError, match="deadline of 0.3 s") as caught:
        frame.compute()
    assert time.monotonic() - began < 4
    assert caught.value.checkpoint is not None


def attributes(value: Any, depth: int = 5) -> str:
    """Return what can be reached from an object, as text."""
    seen: set[int] = set()
    found: list[str] = []

    def look(value: Any, depth: int) -> None:
        if id(value) in seen or depth < 0:
            return
        seen.add(id(value))
        found.append(repr(value))
        if isinstance(value, dict):
            for name, each in list(value.items()):
                look(name, depth - 1)
                look(each, depth - 1)
        elif isinstance(value, list | tuple | set | frozenset):
            for each in list(value):
                look(each, depth - 1)
        elif hasattr(value, "__dict__") and not isinstance(value, type | type(pickle)):
            look(vars(value), depth - 1)

    look(value, depth)
    return "\n".join(found)


def scheduler_state(dask_scheduler: Any) -> str:
    names = ("plugins", "worker_plugins", "nanny_plugins", "tasks", "workers", "clients", "_broker", "extensions")
    parts = [attributes(getattr(dask_scheduler, name, None)) for name in names]
    return "\n".join([*parts, *(str(line) for line in dask_scheduler.get_logs())])


def worker_state(dask_worker: Any) -> str:
    parts = [attributes(getattr(dask_worker, name, None)) for name in ("plugins", "state", "data")]
    return "\n".join([*parts, *(str(line) for line in dask_worker.get_logs())])


def test_the_key_is_nowhere_in_dask(workers: Client, emulator: Emulator, caplog: pytest.LogCaptureFixture) -> None:
    """Graph, keys, plugin, logs and the state of scheduler and workers do not contain it, also after an error."""
    caplog.set_level(logging.DEBUG)
    plugin = EachLabsPlugin(hosts=emulator.hosts, retry=RetryPolicy(max_attempts=1))
    workers.register_plugin(plugin)
    frame = executions(*SPAN, partitions=4)
    rule = emulator.faults.add(
        Fault.status(500, body=f'{{"error":"bad key {KEY}"}}'), endpoint="executions.list", after=6
    )
    with pytest.raises(ServerError) as caught:
        frame.compute()
    emulator.faults.remove(rule)
    held = executions(*SPAN, partitions=4).persist()
    assert len(held) == 3000
    graph = frame.optimize().__dask_graph__()
    logs = f"{workers.get_scheduler_logs()} {workers.get_worker_logs()}"
    everything = {
        "graph": pickle.dumps(dict(graph)) + pickle.dumps(frame),
        "keys": repr(list(graph)).encode(),
        "plugin": pickle.dumps(plugin) + repr(plugin).encode(),
        "error": pickle.dumps(caught.value) + repr(caught.value).encode(),
        "logs": f"{logs} {caplog.text}".encode(),
        "scheduler": workers.run_on_scheduler(scheduler_state).encode(),
        "workers": repr(workers.run(worker_state)).encode(),
    }
    assert b"eachlabs-executions" in everything["scheduler"], "the search looks at the right things"
    assert b"EachLabsPlugin" in everything["workers"]
    assert not [name for name, text in everything.items() if KEY.encode() in text or RUNS_KEY.encode() in text]


def test_what_is_missing_is_said(workers: Client, emulator: Emulator) -> None:
    """Workers without the plugin, and a process without a cluster, get an error that says what to do."""
    register(workers, emulator)
    frame = executions(*SPAN, partitions=1)
    with pytest.raises(ConfigurationError, match=r"make a distributed\.Client"):
        frame.compute(scheduler="sync")
    workers.unregister_worker_plugin("eachlabs")
    with pytest.raises(ConfigurationError, match=r"client\.register_plugin\(eachlabs_async\.dask\.EachLabsPlugin"):
        executions(*SPAN, partitions=1)
    for wrong in ({"partitions": 0}, {"partitions": 2, "npartitions_rows": 5}, {"concurrency": 0}):
        with pytest.raises(ValueError, match="partitions|concurrency"):
            executions(*SPAN, **wrong)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        EachLabsPlugin(api_key=KEY)  # type: ignore[call-arg]


def test_a_row_without_a_time_is_refused(workers: Client, emulator: Emulator) -> None:
    """It could be in any partition, so that it would be there several times or never."""
    register(workers, emulator)
    frame = executions(*SPAN, partitions=2)

    edited: list[Any] = []

    def without_time(body: Any, request: Any) -> Any:
        if body["executions"] and not edited:
            edited.append(body["executions"][0].pop("created_at"))
        return body

    emulator.faults.add(Fault.edit(without_time), endpoint="executions.list")
    with pytest.raises(PaginationError, match="has no created_at"):
        frame.compute()
