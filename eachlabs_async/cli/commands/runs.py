"""`eachlabs runs`: runs of the other vendor's workflows. They need the key in NOXUS_API_KEY."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

from cyclopts import App, Parameter

from ..context import Context
from .options import Ids, Injected, Limit, Resume, Skip

if TYPE_CHECKING:
    from ..output.fields import View

app: Final = App(name="runs", help="Runs of the other vendor's workflows (key: NOXUS_API_KEY).")


def runs_view() -> View:
    """Return the fields of a run and the columns of its table."""
    from ...records import Run
    from ..output.fields import view_of

    return view_of(
        Run,
        ("id", "id"),
        ("status", "status"),
        ("created_at", "created"),
        ("progress", "%"),
        ("finished_at", "finished"),
        ("workflow_id", "workflow"),
    )


@app.command(name="list")
async def list_(
    *,
    workflow_id: Annotated[str | None, Parameter(help="Only this workflow.")] = None,
    limit: Limit = None,
    resume: Resume = None,
    context: Injected,
) -> int:
    """List runs, newest first."""
    from ..walk import print_listing

    given: Context = context
    async with given.client() as client:
        runs = client.runs
        return await print_listing(
            given,
            lambda walk: runs.list(**walk) if workflow_id is None else runs.list_for_workflow(workflow_id, **walk),
            runs_view(),
            title="runs",
            limit=limit,
            resume=resume,
        )


@app.command
async def get(ids: Ids, /, *, skip: Skip = 0, context: Injected) -> int:
    """Show runs in full, by id."""
    from ..fetch import print_fetched

    given: Context = context
    async with given.client() as client:
        return await print_fetched(
            given,
            ids,
            lambda found, report: client.runs.get_many(found, ordered=True, on_progress=report),
            runs_view(),
            title="runs",
            skip=skip,
        )


@app.command
async def stop(ids: Ids, /, *, context: Injected) -> int:
    """Stop runs that go on, and show them."""
    from ..each import print_each

    given: Context = context
    async with given.client() as client:
        return await print_each(given, ids, client.runs.stop, runs_view())
