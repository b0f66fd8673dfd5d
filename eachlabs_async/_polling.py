"""Owns when a job is asked after again, and how an ended one is read, as pure functions; refuses clocks and chance.

The theory of the schedule: a job that has run for long will likely run for long, so each pause is a constant factor
longer than the one before, up to a cap. The pause counts from when the last question was asked: an answer that the
service held back for a while has used up its pause.
"""

from __future__ import annotations

import math
from typing import Any, Final, TypeGuard

from attrs import field, frozen

from .errors import ExecutionFailedError
from .records import Prediction, State, WorkflowExecution

SPREAD: Final = 0.2
"""The share of a pause by which jitter lengthens or shortens it, at most."""
MAX_HOLD_S: Final = 30
"""The longest that the service may hold an answer back (compat workflow executions)."""


def _seconds(instance: object, attribute: Any, value: object) -> None:
    name = f"{type(instance).__name__}.{attribute.name}"
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} must be a number, not {type(value).__name__}")
    least = 1.0 if attribute.name == "growth" else 0.0
    if not math.isfinite(value) or value < least or (value == 0 and attribute.name != "growth"):
        raise ValueError(f"{name} must be {'at least 1' if least else 'more than 0'} and finite, not {value}")


@frozen(kw_only=True)
class Poll:
    """How often a job that is waited for is asked after.

    The first pause is `first_s` seconds, each further one `growth` times as long, `cap_s` at most; every pause is
    made up to a fifth longer or shorter, so that many waits do not fall into step.
    """

    first_s: float = field(default=0.5, validator=_seconds)
    growth: float = field(default=1.5, validator=_seconds)
    cap_s: float = field(default=10.0, validator=_seconds)

    def pause_s(self, asked: int, *, jitter: float) -> float:
        """Give the pause after question number `asked`, counted from 1; `jitter` is between 0 and 1."""
        step = self.cap_s
        # The power may be too large for a float.
        if (asked - 1) * math.log(self.growth) < math.log(max(self.cap_s / self.first_s, 1.0)):
            step = self.first_s * self.growth ** (asked - 1)
        return min(step, self.cap_s) * (1 - SPREAD + 2 * SPREAD * jitter)


def hold_s(pause_s: float, *, left_s: float, read_s: float, watched: bool) -> int:
    """Give how many whole seconds the service may hold its answer back: 1 to 30.

    It is as long as can be, within three quarters of the read time-out `read_s` and the time that is left; if each
    step is `watched`, it is only as long as the pause would be.
    """
    wished = math.ceil(pause_s) if watched else MAX_HOLD_S
    return max(1, min(wished, MAX_HOLD_S, math.floor(0.75 * read_s), math.ceil(left_s)))


# ---- how it ended


def why_it_failed(record: Prediction | WorkflowExecution) -> ExecutionFailedError | None:
    """Give the error that an ended execution amounts to, None where it succeeded or has not ended."""
    if record.state not in (State.FAILED, State.CANCELLED):
        return None
    identity = record.id if isinstance(record, Prediction) else record.execution_id
    error, cause, step = _of_prediction(record) if isinstance(record, Prediction) else _of_workflow(record)
    kind = "prediction" if isinstance(record, Prediction) else "workflow execution"
    where = f" in step {step!r}" if step is not None else ""
    said = ": ".join(part for part in (error, cause) if part)
    return ExecutionFailedError(
        f"{kind} {identity} {'failed' if record.state is State.FAILED else 'was cancelled'}{where}"
        + (f": {said}" if said else ""),
        execution_id=identity,
        state=str(record.state),
        error=error,
        cause=cause,
        step=step,
        record=record,
    )


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _is_array(value: object) -> TypeGuard[list[Any]]:
    return isinstance(value, list)


def _is_object(value: object) -> TypeGuard[dict[str, Any]]:
    return isinstance(value, dict)


def _of_prediction(record: Prediction) -> tuple[str | None, str | None, None]:
    """Read the error envelope that a failed prediction carries in its output."""
    output: Any = record.output
    if _is_array(output) and output:
        output = output[0]
    if not _is_object(output):
        return (_text(output) if record.state is State.FAILED else None), None, None
    kind = output.get("classification")
    error = _text(output.get("error_message")) or _text(output.get("error")) or _text(output.get("message"))
    cause = _text(output.get("error_code")) or (_text(kind.get("category")) if _is_object(kind) else None)
    return error, cause, None


def _of_workflow(record: WorkflowExecution) -> tuple[str | None, str | None, str | None]:
    failed = next((step for step in (record.step_outputs or {}).values() if step.state is State.FAILED), None)
    if failed is None:
        return _text(record.error), _text(record.error_cause), None
    return (
        _text(record.error) or _text(failed.error),
        _text(record.error_cause) or _text(failed.error_cause),
        failed.step_id,
    )
