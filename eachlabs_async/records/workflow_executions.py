"""Owns what the workflows service says of executions; refuses to know how it is read."""

from __future__ import annotations

from datetime import datetime
from typing import Any, TypeAlias

from attrs import field, frozen

from ._field_metadata import MOSTLY_ABSENT
from ._result_urls import BothOutputs, has_failed, result_urls
from ._state import State, Stateful

# What a step says of itself differs by its kind and grows without notice, so it stays the mapping that came:
# a class would have to drop what it does not know.
StepMetadata: TypeAlias = dict[str, Any]


@frozen(kw_only=True)
class WorkflowExecutionSummary(BothOutputs, Stateful):
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
class StepOutput(Stateful):
    """What one step of a workflow execution did, from `step_outputs` of `GET /executions/{execution_id}`."""

    step_id: str
    status: str
    started_at: datetime | None = None
    completed_at: datetime | None = None
    output: Any = None
    primary: Any = None
    input: dict[str, Any] | None = field(default=None, metadata=MOSTLY_ABSENT)
    metadata: StepMetadata | None = None
    error: str | None = field(default=None, metadata=MOSTLY_ABSENT)
    error_cause: str | None = field(default=None, metadata=MOSTLY_ABSENT)

    @property
    def urls(self) -> tuple[str, ...]:
        """The result URLs in `output`, then those in `primary`, each once; empty after a failure."""
        return () if has_failed(self) else result_urls(self.output, self.primary)


@frozen(kw_only=True)
class WorkflowExecution(Stateful):
    """One run of a workflow in full, from `GET /executions/{execution_id}` (unified: below `/workflows`)."""

    execution_id: str
    status: str
    workflow_id: str | None = None
    version_id: str | None = field(default=None, metadata=MOSTLY_ABSENT)
    bulk_id: str | None = field(default=None, metadata=MOSTLY_ABSENT)
    started_at: datetime | None = None
    completed_at: datetime | None = None
    inputs: dict[str, Any] | None = None
    step_outputs: dict[str, StepOutput] | None = None
    output: Any = None
    workflow_output: dict[str, Any] | None = field(default=None, metadata=MOSTLY_ABSENT)
    error: str | None = field(default=None, metadata=MOSTLY_ABSENT)
    error_cause: str | None = field(default=None, metadata=MOSTLY_ABSENT)
    total_cost: float | None = None

    @property
    def urls(self) -> tuple[str, ...]:
        """The result URLs in `output`, then those in `workflow_output`, in order and each once.

        Where a success shows neither, they are those of the step that completed last. What went in is no result, nor
        is what the steps before made: see `step_outputs`. Empty after a failure.
        """
        if has_failed(self):
            return ()
        if self.output is None and self.workflow_output is None and self.state is State.SUCCEEDED:
            return self._last_step_urls()
        return result_urls(self.output, self.workflow_output)

    def _last_step_urls(self) -> tuple[str, ...]:
        ended = [
            (step.completed_at, number, step)
            for number, step in enumerate((self.step_outputs or {}).values())
            if step.completed_at is not None and step.state is State.SUCCEEDED
        ]
        return max(ended)[2].urls if ended else ()


@frozen(kw_only=True)
class WorkflowExecutionList:
    """A page of `GET /workflows/{workflow_id}/executions`; `offset`, which has two meanings, is left out."""

    executions: list[WorkflowExecutionSummary] | None
    total_count: int | None = None
