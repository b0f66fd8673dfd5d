"""Owns webhooks, as they are listed and delivered, uploads and downloads; refuses to know how they are read."""

from __future__ import annotations

from datetime import datetime
from typing import Any, TypeAlias

from attrs import field, frozen

from ._results import Output
from ._states import Stateful
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


@frozen(kw_only=True)
class PresignedUpload:
    """A place to upload one file to: the answer of `POST /upload/presign`.

    Whoever knows `presigned_url` and `required_headers` can upload, for 15 minutes. `expires_at` is when the file
    will be deleted.
    """

    id: str
    presigned_url: str = field(repr=False)
    public_url: str
    expires_at: datetime | None = None
    required_headers: dict[str, str] | None = field(default=None, repr=False)


@frozen(kw_only=True)
class UploadedFile:
    """A file that lies at the service: `public_url` is what a model takes as input; `size` is in bytes."""

    id: str
    public_url: str
    content_type: str
    size: int
    expires_at: datetime | None = None


@frozen(kw_only=True)
class DownloadedFile:
    """A file that was downloaded: it lies at `path`, with `size` bytes, and took `attempts` requests.

    `content_type` and `content_encoding` are the storage's words. The bytes are as they came: where there is an
    encoding (`gzip`), the file is still encoded.
    """

    path: str
    size: int
    content_type: str | None = None
    content_encoding: str | None = None
    attempts: int | None = None
