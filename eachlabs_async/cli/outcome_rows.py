"""The row that is printed for an outcome of a map."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from ..bulk.outcomes import Outcome
from ..errors import EachLabsError, ExecutionFailedError
from ..records import Prediction, State, WorkflowExecution
from .live.facts import cost_of, reason_of
from .output.fields import TableColumn, View

if TYPE_CHECKING:
    from ..codec.columns import Content

__all__ = ["cost_of_outcome", "outcome_row", "outcomes_view", "record_of", "was_not_started"]

_CONTENTS: Final[Mapping[str, Content]] = {
    "index": "integer",
    "id": "text",
    "status": "text",
    "cost": "cost",
    "elapsed_s": "number",
    "error": "text",
    "error_code": "text",
    "urls": "texts",
    "output": "json",
}
_COLUMNS: Final = (
    TableColumn("index", "index", "integer", 3),
    TableColumn("id", "id", "text", 0, is_id=True),
    TableColumn("status", "status", "text", 1),
    TableColumn("cost", "cost $", "cost", 4),
    TableColumn("elapsed_s", "s", "number", 5),
    TableColumn("result", "result", "text", 2),
)


def outcomes_view() -> View:
    """Return the fields of an outcome and the columns of its table, where `result` is the error or the first URL."""
    return View(tuple(_CONTENTS), _CONTENTS, _COLUMNS)


def outcome_row(outcome: Outcome[Any]) -> dict[str, Any]:
    """Return an outcome as plain JSON values; `status` is the service's word, or what is known without its record."""
    record = record_of(outcome)
    error = outcome.error
    cost = cost_of_outcome(outcome)
    row: dict[str, Any] = {
        "index": outcome.index,
        "id": outcome.id or None,
        "status": record.status if record is not None else "error",
        "cost": None if cost is None else float(cost),
        "elapsed_s": round(outcome.elapsed_s, 3),
        "error": None if error is None else str(error) or type(error).__name__,
        "error_code": error.code if isinstance(error, ExecutionFailedError) else None,
        "urls": [] if record is None else list(record.urls),
        "output": None,
    }
    row["result"] = reason_of(error) if error is not None else next(iter(row["urls"]), None)
    if isinstance(record, WorkflowExecution) and record.workflow_output is not None:
        row["output"] = record.workflow_output
    elif record is not None and record.state is State.SUCCEEDED:
        row["output"] = record.output
    return row


def record_of(outcome: Outcome[Any]) -> Prediction | WorkflowExecution | None:
    """Return the execution of an outcome, as last read; None if there is none, or if it was never read."""
    record = outcome.value if outcome.error is None else getattr(outcome.error, "record", None)
    return record if isinstance(record, Prediction | WorkflowExecution) else None


def cost_of_outcome(outcome: Outcome[Any]) -> Decimal | None:
    """Return what an outcome cost, as far as its record says so."""
    record = record_of(outcome)
    return None if record is None else cost_of(record)


def was_not_started(error: Exception) -> bool:
    """Whether an input was not sent because the budget was reached."""
    return isinstance(error, EachLabsError) and type(error).__name__ == "BudgetReachedError"
