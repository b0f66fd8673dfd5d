"""The records of Noxus runs."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from attrs import frozen

from ._result_urls import OutputUrls
from ._state import Stateful


@frozen(kw_only=True)
class RunWorkflow:
    """The workflow of a run, as nested in `GET /runs`. Other fields of the response are dropped."""

    id: str
    group_id: str | None = None
    name: str | None = None
    type: str | None = None
    definition: dict[str, Any] | None = None
    last_updated_at: datetime | None = None
    last_run_at: datetime | None = None
    created_at: datetime | None = None
    deleted_at: datetime | None = None
    runs_count: int | None = None
    author_name: str | None = None
    description: str | None = None
    saved: bool | None = None
    error_handler: Any = None


@frozen(kw_only=True)
class Run(OutputUrls, Stateful):
    """One run of a Noxus workflow, a row of `GET /runs` and the response of `GET /runs/{run_id}`.

    `progress` is a percentage, 0 to 100. `node_ids` is an array of ids or an object.
    """

    id: str
    status: str
    group_id: str | None = None
    workflow_id: str | None = None
    workflow_version_id: str | None = None
    input: dict[str, Any] | None = None
    output: Any = None
    # Documented as an array of ids or an object, without details.
    node_ids: Any = None
    single_node_id: str | None = None
    progress: float | None = None
    progress_details: dict[str, Any] | None = None
    definitions: dict[str, Any] | None = None
    created_at: datetime | None = None
    finished_at: datetime | None = None
    workflow: RunWorkflow | None = None
    source: Any = None
    meta: Any = None


@frozen(kw_only=True)
class RunDeletion:
    """The result of deleting runs, from `DELETE /runs/{run_id}` or the bulk deletion.

    `matched` counts the finished runs that matched, `succeeded` the deleted ones and `failed` the others; `errors` has
    the reasons by run id. The service does not document its response, so each of these may be None; `answer` is the
    JSON as it came.
    """

    matched: int | None = None
    succeeded: int | None = None
    failed: int | None = None
    errors: dict[str, Any] | None = None
    answer: Any = None


@frozen(kw_only=True)
class RunPage:
    """A page of `GET /runs`."""

    items: list[Run] | None
    total: int | None = None
    size: int | None = None
