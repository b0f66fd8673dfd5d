"""The records of workflow executions."""

from __future__ import annotations

from datetime import datetime
from typing import Any, TypeAlias

from attrs import field, frozen

from ._field_metadata import COST, MOSTLY_ABSENT
from ._result_urls import OutputJsonUrls, has_failed, result_urls
from ._state import State, Stateful

# A step's metadata differs by its kind and gains fields without notice. A record class would drop the unknown ones.
StepMetadata: TypeAlias = dict[str, Any]


@frozen(kw_only=True)
class WorkflowExecutionSummary(OutputJsonUrls, Stateful):
    """One execution of a workflow in short, a row of `GET /workflows/{workflow_id}/executions`."""

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
    # Documented as an object or an array, and as an object or a number.
    step_results: Any = None
    output: str | None = None
    output_json: dict[str, Any] | None = None
    cost: Any = None
    dry_run: bool | None = None


@frozen(kw_only=True)
class StepOutput(Stateful):
    """The result of one step of a workflow execution, from `step_outputs` of `GET /executions/{execution_id}`."""

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
    """One execution of a workflow in full, from `GET /executions/{execution_id}` (unified: below `/workflows`)."""

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
    total_cost: float | None = field(default=None, metadata=COST)

    @property
    def urls(self) -> tuple[str, ...]:
        """The result URLs in `output`, then those in `workflow_output`, in order and each once.

        If a successful execution has neither, they are those of the step that completed last. URLs in the inputs and in
        the outputs of earlier steps are not included; see `step_outputs`. Empty after a failure.
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
    """A page of `GET /workflows/{workflow_id}/executions`. `offset` is left out, because it has two meanings."""

    executions: list[WorkflowExecutionSummary] | None
    total_count: int | None = None
