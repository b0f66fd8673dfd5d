"""What the public calls give, as mypy and pyright, both strict, must see it; read by them and never run."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any, assert_type

from eachlabs_async import (
    COMPAT,
    UNIFIED,
    APIStatusError,
    BulkFetch,
    BulkResult,
    BulkStats,
    DownloadedFile,
    EachLabs,
    EachLabsError,
    Execution,
    FlowExecution,
    FlowStepResult,
    Follow,
    FollowStats,
    Hosts,
    NotFoundError,
    Outcome,
    Page,
    Pager,
    Prediction,
    RetryPolicy,
    Run,
    RunWorkflow,
    Service,
    State,
    StepOutput,
    Timeouts,
    WalkStats,
    Window,
    WorkflowExecution,
    WorkflowExecutionSummary,
    to_dict,
)
from eachlabs_async.archive import Archive, ArchiveRows, SyncStats
from eachlabs_async.emulator import Emulator


async def clients() -> None:
    async with EachLabs("key", hosts=UNIFIED, retry=RetryPolicy.none(), max_concurrency=8) as client:
        assert_type(client, EachLabs)
        assert_type(client.hosts, Hosts)
        assert_type(client.with_options(timeouts=Timeouts(deadline_s=5)), EachLabs)
        assert_type(OwnClient("key").with_options(), OwnClient)
        assert_type(await client.request("api", "GET", "/models", params={"limit": 5}), Any)
        assert_type(await client.close(), None)
    assert_type(COMPAT.api, Service)
    assert_type(RetryPolicy().delay(1, EachLabsError(), elapsed_s=0.0, jitter=0.5), float | None)


async def listings(client: EachLabs) -> None:
    executions = client.executions.list(status=["success", "error"], since="2026-01-01T00:00Z", look_ahead=4)
    assert_type(executions.hydrate(), BulkFetch[Prediction])
    async for execution in executions:
        assert_type(execution, Execution)
        assert_type(execution.id, str)
        assert_type(execution.state, State)
        assert_type(execution.urls, tuple[str, ...])
        assert_type(await client.files.download(execution.urls[0], "image.png", max_bytes=10), DownloadedFile)
        assert_type(execution.is_finished, bool)
        assert_type(execution.created_at, datetime | None)
        assert_type(execution.execution_cost, float | None)
    summaries = client.workflow_executions.list("workflow")
    async for summary in summaries:
        assert_type(summary, WorkflowExecutionSummary)
    assert_type(summaries.hydrate(), BulkFetch[WorkflowExecution])
    plain: Pager[WorkflowExecutionSummary] = summaries
    assert_type(await plain.collect(), list[WorkflowExecutionSummary])
    assert_type(plain.checkpoint, str)
    windows = await client.executions.windows("2026-01-01T00:00Z", datetime.now().astimezone(), parts=4)
    assert_type(windows, list[Window])
    async for execution in client.executions.walk_windows(windows):
        assert_type(execution, Execution)
    runs = client.runs.list(page=2, max_rows=10)
    assert_type(runs, Pager[Run])
    assert_type(await runs.first(), Run | None)
    assert_type(await runs.collect(max_rows=5), list[Run])
    assert_type(runs.pages(), AsyncIterator[Page[Run]])
    async for page in client.runs.list().pages():
        assert_type(page, Page[Run])
        assert_type(page.rows, list[Run])
        assert_type(page.rows[0].workflow, RunWorkflow | None)
        assert_type(page.total, int | None)
        assert_type(page.raw, bytes)
    async with client.executions.follow(finished=True, status=State.FAILED) as follow:
        assert_type(follow, Follow[Execution])
        async for execution in follow:
            assert_type(execution, Execution)
        assert_type(follow.stats, FollowStats)
        assert_type(follow.checkpoint, str)
    async with client.executions.list() as rows:
        assert_type(await rows.first(), Execution | None)
    assert_type(rows.stats, WalkStats)
    assert_type(rows.stats.rows, int)


class OwnClient(EachLabs):
    """A client of a user's own class."""


async def single(client: EachLabs) -> None:
    execution = await client.workflow_executions.get("id", wait_s=5)
    assert_type(execution, WorkflowExecution)
    assert_type(execution.step_outputs, dict[str, StepOutput] | None)
    flow = await client.flow_executions.get("workflow", "id")
    assert_type(flow, FlowExecution)
    assert_type(flow.step_results, list[FlowStepResult] | None)
    assert_type(await client.runs.get("id"), Run)
    assert_type(to_dict(execution), dict[str, Any])


async def bulk(client: EachLabs, known: dict[str, WorkflowExecution]) -> None:
    def progress(stats: BulkStats) -> None:
        assert_type(stats.done, int)

    fetch = client.workflow_executions.get_many(["a", "b"], ordered=True, known=known, on_progress=progress)
    assert_type(fetch, BulkFetch[WorkflowExecution])
    async with fetch as outcomes:
        assert_type(outcomes, BulkFetch[WorkflowExecution])
        async for outcome in outcomes:
            assert_type(outcome, Outcome[WorkflowExecution])
            assert_type(outcome.unwrap(), WorkflowExecution)
            assert_type(outcome.value, WorkflowExecution | None)
            assert_type(outcome.error, Exception | None)
            assert_type(outcome.ok, bool)
            if outcome.error is None:
                assert_type(outcome.value, WorkflowExecution)
            else:
                assert_type(outcome.error, Exception)
    flows = client.flow_executions.get_many("workflow", (one for one in "ab"), chunk_size=50)
    assert_type(flows, BulkFetch[FlowExecution])
    result = await client.runs.get_many({"a", "b"}).collect()
    assert_type(result, BulkResult[Run])
    assert_type(result.values, dict[str, Run])
    assert_type(result.errors, dict[str, Exception])


async def async_sources(client: EachLabs) -> None:
    async def ids() -> AsyncIterator[str]:
        yield "a"

    assert_type(client.workflow_executions.get_many(ids()), BulkFetch[WorkflowExecution])


def errors(error: EachLabsError) -> None:
    if isinstance(error, NotFoundError):
        assert_type(error.status, int)
        assert_type(error.request_id, str | None)
    elif isinstance(error, APIStatusError):
        assert_type(error.retry_after_s, float | None)
    assert_type(error.attempts, int)
    assert_type(error.request_id, str | None)


async def emulated() -> None:
    async with Emulator(executions=10, seed=1) as emulator:
        assert_type(emulator, Emulator)
        assert_type(emulator.hosts, Hosts)
        assert_type(emulator.api_key, str)


async def archived(client: EachLabs) -> None:
    async with Archive("executions.db") as archive:
        assert_type(archive, Archive)
        assert_type(await archive.sync(client), SyncStats)
        assert_type(archive.rows(status="success"), ArchiveRows)
        async for row in archive.rows():
            assert_type(row, Execution)
        assert_type(await archive.count(), int)


# What must be refused. With `warn_unused_ignores` mypy fails where one of these is not an error any more.


async def refused(client: EachLabs) -> None:
    client.executions.list(limit="10")  # type: ignore[arg-type]  # that is what is tested
    client.executions.list(look_behind=1)  # type: ignore[call-arg]  # that is what is tested
    client.workflow_executions.get_many([1, 2])  # type: ignore[list-item]  # that is what is tested
    await client.request("nowhere", "GET", "/")  # type: ignore[arg-type]  # that is what is tested
    EachLabs("key", COMPAT)  # type: ignore[call-arg]  # that is what is tested
