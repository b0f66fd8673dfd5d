"""Owns when a job is asked after again, and how an ended one is read, as pure functions; refuses clocks and chance.

The theory of the schedule: a job that has run for long will likely run for long, so each pause is a constant factor
longer than the one before, up to a cap. The pause counts from when the last question was asked: an answer that the
service held back for a while has used up its pause.
"""

from __future__ import annotations

import math
import re
from typing import Any, Final, TypeGuard

from attrs import field, frozen

from ..errors import ExecutionFailedError, HumanFeedbackRequiredError
from ..records import Prediction, Run, State, WorkflowExecution

SPREAD: Final = 0.2
"""The share of a pause by which jitter lengthens or shortens it, at most."""
MAX_HOLD_S: Final = 30
"""The longest that the service may hold an answer back (compat workflow executions)."""
_CODE: Final = re.compile(r"[A-Za-z][A-Za-z0-9]*(?:_[A-Za-z0-9]+)+")
"""A word with underscores: where a failure is told by a text alone, such a one is its code."""


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


def _identity(record: Prediction | WorkflowExecution | Run) -> str:
    return record.execution_id if isinstance(record, WorkflowExecution) else record.id


def _kind(record: Prediction | WorkflowExecution | Run) -> str:
    if isinstance(record, Prediction):
        return "prediction"
    return "run" if isinstance(record, Run) else "workflow execution"


@frozen
class _Reasons:
    """What a job says of its failure, each None where it says nothing."""

    error: str | None = None
    cause: str | None = None
    code: str | None = None
    step: str | None = None


def why_it_failed(record: Prediction | WorkflowExecution | Run) -> ExecutionFailedError | None:
    """Give the error that an ended job amounts to, None where it succeeded or has not ended."""
    if record.state not in (State.FAILED, State.CANCELLED):
        return None
    identity = _identity(record)
    why = _of_workflow(record) if isinstance(record, WorkflowExecution) else _of_output(record)
    where = f" in step {why.step!r}" if why.step is not None else ""
    said = ": ".join(part for part in (why.error, why.cause) if part)
    return ExecutionFailedError(
        f"{_kind(record)} {identity} {'failed' if record.state is State.FAILED else 'was cancelled'}{where}"
        + (f": {said}" if said else ""),
        execution_id=identity,
        state=str(record.state),
        error=why.error,
        cause=why.cause,
        code=why.code,
        step=why.step,
        record=record,
    )


def who_has_to_act(record: Prediction | WorkflowExecution | Run) -> HumanFeedbackRequiredError | None:
    """Give the error that a job which waits for a person amounts to, None for any other."""
    if record.state is not State.WAITING:
        return None
    identity = _identity(record)
    return HumanFeedbackRequiredError(
        f"{_kind(record)} {identity} waits for a person ({record.status}): give the feedback, then wait for it again",
        execution_id=identity,
        record=record,
    )


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _code(value: object) -> str | None:
    """Read a code, which some write as a number."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else _text(value)


def _word(value: object) -> str | None:
    """Give a text that is no sentence but a code, as `PROVIDER_FAILED` is."""
    return value if isinstance(value, str) and _CODE.fullmatch(value) else None


def _is_array(value: object) -> TypeGuard[list[Any]]:
    return isinstance(value, list)


def _is_object(value: object) -> TypeGuard[dict[str, Any]]:
    return isinstance(value, dict)


def _of_output(record: Prediction | Run) -> _Reasons:
    output: object = record.output
    first = output[0] if _is_array(output) and output else output
    # What a cancelled job has put out until then is no failure's, unless it is a prediction's envelope.
    if record.state is State.FAILED or (isinstance(record, Prediction) and _is_object(first)):
        return _of_envelope(output)
    return _Reasons()


def _of_envelope(output: object) -> _Reasons:
    """Read the error envelope that a failed job carries as its output: an object, or an array that begins with one.

    Its `error` is an object or a text; some failures are a text alone.
    """
    if _is_array(output) and output:
        output = output[0]
    if not _is_object(output):
        return _Reasons(_text(output), None, _word(output))
    inner = output.get("error")
    within = inner if _is_object(inner) else {}
    kind = output.get("classification") or within.get("classification")
    told = (output.get("error_message"), inner, within.get("message"), within.get("error_message"))
    codes = (output.get("error_code"), within.get("code"), within.get("error_code"), output.get("code"))
    code = next((found for value in codes if (found := _code(value))), None)
    return _Reasons(
        next((found for value in (*told, output.get("message")) if (found := _text(value))), None),
        code or (_text(kind.get("category")) if _is_object(kind) else None),
        code or _word(inner),
    )


def _of_workflow(record: WorkflowExecution) -> _Reasons:
    failed = next((step for step in (record.step_outputs or {}).values() if step.state is State.FAILED), None)
    if failed is None:
        return _Reasons(_text(record.error), _text(record.error_cause))
    inner = _of_envelope(failed.output)
    metadata = failed.metadata or {}
    return _Reasons(
        _text(record.error) or _text(failed.error) or inner.error,
        _text(record.error_cause) or _text(failed.error_cause) or inner.cause,
        inner.code or _code(metadata.get("error_code")) or _word(failed.error),
        failed.step_id,
    )
