"""The handlers of models."""

from __future__ import annotations

from typing import Final

from ..catalogue import model_document
from ..collection import encode
from ..handler_request import HandlerRequest, int_param
from ..reply import Reply, error_reply, find_or_404, join_rows
from ..simulation import Simulation

__all__ = ["HANDLERS"]


async def _list_models(simulation: Simulation, request: HandlerRequest) -> Reply:
    limit, _ = request.clamped(int_param(request.query, "limit", 50, 1, 500))
    offset = int_param(request.query, "offset", 0, 0)
    name = request.query.get("name", "").lower()
    rows = simulation.models.select(name, lambda row: name in row["slug"] or name in row["title"].lower())
    return Reply(200, join_rows(simulation.models, rows[offset : offset + limit]))


def _model(simulation: Simulation, slug: str) -> Reply:
    return Reply(200, simulation.models.encoded(find_or_404(simulation.models, slug, "model not found"), "full"))


async def _get_model(simulation: Simulation, request: HandlerRequest) -> Reply:
    return _model(simulation, request.fields["slug"])


async def _get_model_by_query(simulation: Simulation, request: HandlerRequest) -> Reply:
    slug = request.query.get("slug", "")
    return _model(simulation, slug) if slug else error_reply(400, "slug parameter is required")


async def _get_model_schema(simulation: Simulation, request: HandlerRequest) -> Reply:
    return Reply(200, encode(model_document(find_or_404(simulation.models, request.fields["slug"], "model not found"))))


HANDLERS: Final = {
    "models.list": _list_models,
    "models.get": _get_model,
    "models.get_by_query": _get_model_by_query,
    "models.schema": _get_model_schema,
}
