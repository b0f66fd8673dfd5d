"""The records that calls return: frozen attrs classes whose fields have the names of the wire.

Only a record's own id and its `status` are required; every other field may be missing or null on the wire, and is then
None. Times are aware and in UTC. `status` keeps the word that the service sent; `state` interprets it. How bytes become
records is the concern of `codec`.

The star imports also bring in the envelopes around pages of rows, which only `transport.endpoints` uses and which are
not public. An envelope has just the fields that paging needs, so that an unexpected value in another field cannot fail
a page. Its rows must be present but may be null, because Go encodes an empty list as null; the pager decides what a
null means.
"""

from __future__ import annotations

from ._state import *
from .billing import *
from .executions import *
from .files import *
from .flow_executions import *
from .models import *
from .predictions import *
from .public_workflows import *
from .runs import *
from .webhooks import *
from .workflow_executions import *
from .workflows import *

# The one list of the public records: the root package takes its names from here.
__all__ = [
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
]
