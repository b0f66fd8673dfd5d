"""The handlers of flow executions."""

from __future__ import annotations

from collections.abc import Iterable
from random import Random
from typing import Any, Final, cast

from ..handler_request import HandlerRequest, decoded_json
from ..reply import Reply, envelope, error_reply
from ..simulation import Simulation

__all__ = ["HANDLERS"]


async def _get_flow_execution(simulation: Simulation, request: HandlerRequest) -> Reply:
    workflow_id = simulation.workflow_id_of(request.fields["workflow_id"])
    if workflow_id is None:
        return error_reply(404, "workflow not found")
    group = simulation.flow_executions[workflow_id]
    row = group.find(request.fields["execution_id"])
    return error_reply(404, "execution not found") if row is None else Reply(200, group.encoded(row, "full"))


async def _get_flow_executions(simulation: Simulation, request: HandlerRequest) -> Reply:
    workflow_id = simulation.workflow_id_of(request.fields["workflow_id"])
    if workflow_id is None:
        return error_reply(404, "workflow not found")
    ids = _requested_ids(request.body)
    if not ids:
        return error_reply(400, "execution_ids must be a list of ids")
    if simulation.max_bulk_ids is not None and len(ids) > simulation.max_bulk_ids:
        return error_reply(simulation.bulk_refusal, f"too many execution_ids: at most {simulation.max_bulk_ids}")
    for execution_id in ids:
        if execution_id in simulation.poisoned_ids:
            return error_reply(simulation.poisoned_ids[execution_id], "invalid execution id")
    group = simulation.flow_executions[workflow_id]
    # The documentation promises no order, so the rows are shuffled. An unknown id is missing.
    rows = [row for execution_id in dict.fromkeys(ids) if (row := group.find(execution_id)) is not None]
    Random(f"{simulation.seed}/{len(ids)}/{ids[0]}").shuffle(rows)
    body = b"[" + b",".join([group.encoded(row, "full") for row in rows]) + b"]"
    return Reply(200, envelope("executions", body, {"status": "success", "total": len(rows)}))


def _requested_ids(body: bytes) -> list[str]:
    try:
        value: Any = decoded_json(body)["execution_ids"]
    except (ValueError, TypeError, KeyError):
        return []
    if not isinstance(value, list):
        return []
    ids = list(cast("Iterable[Any]", value))
    return ids if all(isinstance(execution_id, str) for execution_id in ids) else []


HANDLERS: Final = {
    "flow_executions.get": _get_flow_execution,
    "flow_executions.get_many": _get_flow_executions,
}
