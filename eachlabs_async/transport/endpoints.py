"""Owns every endpoint as a row of data; refuses to act: nothing here sends, decodes or pages.

A new endpoint starts here: a row, then its record, its method, its route in the emulator and its sample. A test
fails while one of them is missing.
"""

from __future__ import annotations

from typing import Any, Final, Literal

from attrs import field, frozen

from .. import records
from ..errors import ConfigurationError
from ..hosts import Edition, ServiceName
from .page_shape import PageShape
from .wire import segment

Method = Literal["GET", "POST", "PUT", "DELETE"]
KeyPlace = Literal["header", "body", "none"]


@frozen(kw_only=True)
class Endpoint:
    """One call of the API.

    `compat` and `unified` are the path template of each edition, None where it lacks the call. `answer` is the record
    that a success decodes into, None where it has no body. `repeatable` is True where sending twice does no harm, so
    that a failed try may be sent again. `key` says where the service's key travels: in its header, as `api_key` in
    the JSON body and in no header, or not at all, so that a client without a key can make the call. `least_hold` is the
    query that makes the compat edition hold its answer about what is unfinished for the shortest time it knows.
    `version` is the version of the API that the path belongs to: a service's base URL ends in `/v1`, and 2 means the
    `/v2` beside it. `serves` names the public method that makes the call, where that has another name.
    """

    name: str
    service: ServiceName
    method: Method
    compat: str | None
    unified: str | None
    answer: Any
    repeatable: bool = True
    page: PageShape | None = field(default=None)
    key: KeyPlace = "header"
    least_hold: str = ""
    version: int = 1
    serves: str = ""

    def path(self, edition: Edition) -> str | None:
        """Give the path template of `edition`, None where that edition lacks the call."""
        return self.compat if edition == "compat" else self.unified

    def soon(self, edition: Edition) -> str:
        """Give the query of a call that is not to be held back; empty where `edition` holds nothing."""
        return self.least_hold if edition == "compat" else ""

    def template(self, edition: Edition) -> str:
        """Give the path template of `edition`; a `ConfigurationError` where that edition lacks the call."""
        path = self.path(edition)
        if path is None:
            raise ConfigurationError(f"{self.name} is not part of the {edition} edition: choose other hosts")
        return path

    def expand(self, edition: Edition, **arguments: object) -> str:
        """Give the path in `edition` with each argument as one encoded segment."""
        return self.template(edition).format(**{name: segment(name, value) for name, value in arguments.items()})


LIST_EXECUTIONS: Final = Endpoint(
    name="executions.list",
    service="api",
    method="GET",
    compat="/executions",
    unified="/executions",
    answer=records.ExecutionList,
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
    answer=records.ExecutionCursorPage,
)
LIST_WORKFLOW_EXECUTIONS: Final = Endpoint(
    name="workflow_executions.list",
    service="workflows",
    method="GET",
    compat="/workflows/{workflow_id}/executions",
    unified="/workflows/{workflow_id}/executions",
    answer=records.WorkflowExecutionList,
    page=PageShape(dialect="offset", rows="executions", identity="execution_id", total="total_count"),
)
GET_WORKFLOW_EXECUTION: Final = Endpoint(
    name="workflow_executions.get",
    service="workflows",
    method="GET",
    compat="/executions/{execution_id}",
    unified="/workflows/executions/{execution_id}",
    answer=records.WorkflowExecution,
    least_hold="timeout=1",
)
GET_FLOW_EXECUTION: Final = Endpoint(
    name="flow_executions.get",
    service="flows",
    method="GET",
    compat="/{workflow_id}/executions/{execution_id}",
    unified="/{workflow_id}/executions/{execution_id}",
    answer=records.FlowExecution,
)
GET_FLOW_EXECUTIONS: Final = Endpoint(
    name="flow_executions.get_many",
    service="flows",
    method="POST",
    compat="/{workflow_id}/executions/bulk",
    unified="/{workflow_id}/executions/bulk",
    answer=records.FlowExecutionBatch,
    # A POST that only reads: the ids travel in the body because there are many of them.
    repeatable=True,
)
LIST_RUNS: Final = Endpoint(
    name="runs.list",
    service="runs",
    method="GET",
    compat="/runs",
    unified="/runs",
    answer=records.RunPage,
    page=PageShape(dialect="page", rows="items", identity="id", total="total", size="size"),
)
GET_RUN: Final = Endpoint(
    name="runs.get",
    service="runs",
    method="GET",
    compat="/runs/{run_id}",
    unified="/runs/{run_id}",
    answer=records.Run,
)

LIST_WORKFLOW_RUNS: Final = Endpoint(
    name="runs.list_for_workflow",
    service="runs",
    method="GET",
    compat="/workflows/{workflow_id}/runs",
    unified="/workflows/{workflow_id}/runs",
    answer=records.RunPage,
    page=PageShape(dialect="page", rows="items", identity="id", total="total", size="size"),
)
STOP_RUN: Final = Endpoint(
    name="runs.stop",
    service="runs",
    method="POST",
    compat="/runs/{run_id}/stop",
    unified="/runs/{run_id}/stop",
    answer=records.Run,
)
START_RUN: Final = Endpoint(
    name="runs.start",
    service="runs",
    method="POST",
    compat="/workflows/{workflow_id}/runs",
    unified="/workflows/{workflow_id}/runs",
    answer=records.Run,
    repeatable=False,
)
DELETE_RUN: Final = Endpoint(
    name="runs.delete",
    service="runs",
    method="DELETE",
    compat="/runs/{run_id}",
    unified="/runs/{run_id}",
    answer=records.RunDeletion,
)
DELETE_RUNS: Final = Endpoint(
    name="runs.delete_many",
    service="runs",
    method="POST",
    compat="/runs/bulk/delete",
    unified="/runs/bulk/delete",
    answer=records.RunDeletion,
    # What filters find may be more the second time; what only counts (`dry_run`) is sent again all the same.
    repeatable=False,
)
LIST_WORKFLOWS: Final = Endpoint(
    name="workflows.list",
    service="workflows",
    method="GET",
    compat=None,
    unified="/workflows",
    answer=records.WorkflowList,
    page=PageShape(dialect="offset", rows="workflows", identity="workflow_id", total="total_count"),
)
GET_WORKFLOW: Final = Endpoint(
    name="workflows.get",
    service="workflows",
    method="GET",
    compat="/workflows/{workflow_id}",
    unified="/workflows/{workflow_id}",
    answer=records.Workflow,
)
CREATE_WORKFLOW: Final = Endpoint(
    name="workflows.create",
    service="workflows",
    method="POST",
    compat="/workflows",
    unified="/workflows",
    answer=records.Workflow,
    repeatable=False,
)
RENAME_WORKFLOW: Final = Endpoint(
    name="workflows.rename",
    service="workflows",
    method="PUT",
    compat="/workflows/{workflow_id}",
    unified="/workflows/{workflow_id}",
    answer=records.Workflow,
)
PUT_WORKFLOW_VERSION: Final = Endpoint(
    name="workflows.put_version",
    service="workflows",
    method="PUT",
    compat="/workflows/{workflow_id}/versions/{version_id}",
    unified="/workflows/{workflow_id}/versions/{version_id}",
    answer=records.WorkflowVersion,
)
TRIGGER_WORKFLOW: Final = Endpoint(
    name="workflows.trigger",
    service="workflows",
    method="POST",
    compat="/{workflow_id}/trigger",
    unified="/workflows/trigger/{workflow_id}/{version_id}",
    answer=records.TriggeredExecution,
    repeatable=False,
)
BULK_TRIGGER_WORKFLOW: Final = Endpoint(
    name="workflows.bulk_trigger",
    service="workflows",
    method="POST",
    compat="/{workflow_id}/bulk-trigger",
    unified="/workflows/bulk-trigger/{workflow_id}/{version_id}",
    answer=records.BulkTriggered,
    repeatable=False,
)
GET_PUBLIC_WORKFLOW: Final = Endpoint(
    name="public_workflows.get",
    service="workflows",
    method="GET",
    compat=None,
    unified="/public/@{nickname}/workflows/{slug}/versions/{version_id}",
    answer=records.PublicWorkflow,
    key="none",
)
TRIGGER_PUBLIC_WORKFLOW: Final = Endpoint(
    name="public_workflows.trigger",
    service="workflows",
    method="POST",
    compat=None,
    unified="/public/@{nickname}/workflows/{slug}/versions/{version_id}/trigger",
    answer=records.TriggeredExecution,
    repeatable=False,
    key="body",
)
CREATE_PREDICTION: Final = Endpoint(
    name="predictions.create",
    service="api",
    method="POST",
    compat="/prediction",
    unified="/prediction",
    answer=records.CreatedPrediction,
    repeatable=False,
)
GET_PREDICTION: Final = Endpoint(
    name="predictions.get",
    service="api",
    method="GET",
    compat="/prediction/{prediction_id}",
    unified="/prediction/{prediction_id}",
    answer=records.Prediction,
)
CANCEL_PREDICTION: Final = Endpoint(
    name="predictions.cancel",
    service="api",
    method="POST",
    compat="/prediction/{prediction_id}/cancel",
    unified="/prediction/{prediction_id}/cancel",
    answer=records.CancelledPrediction,
    # What is cancelled stays cancelled: asking twice changes nothing.
    repeatable=True,
)
RUN_PREDICTION: Final = Endpoint(
    name="predictions.run",
    service="api",
    method="POST",
    compat="/prediction/run",
    unified="/prediction/run",
    answer=records.FinishedPrediction,
    repeatable=False,
)
LIST_MODELS: Final = Endpoint(
    name="models.list",
    service="api",
    method="GET",
    compat="/models",
    unified="/models",
    answer=list[records.Model],
    page=PageShape(dialect="offset", rows="", identity="slug", largest=500),
    key="none",
)
GET_MODEL: Final = Endpoint(
    name="models.get",
    service="api",
    method="GET",
    compat="/models/{slug}",
    unified="/models/{slug}",
    answer=records.Model,
    key="none",
)
GET_MODEL_BY_QUERY: Final = Endpoint(
    name="models.get_by_query",
    serves="models.get",
    service="api",
    method="GET",
    compat="/model",
    unified="/model",
    answer=records.Model,
    key="none",
)
GET_MODEL_SCHEMA: Final = Endpoint(
    name="models.schema",
    service="api",
    method="GET",
    compat="/models/{slug}/schemas/openapi",
    unified="/models/{slug}/schemas/openapi",
    # The document itself: a record of it would have to drop what it does not know.
    answer=dict[str, Any],
    key="none",
)
GET_BALANCE: Final = Endpoint(
    name="billing.balance",
    service="api",
    method="GET",
    compat="/billing/balance",
    unified="/billing/balance",
    answer=records.Balance,
)
LIST_WEBHOOKS: Final = Endpoint(
    name="webhooks.list",
    serves="webhook_deliveries.list",
    service="api",
    method="GET",
    compat="/webhooks",
    unified="/webhooks",
    answer=records.WebhookList,
    page=PageShape(dialect="offset", rows="webhooks", identity="key", total="total_count"),
)
GET_WEBHOOK: Final = Endpoint(
    name="webhooks.get",
    serves="webhook_deliveries.get",
    service="api",
    method="GET",
    compat="/webhooks/{execution_id}",
    unified="/webhooks/{execution_id}",
    answer=records.Webhook,
)
PRESIGN_UPLOAD: Final = Endpoint(
    name="files.presign",
    service="api",
    method="POST",
    compat=None,
    unified="/upload/presign",
    answer=records.PresignedUpload,
    # It makes a place for a file, no file: one that is never used costs nothing and is nowhere listed.
    repeatable=True,
)
DELETE_FILE: Final = Endpoint(
    name="files.delete",
    service="api",
    method="DELETE",
    compat=None,
    unified="/files/{file_id}",
    answer=None,
)

ENDPOINTS: Final[tuple[Endpoint, ...]] = tuple(row for row in tuple(globals().values()) if isinstance(row, Endpoint))
"""Every row above, in this order: none can be forgotten here."""
