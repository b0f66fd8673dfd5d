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
    from . import webhooks as webhooks
    from .bulk.fetch import BulkFetch as BulkFetch
    from .bulk.outcomes import BulkResult as BulkResult
    from .bulk.outcomes import BulkStats as BulkStats
    from .bulk.outcomes import MapStats as MapStats
    from .bulk.outcomes import Outcome as Outcome
    from .client import EachLabs as EachLabs
    from .codec.strict import to_dict as to_dict
    from .errors import APIConnectionError as APIConnectionError
    from .errors import APIStatusError as APIStatusError
    from .errors import APITimeoutError as APITimeoutError
    from .errors import AuthenticationError as AuthenticationError
    from .errors import BadRequestError as BadRequestError
    from .errors import ConfigurationError as ConfigurationError
    from .errors import ConflictError as ConflictError
    from .errors import DriftError as DriftError
    from .errors import EachLabsError as EachLabsError
    from .errors import ExecutionFailedError as ExecutionFailedError
    from .errors import HumanFeedbackRequiredError as HumanFeedbackRequiredError
    from .errors import NotFoundError as NotFoundError
    from .errors import OutcomeUnknownError as OutcomeUnknownError
    from .errors import PaginationError as PaginationError
    from .errors import PaymentRequiredError as PaymentRequiredError
    from .errors import PermissionDeniedError as PermissionDeniedError
    from .errors import RateLimitError as RateLimitError
    from .errors import ResponseDecodeError as ResponseDecodeError
    from .errors import ServerError as ServerError
    from .errors import UnprocessableEntityError as UnprocessableEntityError
    from .errors import WaitTimeoutError as WaitTimeoutError
    from .errors import WebhookVerificationError as WebhookVerificationError
    from .hosts import COMPAT as COMPAT
    from .hosts import UNIFIED as UNIFIED
    from .hosts import Hosts as Hosts
    from .hosts import Service as Service
    from .jobs.map_run import MapRun as MapRun
    from .jobs.poll import Poll as Poll
    from .pagination.pager import Page as Page
    from .pagination.pager import Pager as Pager
    from .pagination.pager import WalkOptions as WalkOptions
    from .pagination.pager import WalkStats as WalkStats
    from .pagination.windows import Window as Window
    from .pagination.windows import WindowWalk as WindowWalk
    from .records import Balance as Balance
    from .records import BulkTriggered as BulkTriggered
    from .records import BulkTriggeredExecution as BulkTriggeredExecution
    from .records import CancelledPrediction as CancelledPrediction
    from .records import CreatedPrediction as CreatedPrediction
    from .records import DownloadedFile as DownloadedFile
    from .records import Execution as Execution
    from .records import FinishedPrediction as FinishedPrediction
    from .records import FlowExecution as FlowExecution
    from .records import FlowParameter as FlowParameter
    from .records import FlowStepResult as FlowStepResult
    from .records import Model as Model
    from .records import ModelCost as ModelCost
    from .records import ModelCostRow as ModelCostRow
    from .records import ModelSchema as ModelSchema
    from .records import Prediction as Prediction
    from .records import PredictionMetrics as PredictionMetrics
    from .records import PredictionUrls as PredictionUrls
    from .records import PredictionWebhook as PredictionWebhook
    from .records import PresignedUpload as PresignedUpload
    from .records import PublicWorkflow as PublicWorkflow
    from .records import Run as Run
    from .records import RunDeletion as RunDeletion
    from .records import RunWorkflow as RunWorkflow
    from .records import State as State
    from .records import StepOutput as StepOutput
    from .records import TriggeredExecution as TriggeredExecution
    from .records import UploadedFile as UploadedFile
    from .records import Webhook as Webhook
    from .records import WebhookAttempt as WebhookAttempt
    from .records import Workflow as Workflow
    from .records import WorkflowExecution as WorkflowExecution
    from .records import WorkflowExecutionSummary as WorkflowExecutionSummary
    from .records import WorkflowSummary as WorkflowSummary
    from .records import WorkflowVersion as WorkflowVersion
    from .records import WorkflowWebhook as WorkflowWebhook
    from .transport.retry import RetryPolicy as RetryPolicy
    from .transport.retry import Timeouts as Timeouts

_ROOMS = {
    "client": ("EachLabs",),
    "hosts": ("COMPAT", "UNIFIED", "Hosts", "Service"),
    "jobs.poll": ("Poll",),
    "transport.retry": ("RetryPolicy", "Timeouts"),
    "pagination.pager": ("Page", "Pager", "WalkOptions", "WalkStats"),
    "pagination.windows": ("Window", "WindowWalk"),
    "bulk.fetch": ("BulkFetch",),
    "jobs.map_run": ("MapRun",),
    "bulk.outcomes": ("BulkResult", "BulkStats", "MapStats", "Outcome"),
    "codec.strict": ("to_dict",),
    "records": (
        "Balance",
        "BulkTriggered",
        "BulkTriggeredExecution",
        "CancelledPrediction",
        "CreatedPrediction",
        "DownloadedFile",
        "Execution",
        "FinishedPrediction",
        "FlowExecution",
        "FlowParameter",
        "FlowStepResult",
        "Model",
        "ModelCost",
        "ModelCostRow",
        "ModelSchema",
        "Prediction",
        "PredictionMetrics",
        "PredictionUrls",
        "PredictionWebhook",
        "PresignedUpload",
        "PublicWorkflow",
        "Run",
        "RunDeletion",
        "RunWorkflow",
        "State",
        "StepOutput",
        "TriggeredExecution",
        "UploadedFile",
        "Webhook",
        "WebhookAttempt",
        "Workflow",
        "WorkflowExecution",
        "WorkflowExecutionSummary",
        "WorkflowSummary",
        "WorkflowVersion",
        "WorkflowWebhook",
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
        "ExecutionFailedError",
        "HumanFeedbackRequiredError",
        "NotFoundError",
        "OutcomeUnknownError",
        "PaginationError",
        "PaymentRequiredError",
        "PermissionDeniedError",
        "RateLimitError",
        "ResponseDecodeError",
        "ServerError",
        "UnprocessableEntityError",
        "WaitTimeoutError",
        "WebhookVerificationError",
    ),
}
_MODULES = ("errors", "webhooks")
_ROOM_OF = {name: room for room, names in _ROOMS.items() for name in names}

__all__ = ["__version__", *_ROOM_OF]  # pyright: ignore[reportUnsupportedDunderAll]  # the names are lazy


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f".{name}", __name__)
    room = _ROOM_OF.get(name)
    if room is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f".{room}", __name__), name)
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_ROOM_OF, *_MODULES])
