"""Owns webhooks, as they are listed and delivered, uploads and downloads; refuses to know how they are read."""

from __future__ import annotations

from datetime import datetime
from typing import Any, TypeAlias

from attrs import field, frozen

from ._result_urls import Output
from ._state import Stateful
from .workflow_executions import WorkflowExecution


@frozen(kw_only=True)
class WebhookAttempt:
    """One delivery that was tried; `status` is `PENDING`, `SUCCESS` or `FAILED`, `status_code` the receiver's."""

    status: str
    status_code: int | None = None
    response: str | None = None
    error_message: str | None = None
    created_at: datetime | None = None


@frozen(kw_only=True)
class Webhook:
    """One webhook, a row of `GET /webhooks`; `attempts` come with `GET /webhooks/{execution_id}` alone."""

    execution_id: str | None = None
    url: str | None = None
    request: str | None = None
    # They hold the secret that the receiver checks.
    headers: dict[str, str] | None = field(default=None, repr=False)
    source: str | None = None
    created_at: datetime | None = None
    attempts: list[WebhookAttempt] | None = None

    @property
    def key(self) -> str:
        """What tells it from others: the execution's id, or, where that is null, when, from where and where to."""
        if self.execution_id is not None:
            return self.execution_id
        return f"{self.created_at} {self.source} {self.url} {self.request}"


@frozen(kw_only=True)
class WebhookList:
    """A page of `GET /webhooks`."""

    webhooks: list[Webhook] | None
    total_count: int | None = None


@frozen(kw_only=True)
class PredictionWebhook(Output, Stateful):
    """What the service posts when a prediction ends; one that is cancelled posts nothing.

    Of a failed one the reason stands in `output[0].error`, as a text or an object; `eachlabs_async.webhooks` puts its
    text into `error`, which comes empty.
    """

    exec_id: str
    status: str
    flow_id: str | None = None
    output: Any = None
    error: str | None = None

    @property
    def key(self) -> str:
        """Equal for deliveries of the same event, which can arrive twice."""
        return f"prediction:{self.exec_id}:{self.status}"


@frozen(kw_only=True)
class WorkflowWebhook(WorkflowExecution):
    """What the service posts when a workflow execution ends: the execution in full."""

    @property
    def key(self) -> str:
        """Equal for deliveries of the same event, which can arrive twice."""
        return f"workflow:{self.execution_id}:{self.status}"


WebhookEvent: TypeAlias = PredictionWebhook | WorkflowWebhook
"""What a webhook may deliver."""
