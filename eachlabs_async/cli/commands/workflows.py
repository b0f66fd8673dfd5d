"""`eachlabs workflows`: workflows and their executions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final

from cyclopts import App, Parameter

from ..context import Context
from .options import (
    BudgetUsd,
    Concurrency,
    Ids,
    Injected,
    InputFormat,
    Inputs,
    Journal,
    Limit,
    MapInputs,
    Resume,
    RetryUnknown,
    Skip,
    TimeoutS,
    VersionId,
)

if TYPE_CHECKING:
    from ..output.fields import View

app: Final = App(name="workflows", help="Workflows and their executions.")

WorkflowId = Annotated[str, Parameter(help="The id of a workflow, or its slug.")]


def workflows_view() -> View:
    """Return the fields of a workflow, as the listing has it, and the columns of its table."""
    from ...records import WorkflowSummary
    from ..output.fields import view_of

    return view_of(
        WorkflowSummary,
        ("workflow_id", "workflow id"),
        ("name", "name"),
        ("updated_at", "updated"),
        ("trigger_count", "triggers"),
        ("slug", "slug"),
        ("status", "status"),
        id_field="workflow_id",
    )


def workflow_executions_view() -> View:
    """Return the fields of an execution of a workflow, as its listing has it, and the columns of its table."""
    from ...records import WorkflowExecutionSummary
    from ..output.fields import view_of

    return view_of(
        WorkflowExecutionSummary,
        ("execution_id", "execution id"),
        ("status", "status"),
        ("created_at", "created"),
        ("version_id", "version"),
        ("flow_name", "workflow"),
        ("ended_at", "ended"),
        id_field="execution_id",
    )


def full_view() -> View:
    """Return the fields of an execution of a workflow in full, and the columns of its table."""
    from ...records import WorkflowExecution
    from ..output.fields import view_of

    return view_of(
        WorkflowExecution,
        ("execution_id", "execution id"),
        ("status", "status"),
        ("started_at", "started"),
        ("total_cost", "cost $"),
        ("error", "error"),
        ("workflow_output", "output"),
        id_field="execution_id",
    )


def ended_view() -> View:
    """Return the fields of an execution of a workflow that has ended, and the columns of its table."""
    from ..output.fields import TableColumn, View

    whole = full_view()
    shown = ("execution_id", "status", "total_cost")
    columns = tuple(column for column in whole.columns if column.name in shown)
    return View(whole.names, whole.contents, (*columns, TableColumn("result", "result", rank=2)))


@app.command(name="list")
async def list_(
    *,
    category: Annotated[str | None, Parameter(help="Only this category, by its slug.")] = None,
    keyword: Annotated[str | None, Parameter(help="Only names with this text.")] = None,
    limit: Limit = None,
    resume: Resume = None,
    context: Injected,
) -> int:
    """List workflows (unified edition)."""
    from ..walk import print_listing

    given: Context = context
    async with given.client() as client:
        return await print_listing(
            given,
            lambda walk: client.workflows.list(category=category, keyword=keyword, **walk),
            workflows_view(),
            title="workflows",
            limit=limit,
            resume=resume,
        )


@app.command
async def show(
    workflow_id: Annotated[str, Parameter(help="The id of a workflow, or its slug.")], /, *, context: Injected
) -> None:
    """Show one workflow with its versions."""
    from ...codec.strict import to_dict
    from ...records import Workflow
    from ..output.fields import view_of

    given: Context = context
    view = view_of(Workflow)
    given.view(view)
    async with given.client() as client:
        given.record(to_dict(await client.workflows.get(workflow_id)), view)


@app.command
async def executions(
    workflow_id: Annotated[str, Parameter(help="The id of a workflow, or its slug.")],
    /,
    *,
    bulk_id: Annotated[str | None, Parameter(help="Only those of this bulk trigger.")] = None,
    full: Annotated[
        bool, Parameter(help="Fetch each in full, with its steps and outputs.", show_default=False)
    ] = False,
    limit: Limit = None,
    resume: Resume = None,
    context: Injected,
) -> int:
    """List the executions of a workflow, newest first."""
    from ..fetch import print_outcomes
    from ..walk import print_listing

    given: Context = context
    async with given.client() as client:
        if full:
            most = limit if isinstance(limit, int) else None
            pager = client.workflow_executions.list(workflow_id, bulk_id=bulk_id, max_rows=most, resume=resume)
            return await print_outcomes(
                given, lambda report: pager.hydrate(on_progress=report), full_view(), title="executions"
            )
        return await print_listing(
            given,
            lambda walk: client.workflow_executions.list(workflow_id, bulk_id=bulk_id, **walk),
            workflow_executions_view(),
            title="executions",
            limit=limit,
            resume=resume,
        )


@app.command
async def execution(ids: Ids, /, *, skip: Skip = 0, context: Injected) -> int:
    """Show executions of workflows in full, by the ids that `workflows executions` lists."""
    from ..fetch import print_fetched

    given: Context = context
    async with given.client() as client:
        return await print_fetched(
            given,
            ids,
            lambda found, report: client.workflow_executions.get_many(found, ordered=True, on_progress=report),
            full_view(),
            title="executions",
            skip=skip,
        )


@app.command
async def trigger(
    workflow_id: WorkflowId,
    inputs: Inputs = None,
    *,
    version_id: VersionId = None,
    wait: Annotated[bool, Parameter(help="Wait for its end, and show it.", show_default=False)] = False,
    timeout_s: TimeoutS = None,
    context: Injected,
) -> int:
    """Start one execution of a workflow and show its id. It is billed.

    INPUTS are NAME=VALUE: text where the workflow wants text, else JSON. NAME=@FILE uploads a file (unified edition).
    """
    from ..trigger import trigger_workflow

    given: Context = context
    return await trigger_workflow(
        given, workflow_id, version_id, inputs or [], waits=wait, timeout_s=timeout_s, view=ended_view()
    )


@app.command
async def wait(ids: Ids, *, timeout_s: TimeoutS = None, context: Injected) -> int:
    """Wait for executions of workflows, and show each when it has ended."""
    from ..waiting import FOREVER_S, wait_for_each

    given: Context = context
    async with given.client() as client:
        return await wait_for_each(
            given,
            ids,
            lambda name, on_update: client.workflow_executions.wait(
                name, timeout_s=timeout_s or FOREVER_S, on_update=on_update
            ),
            ended_view(),
            title="workflow executions",
        )


@app.command(name="map")
async def map_(
    workflow_id: WorkflowId,
    inputs: MapInputs,
    *,
    version_id: VersionId = None,
    input_format: InputFormat = None,
    journal: Journal = None,
    budget_usd: BudgetUsd = None,
    concurrency: Concurrency = 64,
    retry_unknown: RetryUnknown = False,
    timeout_s: TimeoutS = None,
    context: Injected,
) -> int:
    """Run a workflow with each input of a file, and print the outcomes as they come.

    Executions are billed. With --journal, the same command goes on after Ctrl-C or a kill and runs no input twice.
    """
    from ..input_source import input_source
    from ..map import MapCommand, checked_budget
    from ..model_inputs import chosen_version, schema_of_version

    given: Context = context
    budget = checked_budget(budget_usd)
    source = input_source(inputs, input_format)
    async with given.client() as client:
        if version_id is None or source.kind == "csv":
            found = chosen_version(await client.workflows.get(workflow_id), version_id)
            source = input_source(inputs, input_format, schema_of_version(found))
            if version_id is None and found is not None:
                version_id = found.version_id
                # A version that is published meanwhile is not for the rest of the inputs.
                given.replaced["--version-id"] = version_id
        version = str(version_id)
        command = MapCommand(given, f"workflow {workflow_id}", source, concurrency, budget, journal)
        options: dict[str, Any] = {**command.options(), "timeout_s": timeout_s, "retry_unknown": retry_unknown}
        return await command.run(lambda rows: client.workflows.map(workflow_id, version, rows, **options))
