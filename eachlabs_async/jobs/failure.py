"""How an execution ended: the error that a failed, cancelled or waiting record amounts to, as pure functions."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import Any, Final, TypeGuard, TypeVar

from attrs import asdict, frozen

from ..errors import EachLabsError, ExecutionFailedError, HumanFeedbackRequiredError, WaitTimeoutError
from ..records import Prediction, Run, State, WorkflowExecution
from ..transport.redaction import line

R = TypeVar("R", Prediction, WorkflowExecution)

_CODE: Final = re.compile(r"[A-Za-z][A-Za-z0-9]*(?:_[A-Za-z0-9]+)+")
"""A word with underscores: the code of a failure that the service describes by a string alone."""

_MAX_LISTED: Final = 10
_MAX_NAME: Final = 100


def _identity(record: Prediction | WorkflowExecution | Run) -> str:
    return record.execution_id if isinstance(record, WorkflowExecution) else record.id


def _kind(record: Prediction | WorkflowExecution | Run) -> str:
    if isinstance(record, Prediction):
        return "prediction"
    return "run" if isinstance(record, Run) else "workflow execution"


@frozen
class _Reasons:
    """What a record says about its failure; each field is None if it says nothing."""

    error: str | None = None
    cause: str | None = None
    code: str | None = None
    step: str | None = None


def failure_of(
    record: Prediction | WorkflowExecution | Run, secrets: Collection[str] = ()
) -> ExecutionFailedError | None:
    """Return the error of a record that failed or was cancelled, None for any other. Its texts show no secret."""
    if record.state not in (State.FAILED, State.CANCELLED):
        return None
    identity = line(_identity(record), secrets)
    reasons = _workflow_reasons(record) if isinstance(record, WorkflowExecution) else _output_reasons(record)
    reasons = _Reasons(**{name: text and line(text, secrets) for name, text in asdict(reasons).items()})
    where = f" in step {reasons.step!r}" if reasons.step is not None else ""
    reason = ": ".join(part for part in (reasons.error, reasons.cause) if part)
    return ExecutionFailedError(
        f"{_kind(record)} {identity} {'failed' if record.state is State.FAILED else 'was cancelled'}{where}"
        + (f": {reason}" if reason else ""),
        execution_id=identity,
        state=str(record.state),
        error=reasons.error,
        cause=reasons.cause,
        code=reasons.code,
        step=reasons.step,
        record=record,
    )


def feedback_needed(
    record: Prediction | WorkflowExecution | Run, secrets: Collection[str] = ()
) -> HumanFeedbackRequiredError | None:
    """Return the error of a record that waits for a person, None for any other."""
    if record.state is not State.WAITING:
        return None
    identity, status = line(_identity(record), secrets), line(record.status, secrets)
    return HumanFeedbackRequiredError(
        f"{_kind(record)} {identity} waits for a person ({status}): provide the feedback, then wait again",
        execution_id=identity,
        record=record,
    )


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _code(value: object) -> str | None:
    """Return a code as text; some failures write it as a number."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else _text(value)


def _word(value: object) -> str | None:
    """Return a string that is a code, such as `PROVIDER_FAILED`, rather than a sentence."""
    return value if isinstance(value, str) and _CODE.fullmatch(value) else None


def _is_array(value: object) -> TypeGuard[list[Any]]:
    return isinstance(value, list)


def _is_object(value: object) -> TypeGuard[dict[str, Any]]:
    return isinstance(value, dict)


def _output_reasons(record: Prediction | Run) -> _Reasons:
    output: object = record.output
    first = output[0] if _is_array(output) and output else output
    # The output of a cancelled record does not describe a failure, unless it is a prediction's error envelope.
    if record.state is State.FAILED or (isinstance(record, Prediction) and _is_object(first)):
        return _envelope_reasons(output)
    return _Reasons()


def _envelope_reasons(output: object) -> _Reasons:
    """Read the error envelope in the output of a failed record: an object, or an array that begins with one.

    Its `error` is an object or a string; some failures are a string alone.
    """
    if _is_array(output) and output:
        output = output[0]
    if not _is_object(output):
        return _Reasons(_text(output), None, _word(output))
    inner = output.get("error")
    within = inner if _is_object(inner) else {}
    kind = output.get("classification") or within.get("classification")
    messages = (output.get("error_message"), inner, within.get("message"), within.get("error_message"))
    codes = (output.get("error_code"), within.get("code"), within.get("error_code"), output.get("code"))
    code = next((found for value in codes if (found := _code(value))), None)
    return _Reasons(
        next((found for value in (*messages, output.get("message")) if (found := _text(value))), None),
        code or (_text(kind.get("category")) if _is_object(kind) else None),
        code or _word(inner),
    )


def _workflow_reasons(record: WorkflowExecution) -> _Reasons:
    failed = next((step for step in (record.step_outputs or {}).values() if step.state is State.FAILED), None)
    if failed is None:
        return _Reasons(_text(record.error), _text(record.error_cause))
    inner = _envelope_reasons(failed.output)
    metadata = failed.metadata or {}
    return _Reasons(
        _text(record.error) or _text(failed.error) or inner.error,
        _text(record.error_cause) or _text(failed.error_cause) or inner.cause,
        inner.code or _code(metadata.get("error_code")) or _word(failed.error),
        failed.step_id,
    )


def checked_success(record: R, secrets: Collection[str]) -> R:
    """Return a finished record that succeeded. Raise the error of its failure, or `WaitTimeoutError` if it runs yet."""
    failure = failure_of(record, secrets)
    if failure is not None:
        raise failure
    if not record.is_finished:
        identity = _identity(record)
        message = line(f"{identity} has not ended: it is {record.status}", secrets)
        raise WaitTimeoutError(message, execution_id=identity, record=record)
    return record


def listed(ids: Sequence[str]) -> str:
    """Return ids as text, the first ten of them by name."""
    names = ", ".join("".join(filter(str.isprintable, identity))[:_MAX_NAME] for identity in ids[:_MAX_LISTED])
    return f"{names} and {len(ids) - _MAX_LISTED} more" if len(ids) > _MAX_LISTED else names


def name_running(failure: EachLabsError, ids: Sequence[str]) -> None:
    """Add the ids of executions that have not ended to the error that ends a map."""
    failure.running = tuple(ids)
    failure.message += f"; {len(ids)} executions had not ended: {listed(ids)}"
    failure.args = (failure.message,)
