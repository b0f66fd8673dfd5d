"""The records of webhooks: those that the service lists, and those that it delivers."""

from __future__ import annotations

from datetime import datetime
from typing import Any, TypeAlias

from attrs import field, frozen

from ._result_urls import OutputUrls
from ._state import Stateful
from .workflow_executions import WorkflowExecution


@frozen(kw_only=True)
class WebhookAttempt:
    """One attempt to deliver a webhook.

    `status` is `PENDING`, `SUCCESS` or `FAILED`; `status_code` is that of the receiver's response.
    """

    status: str
    status_code: int | None = None
    response: str | None = None
    error_message: str | None = None
    created_at: datetime | None = None


@frozen(kw_only=True)
class Webhook:
    """One webhook, a row of `GET /webhooks`. Only `GET /webhooks/{execution_id}` includes `attempts`."""

    execution_id: str | None = None
    url: str | None = None
    request: str | None = None
    # Kept out of the repr, because they contain the secret that the receiver checks.
    headers: dict[str, str] | None = field(default=None, repr=False)
    source: str | None = None
    created_at: datetime | None = None
    attempts: list[WebhookAttempt] | None = None


@frozen(kw_only=True)
class WebhookList:
    """A page of `GET /webhooks`."""

    webhooks: list[Webhook] | None
    total_count: int | None = None


@frozen(kw_only=True)
class PredictionWebhook(OutputUrls, Stateful):
    """The webhook about a prediction that has ended. A cancelled prediction sends none.

    The service puts the reason of a failure into `output[0].error`, as a text or an object, and leaves `error` empty;
    `eachlabs_async.webhooks` copies the text to `error`.
    """

    exec_id: str
    status: str
    flow_id: str | None = None
    output: Any = None
    error: str | None = None

    @property
    def key(self) -> str:
        """An identifier of the event. Deliveries of the same event, which can arrive twice, have equal keys."""
        return f"prediction:{self.exec_id}:{self.status}"


@frozen(kw_only=True)
class WorkflowWebhook(WorkflowExecution):
    """The webhook about a workflow execution that has ended, with the whole execution."""

    @property
    def key(self) -> str:
        """An identifier of the event. Deliveries of the same event, which can arrive twice, have equal keys."""
        return f"workflow:{self.execution_id}:{self.status}"


WebhookEvent: TypeAlias = PredictionWebhook | WorkflowWebhook
"""Any webhook that the service delivers."""
