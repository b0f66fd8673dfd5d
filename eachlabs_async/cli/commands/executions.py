"""`eachlabs executions`: list, get, export, follow and sync the executions of models."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from cyclopts import App, Parameter

from ..context import Context

app: Final = App(name="executions", help="Executions of models.")

# The options that several commands share.
Injected = Annotated[Any, Parameter(parse=False)]
Model = Annotated[str | None, Parameter(help="Only this model.")]
Status = Annotated[
    list[str] | None, Parameter(help="Only these: created, starting, success, error, or a state such as failed.")
]
WorkflowId = Annotated[str | None, Parameter(help="Only this workflow.")]
WorkflowExecutionId = Annotated[str | None, Parameter(help="Only this execution of a workflow.")]
Classes = Annotated[list[str] | None, Parameter(help="Only these classes of errors, such as provider_error.")]
Since = Annotated[str | None, Parameter(help="Created since: 30d, 12h, yesterday, 2026-09-01. Default: 90 days ago.")]
Until = Annotated[str | None, Parameter(help="Created before.")]
Limit = Annotated[
    int | Literal["all"] | None, Parameter(help="Rows in total. Default: all; 50 in a table on a terminal.")
]
Resume = Annotated[str | None, Parameter(help="Go on at a checkpoint that an earlier command printed.")]

COLUMNS: Final = (
    ("id", "id"),
    ("status", "status"),
    ("created_at", "created"),
    ("model", "model"),
    ("execution_cost", "cost $"),
    ("run_time", "run s"),
)


@app.command(name="list")
async def list_(
    *,
    status: Status = None,
    model: Model = None,
    workflow_id: WorkflowId = None,
    workflow_execution_id: WorkflowExecutionId = None,
    error_classification: Classes = None,
    since: Since = None,
    until: Until = None,
    limit: Limit = None,
    resume: Resume = None,
    context: Injected,
) -> int:
    """List executions of models, newest first."""
    from ...records import Execution
    from ..output.fields import view_of
    from ..walk import print_listing

    given: Context = context
    first, last = given.moment("since", since), given.moment("until", until)
    async with given.client() as client:
        return await print_listing(
            given,
            lambda walk: client.executions.list(
                status=status,
                model=model,
                workflow_id=workflow_id,
                workflow_execution_id=workflow_execution_id,
                error_classification=error_classification,
                since=first,
                until=last,
                **walk,
            ),
            view_of(Execution, *COLUMNS),
            title="executions",
            limit=limit,
            resume=resume,
        )
