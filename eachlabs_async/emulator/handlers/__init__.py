"""The handlers: what each endpoint replies when nothing is wrong.

There is a module for each resource. A handler reads the simulation and the request and returns a reply, worded as in
the services' public documentation. Keys, faults and counting are the concern of `emulator.py`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Final

from ..handler_request import HandlerRequest
from ..reply import RefusedError, Reply
from ..simulation import Simulation
from . import (
    billing,
    executions,
    files,
    flow_executions,
    models,
    predictions,
    public_workflows,
    runs,
    webhooks,
    workflow_executions,
    workflows,
)

__all__ = ["HANDLERS", "Handler"]

Handler = Callable[[Simulation, HandlerRequest], Awaitable[Reply]]


def _refusing(handler: Handler) -> Handler:
    @wraps(handler)
    async def refusing(simulation: Simulation, request: HandlerRequest) -> Reply:
        try:
            return await handler(simulation, request)
        except RefusedError as refused:
            return refused.reply

    return refusing


_ALL: Final[dict[str, Handler]] = {
    **billing.HANDLERS,
    **executions.HANDLERS,
    **files.HANDLERS,
    **flow_executions.HANDLERS,
    **models.HANDLERS,
    **predictions.HANDLERS,
    **public_workflows.HANDLERS,
    **runs.HANDLERS,
    **webhooks.HANDLERS,
    **workflow_executions.HANDLERS,
    **workflows.HANDLERS,
}
HANDLERS: Final[dict[str, Handler]] = {name: _refusing(handler) for name, handler in _ALL.items()}
"""One handler for each endpoint of `endpoints.ENDPOINTS`, by the endpoint's name."""
