"""Owns what each endpoint answers when nothing is wrong: one handler an endpoint name, in `HANDLERS`.

Executions of workflows and of flows are here; `HANDLERS` gathers those of the other families of endpoints too.

A handler reads the state and the request and gives an answer; the words are those of the services' public
documentation. It refuses keys, faults and counting: `server.py` does these around it.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable
from functools import wraps
from random import Random
from typing import Any, Final, cast

from .answers import Answer, Call, RefusedError, envelope, is_uuid, joined, refusal, whole
from .api_handlers import API_HANDLERS
from .collection import Collection
from .execution_handlers import EXECUTION_HANDLERS
from .live import Live
from .run_handlers import RUN_HANDLERS
from .state import State
from .workflow_handlers import WORKFLOW_HANDLERS

__all__ = ["HANDLERS", "Handler"]

Handler = Callable[[Live, Call], Awaitable[Answer]]


async def _list_workflow_executions(state: State, call: Call) -> Answer:
    limit, stated = call.applied(whole(call.query, "limit", 50, 1, 100))
    offset = whole(call.query, "offset", 0, 0)
    bulk_id = call.query.get("bulk_id", "")
    if bulk_id and not is_uuid(bulk_id):
        return refusal(400, "invalid bulk_id format")
    workflow_id = state.workflow_id_of(call.fields["workflow_id"])
    if workflow_id is None:
        return refusal(404, "workflow not found")
    collection = state.workflow_executions[workflow_id]
    rows = collection.select()
    if bulk_id:
        rows = collection.select(bulk_id.lower(), lambda row: row.get("bulk_id") == bulk_id.lower())
    part = rows[offset : offset + limit]
    total = len(rows)
    rest: dict[str, Any] = {"total_count": total}
    if call.edition == "unified":
        rest["limit"] = stated
    elif offset + len(part) < total:
        # Where the next page starts, not an echo.
        rest["offset"] = offset + len(part)
    elif total % 2:
        # On the last page it is null or absent: both are documented, so both occur.
        rest["offset"] = None
    return Answer(200, envelope("executions", joined(collection, part), rest))


async def _get_workflow_execution(state: State, call: Call) -> Answer:
    execution_id = call.fields["execution_id"]
    seconds = whole(call.query, "timeout", 10, 1, 30) if call.edition == "compat" else 0
    group = state.workflow_executions.group_of(execution_id)
    if group is not None and seconds and state.hold_unfinished > 0:
        await _held(group, execution_id, seconds * state.hold_unfinished)
    row = group.find(execution_id) if group is not None else None
    if group is None or row is None:
        return refusal(404, "execution not found")
    return Answer(200, group.encoded(row, "full"))


async def _held(group: Collection, execution_id: str, seconds: float) -> None:
    # As the compat edition does: the answer of an unfinished execution waits for its end, so long and no
    # longer.
    try:
        async with asyncio.timeout(seconds):
            while (row := group.find(execution_id)) and row["status"] in ("running", "queued"):
                await group.changed()
    except TimeoutError:
        return


async def _get_flow_execution(state: State, call: Call) -> Answer:
    workflow_id = state.workflow_id_of(call.fields["workflow_id"])
    if workflow_id is None:
        return refusal(404, "workflow not found")
    group = state.flow_executions[workflow_id]
    row = group.find(call.fields["execution_id"])
    return refusal(404, "execution not found") if row is None else Answer(200, group.encoded(row, "full"))


async def _get_flow_executions(state: State, call: Call) -> Answer:
    workflow_id = state.workflow_id_of(call.fields["workflow_id"])
    if workflow_id is None:
        return refusal(404, "workflow not found")
    ids = _asked_ids(call.body)
    if not ids:
        return refusal(400, "execution_ids must be a list of ids")
    if state.max_bulk_ids is not None and len(ids) > state.max_bulk_ids:
        return refusal(state.bulk_refusal, f"too many execution_ids: at most {state.max_bulk_ids}")
    for one in ids:
        if one in state.poisoned_ids:
            return refusal(state.poisoned_ids[one], "invalid execution id")
    group = state.flow_executions[workflow_id]
    # No order is promised: the rows come shuffled, and an unknown id is simply missing.
    rows = [row for one in dict.fromkeys(ids) if (row := group.find(one)) is not None]
    Random(f"{state.seed}/{len(ids)}/{ids[0]}").shuffle(rows)
    body = b"[" + b",".join([group.encoded(row, "full") for row in rows]) + b"]"
    return Answer(200, envelope("executions", body, {"status": "success", "total": len(rows)}))


def _asked_ids(body: bytes) -> list[str]:
    try:
        value: Any = json.loads(body)["execution_ids"]
    except (ValueError, TypeError, KeyError):
        return []
    if not isinstance(value, list):
        return []
    ids = list(cast("Iterable[Any]", value))
    return ids if all(isinstance(one, str) for one in ids) else []


def _refusing(handler: Handler) -> Handler:
    @wraps(handler)
    async def answered(state: Live, call: Call) -> Answer:
        try:
            return await handler(state, call)
        except RefusedError as refused:
            return refused.answer

    return answered


_ALL: Final[dict[str, Handler]] = {
    "workflow_executions.list": _list_workflow_executions,
    "workflow_executions.get": _get_workflow_execution,
    "flow_executions.get": _get_flow_execution,
    "flow_executions.get_many": _get_flow_executions,
    **EXECUTION_HANDLERS,
    **RUN_HANDLERS,
    **WORKFLOW_HANDLERS,
    **API_HANDLERS,
}
HANDLERS: Final[dict[str, Handler]] = {name: _refusing(handler) for name, handler in _ALL.items()}
"""One handler for each endpoint of `endpoints.ENDPOINTS`, by its name."""
