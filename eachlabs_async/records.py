"""Owns the rows and details that a caller holds, as frozen attrs classes; refuses to know how they are read.

The names are the wire's. Only a thing's own id and its `status` are required: everything else may be missing
or null, and is then None. Times are aware and in UTC. A status stays the word that came; `state` reads it.
The envelopes at the end hold what paging needs, so that an odd field beside it cannot fail a page.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol, TypeAlias

from attrs import field, frozen

__all__ = [
    "Execution",
    "ExecutionList",
    "FlowExecution",
    "FlowExecutionBatch",
    "FlowParameter",
    "FlowStepResult",
    "Run",
    "RunPage",
    "RunWorkflow",
    "State",
    "StepMetadata",
    "StepOutput",
    "WorkflowExecution",
    "WorkflowExecutionList",
    "WorkflowExecutionSummary",
    "read_state",
]


class State(StrEnum):
    """What a status word means, alike for every service; `UNKNOWN` for a word that is new to this package."""

    PENDING = "pending"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    UNKNOWN = "unknown"


_STATES: dict[str, State] = {
    "created": State.PENDING,
    "queued": State.PENDING,
    "starting": State.PENDING,
    "running": State.RUNNING,
    "processing": State.RUNNING,
    "success": State.SUCCEEDED,
    "succeeded": State.SUCCEEDED,
    "completed": State.SUCCEEDED,
    "failed": State.FAILED,
    "error": State.FAILED,
    "cancelled": State.CANCELLED,
    "canceled": State.CANCELLED,
    "stopped": State.CANCELLED,
}
# An unknown word is not in here: who waits for a job must not give it up because of a word that is new.
_FINISHED = frozenset({State.SUCCEEDED, State.FAILED, State.CANCELLED})


def read_state(status: str) -> State:
    """Give what `status`, the word of any service, means; `State.UNKNOWN` for a word not in the table."""
    return _STATES.get(status, State.UNKNOWN)


class _HasStatus(Protocol):
    @property
    def status(self) -> str: ...


class _Stateful:
    """Adds the reading of `status`; holds no field, so the records that take it in stay flat and slotted."""

    __slots__ = ()

    @property
    def state(self: _HasStatus) -> State:
        """What `status` means, alike for every service."""
        return read_state(self.status)

    @property
    def is_finished(self: _HasStatus) -> bool:
        """True once `status` cannot change any more (succeeded, failed or cancelled)."""
        return read_state(self.status) in _FINISHED


# What a step says of itself differs by its kind and grows without notice, so it stays the mapping that came:
# a class would have to drop what it does not know.
StepMetadata: TypeAlias = dict[str, Any]


@frozen(kw_only=True)
class Execution(_Stateful):
    """One model execution, a row of `GET /executions`; the cost is in USD and the run time in seconds."""

    id: str
    status: str
    model: str | None = None
    requested_model: str | None = None
    workflow_id: str | None = None
    workflow_execution_id: str | None = None
    execution_cost: float | None = None
    run_time: float | None = None
    created_at: datetime | None = None
    started_at: datetime | None = None
    completed_at: datetime | None = None
    output: str | None = None


@frozen(kw_only=True)
class WorkflowExecutionSummary(_Stateful):
    """One run of a workflow in brief, a row of `GET /workflows/{workflow_id}/executions`."""

    execution_id: str
    status: str
    flow_id: str | None = None
    flow_name: str | None = None
    version_id: str | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
    deleted_at: datetime | None = None
    api_key: str | None = field(default=None, repr=False)
    inputs: dict[str, Any] | None = None
    # An object or an array, and an object or a number: the documentation promises no more.
    step_results: Any = None
    output: str | None = None
    output_json: dict[str, Any] | None = None
    cost: Any = None
    dry_run: bool | None = None


@frozen(kw_only=True)
class StepOutput(_Stateful):
    """What one step of a workflow execution did, from `step_outputs` of `GET /executions/{execution_id}`."""

    step_id: str
    status: str
    started_at: datetime | None = None
    completed_at: datetime | None = None
    output: Any = None
    primary: Any = None
    input: dict[str, Any] | None = None
    metadata: StepMetadata | None = None
    error: str | None = None
    error_cause: str | None = None


@frozen(kw_only=True)
class WorkflowExecution(_Stateful):
    """One run of a workflow in full, from `GET /executions/{execution_id}` (unified: below `/workflows`)."""

    execution_id: str
    status: str
    workflow_id: str | None = None
    version_id: str | None = None
    bulk_id: str | None = None
    started_at: datetime | None = None
    completed_at: datetime | None = None
    inputs: dict[str, Any] | None = None
    step_outputs: dict[str, StepOutput] | None = None
    output: Any = None
    workflow_output: dict[str, Any] | None = None
    error: str | None = None
    error_cause: str | None = None
    total_cost: float | None = None


@frozen(kw_only=True)
class FlowParameter:
    """One named input of a flow execution."""

    name: str
    value: Any = None


@frozen(kw_only=True)
class FlowStepResult(_Stateful):
    """What one step of a flow execution did."""

    step_id: str
    status: str
    step_name: str | None = None
    model: str | None = None
    version: str | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    output: Any = None
    output_json: dict[str, Any] | None = None
    input: Any = None


@frozen(kw_only=True)
class FlowExecution(_Stateful):
    """One run of a flow (legacy): `GET /{workflow_id}/executions/{execution_id}`, or a row of the bulk."""

    execution_id: str
    status: str
    flow_id: str | None = None
    flow_name: str | None = None
    average_percent: float | None = None
    organization_id: str | None = None
    api_key: str | None = field(default=None, repr=False)
    source_ip_address: str | None = field(default=None, repr=False)
    parameters: list[FlowParameter] | None = None
    step_results: list[FlowStepResult] | None = None
    output: Any = None
    output_json: dict[str, Any] | None = None
    created_at: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    updated_at: datetime | None = None
    deleted_at: datetime | None = None


@frozen(kw_only=True)
class RunWorkflow:
    """The workflow that a run belongs to, as `GET /runs` nests it; fields not named here are left out."""

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
class Run(_Stateful):
    """One run of a Noxus workflow, a row of `GET /runs` and the answer of `GET /runs/{run_id}`."""

    id: str
    status: str
    group_id: str | None = None
    workflow_id: str | None = None
    input: dict[str, Any] | None = None
    output: Any = None
    node_ids: list[str] | None = None
    progress: float | None = None
    progress_details: dict[str, Any] | None = None
    definitions: dict[str, Any] | None = None
    created_at: datetime | None = None
    finished_at: datetime | None = None
    workflow: RunWorkflow | None = None
    source: Any = None
    meta: Any = None


# The envelopes. The rows must be there and may be null: Go writes an empty list so, and the pager judges it.


@frozen(kw_only=True)
class ExecutionList:
    """A page of `GET /executions`; the total is a lower bound unless `total_capped` is false."""

    executions: list[Execution] | None
    total_count: int | None = None
    total_capped: bool | None = None


@frozen(kw_only=True)
class WorkflowExecutionList:
    """A page of `GET /workflows/{workflow_id}/executions`; `offset`, which has two meanings, is left out."""

    executions: list[WorkflowExecutionSummary] | None
    total_count: int | None = None


@frozen(kw_only=True)
class FlowExecutionBatch:
    """The answer of `POST /{workflow_id}/executions/bulk`: the rows that were found, in any order."""

    executions: list[FlowExecution] | None


@frozen(kw_only=True)
class RunPage:
    """A page of `GET /runs`."""

    items: list[Run] | None
    total: int | None = None
    size: int | None = None
