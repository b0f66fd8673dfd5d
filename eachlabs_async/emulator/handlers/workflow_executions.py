"""The handlers of workflow executions."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from ..collection import Collection
from ..handler_request import HandlerRequest, int_param, is_uuid
from ..reply import Reply, envelope, error_reply, join_rows
from ..simulation import Simulation

__all__ = ["HANDLERS"]


async def _list_workflow_executions(simulation: Simulation, request: HandlerRequest) -> Reply:
    limit, stated = request.clamped(int_param(request.query, "limit", 50, 1, 100))
    offset = int_param(request.query, "offset", 0, 0)
    bulk_id = request.query.get("bulk_id", "")
    if bulk_id and not is_uuid(bulk_id):
        return error_reply(400, "invalid bulk_id format")
    workflow_id = simulation.workflow_id_of(request.fields["workflow_id"])
    if workflow_id is None:
        return error_reply(404, "workflow not found")
    collection = simulation.workflow_executions[workflow_id]
    rows = collection.select()
    if bulk_id:
        rows = collection.select(bulk_id.lower(), lambda row: row.get("bulk_id") == bulk_id.lower())
    part = rows[offset : offset + limit]
    total = len(rows)
    rest: dict[str, Any] = {"total_count": total}
    if request.edition == "unified":
        rest["limit"] = stated
    elif offset + len(part) < total:
        # The start of the next page, not an echo of the request.
        rest["offset"] = offset + len(part)
    elif total % 2:
        # On the last page it is null or missing; both are documented, so both occur.
        rest["offset"] = None
    return Reply(200, envelope("executions", join_rows(collection, part), rest))


async def _get_workflow_execution(simulation: Simulation, request: HandlerRequest) -> Reply:
    execution_id = request.fields["execution_id"]
    seconds = int_param(request.query, "timeout", 10, 1, 30) if request.edition == "compat" else 0
    group = simulation.workflow_executions.group_of(execution_id)
    if group is not None and seconds and simulation.hold_unfinished > 0:
        await _held(group, execution_id, seconds * simulation.hold_unfinished)
    row = group.find(execution_id) if group is not None else None
    if group is None or row is None:
        return error_reply(404, "execution not found")
    return Reply(200, group.encoded(row, "full"))


async def _held(group: Collection, execution_id: str, seconds: float) -> None:
    # Like the compat edition: hold the response for an unfinished execution until it ends, for a limited time.
    try:
        async with asyncio.timeout(seconds):
            while (row := group.find(execution_id)) and row["status"] in ("running", "queued"):
                await group.changed()
    except TimeoutError:
        return


HANDLERS: Final = {
    "workflow_executions.list": _list_workflow_executions,
    "workflow_executions.get": _get_workflow_execution,
}
