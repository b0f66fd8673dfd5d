"""`eachlabs flows`: executions of flows, of the legacy service."""

from __future__ import annotations

from typing import Annotated, Final

from cyclopts import App, Parameter

from ..context import Context
from .options import Ids, Injected, Skip

app: Final = App(name="flows", help="Executions of flows (legacy).")


@app.command
async def get(
    workflow_id: Annotated[str, Parameter(help="The flow that was executed.")],
    ids: Ids,
    /,
    *,
    skip: Skip = 0,
    context: Injected,
) -> int:
    """Show executions of a flow in full, by id."""
    from ...records import FlowExecution
    from ..fetch import print_fetched
    from ..output.fields import view_of

    given: Context = context
    async with given.client() as client:
        return await print_fetched(
            given,
            ids,
            lambda found, report: client.flow_executions.get_many(workflow_id, found, ordered=True, on_progress=report),
            view_of(
                FlowExecution,
                ("execution_id", "execution id"),
                ("status", "status"),
                ("created_at", "created"),
                ("average_percent", "%"),
                ("flow_name", "flow"),
                ("ended_at", "ended"),
                id_field="execution_id",
            ),
            title="executions",
            skip=skip,
        )
