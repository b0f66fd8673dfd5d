"""The records of workflows and of triggers.

The `status` of a workflow (`active`, `archived`, `deleted`) is not that of a job, so workflows have no `state`; it may
be missing.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from attrs import frozen

from ._state import Stateful


@frozen(kw_only=True)
class WorkflowSummary:
    """One workflow in short, a row of `GET /workflows` (unified)."""

    workflow_id: str
    slug: str | None = None
    name: str | None = None
    categories: list[str] | None = None
    tags: list[str] | None = None
    status: str | None = None
    trigger_count: int | None = None
    clone_count: int | None = None
    is_public: bool | None = None
    production: bool | None = None
    node_based: bool | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None


@frozen(kw_only=True)
class WorkflowVersion:
    """One version of a workflow, nested in a `Workflow` and the response of `PUT .../versions/{versionID}`."""

    version_id: str
    slug: str | None = None
    published: bool | None = None
    locked: bool | None = None
    production: bool | None = None
    allowed_to_share: bool | None = None
    visibility: str | None = None
    status: str | None = None
    trigger_count: int | None = None
    is_popular: bool | None = None
    updated_by: str | None = None
    definition: dict[str, Any] | None = None
    public_description: str | None = None
    public_thumbnail: str | None = None
    public_popular_sort_order: int | None = None
    public_example_output: str | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None


@frozen(kw_only=True)
class Workflow:
    """One workflow with its versions, the response of `GET`, `POST` and `PUT` on workflows."""

    workflow_id: str
    slug: str | None = None
    name: str | None = None
    description: str | None = None
    categories: list[str] | None = None
    tags: list[str] | None = None
    status: str | None = None
    locked: bool | None = None
    production: bool | None = None
    is_public: bool | None = None
    latest_version_id: str | None = None
    trigger_count: int | None = None
    clone_count: int | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
    versions: list[WorkflowVersion] | None = None


@frozen(kw_only=True)
class TriggeredExecution(Stateful):
    """The execution that a trigger has queued."""

    execution_id: str
    status: str
    started_at: datetime | None = None


@frozen(kw_only=True)
class BulkTriggeredExecution(Stateful):
    """The result of a bulk trigger for one input: queued with an `execution_id`, or failed with a `message`."""

    status: str
    execution_id: str | None = None
    started_at: datetime | None = None
    message: str | None = None


@frozen(kw_only=True)
class BulkTriggered:
    """The response of a bulk trigger, with one entry for each input, in the order of the inputs."""

    bulk_id: str
    executions: list[BulkTriggeredExecution]


@frozen(kw_only=True)
class WorkflowList:
    """A page of `GET /workflows`. `offset`, the start of the next page, is left out."""

    workflows: list[WorkflowSummary] | None
    total_count: int | None = None
