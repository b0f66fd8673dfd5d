"""`eachlabs predictions`: predictions of models."""

from __future__ import annotations

from pathlib import Path
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
    MapInputs,
    RetryUnknown,
    Skip,
    TimeoutS,
)

if TYPE_CHECKING:
    from ..output.fields import View

app: Final = App(name="predictions", help="Predictions of models.")

Model = Annotated[str, Parameter(help="The slug of a model, such as flux-1-1-pro.")]
FallbackSelector = Annotated[str | None, Parameter(help="The chain of models that take over if this one fails.")]


def predictions_view() -> View:
    """Return the fields of a prediction and the columns of its table."""
    from ...records import Prediction
    from ..output.fields import view_of

    return view_of(Prediction, ("id", "id"), ("status", "status"), ("metrics", "metrics"), ("output", "output"))


@app.command
async def run(
    model: Model,
    inputs: Inputs = None,
    *,
    save: Annotated[Path | None, Parameter(help="Download the result files into this folder.")] = None,
    fallback_selector: FallbackSelector = None,
    timeout_s: TimeoutS = None,
    context: Injected,
) -> int:
    """Run a model once, wait for its end, and show what came out.

    INPUTS are NAME=VALUE: text where the model wants text, else JSON. NAME=@FILE uploads a file (unified edition).
    """
    from ..prediction_run import run_prediction

    given: Context = context
    return await run_prediction(
        given,
        model,
        inputs or [],
        save=save,
        fallback_selector=fallback_selector,
        timeout_s=timeout_s,
        view=predictions_view(),
    )


@app.command
async def get(ids: Ids, /, *, skip: Skip = 0, context: Injected) -> int:
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
            skip=skip,
        )


@app.command(name="map")
async def map_(
    model: Model,
    inputs: MapInputs,
    *,
    input_format: InputFormat = None,
    journal: Journal = None,
    budget_usd: BudgetUsd = None,
    concurrency: Concurrency = 64,
    retry_unknown: RetryUnknown = False,
    fallback_selector: FallbackSelector = None,
    timeout_s: TimeoutS = None,
    context: Injected,
) -> int:
    """Run a model with each input of a file, and print the outcomes as they come.

    Predictions are billed. With --journal, the same command goes on after Ctrl-C or a kill and runs no input twice.
    """
    from ..input_source import input_source
    from ..map import MapCommand, checked_budget
    from ..model_inputs import schema_of_model

    given: Context = context
    budget = checked_budget(budget_usd)
    source = input_source(inputs, input_format)
    async with given.client() as client:
        if source.kind == "csv":
            source = input_source(inputs, input_format, await schema_of_model(client, model))
        command = MapCommand(given, f"predictions of {model}", source, concurrency, budget, journal)
        options: dict[str, Any] = {**command.options(), "timeout_s": timeout_s, "retry_unknown": retry_unknown}
        return await command.run(
            lambda rows: client.predictions.map(model, rows, fallback_selector=fallback_selector, **options)
        )


@app.command
async def cancel(ids: Ids, *, context: Injected) -> int:
    """Cancel predictions, as far as their providers can. Each may finish all the same."""
    from ...records import CancelledPrediction
    from ..each import print_each
    from ..output.fields import view_of

    given: Context = context
    view = view_of(
        CancelledPrediction,
        ("predictionID", "id"),
        ("status", "status"),
        ("message", "message"),
        id_field="predictionID",
    )
    async with given.client() as client:
        return await print_each(given, ids, client.predictions.cancel, view)
