"""What the calls about workflows, predictions, files and webhooks give, as type checkers must see it; never run."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, assert_type

from eachlabs_async import (
    BulkFetch,
    BulkTriggered,
    BulkTriggeredExecution,
    CancelledPrediction,
    CreatedPrediction,
    EachLabs,
    ExecutionFailedError,
    FinishedPrediction,
    MapRun,
    MapStats,
    Model,
    ModelCost,
    OutcomeUnknownError,
    Pager,
    Poll,
    Prediction,
    PredictionWebhook,
    PresignedUpload,
    PublicWorkflow,
    Run,
    RunDeletion,
    TriggeredExecution,
    UploadedFile,
    WaitTimeoutError,
    Webhook,
    Workflow,
    WorkflowExecution,
    WorkflowSummary,
    WorkflowVersion,
    WorkflowWebhook,
    webhooks,
)


async def chunks() -> AsyncIterator[bytes]:
    """Return the parts of a stream."""
    yield b""


async def ids() -> AsyncIterator[str]:
    """Return the ids of a stream."""
    yield ""


async def take(event: webhooks.WebhookEvent) -> None:
    """Take an event of either kind."""
    assert_type(event, PredictionWebhook | WorkflowWebhook)
    assert_type(event.key, str)


async def calls(client: EachLabs) -> None:
    """Call everything that this file is about."""
    assert_type(client.workflows.list(sort_key="name", sort_direction="asc"), Pager[WorkflowSummary])
    assert_type(await client.workflows.get("w"), Workflow)
    assert_type(await client.workflows.create("n", {}), Workflow)
    assert_type(await client.workflows.rename("w", "n"), Workflow)
    assert_type(await client.workflows.put_version("w", "v", published=True), WorkflowVersion)
    triggered = await client.workflows.trigger("w", "v", {"a": 1}, reconcile=True)
    assert_type(triggered, TriggeredExecution)
    assert_type(triggered.execution_id, str)
    bulk = await client.workflows.bulk_trigger("w", "v", [{"a": 1}])
    assert_type(bulk, BulkTriggered)
    assert_type(bulk.executions, list[BulkTriggeredExecution])
    assert_type(bulk.executions[0].execution_id, str | None)
    assert_type(await client.workflow_executions.wait(triggered, timeout_s=1, poll=Poll(first_s=1)), WorkflowExecution)
    run = client.workflows.map("w", "v", ({"a": number} for number in range(2)))
    assert_type(run, MapRun[WorkflowExecution])
    assert_type(run.stats, MapStats)
    async for outcome in run:
        assert_type(outcome.value, WorkflowExecution | None)
    assert_type(client.predictions.map("m", [{}]), MapRun[Prediction])
    assert_type(client.workflow_executions.wait_many("w", ids()), MapRun[WorkflowExecution])
    assert_type(await client.public_workflows.get("n", "s", "v"), PublicWorkflow)
    assert_type(await client.public_workflows.trigger("n", "s", "v", {}), TriggeredExecution)
    created = await client.predictions.create("m", {}, fallback_selector="any-image")
    assert_type(created, CreatedPrediction)
    assert_type(created.id, str)
    assert_type(await client.predictions.get("p"), Prediction)
    assert_type(client.predictions.get_many(["p"]), BulkFetch[Prediction])
    assert_type(await client.predictions.cancel("p"), CancelledPrediction)
    assert_type(await client.predictions.run("m", {}), FinishedPrediction)
    assert_type(await client.predictions.wait(created), Prediction)
    assert_type(client.models.list(name="n", limit=500), Pager[Model])
    model = await client.models.get("m")
    assert_type(model, Model)
    assert_type(model.cost, ModelCost | None)
    assert_type((await client.models.schema("m")).input_schema, dict[str, Any] | None)
    assert_type((await client.billing.balance()).balance_usd, float)
    assert_type(client.webhook_deliveries.list(), Pager[Webhook])
    assert_type(await client.webhook_deliveries.get("e"), Webhook)
    assert_type(await client.files.presign("a/b", "image"), PresignedUpload)
    for source in (Path("a"), "a", b"a"):
        assert_type(await client.files.upload(source), UploadedFile)
    assert_type(await client.files.upload(chunks(), size=0), UploadedFile)
    assert_type(client.runs.list_for_workflow("w"), Pager[Run])
    assert_type(await client.runs.stop("r"), Run)
    started = await client.runs.start("w", {"a": 1}, node_ids=["n"], callback_url="https://me/")
    assert_type(started, Run)
    assert_type(await client.runs.wait(started, timeout_s=1, on_update=print), Run)
    assert_type(await client.runs.delete(started.id), RunDeletion)
    assert_type(await client.runs.delete_many(filters={"workflow_id": "w"}, dry_run=True), RunDeletion)
    assert_type(webhooks.parse({}, b"", secret="s"), PredictionWebhook | WorkflowWebhook)
    webhooks.aiohttp_handler(take, secret=webhooks.UNVERIFIED)


def errors(unknown: OutcomeUnknownError, failed: ExecutionFailedError, late: WaitTimeoutError) -> None:
    """Read what the errors carry."""
    assert_type(unknown.lookup, dict[str, str])
    assert_type(unknown.candidates, tuple[str, ...])
    assert_type(failed.step, str | None)
    assert_type(failed.code, str | None)
    assert_type(late.execution_id, str | None)
