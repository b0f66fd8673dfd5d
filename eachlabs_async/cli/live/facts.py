"""What a live view shows of a record: its status, its steps and its cost."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from attrs import frozen

from ...errors import ExecutionFailedError
from ...records import Execution, Prediction, State, WorkflowExecution
from ...records.workflow_executions import StepOutput

__all__ = ["Facts", "StepFacts", "cost_of", "facts_of", "reason_of"]


@frozen
class StepFacts:
    """One step: its name, its model, the service's word for its status, when it began and how long it took."""

    name: str
    status: str
    state: State
    model: str = ""
    started_at: datetime | None = None
    seconds: float | None = None


@frozen
class Facts:
    """One execution: the service's word for its status, its steps, and what it cost so far in USD, if it says so."""

    status: str
    state: State
    steps: tuple[StepFacts, ...] = ()
    cost: Decimal | None = None
    started_at: datetime | None = None

    @property
    def is_finished(self) -> bool:
        """Whether it cannot change any more."""
        return self.state in (State.SUCCEEDED, State.FAILED, State.CANCELLED)

    @property
    def steps_done(self) -> int:
        """How many steps have succeeded."""
        return sum(step.state is State.SUCCEEDED for step in self.steps)

    @property
    def current_step(self) -> StepFacts | None:
        """The step that runs, else the one that failed, else the first that has not begun."""
        for wanted in (State.RUNNING, State.WAITING, State.FAILED, State.PENDING):
            for step in self.steps:
                if step.state is wanted:
                    return step
        return None


def facts_of(record: WorkflowExecution | Prediction | Execution) -> Facts:
    """Return what a live view shows of a record."""
    steps = record.step_outputs if isinstance(record, WorkflowExecution) else None
    return Facts(
        status=record.status,
        state=record.state,
        steps=tuple(_step(name, step) for name, step in (steps or {}).items()),
        cost=cost_of(record),
        started_at=None if isinstance(record, Prediction) else record.started_at,
    )


def cost_of(record: WorkflowExecution | Prediction | Execution) -> Decimal | None:
    """Return the cost of an execution in USD; None if the record has none, or has not ended and says 0."""
    if isinstance(record, WorkflowExecution):
        cost = record.total_cost
    elif isinstance(record, Prediction):
        cost = record.metrics.cost if record.metrics is not None else None
    else:
        cost = record.execution_cost
    if cost is None or (not cost and not record.is_finished):
        return None
    # By its text: 0.1 is a tenth of a dollar here, not the double beside it.
    return Decimal(str(cost))


def reason_of(error: Exception) -> str:
    """Return why an execution failed, without its id, which stands beside it."""
    if isinstance(error, ExecutionFailedError):
        reason = ": ".join(part for part in (error.error, error.cause) if part)
        return reason or error.state
    return str(error) or type(error).__name__


def _step(name: str, step: StepOutput) -> StepFacts:
    metadata = step.metadata or {}
    model = metadata.get("model")
    return StepFacts(
        name=name,
        status=step.status,
        state=step.state,
        model=model if isinstance(model, str) else "",
        started_at=step.started_at,
        seconds=_between(step.started_at, step.completed_at),
    )


def _between(began: datetime | None, ended: datetime | None) -> float | None:
    return None if began is None or ended is None else max(0.0, (ended - began).total_seconds())
