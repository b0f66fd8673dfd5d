"""The simulation of submitted work: the account's limits, and executions that run and end by the clock.

A created execution appears in the listings at once, and stays in `submitted`, so that a test can count what was
executed. HTTP is the concern of `handlers` and `emulator`.
"""

from __future__ import annotations

from functools import partial
from itertools import count
from typing import Any, Final, Literal, Unpack

from . import lifecycle
from .burst_limiter import BurstLimiter
from .clock import Clock
from .collection import Collection, Row, encode
from .cursors import Cursors
from .dataset import Dataset, DatasetOptions
from .deliveries import Deliveries
from .lifecycle import RunningExecution, Submitted
from .reply import RefusedError, Reply
from .rows import rfc3339, seeded_id
from .storage import Storage, StoredFile
from .webhook_target import WebhookTarget

__all__ = ["ACCOUNT_CAP_REACHED", "INSUFFICIENT_BALANCE", "BURST_EXCEEDED", "Simulation", "SimulationOptions"]

ACCOUNT_CAP_REACHED: Final = "concurrent execution limit reached"
"""The message of a 429 at the account's cap, and of each input of a bulk trigger that did not fit under it."""
INSUFFICIENT_BALANCE: Final = "insufficient balance"
"""The message of a 402, and of each input of a bulk trigger that the balance did not cover."""
BURST_EXCEEDED: Final = "too many executions were started at once"
"""The message of a 429 after a burst."""


class SimulationOptions(DatasetOptions, total=False):
    """Keywords of `Emulator` about submitted work; they are explained there."""

    account_cap: int | None
    cap_retry_after: float | None
    partial_bulks: bool
    balance_low: bool
    balance: float | None
    estimate: float
    burst: int | None
    burst_seconds: float
    burst_silence: float
    step_seconds: float
    fail_rate: float
    virtual_time: bool
    retry_seconds: float
    duplicate_deliveries: bool
    url_lifetime: float
    keep_uploads: bool
    chunked_uploads: bool


class Simulation(Dataset):
    """The rows of all services and the work in progress. The arguments are explained by `Emulator`."""

    def __init__(
        self,
        executions: int = 1000,
        seed: int = 1,
        *,
        account_cap: int | None = None,
        cap_retry_after: float | None = None,
        partial_bulks: bool = False,
        balance_low: bool = False,
        balance: float | None = None,
        estimate: float = 0.05,
        burst: int | None = None,
        burst_seconds: float = 1.0,
        burst_silence: float = 90.0,
        step_seconds: float = 0.02,
        fail_rate: float = 0.0,
        virtual_time: bool = False,
        retry_seconds: float = 0.1,
        duplicate_deliveries: bool = False,
        url_lifetime: float = 900.0,
        keep_uploads: bool = True,
        chunked_uploads: bool = True,
        **options: Unpack[DatasetOptions],
    ) -> None:
        super().__init__(executions, seed, **options)
        if not 0 <= fail_rate <= 1:
            raise ValueError("fail_rate must be 0..1")
        if estimate <= 0:
            raise ValueError("estimate must be more than 0")
        self.clock = Clock(options.get("now"), virtual=virtual_time)
        self.account_cap = account_cap
        self.cap_retry_after = cap_retry_after
        self.partial_bulks = partial_bulks
        self.balance_low = balance_low
        self.balance = balance
        self.estimate = estimate
        self.burst = burst
        self.burst_seconds = burst_seconds
        self.burst_silence = burst_silence
        self.step_seconds = step_seconds
        self.fail_rate = fail_rate
        self.deliveries = Deliveries(self.clock, retry_seconds=retry_seconds, duplicates=duplicate_deliveries)
        self.storage = Storage(self.clock, seed, url_lifetime=url_lifetime, keep=keep_uploads, chunked=chunked_uploads)
        self.cursors = Cursors(self.clock, seed)
        self.submitted: list[Submitted] = []
        self.max_running = 0
        self.predictions = Collection("id", self._not_insertable)
        self._running: dict[str, RunningExecution] = {}
        self._numbers = count()
        self._burst_limiter = BurstLimiter()

    # Properties and limits

    @property
    def running(self) -> int:
        """The number of submitted executions that have not ended, which is what the account's cap counts."""
        return len(self._running)

    @property
    def files(self) -> dict[str, StoredFile]:
        """The presigned files by id, without the deleted ones."""
        return self.storage.files

    @property
    def webhooks(self) -> Collection:
        """The webhooks that were sent, newest first, each with its attempts."""
        return self.deliveries.rows

    def expire_cursors(self) -> None:
        """Invalidate all cursors: a page by one of them is a 400."""
        self.cursors.expire()

    def new_id(self, kind: str) -> str:
        """Return a new id."""
        return seeded_id(self.seed, f"live/{kind}", next(self._numbers))

    @property
    def blocked(self) -> bool:
        """Whether every start is refused because of a burst."""
        return self.burst is not None and self.clock.seconds < self._burst_limiter.blocked_until

    def admit(self, wanted: int) -> tuple[int, str]:
        """Return how many of the wanted executions may start now, and the reason why no more may.

        Refuse the request with a 402 or 429 if none may. Several executions that do not all fit are refused as a whole,
        unless `partial_bulks` is set.
        """
        if self.burst is not None and self._burst_limiter.refuses(
            wanted, self.clock.seconds, most=self.burst, seconds=self.burst_seconds, silence=self.burst_silence
        ):
            raise RefusedError(Reply(429, encode({"error": BURST_EXCEEDED, "status": 429})))
        if self.balance_low:
            raise RefusedError(Reply(402, encode({"error": INSUFFICIENT_BALANCE, "status": 402})))
        covered = wanted if self.balance is None else min(wanted, self._covered(self.balance))
        if covered < wanted and not (self.partial_bulks and covered):
            reserved, available = self.running * self.estimate, (self.balance or 0.0) - self.running * self.estimate
            dollars = {"reserved": reserved, "available": available, "required": wanted * self.estimate}
            details: Row = {name: round(amount, 6) for name, amount in dollars.items()}
            refused = {"error": INSUFFICIENT_BALANCE, "status": 402, "code": "INSUFFICIENT_BALANCE"}
            raise RefusedError(Reply(402, encode({**refused, "details": details})))
        cap, running = self.account_cap, self.running
        if cap is None or running + covered <= cap:
            return covered, INSUFFICIENT_BALANCE
        if self.partial_bulks and running < cap:
            return cap - running, ACCOUNT_CAP_REACHED
        details = {"cap": "concurrent_executions", "limit": cap, "running": running, "requested": wanted}
        headers = {} if self.cap_retry_after is None else {"Retry-After": f"{self.cap_retry_after:g}"}
        body = {"error": ACCOUNT_CAP_REACHED, "status": 429, "code": "CONCURRENCY_LIMIT", "details": details}
        raise RefusedError(Reply(429, encode(body), headers))

    def _covered(self, balance: float) -> int:
        """Return how many more executions the balance covers, each at its estimate, beside the running ones."""
        left = round(balance - self.running * self.estimate, 6)
        return max(0, int(round(left / self.estimate, 6)))

    def _spend(self, cost: float) -> None:
        if self.balance is not None:
            self.balance = round(self.balance - cost, 6)

    def _submit(
        self,
        kind: Literal["workflow", "prediction"],
        target: str,
        inputs: Row,
        steps: list[Row],
        webhook: WebhookTarget | None,
        **more: Any,
    ) -> RunningExecution:
        fails = lifecycle.is_drawn_to_fail(self.seed, len(self.submitted), self.fail_rate)
        submitted = Submitted(
            id=self.new_id(kind), kind=kind, target=target, inputs=inputs, seconds=self.clock.seconds, **more
        )
        execution = RunningExecution.of(
            submitted,
            steps,
            step_seconds=self.step_seconds,
            fails=fails,
            started=self.clock.now(),
            webhook=webhook,
        )
        self.submitted.append(submitted)
        if self.burst is not None:
            self._burst_limiter.record_start(self.clock.seconds)
        self._running[submitted.id] = execution
        self.max_running = max(self.max_running, self.running)
        return execution

    # Workflow executions

    def start_workflow(
        self,
        workflow: Row,
        version: Row,
        inputs: Row,
        *,
        webhook: WebhookTarget | None = None,
        bulk_id: str | None = None,
    ) -> str:
        """Start an execution of a workflow's version and return its id."""
        defined: list[Row] = version["definition"].get("steps") or [{}]
        steps = [_step(number, step) for number, step in enumerate(defined)]
        workflow_id, version_id = workflow["workflow_id"], version["version_id"]
        execution = self._submit("workflow", workflow_id, inputs, steps, webhook, version=version_id, bulk_id=bulk_id)
        self.workflow_executions[workflow_id].add(lifecycle.workflow_execution_row(execution, workflow["name"]))
        versions = [
            {**one, "trigger_count": one["trigger_count"] + (one["version_id"] == version_id)}
            for one in workflow["versions"]
        ]
        self.workflows.change(workflow_id, trigger_count=workflow["trigger_count"] + 1, versions=versions)
        self._start_step(execution, 0, lifecycle.queued_steps(execution))
        return execution.submitted.id

    def _unfinished(self, execution: RunningExecution) -> Row | None:
        # A test may remove an execution or end it; then nothing more happens to it.
        row = self.workflow_executions[execution.submitted.target].find(execution.submitted.id)
        if row is not None and row["status"] == "running":
            return row
        self._running.pop(execution.submitted.id)
        return None

    def _start_step(self, execution: RunningExecution, number: int, steps: Row) -> None:
        submitted, now = execution.submitted, self.clock.now()
        child = self.new_id("step")
        execution.children.append(child)
        model = execution.steps[number]["model"]
        self.executions.add(lifecycle.execution_row(child, model, now, (submitted.target, submitted.id)))
        self.executions.change(child, status="starting", started_at=self.executions.get(child)["created_at"])
        steps = lifecycle.step_started(execution, steps, number, now)
        self.workflow_executions[submitted.target].change(submitted.id, step_outputs=steps)
        self.clock.after(execution.step_seconds, partial(self._end_step, execution, number))

    def _end_step(self, execution: RunningExecution, number: int) -> None:
        group, execution_id = self.workflow_executions[execution.submitted.target], execution.submitted.id
        row = self._unfinished(execution)
        if row is None:
            return
        now = self.clock.now()
        failed = number == execution.failing
        steps = lifecycle.step_ended(execution, row["step_outputs"], number, now)
        self._end_execution(
            execution.children[number],
            "error" if failed else "success",
            execution.step_seconds,
            None if failed else lifecycle.output_links(execution_id, number)[0],
            execution.reason if failed else None,
        )
        if not failed and number + 1 < len(execution.steps):
            self._start_step(execution, number + 1, steps)
            return
        self._running.pop(execution_id)
        fields = lifecycle.workflow_ended(execution, steps, now)
        self._spend(fields["total_cost"])
        group.change(execution_id, step_outputs=steps, **fields)
        if execution.webhook is not None:
            ended = group.find(execution_id)
            assert ended is not None
            self.deliveries.send(execution_id, execution.webhook, group.encoded(ended, "full"), "workflows-engine")

    def _end_execution(self, row_id: str, status: str, seconds: float, output: str | None, reason: str | None) -> None:
        if row_id in self.executions:
            fields = lifecycle.execution_ended(status, seconds, self.clock.now(), output, reason)
            self.executions.change(row_id, **fields)

    # Predictions

    def start_prediction(
        self, model: str, inputs: Row, base: str, *, webhook: WebhookTarget | None = None
    ) -> RunningExecution:
        """Start a prediction. `base` is the base URL of its links."""
        execution = self._submit("prediction", model, inputs, [{"model": model}], webhook)
        self.predictions.add(lifecycle.prediction_row(execution, base))
        self.executions.add(lifecycle.execution_row(execution.submitted.id, model, execution.started, None))
        # It is pending for a third of its time, and then runs.
        self.clock.after(execution.step_seconds / 3, partial(self._run_prediction, execution))
        self.clock.after(execution.step_seconds, partial(self._end_prediction, execution))
        return execution

    def cancel_prediction(self, prediction_id: str) -> None:
        """Cancel a prediction if it runs, unless its inputs say that it is `uncancellable`."""
        execution = self._running.get(prediction_id)
        if execution is None or execution.submitted.inputs.get("uncancellable"):
            return
        self._running.pop(prediction_id)
        spent = (self.clock.now() - execution.started).total_seconds()
        self._end_execution(prediction_id, "cancelled", spent, None, None)
        self._change_prediction(prediction_id, status="cancelled")

    def _change_prediction(self, prediction_id: str, **fields: Any) -> None:
        if prediction_id in self.predictions:
            self.predictions.change(prediction_id, **fields)

    def _run_prediction(self, execution: RunningExecution) -> None:
        prediction_id = execution.submitted.id
        if prediction_id in self._running:
            self._change_prediction(prediction_id, status="processing")
            if prediction_id in self.executions:
                self.executions.change(prediction_id, status="starting", started_at=rfc3339(self.clock.now()))

    def _end_prediction(self, execution: RunningExecution) -> None:
        prediction_id = execution.submitted.id
        if self._running.pop(prediction_id, None) is None:
            return
        fields = lifecycle.prediction_ended(execution)
        succeeded = execution.failing is None
        self._spend(fields["metrics"]["cost"] if succeeded else 0.0)
        self._end_execution(
            prediction_id,
            "success" if succeeded else "error",
            execution.step_seconds,
            fields["output"] if succeeded else None,
            None if succeeded else execution.reason,
        )
        self._change_prediction(prediction_id, **fields)
        if execution.webhook is not None:
            body = lifecycle.prediction_webhook_body({"id": prediction_id, **fields})
            self.deliveries.send(prediction_id, execution.webhook, body, "api-gateway")


def _step(number: int, step: Row) -> Row:
    return {"step_id": f"step{number + 1}", "model": "openai-chatgpt-5", **step}
