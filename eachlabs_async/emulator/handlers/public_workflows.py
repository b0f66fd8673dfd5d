"""The handlers of public workflows."""

from __future__ import annotations

from typing import Final

from ..catalogue import NICKNAME, public_version
from ..collection import Row, encode
from ..handler_request import HandlerRequest, json_body
from ..reply import RefusedError, Reply, error_reply
from ..simulation import Simulation
from .workflows import find_version, trigger_reply

__all__ = ["HANDLERS"]


def _public_version(simulation: Simulation, request: HandlerRequest) -> tuple[Row, Row]:
    workflow_id = simulation.workflow_id_of(request.fields["slug"])
    workflow = simulation.workflows.find(workflow_id or "")
    version = find_version(workflow, request.fields["version_id"]) if workflow is not None else None
    is_own = request.fields["nickname"] == NICKNAME
    if workflow is None or version is None or not is_own or version["visibility"] == "private":
        raise RefusedError(error_reply(404, "workflow version not found or not publicly available"))
    return workflow, version


async def _get_public(simulation: Simulation, request: HandlerRequest) -> Reply:
    return Reply(200, encode(public_version(*_public_version(simulation, request))))


async def _trigger_public(simulation: Simulation, request: HandlerRequest) -> Reply:
    return trigger_reply(simulation, request, json_body(request), *_public_version(simulation, request))


HANDLERS: Final = {
    "public_workflows.get": _get_public,
    "public_workflows.trigger": _trigger_public,
}
