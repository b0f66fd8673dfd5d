"""`eachlabs executions`: list, get, export, follow and sync the executions of models."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

from cyclopts import App, Parameter

from ..context import Context
from ..failures import FAILED, OK, UsageError
from ..times import read_duration
from .options import (
    ErrorClassification,
    Every,
    Ids,
    Injected,
    Limit,
    Model,
    Resume,
    Since,
    Skip,
    Status,
    Until,
    WorkflowExecutionId,
    WorkflowId,
)

if TYPE_CHECKING:
    from ...pagination.pages import WalkStats
    from ..output.fields import View

app: Final = App(name="executions", help="Executions of models.")


def executions_view() -> View:
    """Return the fields of an execution and the columns of its table."""
    from ...records import Execution
    from ..output.fields import view_of

    return view_of(
        Execution,
        ("id", "id"),
        ("status", "status"),
        ("created_at", "created"),
        ("model", "model"),
        ("execution_cost", "cost $"),
        ("run_time", "run s"),
        ("workflow_id", "workflow"),
    )


@app.command(name="list")
async def list_(
    *,
    status: Status = None,
    model: Model = None,
    workflow_id: WorkflowId = None,
    workflow_execution_id: WorkflowExecutionId = None,
    error_classification: ErrorClassification = None,
    since: Since = None,
    until: Until = None,
    limit: Limit = None,
    resume: Resume = None,
    context: Injected,
) -> int:
    """List executions of models, newest first."""
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
            executions_view(),
            title="executions",
            limit=limit,
            resume=resume,
        )


@app.command
async def get(ids: Ids, /, *, skip: Skip = 0, context: Injected) -> int:
    """Show executions of models in full, by id. Executions of workflows: `eachlabs workflows executions`."""
    from ..fetch import print_fetched
    from .predictions import predictions_view

    given: Context = context
    async with given.client() as client:
        return await print_fetched(
            given,
            ids,
            lambda found, report: client.predictions.get_many(found, ordered=True, on_progress=report),
            predictions_view(),
            title="executions",
            skip=skip,
        )


@app.command
async def export(
    path: Annotated[Path, Parameter(help="The file to write: .parquet, .csv or .jsonl.")],
    /,
    *,
    status: Status = None,
    model: Model = None,
    workflow_id: WorkflowId = None,
    workflow_execution_id: WorkflowExecutionId = None,
    error_classification: ErrorClassification = None,
    since: Since = None,
    until: Until = None,
    limit: Limit = None,
    context: Injected,
) -> int:
    """Write executions to a file, which appears when it is whole. The same command goes on after Ctrl-C or a kill."""
    given: Context = context
    kind = path.suffix.lower()
    if kind not in (".parquet", ".csv", ".jsonl"):
        raise UsageError(f"PATH must end in .parquet, .csv or .jsonl, not {kind or 'nothing'!r}")
    if given.options.fields or given.options.format:
        raise UsageError("an export has all fields and the format of its name: leave out --fields and --format")
    first, last = given.moment("since", since), given.moment("until", until)
    with given.progress(f"{path.name}") as progress:

        def show(stats: WalkStats) -> None:
            progress.update(stats.rows, stats.total, total_is_exact=stats.total_is_exact)

        try:
            async with given.client() as client:
                pager = client.executions.list(
                    status=status,
                    model=model,
                    workflow_id=workflow_id,
                    workflow_execution_id=workflow_execution_id,
                    error_classification=error_classification,
                    since=first,
                    until=last,
                    look_ahead=4,
                    max_rows=limit if isinstance(limit, int) else None,
                    on_progress=show,
                )
                async with pager:
                    if kind == ".parquet":
                        written = await pager.write_parquet(path)
                    elif kind == ".csv":
                        written = await pager.write_csv(path)
                    else:
                        written = await pager.write_jsonl(path)
        except asyncio.CancelledError:
            progress.stop()
            given.warn(f"stopped; what was read is in {path}.part\ngo on with: {given.continued()}")
            raise
    before = f", {written.resumed_rows:,} of them by an earlier command" if written.resumed_rows else ""
    given.note(f"{written.path}: {written.rows:,} rows{before}")
    if not written.unreadable:
        return OK
    given.warn(f"{written.unreadable:,} rows cannot be read: they are in {written.unreadable_path}")
    return FAILED


@app.command
async def follow(
    *,
    status: Status = None,
    model: Model = None,
    workflow_id: WorkflowId = None,
    workflow_execution_id: WorkflowExecutionId = None,
    error_classification: ErrorClassification = None,
    since: Annotated[str | None, Parameter(help="Begin with what was created since. Default: now.")] = None,
    every: Every = "5s",
    finished: Annotated[
        bool, Parameter(help="Each execution when it has ended, not when it appears.", show_default=False)
    ] = False,
    limit: Annotated[int | None, Parameter(help="Stop after so many rows. Default: never.")] = None,
    resume: Resume = None,
    context: Injected,
) -> int:
    """Print executions as they appear, or as they end, until Ctrl-C."""
    from ..follow import print_followed

    given: Context = context
    first, every_s = given.moment("since", since), read_duration("--every", every)
    async with given.client() as client:
        return await print_followed(
            given,
            lambda report: client.executions.follow(
                since=first,
                every_s=every_s,
                finished=finished,
                status=status,
                model=model,
                workflow_id=workflow_id,
                workflow_execution_id=workflow_execution_id,
                error_classification=error_classification,
                resume=resume,
                on_unreadable=report,
            ),
            executions_view(),
            limit=limit,
            resumed=resume is not None,
        )


@app.command
async def sync(
    path: Annotated[Path, Parameter(help="The archive, an SQLite file; it is made if it does not exist.")],
    /,
    *,
    since: Since = None,
    until: Until = None,
    new_key: Annotated[
        bool, Parameter(help="The key, or the host, is a new one of the same account.", show_default=False)
    ] = False,
    context: Injected,
) -> int:
    """Bring a local archive of executions up to date. The same command goes on after Ctrl-C or a kill."""
    from ..sync import sync_archive

    given: Context = context
    first, last = given.moment("since", since), given.moment("until", until)
    async with given.client() as client:
        return await sync_archive(given, client, path, first, last, new_key=new_key)
