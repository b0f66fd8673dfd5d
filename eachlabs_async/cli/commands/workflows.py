"""`eachlabs workflows`: workflows and their executions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

from cyclopts import App, Parameter

from ..context import Context
from .options import Ids, Injected, Limit, Resume

if TYPE_CHECKING:
    from ..output.fields import View

app: Final = App(name="workflows", help="Workflows and their executions.")


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
async def execution(ids: Ids, /, *, context: Injected) -> int:
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
        )
