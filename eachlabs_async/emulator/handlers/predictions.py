"""The handlers of predictions, which `simulation` runs."""

from __future__ import annotations

from typing import Final

from ..catalogue import FALLBACKS, missing_input
from ..collection import Row, encode
from ..handler_request import HandlerRequest, json_body, object_field, required_text
from ..lifecycle import RunningExecution, listed_prediction
from ..reply import RefusedError, Reply, error_reply, find_or_404
from ..simulation import Simulation
from ..webhook_target import webhook_target

__all__ = ["HANDLERS"]


def _start(simulation: Simulation, request: HandlerRequest, *, at_once: bool) -> RunningExecution:
    body = json_body(request)
    slug, inputs, webhook = required_text(body, "model"), object_field(body, "input"), webhook_target(body, request)
    model = simulation.models.find(slug)
    if model is None:
        raise RefusedError(error_reply(400, "model not found"))
    if at_once and not model["_at_once"]:
        raise RefusedError(error_reply(400, f"model {slug} cannot be run synchronously"))
    problem = missing_input(inputs, model["request_schema"]) or _fallback_problem(body, at_once=at_once)
    if problem is not None:
        raise RefusedError(error_reply(400, problem))
    selector = body.get("fallback_selector")
    if selector is not None and not simulation.fallbacks_enabled:
        raise RefusedError(error_reply(403, "fallback chains are not enabled for this organization"))
    simulation.admit(1)
    execution = simulation.start_prediction(slug, inputs, request.base, webhook=webhook)
    if selector is not None:
        _apply_fallback(simulation, execution, selector)
    return execution


def _fallback_problem(body: Row, *, at_once: bool) -> str | None:
    selector = body.get("fallback_selector")
    if selector is None:
        return None
    if at_once:
        return "fallback_selector is not supported for synchronous predictions"
    return None if isinstance(selector, str) and selector in FALLBACKS else "unknown fallback_selector"


def _apply_fallback(simulation: Simulation, execution: RunningExecution, selector: str) -> None:
    """Let the chain's model succeed where the prediction's own model would fail. Both attempts are paid for."""
    used = execution.failing is not None
    if used:
        execution.failing, execution.attempts = None, 2
    fallback = {"selector": selector, "model": FALLBACKS[selector], "used": used}
    simulation.predictions.change(execution.submitted.id, fallback=fallback)


async def _create_prediction(simulation: Simulation, request: HandlerRequest) -> Reply:
    execution = _start(simulation, request, at_once=False)
    body = {"status": "success", "message": "Prediction created successfully", "predictionID": execution.submitted.id}
    return Reply(200, encode(body))


async def _run_prediction(simulation: Simulation, request: HandlerRequest) -> Reply:
    execution = _start(simulation, request, at_once=True)
    prediction_id = execution.submitted.id
    while (row := simulation.predictions.find(prediction_id)) and row["status"] in ("starting", "processing"):
        await simulation.predictions.changed()
    row = find_or_404(simulation.predictions, prediction_id, "prediction not found")
    body: Row = {"status": row["status"], "predictionID": prediction_id, "error": ""}
    body["message"] = f"Prediction {'completed successfully' if row['status'] == 'success' else row['status']}"
    if row["status"] == "success":
        body["output"] = row["output"]
    if row["status"] == "failed":
        body["error"] = row["output"]["error_message"]
    return Reply(200, encode(body))


async def _get_prediction(simulation: Simulation, request: HandlerRequest) -> Reply:
    listed = simulation.executions.find(request.fields["prediction_id"])
    if listed is not None and not listed.get("_has_prediction"):
        return Reply(200, encode(listed_prediction(listed, request.base)))
    row = find_or_404(simulation.predictions, request.fields["prediction_id"], "Prediction not found")
    return Reply(200, simulation.predictions.encoded(row, "full"))


async def _cancel_prediction(simulation: Simulation, request: HandlerRequest) -> Reply:
    prediction_id = request.fields["prediction_id"]
    find_or_404(simulation.predictions, prediction_id, "prediction not found")
    simulation.cancel_prediction(prediction_id)
    # The status is "cancelled" even if the prediction ends otherwise: cancelling is best effort.
    body = {"status": "cancelled", "message": "Prediction canceled successfully", "predictionID": prediction_id}
    return Reply(200, encode(body))


HANDLERS: Final = {
    "predictions.create": _create_prediction,
    "predictions.run": _run_prediction,
    "predictions.get": _get_prediction,
    "predictions.cancel": _cancel_prediction,
}
