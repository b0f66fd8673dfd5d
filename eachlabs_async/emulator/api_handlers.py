"""Owns what models, the balance, predictions, webhooks and files answer.

It refuses to run a prediction, to deliver and to store: `live.py`, `deliveries.py` and `storage.py` do.
"""

from __future__ import annotations

from typing import Any, Final

from .answers import (
    Answer,
    Call,
    RefusedError,
    body_of,
    clamped,
    envelope,
    found,
    is_uuid,
    joined,
    object_in,
    refusal,
    text_in,
    whole,
)
from .catalogue import FALLBACKS, missing_input, model_document
from .collection import Row, encode
from .jobs import Job
from .live import Live
from .workflow_handlers import hook_of

__all__ = ["API_HANDLERS"]

_FILE_TYPES: Final = (None, "image", "video", "audio", "other")


# ---- models


async def _list_models(state: Live, call: Call) -> Answer:
    limit, _ = call.applied(whole(call.query, "limit", 50, 1, 500))
    offset = whole(call.query, "offset", 0, 0)
    name = call.query.get("name", "").lower()
    rows = state.models.select(name, lambda row: name in row["slug"] or name in row["title"].lower())
    return Answer(200, joined(state.models, rows[offset : offset + limit]))


def _model(state: Live, slug: str) -> Answer:
    return Answer(200, state.models.encoded(found(state.models, slug, "model not found"), "full"))


async def _get_model(state: Live, call: Call) -> Answer:
    return _model(state, call.fields["slug"])


async def _get_model_by_query(state: Live, call: Call) -> Answer:
    slug = call.query.get("slug", "")
    return _model(state, slug) if slug else refusal(400, "slug parameter is required")


async def _get_model_schema(state: Live, call: Call) -> Answer:
    return Answer(200, encode(model_document(found(state.models, call.fields["slug"], "model not found"))))


# ---- money


async def _get_balance(state: Live, call: Call) -> Answer:
    return Answer(200, encode({"balance_usd": state.balance_usd if state.balance is None else state.balance}))


# ---- predictions


def _started(state: Live, call: Call, *, at_once: bool) -> Job:
    body = body_of(call)
    slug, inputs, hook = text_in(body, "model"), object_in(body, "input"), hook_of(body, call)
    model = state.models.find(slug)
    if model is None:
        raise RefusedError(refusal(400, "model not found"))
    if at_once and not model["_at_once"]:
        raise RefusedError(refusal(400, f"model {slug} cannot be run synchronously"))
    wrong = missing_input(inputs, model["request_schema"]) or _wrong_fallback(body, at_once=at_once)
    if wrong is not None:
        raise RefusedError(refusal(400, wrong))
    selector = body.get("fallback_selector")
    if selector is not None and not state.fallbacks_enabled:
        raise RefusedError(refusal(403, "fallback chains are not enabled for this organization"))
    state.places(1)
    job = state.start_prediction(slug, inputs, call.base, hook=hook)
    if selector is not None:
        _fall_back(state, job, selector)
    return job


def _wrong_fallback(body: Row, *, at_once: bool) -> str | None:
    selector = body.get("fallback_selector")
    if selector is None:
        return None
    if at_once:
        return "fallback_selector is not supported for synchronous predictions"
    return None if selector in FALLBACKS else "unknown fallback_selector"


def _fall_back(state: Live, job: Job, selector: str) -> None:
    """Let the chain's model do what the prediction's own would have failed at; both attempts are paid for."""
    used = job.failing is not None
    if used:
        job.failing, job.attempts = None, 2
    said = {"selector": selector, "model": FALLBACKS[selector], "used": used}
    state.predictions.change(job.submitted.id, fallback=said)


async def _create_prediction(state: Live, call: Call) -> Answer:
    job = _started(state, call, at_once=False)
    said = {"status": "success", "message": "Prediction created successfully", "predictionID": job.submitted.id}
    return Answer(200, encode(said))


async def _run_prediction(state: Live, call: Call) -> Answer:
    job = _started(state, call, at_once=True)
    prediction_id = job.submitted.id
    while (row := state.predictions.find(prediction_id)) and row["status"] in ("starting", "processing"):
        await state.predictions.changed()
    row = found(state.predictions, prediction_id, "prediction not found")
    said: Row = {"status": row["status"], "predictionID": prediction_id, "error": ""}
    said["message"] = f"Prediction {'completed successfully' if row['status'] == 'success' else row['status']}"
    if row["status"] == "success":
        said["output"] = row["output"]
    if row["status"] == "failed":
        said["error"] = row["output"]["error_message"]
    return Answer(200, encode(said))


async def _get_prediction(state: Live, call: Call) -> Answer:
    row = found(state.predictions, call.fields["prediction_id"], "Prediction not found")
    return Answer(200, state.predictions.encoded(row, "full"))


async def _cancel_prediction(state: Live, call: Call) -> Answer:
    prediction_id = call.fields["prediction_id"]
    found(state.predictions, prediction_id, "prediction not found")
    state.cancel_prediction(prediction_id)
    # Also where it ends otherwise: cancelling is best effort, and this only says that it was asked for.
    said = {"status": "cancelled", "message": "Prediction canceled successfully", "predictionID": prediction_id}
    return Answer(200, encode(said))


# ---- webhooks


async def _list_webhooks(state: Live, call: Call) -> Answer:
    limit, stated = call.applied(clamped(call.query, "limit", 50, 100))
    offset = whole(call.query, "offset", 0, 0)
    rows = state.webhooks.select()
    rest: dict[str, Any] = {"limit": stated, "offset": offset, "total_count": len(rows)}
    return Answer(200, envelope("webhooks", joined(state.webhooks, rows[offset : offset + limit]), rest))


async def _get_webhook(state: Live, call: Call) -> Answer:
    row = found(state.webhooks, call.fields["execution_id"], "webhook not found")
    return Answer(200, state.webhooks.encoded(row, "full"))


# ---- files


async def _presign(state: Live, call: Call) -> Answer:
    body = body_of(call)
    content_type, seconds = text_in(body, "content_type"), body.get("expires_in_seconds")
    if body.get("file_type") not in _FILE_TYPES:
        return refusal(400, "file_type must be image, video, audio or other")
    if seconds is not None and (not isinstance(seconds, int) or isinstance(seconds, bool)):
        return refusal(400, "expires_in_seconds must be an integer")
    return Answer(200, encode(state.storage.presign(call.origin, content_type, seconds)))


async def _delete_file(state: Live, call: Call) -> Answer:
    file_id = call.fields["file_id"]
    if not is_uuid(file_id):
        return refusal(400, "invalid file id")
    state.storage.delete(file_id)
    return Answer(204, b"")


API_HANDLERS: Final = {
    "models.list": _list_models,
    "models.get": _get_model,
    "models.get_by_query": _get_model_by_query,
    "models.schema": _get_model_schema,
    "billing.balance": _get_balance,
    "predictions.create": _create_prediction,
    "predictions.run": _run_prediction,
    "predictions.get": _get_prediction,
    "predictions.cancel": _cancel_prediction,
    "webhooks.list": _list_webhooks,
    "webhooks.get": _get_webhook,
    "files.presign": _presign,
    "files.delete": _delete_file,
}
"""The handlers of models, the balance, predictions, webhooks and files, by the name of their endpoint."""
