"""`eachlabs costs`: what executions cost, by model, day, status or workflow."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from ..context import Context
from .options import ErrorClassification, Injected, Model, Since, Status, Until, WorkflowId


async def costs(
    *,
    by: Annotated[
        list[str] | None,
        Parameter(help="model (default), requested_model, status, state, workflow_id, hour, day, month; also several."),
    ] = None,
    since: Since = None,
    until: Until = None,
    model: Model = None,
    status: Status = None,
    workflow_id: WorkflowId = None,
    error_classification: ErrorClassification = None,
    archive: Annotated[Path | None, Parameter(help="Read an archive of `executions sync`, not the service.")] = None,
    chart: Annotated[Path | None, Parameter(help="Draw a chart too: a path ending in .svg or .png.")] = None,
    context: Injected,
) -> int:
    """Show what executions cost, with counts, run time, and the share that failed or had no cost stated."""
    from ..costs import print_costs

    given: Context = context
    words = tuple(word for text in by or ["model"] for word in text.split(","))
    filters = {
        "model": model,
        "status": status,
        "workflow_id": workflow_id,
        "error_classification": error_classification,
    }
    span = given.moment("since", since), given.moment("until", until)
    return await print_costs(given, span, words, filters, archive=archive, chart=chart)
