"""Tests for waiting for a job: how often it is polled, when the wait ends, and with which result."""

from __future__ import annotations

import pickle
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from raw_server import ONCE, QUICK, Act, RawServer, RecordedRequest, answer, client_of, hosts_at, reset, stall

from eachlabs_async import EachLabs, Poll, State, Timeouts, records
from eachlabs_async.emulator import Emulator
from eachlabs_async.errors import ExecutionFailedError, NotFoundError, ServerError, WaitTimeoutError
from eachlabs_async.jobs.failure import failure_of
from eachlabs_async.jobs.poll import SPREAD, hold_s

EAGER = Poll(first_s=0.01, cap_s=0.02)
STEPS = {"steps": [{"step_id": f"s{n}", "type": "model", "model": "flux-1-1-pro", "params": {}} for n in range(3)]}


def execution(status: str, **more: Any) -> Act:
    return answer(json={"execution_id": "e", "status": status, **more})


# ---- the schedule


@given(
    first=st.floats(0.001, 100),
    growth=st.floats(1, 10),
    limit=st.floats(0.001, 1000),
    asked=st.integers(1, 10**6),
    jitter=st.floats(0, 1),
)
def test_pauses_grow_from_the_first_to_the_cap(
    first: float, growth: float, limit: float, asked: int, jitter: float
) -> None:
    """Every pause is within a fifth of a base that starts at `first_s`, never falls and never exceeds the cap."""
    poll = Poll(first_s=first, growth=growth, cap_s=limit)
    steps = [poll.pause_s(number, jitter=0.5) for number in (asked, asked + 1)]
    assert steps[0] <= steps[1] * 1.000001 <= limit * 1.000002
    assert poll.pause_s(1, jitter=0.5) == pytest.approx(min(first, limit))
    assert (1 - SPREAD) * steps[0] <= poll.pause_s(asked, jitter=jitter) * 1.000001
    assert poll.pause_s(asked, jitter=jitter) <= (1 + SPREAD) * steps[0] * 1.000001


def test_the_default_starts_quick_and_slows_down() -> None:
    """The pause is half a second at first and ten seconds in the end."""
    pauses = [round(Poll().pause_s(number, jitter=0.5), 2) for number in range(1, 11)]
    assert pauses == [0.5, 0.75, 1.12, 1.69, 2.53, 3.8, 5.7, 8.54, 10.0, 10.0]


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        ({"first_s": 0}, ValueError, "Poll.first_s must be more than 0"),
        ({"cap_s": float("inf")}, ValueError, "Poll.cap_s must be more than 0 and finite"),
        ({"growth": 0.9}, ValueError, "Poll.growth must be at least 1"),
        ({"first_s": "1"}, TypeError, "Poll.first_s must be a number"),
        ({"growth": True}, TypeError, "Poll.growth must be a number"),
    ],
)
def test_a_schedule_refuses_numbers_out_of_range(arguments: Any, error: type[Exception], said: str) -> None:
    """A pause of zero would flood the service, and a growth below 1 would shrink the pauses."""
    with pytest.raises(error, match=said):
        Poll(**arguments)


def test_the_service_holds_its_answer_as_long_as_can_be() -> None:
    """It is up to 30 s, within the read timeout and the time left; with `on_update`, no longer than the pause."""
    assert hold_s(0.5, left_s=600, read_s=40, watched=False) == 30
    assert hold_s(0.5, left_s=600, read_s=8, watched=False) == 6
    assert hold_s(0.5, left_s=2.5, read_s=40, watched=False) == 3
    assert hold_s(0.5, left_s=600, read_s=40, watched=True) == 1
    assert hold_s(3.8, left_s=600, read_s=40, watched=True) == 4
    assert hold_s(99, left_s=600, read_s=90, watched=True) == 30
    assert hold_s(1, left_s=0.0, read_s=0.1, watched=False) == 1


# ---- how it ended


@pytest.mark.parametrize(
    ("output", "error", "cause"),
    [
        ({"error_message": "m", "error_code": "c", "classification": {"category": "x"}}, "m", "c"),
        ({"error": "e", "classification": {"category": "provider_error"}}, "e", "provider_error"),
        ({"message": "m", "classification": "odd"}, "m", None),
        ([{"error": "first"}], "first", None),
        ([], None, None),
        ("words", "words", None),
        (None, None, None),
    ],
)
def test_a_failed_prediction_says_why(output: Any, error: str | None, cause: str | None) -> None:
    """The error envelope in the output is read, however much of it is present."""
    failed = failure_of(records.Prediction(id="p", status="failed", output=output))
    assert failed is not None
    assert (failed.error, failed.cause, failed.step, failed.state) == (error, cause, None, "failed")
    assert str(failed).startswith("prediction p failed")
    assert pickle.loads(pickle.dumps(failed)).record == failed.record


@pytest.mark.parametrize(
    ("output", "error", "cause", "code"),
    [
        ({"error_code": "WORKER_LOST", "error_message": "m"}, "m", "WORKER_LOST", "WORKER_LOST"),
        ({"error_code": 17, "error": "e"}, "e", "17", "17"),
        ({"error_code": True, "error": "e"}, "e", None, None),
        ({"error_code": "", "error": {"code": "provider_failed", "message": "m"}}, "m", *["provider_failed"] * 2),
        ({"error": "e", "classification": {"category": "provider_error"}}, "e", "provider_error", None),
        ([{"error": {"code": "PROVIDER_FAILED", "message": "m"}}], "m", *["PROVIDER_FAILED"] * 2),
        ([{"error": {"error_code": "X", "error_message": "m", "classification": {"category": "c"}}}], "m", "X", "X"),
        ([{"error": {"message": "m", "classification": {"category": "c"}}}], "m", "c", None),
        ([{"error": {}}], None, None, None),
        ([{"error": "the model said no"}], "the model said no", None, None),
        ([{"error": "PROVIDER_FAILED"}], "PROVIDER_FAILED", None, "PROVIDER_FAILED"),
        ([{"error": ["odd"]}], None, None, None),
        ([{"error": "e"}, {"error_code": "SECOND"}], "e", None, None),
        ("EXECUTION_TIMEOUT", "EXECUTION_TIMEOUT", None, "EXECUTION_TIMEOUT"),
        ("it failed", "it failed", None, None),
        ([["odd"]], None, None, None),
        (7, None, None, None),
    ],
)
def test_a_failure_has_the_code_that_its_envelope_tells(
    output: Any, error: str | None, cause: str | None, code: str | None
) -> None:
    """The code is `error_code`, one in an `error` object, or a text of one word; the list of codes is open."""
    failed = failure_of(records.Prediction(id="p", status="failed", output=output))
    assert failed is not None
    assert (failed.error, failed.cause, failed.code) == (error, cause, code)
    assert pickle.loads(pickle.dumps(failed)).code == code
    steps = {
        "a": records.StepOutput(step_id="a", status="completed", output={"error_code": "NOT_THIS"}),
        "b": records.StepOutput(step_id="b", status="failed", output=output),
    }
    failed = failure_of(records.WorkflowExecution(execution_id="e", status="failed", step_outputs=steps))
    assert failed is not None
    assert (failed.error, failed.cause, failed.code, failed.step) == (error, cause, code, "b")
    failed = failure_of(records.Run(id="r", status="failed", output=output))
    assert failed is not None
    assert (failed.error, failed.cause, failed.code) == (error, cause, code)


@pytest.mark.parametrize(
    ("step", "code"),
    [
        ({"metadata": {"error_code": "PUBLISH_FAILED"}}, "PUBLISH_FAILED"),
        ({"error": "NETWORK_ERROR"}, "NETWORK_ERROR"),
        ({"error": "StepFailed"}, None),
        ({"output": {"error_code": "A"}, "metadata": {"error_code": "B"}, "error": "C_C"}, "A"),
        ({}, None),
    ],
)
def test_a_workflow_has_the_code_of_the_step_that_failed(step: Any, code: str | None) -> None:
    """It is read from the step's output, metadata or error, in this order; the execution's own message comes first."""
    steps = {"b": records.StepOutput(step_id="b", status="failed", **step)}
    whole = records.WorkflowExecution(
        execution_id="e", status="failed", error="Own", error_cause="words", step_outputs=steps
    )
    failed = failure_of(whole)
    assert failed is not None
    assert (failed.error, failed.cause, failed.code) == ("Own", "words", code)


def test_what_was_put_out_before_a_stop_is_no_failure() -> None:
    """The output of a cancelled job is read as an error envelope only for a prediction."""
    for record in (
        records.Prediction(id="p", status="cancelled", output=["half a picture"]),
        records.Run(id="r", status="stopped", output={"message": "half a text"}),
    ):
        failed = failure_of(record)
        assert failed is not None
        assert (failed.error, failed.cause, failed.code, failed.state) == (None, None, None, "cancelled")


def test_a_failed_workflow_names_the_step() -> None:
    """Error and cause are the execution's own, or else those of the failed step."""
    good = records.StepOutput(step_id="a", status="completed")
    bad = records.StepOutput(step_id="b", status="failed", error="E", error_cause="C")
    steps = {"a": good, "b": bad}
    plain = records.WorkflowExecution(execution_id="e", status="failed", step_outputs=steps)
    failed = failure_of(plain)
    assert failed is not None
    assert (failed.step, failed.error, failed.cause) == ("b", "E", "C")
    assert str(failed) == "workflow execution e failed in step 'b': E: C"
    own = records.WorkflowExecution(execution_id="e", status="cancelled", error="X")
    cancelled = failure_of(own)
    assert cancelled is not None
    assert (cancelled.state, cancelled.step, str(cancelled)) == (
        "cancelled",
        None,
        "workflow execution e was cancelled: X",
    )
    stopped = failure_of(records.Prediction(id="p", status="cancelled", output="half a picture"))
    assert stopped is not None
    assert stopped.error is None
    assert failure_of(records.Prediction(id="p", status="paused")) is None


# ---- waiting


@pytest.mark.parametrize("edition", ["compat", "unified"])
async def test_a_triggered_execution_is_waited_for(edition: str) -> None:
    """It is polled until it ends; each change is passed to `on_update`, and the record is returned."""
    async with Emulator(executions=5) as emulator:
        hosts = emulator.hosts if edition == "compat" else emulator.unified_hosts
        async with EachLabs(emulator.api_key, hosts=hosts) as client:
            workflow = (await client.workflows.create("W", STEPS)).workflow_id
            told: list[records.WorkflowExecution] = []
            triggered = await client.workflows.trigger(workflow, "v1", {"prompt": "x"})
            done = await client.workflow_executions.wait(triggered, poll=EAGER, on_update=told.append)
            assert (done.state, told[-1]) == (State.SUCCEEDED, done)
            assert len(told) > 1
            assert all(one != other for one, other in pairwise(told))
            again = await client.workflow_executions.wait(done.execution_id)
            assert again == done
            triggered = await client.workflows.trigger(workflow, "v1", {"fail": "s1"})
            with pytest.raises(ExecutionFailedError) as failed:
                await client.workflow_executions.wait(triggered.execution_id, poll=EAGER)
            assert failed.value.step == "s1"
            assert failed.value.error
            assert failed.value.execution_id == triggered.execution_id == failed.value.record.execution_id


async def test_a_prediction_is_waited_for() -> None:
    """A created prediction is polled until it succeeds, fails or is cancelled."""
    async with Emulator(executions=5) as emulator, EachLabs(emulator.api_key, hosts=emulator.hosts) as client:
        made = await client.predictions.create("flux-1-1-pro", {"prompt": "x"})
        done = await client.predictions.wait(made, poll=EAGER)
        assert (done.id, done.state) == (made.id, State.SUCCEEDED)
        assert await client.predictions.wait(done) == done
        made = await client.predictions.create("flux-1-1-pro", {"fail": "content_moderation"})
        with pytest.raises(ExecutionFailedError, match="failed") as failed:
            await client.predictions.wait(made, poll=EAGER)
        assert "content_moderation" in (failed.value.cause or "") or failed.value.error
        made = await client.predictions.create("flux-1-1-pro", {"seconds": 60})
        await client.predictions.cancel(made.id)
        with pytest.raises(ExecutionFailedError) as failed:
            await client.predictions.wait(made.id, poll=EAGER)
        assert failed.value.state == "cancelled"


async def test_the_wire_s_long_poll_does_the_waiting() -> None:
    """In the compat edition one request is held until the execution ends; no other request is sent meanwhile."""
    async with Emulator(executions=5, hold_unfinished=1) as emulator:
        async with EachLabs(emulator.api_key, hosts=emulator.hosts) as client:
            workflow = (await client.workflows.create("W", STEPS)).workflow_id
            triggered = await client.workflows.trigger(workflow, "v1", {"seconds": 0.3})
            await client.workflow_executions.wait(triggered)
            assert emulator.requests["workflow_executions.get"] == 1
            assert emulator.log[-1].query == {"timeout": "30"}


@pytest.mark.parametrize("cut", [answer(504, body=""), reset(), stall()], ids=["504", "reset", "silence"])
async def test_a_gateway_that_cuts_long_polls_halves_the_hold(cut: Act) -> None:
    """Each request that a gateway cuts off asks the next one to be held for half the time; later ones stay there."""

    def gateway(seen: RecordedRequest) -> Act:
        if int(seen.target.rpartition("=")[2]) > 7:
            return cut
        return execution("queued" if len(server.requests) < 5 else "completed")

    patient = Timeouts(read_s=60, deadline_s=0.1) if cut == stall() else Timeouts()
    async with RawServer(then=gateway) as server, client_of(server, timeouts=patient) as client:
        done = await client.workflow_executions.wait("e", poll=EAGER)
    assert done.state is State.SUCCEEDED
    assert [seen.target.rpartition("=")[2] for seen in server.requests] == ["30", "15", "7", "7", "7", "7"]


async def test_a_hold_of_a_second_that_is_cut_off_is_left_to_the_policy() -> None:
    """A gateway that lets nothing through ends the wait: by its last failure, after the attempts of one call."""
    async with RawServer(then=answer(504)) as server, client_of(server) as client:
        with pytest.raises(ServerError) as failed:
            await client.workflow_executions.wait("e", poll=EAGER)
    held = [seen.target.rpartition("=")[2] for seen in server.requests]
    assert held == ["30", "15", "7", "3", *["1"] * QUICK.max_attempts]
    assert failed.value.status == 504
    async with RawServer(then=answer(504)) as server, client_of(server, retry=ONCE) as client:
        with pytest.raises(ServerError):
            await client.workflow_executions.wait("e", poll=EAGER)
    assert len(server.requests) == 1


async def test_an_unknown_word_is_no_end_and_a_passing_failure_neither() -> None:
    """A new status does not end the wait, and neither does a failure that a retry overcomes."""
    script = (execution("queued"), execution("paused"), reset(), answer(503), execution("completed", output="o"))
    async with RawServer(*script) as server, client_of(server) as client:
        done = await client.workflow_executions.wait("e", poll=EAGER)
    assert done.output == "o"
    assert len(server.requests) == 5


async def test_a_failure_that_lasts_ends_the_wait() -> None:
    """An error that the retries did not overcome is raised as it is."""
    async with RawServer(execution("running"), then=answer(500)) as server:
        async with client_of(server, retry=ONCE) as client:
            with pytest.raises(ServerError):
                await client.workflow_executions.wait("e", poll=EAGER)


async def test_what_was_made_just_now_may_be_missing_at_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """A 404 is retried for the result of a creating call, and raised at once for an id."""
    fresh = records.TriggeredExecution(execution_id="e", status="queued")
    async with RawServer(answer(404), answer(404), execution("completed")) as server, client_of(server) as client:
        await client.workflow_executions.wait(fresh, poll=EAGER)
        assert len(server.requests) == 3
    async with RawServer(then=answer(404)) as server, client_of(server) as client:
        with pytest.raises(NotFoundError):
            await client.workflow_executions.wait("e", poll=EAGER)
        with pytest.raises(WaitTimeoutError, match="it was not found"):
            await client.workflow_executions.wait(fresh, poll=EAGER, timeout_s=0.05)
        monkeypatch.setattr("eachlabs_async.jobs.wait.GRACE_S", 0.03)
        with pytest.raises(NotFoundError):
            await client.predictions.wait(records.CreatedPrediction(predictionID="p"), poll=EAGER)
    async with RawServer(execution("running"), then=answer(404)) as server, client_of(server) as client:
        with pytest.raises(NotFoundError):
            await client.workflow_executions.wait(fresh, poll=EAGER)


async def test_a_wait_that_is_too_long_carries_what_was_read() -> None:
    """A `WaitTimeoutError` has the last record, or None if there was no answer, and pickles."""
    async with RawServer(execution("running"), then=stall()) as server, client_of(server) as client:
        with pytest.raises(WaitTimeoutError, match=r"e did not end within 0.1 s: it is running") as late:
            await client.workflow_executions.wait("e", poll=EAGER, timeout_s=0.1)
        assert late.value.record.status == "running"
        assert isinstance(late.value, TimeoutError)
        assert pickle.loads(pickle.dumps(late.value)).execution_id == "e"
        with pytest.raises(WaitTimeoutError, match="no answer came"):
            await client.workflow_executions.wait("e", timeout_s=0.05)
    # A call's own timeout is not the wait's.
    async with RawServer(then=stall()) as server:
        async with client_of(server, retry=ONCE, timeouts=Timeouts(read_s=0.05)) as client:
            with pytest.raises(TimeoutError) as other:
                await client.workflow_executions.wait("e", timeout_s=5)
            assert not isinstance(other.value, WaitTimeoutError)


async def test_polls_slow_down_and_count_from_the_question() -> None:
    """A pause begins when the request is sent, so a slow answer is followed by the next request at once."""
    polls = 0

    def script(seen: RecordedRequest) -> Act:
        nonlocal polls
        polls += 1
        status = "running" if polls < 5 else "completed"
        return answer(json={"execution_id": "e", "status": status}, delay_s=0.05)

    async with RawServer(then=script) as server:
        async with client_of(server, hosts=hosts_at(server.url, unified=True), retry=QUICK) as client:
            await client.workflow_executions.wait("e", poll=Poll(first_s=0.03, growth=2.0, cap_s=0.12))
    gaps = [later.at - earlier.at for earlier, later in pairwise(server.requests)]
    assert gaps[0] < 0.09
    assert gaps[-1] > 0.09
    assert all("timeout" not in target for target in server.targets)


@pytest.mark.parametrize(
    ("timeout_s", "error"), [(0, ValueError), (float("inf"), ValueError), ("1", TypeError), (True, TypeError)]
)
async def test_a_wait_without_end_is_refused(timeout_s: Any, error: type[Exception]) -> None:
    """`timeout_s` is a finite number above 0."""
    async with EachLabs("key") as client:
        with pytest.raises(error, match="timeout_s must be"):
            await client.predictions.wait("p", timeout_s=timeout_s)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("e", {"on_update": 5}), "on_update must be callable, not int"),
        (("e", {"poll": 5}), "poll must be a Poll, not int"),
        ((5, {}), "must be an id or a record with one, not int"),
        ((None, {}), "must be an id or a record with one, not NoneType"),
    ],
)
async def test_what_makes_no_sense_is_refused_before_anything_is_sent(arguments: Any, says: str) -> None:
    """A wrong callback is an error at once, not when the first answer has come."""
    waited, options = arguments
    async with RawServer() as server, client_of(server) as client:
        for resource in (client.workflow_executions, client.predictions):
            with pytest.raises(TypeError, match=says):
                await resource.wait(waited, **options)
    assert not server.requests
