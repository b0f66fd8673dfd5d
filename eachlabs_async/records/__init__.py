"""Owns the rows and details that a caller holds, as frozen attrs classes; refuses to know how they are read.

The names are the wire's. Only a thing's own id and its `status` are required: everything else may be missing
or null, and is then None. Times are aware and in UTC. A status stays the word that came; `state` reads it.
The envelopes hold what paging needs, so that an odd field beside it cannot fail a page: their rows must be there and
may be null, as Go writes an empty list, and the pager judges it.
"""

from __future__ import annotations

from ._states import (
    State,
    read_state,
)
from .billing import Balance
from .deliveries import (
    DownloadedFile,
    PredictionWebhook,
    PresignedUpload,
    UploadedFile,
    Webhook,
    WebhookAttempt,
    WebhookEvent,
    WebhookList,
    WorkflowWebhook,
)
from .executions import (
    Execution,
    ExecutionCursorPage,
    ExecutionList,
)
from .flows import (
    FlowExecution,
    FlowExecutionBatch,
    FlowParameter,
    FlowStepResult,
)
from .models import (
    Model,
    ModelCost,
    ModelCostRow,
    ModelSchema,
)
from .predictions import (
    CancelledPrediction,
    CreatedPrediction,
    FinishedPrediction,
    Prediction,
    PredictionMetrics,
    PredictionUrls,
)
from .runs import (
    Run,
    RunDeletion,
    RunPage,
    RunWorkflow,
)
from .workflow_executions import (
    StepMetadata,
    StepOutput,
    WorkflowExecution,
    WorkflowExecutionList,
    WorkflowExecutionSummary,
)
from .workflows import (
    BulkTriggered,
    BulkTriggeredExecution,
    PublicWorkflow,
    TriggeredExecution,
    Workflow,
    WorkflowList,
    WorkflowSummary,
    WorkflowVersion,
)

__all__ = [
    "Balance",
    "BulkTriggered",
    "BulkTriggeredExecution",
    "CancelledPrediction",
    "CreatedPrediction",
    "DownloadedFile",
    "Execution",
    "ExecutionCursorPage",
    "ExecutionList",
    "FinishedPrediction",
    "FlowExecution",
    "FlowExecutionBatch",
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
    "RunPage",
    "RunWorkflow",
    "State",
    "StepMetadata",
    "StepOutput",
    "TriggeredExecution",
    "UploadedFile",
    "Webhook",
    "WebhookAttempt",
    "WebhookEvent",
    "WebhookList",
    "Workflow",
    "WorkflowExecution",
    "WorkflowExecutionList",
    "WorkflowExecutionSummary",
    "WorkflowList",
    "WorkflowSummary",
    "WorkflowVersion",
    "WorkflowWebhook",
    "read_state",
]
