"""`eachlabs predictions`: predictions of models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cyclopts import App

from ..context import Context
from .options import Ids, Injected

if TYPE_CHECKING:
    from ..output.fields import View

app: Final = App(name="predictions", help="Predictions of models.")


def predictions_view() -> View:
    """Return the fields of a prediction and the columns of its table."""
    from ...records import Prediction
    from ..output.fields import view_of

    return view_of(Prediction, ("id", "id"), ("status", "status"), ("metrics", "metrics"), ("output", "output"))


@app.command
async def get(ids: Ids, /, *, context: Injected) -> int:
    """Show predictions in full, by id."""
    from ..fetch import print_fetched

    given: Context = context
    async with given.client() as client:
        return await print_fetched(
            given,
            ids,
            lambda found, report: client.predictions.get_many(found, ordered=True, on_progress=report),
            predictions_view(),
            title="predictions",
        )
