"""The rows of submitted executions from start to end, and how their inputs determine the outcome.

Three inputs are special: `seconds` is the duration of the whole execution; `fail` makes it fail (the number or id of a
step says where, a class of errors says why); `invalid` has it refused. `simulation` drives the lifecycle by its clock.
"""

from __future__ import annotations

import hashlib
from datetime import datetime
from random import Random
from typing import Final, Literal

from attrs import define, field, frozen

from .collection import Row, encode
from .rows import ERROR_CLASSES, rfc3339
from .webhook_target import WebhookTarget

__all__ = ["RunningExecution", "Submitted"]

_COST: Final = 0.0125


@frozen(kw_only=True)
class Submitted:
    """One created execution, as listed by `Emulator.submitted` in the order of creation.

    `target` is the id of the workflow or the slug of the model. `seconds` is the time of creation, in seconds since the
    start of the clock.
    """

    id: str
    kind: Literal["workflow", "prediction"]
    target: str
    inputs: Row
    version: str | None = None
    bulk_id: str | None = None
    seconds: float = 0.0


@define(kw_only=True)
class RunningExecution:
    """An execution that runs: its steps (a prediction has one), their duration, and which one fails for what reason.

    `attempts` is the number of models that were tried for a prediction with a fallback.
    """

    submitted: Submitted
    steps: list[Row]
    step_seconds: float
    failing: int | None
    reason: str
    started: datetime
    webhook: WebhookTarget | None = None
    attempts: int = 1
    children: list[str] = field(factory=list[str])

    @classmethod
    def of(
        cls,
        submitted: Submitted,
        steps: list[Row],
        *,
        step_seconds: float,
        fails: bool,
        started: datetime,
        webhook: WebhookTarget | None,
    ) -> RunningExecution:
        """Read the outcome from the inputs; `fails` decides if they do not say."""
        inputs = submitted.inputs
        seconds, fail = run_time_s(inputs), inputs.get("fail", fails)
        if seconds is not None:
            step_seconds = seconds / len(steps)
        failing = None
        if fail:
            named = [number for number, step in enumerate(steps) if step.get("step_id") == fail]
            failing = named[0] if named else len(steps) - 1
            if isinstance(fail, int) and not isinstance(fail, bool):
                failing = min(max(1, fail), len(steps)) - 1
        reason = fail if fail in ERROR_CLASSES else "provider_error"
        return cls(
            submitted=submitted,
            steps=steps,
            step_seconds=step_seconds,
            failing=failing,
            reason=str(reason),
            started=started,
            webhook=webhook,
        )


def run_time_s(inputs: Row) -> float | None:
    """Return for how many seconds an execution is to run, up to thirty years; None if its inputs do not say."""
    seconds = inputs.get("seconds")
    if not isinstance(seconds, int | float) or isinstance(seconds, bool):
        return None
    return float(min(max(0, seconds), 10**9))


def is_drawn_to_fail(seed: int, number: int, rate: float) -> bool:
    """Whether the `number`th execution fails, at a share `rate` of failures."""
    return rate > 0 and Random(f"{seed}/fate/{number}").random() < rate


def output_links(execution_id: str, step: int) -> list[str]:
    """Return the output of a finished step or prediction."""
    stem = hashlib.blake2b(f"{execution_id}/{step}".encode(), digest_size=6).hexdigest()
    return [f"https://storage.example.com/{stem}.png", f"https://storage.example.com/{stem}-2.png"]


def error_envelope(reason: str) -> Row:
    """Return the error envelope that a failed prediction has as its output."""
    message = f"The model failed: {reason.replace('_', ' ')}"
    return {
        "error": message,
        "error_code": reason.upper(),
        "error_message": message,
        "classification": {"category": reason},
        "retryable": reason.startswith("provider_"),
    }


# ---- workflow executions


def queued_steps(execution: RunningExecution) -> Row:
    """Return the steps before the first one starts."""
    return {
        step["step_id"]: {
            "step_id": step["step_id"],
            "status": "queued",
            "metadata": {
                "model": step["model"],
                "version": step.get("version", "0.0.1"),
                "params": {**step.get("params", {}), **execution.submitted.inputs},
            },
        }
        for step in execution.steps
    }


def workflow_execution_row(execution: RunningExecution, name: str) -> Row:
    """Return the row of a workflow execution that was just created."""
    submitted, created = execution.submitted, rfc3339(execution.started)
    row: Row = {
        "execution_id": submitted.id,
        "workflow_id": submitted.target,
        "flow_name": name,
        "version_id": submitted.version,
        "status": "running",
        "started_at": created,
        "created_at": created,
        "updated_at": created,
        "api_key": "user-456",
        "inputs": submitted.inputs,
        "step_outputs": queued_steps(execution),
        "step_results": {},
        "dry_run": False,
    }
    if submitted.bulk_id is not None:
        row["bulk_id"] = submitted.bulk_id
    return row


def step_started(execution: RunningExecution, steps: Row, number: int, now: datetime) -> Row:
    """Return the steps after one of them has started."""
    name = execution.steps[number]["step_id"]
    return {**steps, name: {**steps[name], "status": "running", "started_at": rfc3339(now)}}


def step_ended(execution: RunningExecution, steps: Row, number: int, now: datetime) -> Row:
    """Return the steps after one of them has ended; the steps after a failed one are cancelled."""
    name = execution.steps[number]["step_id"]
    step: Row = {**steps[name], "completed_at": rfc3339(now)}
    if number == execution.failing:
        message = error_envelope(execution.reason)["error_message"]
        step.update(status="failed", error="StepFailed", error_cause=message)
        after = {later["step_id"] for later in execution.steps[number + 1 :]}
        return {
            **{other: {**row, "status": "cancelled"} if other in after else row for other, row in steps.items()},
            name: step,
        }
    output = output_links(execution.submitted.id, number)
    metadata = {**step["metadata"], "prediction_id": execution.children[number], "processed_at": rfc3339(now)}
    step.update(status="completed", output=output, primary=output[0], metadata=metadata)
    return {**steps, name: step}


def workflow_ended(execution: RunningExecution, steps: Row, now: datetime) -> Row:
    """Return the fields that change when a workflow execution ends."""
    done = [name for name, step in steps.items() if step["status"] == "completed"]
    cost = round(_COST * len(done), 6)
    ended = rfc3339(now)
    fields: Row = {
        "completed_at": ended,
        "updated_at": ended,
        "total_cost": cost,
        "cost": {"total": cost},
        "step_results": {name: {"status": step["status"]} for name, step in steps.items()},
    }
    if execution.failing is not None:
        name = execution.steps[execution.failing]["step_id"]
        cause = f"Step '{name}' failed: {steps[name]['error_cause']}"
        return {**fields, "status": "failed", "error": "ExecutionFailed", "error_cause": cause}
    last = steps[execution.steps[-1]["step_id"]]
    result = {"image": last["primary"]}
    return {**fields, "status": "completed", "output": last["output"], "output_json": result, "workflow_output": result}


# ---- model executions: predictions, and the steps of workflows


def execution_row(execution_id: str, model: str, now: datetime, workflow: tuple[str, str] | None) -> Row:
    """Return the row of a model execution that was just created, as listed."""
    return {
        "id": execution_id,
        "model": model,
        "requested_model": None,
        "status": "created",
        "workflow_id": workflow[0] if workflow else None,
        "workflow_execution_id": workflow[1] if workflow else None,
        "execution_cost": 0,
        "run_time": 0,
        "created_at": rfc3339(now),
        "started_at": None,
        "completed_at": None,
        "output": None,
        "_error_classification": None,
        "_has_prediction": workflow is None,
    }


def execution_ended(status: str, seconds: float, now: datetime, output: str | None, reason: str | None) -> Row:
    """Return the fields that change when a model execution ends."""
    return {
        "status": status,
        "execution_cost": _COST if status == "success" else 0,
        "run_time": round(seconds, 3),
        "completed_at": rfc3339(now),
        "output": output,
        "_error_classification": reason,
    }


def prediction_row(execution: RunningExecution, base: str) -> Row:
    """Return a prediction that was just created, as its own get shows it."""
    url = f"{base}/prediction/{execution.submitted.id}"
    return {
        "id": execution.submitted.id,
        "input": execution.submitted.inputs,
        "status": "starting",
        "logs": None,
        "metrics": {"predict_time": 0, "cost": 0},
        "urls": {"cancel": f"{url}/cancel", "get": url},
    }


def listed_prediction(row: Row, base: str) -> Row:
    """Return the prediction of a seeded execution or of a step, made from its row in the listing."""
    url = f"{base}/prediction/{row['id']}"
    failed = row["status"] == "error"
    return {
        "id": row["id"],
        "input": {"prompt": "a lighthouse in fog"},
        "status": "failed" if failed else row["status"],
        "output": error_envelope(row.get("_error_classification") or "unknown") if failed else row.get("output"),
        "logs": None,
        "metrics": {"predict_time": row.get("run_time"), "cost": row.get("execution_cost")},
        "urls": {"cancel": f"{url}/cancel", "get": url},
    }


def prediction_ended(execution: RunningExecution) -> Row:
    """Return the fields that change when a prediction ends without being cancelled."""
    if execution.failing is not None:
        return {"status": "failed", "output": error_envelope(execution.reason), "logs": "The model failed."}
    metrics = {"predict_time": round(execution.step_seconds, 3), "cost": _COST * execution.attempts}
    return {"status": "success", "output": output_links(execution.submitted.id, 0)[0], "metrics": metrics}


def prediction_webhook_body(row: Row) -> bytes:
    """Return the body of the webhook about a prediction that has ended."""
    succeeded = row["status"] == "success"
    output = row["output"] if succeeded else [row["output"]]
    status = "succeeded" if succeeded else "failed"
    return encode({"exec_id": row["id"], "flow_id": None, "status": status, "output": output, "error": ""})
