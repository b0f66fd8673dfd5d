"""An async client for the Each Labs APIs: listings walked without losing a row, bulk fetches without waiting in line.

    from eachlabs_async import EachLabs

    async with EachLabs() as client:
        async for execution in client.executions.list(status="success", look_ahead=4):
            print(execution.id, execution.execution_cost)

This module owns the public names and refuses to import aiohttp before one that needs it is asked for (PEP 562).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ._version import __version__

if TYPE_CHECKING:
    from . import errors as errors
    from ._codec import to_dict as to_dict
    from ._retry import RetryPolicy as RetryPolicy
    from ._retry import Timeouts as Timeouts
    from .bulk import BulkFetch as BulkFetch
    from .client import EachLabs as EachLabs
    from .errors import APIConnectionError as APIConnectionError
    from .errors import APIStatusError as APIStatusError
    from .errors import APITimeoutError as APITimeoutError
    from .errors import AuthenticationError as AuthenticationError
    from .errors import BadRequestError as BadRequestError
    from .errors import ConfigurationError as ConfigurationError
    from .errors import ConflictError as ConflictError
    from .errors import DriftError as DriftError
    from .errors import EachLabsError as EachLabsError
    from .errors import NotFoundError as NotFoundError
    from .errors import OutcomeUnknownError as OutcomeUnknownError
    from .errors import PaginationError as PaginationError
    from .errors import PaymentRequiredError as PaymentRequiredError
    from .errors import PermissionDeniedError as PermissionDeniedError
    from .errors import RateLimitError as RateLimitError
    from .errors import ResponseDecodeError as ResponseDecodeError
    from .errors import ServerError as ServerError
    from .errors import UnprocessableEntityError as UnprocessableEntityError
    from .hosts import COMPAT as COMPAT
    from .hosts import UNIFIED as UNIFIED
    from .hosts import Hosts as Hosts
    from .hosts import Service as Service
    from .outcomes import BulkResult as BulkResult
    from .outcomes import BulkStats as BulkStats
    from .outcomes import Outcome as Outcome
    from .pager import Page as Page
    from .pager import Pager as Pager
    from .pager import WalkOptions as WalkOptions
    from .pager import WalkStats as WalkStats
    from .records import Execution as Execution
    from .records import FlowExecution as FlowExecution
    from .records import FlowParameter as FlowParameter
    from .records import FlowStepResult as FlowStepResult
    from .records import Run as Run
    from .records import RunWorkflow as RunWorkflow
    from .records import State as State
    from .records import StepOutput as StepOutput
    from .records import WorkflowExecution as WorkflowExecution
    from .records import WorkflowExecutionSummary as WorkflowExecutionSummary
    from .windows import Window as Window
    from .windows import WindowWalk as WindowWalk

_ROOMS = {
    "client": ("EachLabs",),
    "hosts": ("COMPAT", "UNIFIED", "Hosts", "Service"),
    "_retry": ("RetryPolicy", "Timeouts"),
    "pager": ("Page", "Pager", "WalkOptions", "WalkStats"),
    "windows": ("Window", "WindowWalk"),
    "bulk": ("BulkFetch",),
    "outcomes": ("BulkResult", "BulkStats", "Outcome"),
    "_codec": ("to_dict",),
    "records": (
        "Execution",
        "FlowExecution",
        "FlowParameter",
        "FlowStepResult",
        "Run",
        "RunWorkflow",
        "State",
        "StepOutput",
        "WorkflowExecution",
        "WorkflowExecutionSummary",
    ),
    "errors": (
        "APIConnectionError",
        "APIStatusError",
        "APITimeoutError",
        "AuthenticationError",
        "BadRequestError",
        "ConfigurationError",
        "ConflictError",
        "DriftError",
        "EachLabsError",
        "NotFoundError",
        "OutcomeUnknownError",
        "PaginationError",
        "PaymentRequiredError",
        "PermissionDeniedError",
        "RateLimitError",
        "ResponseDecodeError",
        "ServerError",
        "UnprocessableEntityError",
    ),
}
_ROOM_OF = {name: room for room, names in _ROOMS.items() for name in names}

__all__ = ["__version__", *_ROOM_OF]  # pyright: ignore[reportUnsupportedDunderAll]  # the names are lazy


def __getattr__(name: str) -> Any:
    if name == "errors":
        return import_module(".errors", __name__)
    room = _ROOM_OF.get(name)
    if room is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f".{room}", __name__), name)
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_ROOM_OF, "errors"])
