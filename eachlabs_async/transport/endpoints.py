"""Describe every endpoint of the API as data.

A new endpoint starts here, followed by its record, its method, its handler in the emulator and its sample. A test fails
while one of them is missing.
"""

from __future__ import annotations

from typing import Any, Final, Literal

from attrs import field, frozen

from .. import records
from ..hosts import Edition, ServiceName, not_in_edition
from .page_shape import PageShape
from .wire import segment

Method = Literal["GET", "POST", "PUT", "DELETE"]
KeyLocation = Literal["header", "body", "none"]


@frozen(kw_only=True)
class Endpoint:
    """One endpoint of the API.

    `compat` and `unified` are the path templates of the two editions, None if the edition lacks the endpoint.
    `response` is the record that a successful response decodes into, None if it has no body. `repeatable` is True if
    sending a request twice does no harm, so that a failed attempt may be repeated. `key` is where the service's key is
    sent: in its header, as `api_key` in the JSON body instead, or nowhere, so that a client without a key can call the
    endpoint. `shortest_poll` is the query with which the compat edition holds back its response for an unfinished
    execution for the shortest time. `version` is the version of the API that the path belongs to: a service's base URL
    ends in `/v1`, and 2 stands for the `/v2` next to it. `serves` names the public method that calls the endpoint, if
    it has another name.
    """

    name: str
    service: ServiceName
    method: Method
    compat: str | None
    unified: str | None
    response: Any
    repeatable: bool = True
    page: PageShape | None = field(default=None)
    key: KeyLocation = "header"
    shortest_poll: str = ""
    version: int = 1
    serves: str = ""

    def path(self, edition: Edition) -> str | None:
        """Return the path template of `edition`, or None if that edition lacks the endpoint."""
        return self.compat if edition == "compat" else self.unified

    def shortest_poll_query(self, edition: Edition) -> str:
        """Return the query for a response that is held back as briefly as possible; empty if `edition` never does."""
        return self.shortest_poll if edition == "compat" else ""

    def template(self, edition: Edition) -> str:
        """Return the path template of `edition`. Raises `ConfigurationError` if that edition lacks the endpoint."""
        path = self.path(edition)
        if path is None:
            raise not_in_edition(self.serves or self.name, edition)
        return path

    def expand(self, edition: Edition, **arguments: object) -> str:
        """Return the path in `edition`, with each argument as one encoded segment."""
        return self.template(edition).format(**{name: segment(name, value) for name, value in arguments.items()})


LIST_EXECUTIONS: Final = Endpoint(
    name="executions.list",
    service="api",
    method="GET",
    compat="/executions",
    unified="/executions",
    response=records.ExecutionList,
    page=PageShape(
        dialect="offset",
        rows="executions",
        identity="id",
        total="total_count",
        capped="total_capped",
        words={"since": "from", "until": "to"},
    ),
)
LIST_EXECUTIONS_BY_CURSOR: Final = Endpoint(
    name="executions.list_by_cursor",
    serves="executions.list",
    service="api",
    method="GET",
    compat="/executions",
    unified="/executions",
    version=2,
    response=records.ExecutionCursorPage,
)
LIST_WORKFLOW_EXECUTIONS: Final = Endpoint(
    name="workflow_executions.list",
    service="workflows",
    method="GET",
    compat="/workflows/{workflow_id}/executions",
    unified="/workflows/{workflow_id}/executions",
    response=records.WorkflowExecutionList,
    page=PageShape(dialect="offset", rows="executions", identity="execution_id", total="total_count"),
)
GET_WORKFLOW_EXECUTION: Final = Endpoint(
    name="workflow_executions.get",
    service="workflows",
    method="GET",
    compat="/executions/{execution_id}",
    unified="/workflows/executions/{execution_id}",
    response=records.WorkflowExecution,
    shortest_poll="timeout=1",
)
GET_FLOW_EXECUTION: Final = Endpoint(
    name="flow_executions.get",
    service="flows",
    method="GET",
    compat="/{workflow_id}/executions/{execution_id}",
    unified="/{workflow_id}/executions/{execution_id}",
    response=records.FlowExecution,
)
GET_FLOW_EXECUTIONS: Final = Endpoint(
    name="flow_executions.get_many",
    service="flows",
    method="POST",
    compat="/{workflow_id}/executions/bulk",
    unified="/{workflow_id}/executions/bulk",
    response=records.FlowExecutionBatch,
    # A POST that only reads: the ids travel in the body because there are many of them.
    repeatable=True,
)
LIST_RUNS: Final = Endpoint(
    name="runs.list",
    service="runs",
    method="GET",
    compat="/runs",
    unified="/runs",
    response=records.RunPage,
    page=PageShape(dialect="page", rows="items", identity="id", total="total", size="size"),
)
GET_RUN: Final = Endpoint(
    name="runs.get",
    service="runs",
    method="GET",
    compat="/runs/{run_id}",
    unified="/runs/{run_id}",
    response=records.Run,
)

LIST_WORKFLOW_RUNS: Final = Endpoint(
    name="runs.list_for_workflow",
    service="runs",
    method="GET",
    compat="/workflows/{workflow_id}/runs",
    unified="/workflows/{workflow_id}/runs",
    response=records.RunPage,
    page=PageShape(dialect="page", rows="items", identity="id", total="total", size="size"),
)
STOP_RUN: Final = Endpoint(
    name="runs.stop",
    service="runs",
    method="POST",
    compat="/runs/{run_id}/stop",
    unified="/runs/{run_id}/stop",
    response=records.Run,
)
START_RUN: Final = Endpoint(
    name="runs.start",
    service="runs",
    method="POST",
    compat="/workflows/{workflow_id}/runs",
    unified="/workflows/{workflow_id}/runs",
    response=records.Run,
    repeatable=False,
)
DELETE_RUN: Final = Endpoint(
    name="runs.delete",
    service="runs",
    method="DELETE",
    compat="/runs/{run_id}",
    unified="/runs/{run_id}",
    response=records.RunDeletion,
)
DELETE_RUNS: Final = Endpoint(
    name="runs.delete_many",
    service="runs",
    method="POST",
    compat="/runs/bulk/delete",
    unified="/runs/bulk/delete",
    response=records.RunDeletion,
    # Filters may match more runs the second time. With `dry_run`, which only counts, the request is repeatable.
    repeatable=False,
)
LIST_WORKFLOWS: Final = Endpoint(
    name="workflows.list",
    service="workflows",
    method="GET",
    compat=None,
    unified="/workflows",
    response=records.WorkflowList,
    page=PageShape(dialect="offset", rows="workflows", identity="workflow_id", total="total_count"),
)
GET_WORKFLOW: Final = Endpoint(
    name="workflows.get",
    service="workflows",
    method="GET",
    compat="/workflows/{workflow_id}",
    unified="/workflows/{workflow_id}",
    response=records.Workflow,
)
CREATE_WORKFLOW: Final = Endpoint(
    name="workflows.create",
    service="workflows",
    method="POST",
    compat="/workflows",
    unified="/workflows",
    response=records.Workflow,
    repeatable=False,
)
RENAME_WORKFLOW: Final = Endpoint(
    name="workflows.rename",
    service="workflows",
    method="PUT",
    compat="/workflows/{workflow_id}",
    unified="/workflows/{workflow_id}",
    response=records.Workflow,
)
PUT_WORKFLOW_VERSION: Final = Endpoint(
    name="workflows.put_version",
    service="workflows",
    method="PUT",
    compat="/workflows/{workflow_id}/versions/{version_id}",
    unified="/workflows/{workflow_id}/versions/{version_id}",
    response=records.WorkflowVersion,
)
TRIGGER_WORKFLOW: Final = Endpoint(
    name="workflows.trigger",
    service="workflows",
    method="POST",
    compat="/{workflow_id}/trigger",
    unified="/workflows/trigger/{workflow_id}/{version_id}",
    response=records.TriggeredExecution,
    repeatable=False,
)
BULK_TRIGGER_WORKFLOW: Final = Endpoint(
    name="workflows.bulk_trigger",
    service="workflows",
    method="POST",
    compat="/{workflow_id}/bulk-trigger",
    unified="/workflows/bulk-trigger/{workflow_id}/{version_id}",
    response=records.BulkTriggered,
    repeatable=False,
)
GET_PUBLIC_WORKFLOW: Final = Endpoint(
    name="public_workflows.get",
    service="workflows",
    method="GET",
    compat=None,
    unified="/public/@{nickname}/workflows/{slug}/versions/{version_id}",
    response=records.PublicWorkflow,
    key="none",
)
TRIGGER_PUBLIC_WORKFLOW: Final = Endpoint(
    name="public_workflows.trigger",
    service="workflows",
    method="POST",
    compat=None,
    unified="/public/@{nickname}/workflows/{slug}/versions/{version_id}/trigger",
    response=records.TriggeredExecution,
    repeatable=False,
    key="body",
)
CREATE_PREDICTION: Final = Endpoint(
    name="predictions.create",
    service="api",
    method="POST",
    compat="/prediction",
    unified="/prediction",
    response=records.CreatedPrediction,
    repeatable=False,
)
GET_PREDICTION: Final = Endpoint(
    name="predictions.get",
    service="api",
    method="GET",
    compat="/prediction/{prediction_id}",
    unified="/prediction/{prediction_id}",
    response=records.Prediction,
)
CANCEL_PREDICTION: Final = Endpoint(
    name="predictions.cancel",
    service="api",
    method="POST",
    compat="/prediction/{prediction_id}/cancel",
    unified="/prediction/{prediction_id}/cancel",
    response=records.CancelledPrediction,
    # Cancelling twice changes nothing.
    repeatable=True,
)
RUN_PREDICTION: Final = Endpoint(
    name="predictions.run",
    service="api",
    method="POST",
    compat="/prediction/run",
    unified="/prediction/run",
    response=records.FinishedPrediction,
    repeatable=False,
)
LIST_MODELS: Final = Endpoint(
    name="models.list",
    service="api",
    method="GET",
    compat="/models",
    unified="/models",
    response=list[records.Model],
    page=PageShape(dialect="offset", rows="", identity="slug", largest=500),
    key="none",
)
GET_MODEL: Final = Endpoint(
    name="models.get",
    service="api",
    method="GET",
    compat="/models/{slug}",
    unified="/models/{slug}",
    response=records.Model,
    key="none",
)
GET_MODEL_BY_QUERY: Final = Endpoint(
    name="models.get_by_query",
    serves="models.get",
    service="api",
    method="GET",
    compat="/model",
    unified="/model",
    response=records.Model,
    key="none",
)
GET_MODEL_SCHEMA: Final = Endpoint(
    name="models.schema",
    service="api",
    method="GET",
    compat="/models/{slug}/schemas/openapi",
    unified="/models/{slug}/schemas/openapi",
    # The document itself: a record would have to drop the fields that it does not know.
    response=dict[str, Any],
    key="none",
)
GET_BALANCE: Final = Endpoint(
    name="billing.balance",
    service="api",
    method="GET",
    compat="/billing/balance",
    unified="/billing/balance",
    response=records.Balance,
)
LIST_WEBHOOKS: Final = Endpoint(
    name="webhooks.list",
    serves="webhook_deliveries.list",
    service="api",
    method="GET",
    compat="/webhooks",
    unified="/webhooks",
    response=records.WebhookList,
    page=PageShape(dialect="offset", rows="webhooks", identity="execution_id", unique=False, total="total_count"),
)
GET_WEBHOOK: Final = Endpoint(
    name="webhooks.get",
    serves="webhook_deliveries.get",
    service="api",
    method="GET",
    compat="/webhooks/{execution_id}",
    unified="/webhooks/{execution_id}",
    response=records.Webhook,
)
PRESIGN_UPLOAD: Final = Endpoint(
    name="files.presign",
    service="api",
    method="POST",
    compat=None,
    unified="/upload/presign",
    response=records.PresignedUpload,
    # It creates an upload URL, not a file. An unused one costs nothing and is not listed anywhere.
    repeatable=True,
)
DELETE_FILE: Final = Endpoint(
    name="files.delete",
    service="api",
    method="DELETE",
    compat=None,
    unified="/files/{file_id}",
    response=None,
)

ENDPOINTS: Final[tuple[Endpoint, ...]] = tuple(row for row in tuple(globals().values()) if isinstance(row, Endpoint))
"""All endpoints, in the order above."""
