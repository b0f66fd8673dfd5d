"""The handlers that list webhooks, which `deliveries` sends."""

from __future__ import annotations

from typing import Any, Final

from ..handler_request import HandlerRequest, clamped_int_param, int_param
from ..reply import Reply, envelope, find_or_404, join_rows
from ..simulation import Simulation

__all__ = ["HANDLERS"]


async def _list_webhooks(simulation: Simulation, request: HandlerRequest) -> Reply:
    limit, stated = request.clamped(clamped_int_param(request.query, "limit", 50, 100))
    offset = int_param(request.query, "offset", 0, 0)
    rows = simulation.webhooks.select()
    rest: dict[str, Any] = {"limit": stated, "offset": offset, "total_count": len(rows)}
    return Reply(200, envelope("webhooks", join_rows(simulation.webhooks, rows[offset : offset + limit]), rest))


async def _get_webhook(simulation: Simulation, request: HandlerRequest) -> Reply:
    row = find_or_404(simulation.webhooks, request.fields["execution_id"], "webhook not found")
    return Reply(200, simulation.webhooks.encoded(row, "full"))


HANDLERS: Final = {
    "webhooks.list": _list_webhooks,
    "webhooks.get": _get_webhook,
}
