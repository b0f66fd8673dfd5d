"""Tests for runs of the Noxus service: their records, starting one once, waiting for it, and deleting."""

from __future__ import annotations

import json
import pickle
from typing import Any

import pytest
from raw_server import ONCE, QUICK, RawServer, RecordedRequest, answer, client_of, cut_body, reset

from eachlabs_async import (
    APIConnectionError,
    APIStatusError,
    ConflictError,
    EachLabs,
    ExecutionFailedError,
    HumanFeedbackRequiredError,
    NotFoundError,
    OutcomeUnknownError,
    PermissionDeniedError,
    Poll,
    Run,
    RunDeletion,
    State,
    UnprocessableEntityError,
    WaitTimeoutError,
)
from eachlabs_async.codec.strict import decode, decode_strict
from eachlabs_async.emulator import Emulator, Fault

EAGER = Poll(first_s=0.01, cap_s=0.02)
QUEUED = answer(201, json={"id": "r-1", "status": "queued", "progress": 0})


def run(status: str, **more: Any) -> Any:
    return answer(json={"id": "r", "status": status, **more})


def labs(emulator: Emulator, **options: Any) -> EachLabs:
    return EachLabs(hosts=emulator.hosts, runs_api_key=emulator.runs_api_key, retry=QUICK, **options)


def body(seen: RecordedRequest) -> Any:
    return json.loads(seen.body)


# ---- what a run looks like


@pytest.mark.parametrize("nodes", [["n-1", "n-2"], {"n-1": {"it": 0}}, [], {}, None])
@pytest.mark.parametrize("progress", [0, 50, 100, 12.5, None])
def test_a_run_has_its_nodes_and_its_progress_in_every_form(nodes: Any, progress: float | None) -> None:
    """Nodes are an array or an object, progress an integer or a float; both readers agree."""
    row = {"id": "r", "status": "running", "input": None, "node_ids": nodes, "progress": progress}
    row |= {"workflow_version_id": "v", "single_node_id": "n-1"}
    raw = json.dumps(row).encode()
    found = decode(raw, Run)
    assert found == decode_strict(raw, Run)
    assert (found.node_ids, found.progress, found.input) == (nodes, progress, None)
    assert (found.workflow_version_id, found.single_node_id) == ("v", "n-1")


async def test_the_emulator_shows_runs_in_every_documented_form() -> None:
    """There is integer progress, nodes as an array, an object and null, inputs that are null, and waiting runs."""
    async with Emulator(executions=0, runs=300, unfinished=0.3) as emulator, labs(emulator) as client:
        runs = await client.runs.list().collect()
        rows = list(emulator.runs)
    assert {type(row["progress"]) for row in rows} == {int}
    assert {type(one.node_ids) for one in runs} == {list, dict, type(None)}
    assert {one.input is None for one in runs} == {one.single_node_id is None for one in runs} == {True, False}
    assert State.WAITING in {one.state for one in runs}
    assert [one.id for one in runs] == [row["id"] for row in rows]


async def test_the_progress_of_a_started_run_is_a_whole_number() -> None:
    """The vendor's own SDK refuses any other, at every stage."""
    async with Emulator(executions=0, runs=1, virtual_time=True, step_seconds=2) as emulator, labs(emulator) as client:
        workflow = str(emulator.workflow_ids[0])
        started = await client.runs.start(workflow, {})
        stages: list[float | None] = [started.progress]
        for _ in range(3):
            emulator.clock.advance(1)
            stages.append((await client.runs.get(started.id)).progress)
    assert stages == [0, 50, 100, 100]
    assert type(emulator.runs.get(started.id)["progress"]) is int


async def test_an_error_of_the_runs_service_names_the_request_as_that_service_does() -> None:
    """`x-noxus-request-id` is the request's id for the support, even beside another one."""
    both = {"x-noxus-request-id": "n-1", "X-Request-Id": "other"}
    async with RawServer(answer(422, json={"detail": "no"}, headers=both)) as server, client_of(server) as client:
        with pytest.raises(UnprocessableEntityError, match="request n-1") as caught:
            await client.runs.get("r")
        assert caught.value.request_id == "n-1"
    async with Emulator(executions=0) as emulator, labs(emulator) as client:
        with pytest.raises(NotFoundError, match="request noxus-1"):
            await client.runs.get("nothing")


# ---- starting


async def test_a_run_is_started_with_what_was_said() -> None:
    """Omitted arguments are not sent, and only the key of the runs service is."""
    async with RawServer(then=QUEUED) as server, client_of(server) as client:
        started = await client.runs.start("w/1", {"q": "x"})
        await client.runs.start(
            "w",
            {},
            node_ids=iter(["n-1", "n-2"]),
            single_node_id="n-1",
            workflow_version_id="v",
            callback_url="https://me.example/done",
        )
        await client.runs.start("w", {}, node_ids={"n-1": {"it": 0}})
    assert (started.id, started.state) == ("r-1", State.PENDING)
    assert [(seen.method, seen.target) for seen in server.requests[:2]] == [
        ("POST", "/runs/workflows/w%2F1/runs"),
        ("POST", "/runs/workflows/w/runs"),
    ]
    assert [body(seen) for seen in server.requests] == [
        {"input": {"q": "x"}},
        {
            "input": {},
            "node_ids": ["n-1", "n-2"],
            "single_node_id": "n-1",
            "workflow_version_id": "v",
            "callback_url": "https://me.example/done",
        },
        {"input": {}, "node_ids": {"n-1": {"it": 0}}},
    ]
    assert {seen.headers["x-api-key"] for seen in server.requests} == {"runs-key"}


@pytest.mark.parametrize(
    ("given", "error", "said"),
    [
        ({"workflow_id": ""}, ValueError, "workflow_id must not be empty"),
        ({"input": None}, TypeError, "input must be a mapping, not NoneType"),
        ({"input": {1: 1}}, TypeError, "input must have str keys"),
        ({"input": {"a": {1}}}, TypeError, "input must be a value that JSON can represent"),
        ({"node_ids": "n-1"}, TypeError, "node_ids must be several ids, not str"),
        ({"node_ids": 7}, TypeError, "node_ids must be several ids, not int"),
        ({"node_ids": []}, ValueError, "node_ids must contain at least one id"),
        ({"node_ids": ["n", 7]}, TypeError, r"node_ids\[1\] must be a str, not int"),
        ({"node_ids": {7: 7}}, TypeError, "node_ids must have str keys"),
        ({"single_node_id": ""}, ValueError, "single_node_id must not be empty"),
        ({"workflow_version_id": 7}, TypeError, "workflow_version_id must be a str, not int"),
        ({"callback_url": "me"}, ValueError, r"callback_url must be an absolute http\(s\) URL"),
        ({"callback_url": "https://[me"}, ValueError, "callback_url must be an absolute"),
    ],
)
async def test_what_cannot_be_started_is_refused_at_the_call(given: Any, error: type[Exception], said: str) -> None:
    """The error names the argument, and nothing is sent."""
    arguments: Any = {"workflow_id": "w", "input": {}} | given
    async with RawServer() as server, client_of(server) as client:
        with pytest.raises(error, match=said):
            await client.runs.start(**arguments)
    assert not server.requests


@pytest.mark.parametrize(
    "lost",
    [reset(), answer(502), answer(408), cut_body(), answer(200, body=b"<html>"), answer(json={"status": "queued"})],
)
async def test_a_start_whose_answer_is_lost_is_not_repeated(lost: Any) -> None:
    """It may run: the error says so, and where and from when to look."""
    async with RawServer(then=lost) as server, client_of(server) as client:
        with pytest.raises(OutcomeUnknownError) as caught:
            await client.runs.start("w", {"secret": "s"})
    assert len(server.requests) == 1
    assert set(caught.value.lookup) == {"workflow_id", "since", "until"}
    assert caught.value.lookup["workflow_id"] == "w"


async def test_a_start_that_did_nothing_is_tried_again() -> None:
    """A 429 created nothing and is retried; a 422 is final."""
    async with RawServer(answer(429), QUEUED, then=answer(422)) as server, client_of(server) as client:
        assert (await client.runs.start("w", {})).id == "r-1"
        with pytest.raises(UnprocessableEntityError):
            await client.runs.start("w", {})
    assert len(server.requests) == 3


async def test_a_start_runs_once_however_its_answer_is_lost() -> None:
    """A fault after the work leaves one run, which the listing of its workflow shows."""
    async with Emulator(executions=0) as emulator, labs(emulator) as client:
        emulator.faults.add(Fault.reset(late=True), endpoint="runs.start", times=1)
        workflow = emulator.workflow_ids[0]
        with pytest.raises(OutcomeUnknownError) as caught:
            await client.runs.start(workflow, {"n": 1})
        found = await client.runs.list_for_workflow(caught.value.lookup["workflow_id"]).collect()
        assert [one.input for one in found] == [{"n": 1}]
        assert emulator.requests["runs.start"] == 1


# ---- waiting


async def test_a_started_run_is_waited_for() -> None:
    """Each change is passed to `on_update`, with integer progress, and the final record is returned."""
    async with Emulator(executions=0) as emulator, labs(emulator) as client:
        told: list[Run] = []
        started = await client.runs.start(emulator.workflow_ids[0], {"seconds": 0.1})
        done = await client.runs.wait(started, poll=EAGER, on_update=told.append)
        assert (done.state, done.output, told[-1]) == (State.SUCCEEDED, {"text": "done"}, done)
        assert [one.progress for one in told] == sorted(one.progress or 0 for one in told)
        assert await client.runs.wait(done.id) == done
        failing = await client.runs.start(emulator.workflow_ids[0], {"fail": True})
        with pytest.raises(ExecutionFailedError, match=r"^run .* failed: The node failed\.") as failed:
            await client.runs.wait(failing.id, poll=EAGER)
        assert (failed.value.execution_id, failed.value.state) == (failing.id, "failed")
        slow = await client.runs.start(emulator.workflow_ids[0], {"seconds": 60})
        await client.runs.stop(slow.id)
        with pytest.raises(ExecutionFailedError, match="was cancelled") as stopped:
            await client.runs.wait(slow, poll=EAGER)
        assert stopped.value.state == "cancelled"
        assert not emulator.wrong_keys


async def test_a_run_that_needs_a_person_ends_the_waiting_with_an_error_of_its_own() -> None:
    """It is neither finished nor unknown, and after the feedback it can be waited for again."""
    script = (run("running"), run("awaiting_human_feedback", progress=75), run("running"), run("completed"))
    async with RawServer(*script) as server, client_of(server) as client:
        told: list[Run] = []
        with pytest.raises(HumanFeedbackRequiredError, match="run r waits for a person") as caught:
            await client.runs.wait("r", timeout_s=5, poll=EAGER, on_update=told.append)
        record = caught.value.record
        assert (caught.value.execution_id, record.progress, record.state) == ("r", 75, State.WAITING)
        assert not record.is_finished
        assert told[-1] == record
        assert not isinstance(caught.value, ExecutionFailedError | TimeoutError)
        assert pickle.loads(pickle.dumps(caught.value)).record == record
        assert (await client.runs.wait(record, poll=EAGER)).state is State.SUCCEEDED


async def test_the_emulator_has_a_run_wait_for_a_person() -> None:
    """A waiting run can also be stopped."""
    async with Emulator(executions=0) as emulator, labs(emulator) as client:
        started = await client.runs.start(emulator.workflow_ids[0], {"feedback": True})
        with pytest.raises(HumanFeedbackRequiredError):
            await client.runs.wait(started, timeout_s=5, poll=EAGER)
        assert (await client.runs.stop(started.id)).state is State.CANCELLED


async def test_a_wait_for_a_run_ends_with_its_time_and_with_what_is_no_run() -> None:
    """`timeout_s` bounds it; a new run may appear late, and an unknown id is not found."""
    unknown = answer(404, json={"detail": "Run not found"})
    async with RawServer(unknown, unknown, run("completed"), then=unknown) as server, client_of(server) as client:
        assert (await client.runs.wait(Run(id="r", status="queued"), poll=EAGER)).state is State.SUCCEEDED
        with pytest.raises(NotFoundError):
            await client.runs.wait("r", poll=EAGER)
        with pytest.raises(NotFoundError):
            await client.runs.wait(Run(id="r", status="running"), poll=EAGER)
        assert len(server.requests) == 5
    async with RawServer(then=run("running")) as server, client_of(server) as client:
        with pytest.raises(WaitTimeoutError) as late:
            await client.runs.wait("r", timeout_s=0.1, poll=EAGER)
        assert late.value.record.status == "running"
        for wrong in (0, -1, float("nan")):
            with pytest.raises(ValueError, match="timeout_s must be"):
                await client.runs.wait("r", timeout_s=wrong)
        with pytest.raises(TypeError, match="run must be an id"):
            await client.runs.wait(7)  # type: ignore[arg-type]  # that is what is tested


# ---- deleting


@pytest.mark.parametrize(
    ("sent", "wanted"),
    [
        (answer(json={"matched": 1, "succeeded": 1, "failed": 0, "errors": {}}), (1, 1, 0, {})),
        (answer(json={"matched": "1", "succeeded": True, "errors": ["x"]}), (None, None, None, None)),
        (answer(json=[1]), (None, None, None, None)),
        (answer(204, body=b""), (None, None, None, None)),
    ],
)
async def test_an_answer_that_nobody_documents_cannot_fail_a_deletion(sent: Any, wanted: Any) -> None:
    """Expected values are in their fields, and the whole answer is kept."""
    async with RawServer(then=sent) as server, client_of(server) as client:
        for done in (await client.runs.delete("r/1"), await client.runs.delete_many(["r"])):
            assert (done.matched, done.succeeded, done.failed, done.errors) == wanted
            assert done.answer is None or done.answer == json.loads(sent.sent.partition(b"\r\n\r\n")[2])
    assert [(seen.method, seen.target) for seen in server.requests] == [
        ("DELETE", "/runs/runs/r%2F1"),
        ("POST", "/runs/runs/bulk/delete"),
    ]


async def test_a_deletion_whose_answer_is_lost_is_repeated_and_then_finds_nothing() -> None:
    """A run that a retry does not find was deleted before; one that the first attempt does not find is unknown."""
    unknown = answer(404, json={"detail": "Run not found"})
    async with RawServer(reset(), then=unknown) as server, client_of(server) as client:
        assert await client.runs.delete("r") == RunDeletion()
        with pytest.raises(NotFoundError):
            await client.runs.delete("r")
    assert len(server.requests) == 3


async def test_many_are_deleted_by_what_was_said() -> None:
    """Ids, filters or both are sent, and the other arguments only if given."""
    async with RawServer(then=answer(json={})) as server, client_of(server) as client:
        await client.runs.delete_many(iter(["a", "b"]))
        await client.runs.delete_many(filters={"workflow_id": "w"}, expected_count=0, dry_run=True)
    assert [body(seen) for seen in server.requests] == [
        {"run_ids": ["a", "b"], "dry_run": False},
        {"filters": {"workflow_id": "w"}, "expected_count": 0, "dry_run": True},
    ]


@pytest.mark.parametrize(
    ("given", "error", "said"),
    [
        ({}, ValueError, "run_ids or filters must be given"),
        ({"run_ids": []}, ValueError, "run_ids must contain at least one id"),
        ({"run_ids": "abc"}, TypeError, "run_ids must be several ids, not str"),
        ({"run_ids": ["a", ""]}, ValueError, r"run_ids\[1\] must not be empty"),
        ({"filters": {}}, ValueError, "filters must not be empty"),
        ({"filters": {"workflow_id": None}}, ValueError, "filters must not be empty"),
        ({"filters": []}, TypeError, "filters must be a mapping, not list"),
        ({"run_ids": ["a"], "expected_count": -1}, ValueError, "expected_count must be at least 0"),
        ({"run_ids": ["a"], "expected_count": True}, TypeError, "expected_count must be an int"),
        ({"run_ids": ["a"], "dry_run": 1}, TypeError, "dry_run must be a bool"),
    ],
)
async def test_a_deletion_that_could_mean_anything_is_refused_at_the_call(
    given: Any, error: type[Exception], said: str
) -> None:
    """Nothing is sent that the service could understand as every run."""
    async with RawServer() as server, client_of(server) as client:
        with pytest.raises(error, match=said):
            await client.runs.delete_many(**given)
    assert not server.requests


async def test_a_deletion_of_many_is_sent_once_and_a_count_again() -> None:
    """If it may have been carried out, the error says so; `dry_run` changes nothing and is retried."""
    async with RawServer(reset(), reset(), answer(json={"matched": 2})) as server, client_of(server) as client:
        with pytest.raises(OutcomeUnknownError):
            await client.runs.delete_many(["a"])
        assert (await client.runs.delete_many(["a"], dry_run=True)).matched == 2
    assert len(server.requests) == 3
    async with RawServer(then=reset()) as server, client_of(server, retry=ONCE) as client:
        with pytest.raises(APIConnectionError):
            await client.runs.delete_many(["a"], dry_run=True)


async def test_the_emulator_deletes_what_is_finished() -> None:
    """Unfinished runs stay and are listed; an unexpected number is refused, and `dry_run` deletes nothing."""
    async with Emulator(executions=0, runs=60, unfinished=0.3) as emulator, labs(emulator) as client:
        runs = await client.runs.list().collect()
        done = [one.id for one in runs if one.is_finished]
        going = [one.id for one in runs if not one.is_finished]
        kept = await client.runs.delete(going[0])
        assert (kept.succeeded, list(kept.errors or {})) == (0, going[:1])
        assert (await client.runs.delete(done[0])).succeeded == 1
        with pytest.raises(NotFoundError):
            await client.runs.get(done[0])
        counted = await client.runs.delete_many([*done[1:3], going[0]], dry_run=True)
        assert (counted.matched, counted.succeeded, counted.failed) == (2, 0, 1)
        with pytest.raises(ConflictError):
            await client.runs.delete_many(done[1:3], expected_count=3)
        assert len(emulator.runs) == 59
        assert (await client.runs.delete_many(done[1:3], expected_count=2)).succeeded == 2
        workflow = emulator.workflow_ids[0]
        await client.runs.delete_many(filters={"workflow_id": workflow})
        assert {one.is_finished for one in await client.runs.list_for_workflow(workflow).collect()} == {False}
        await client.runs.delete_many(filters={"to_date": str(runs[0].created_at)})
        assert sorted(emulator.runs.ids()) == sorted(going)
        emulator.faults.add(Fault.status(403), endpoint="runs.delete")
        with pytest.raises(PermissionDeniedError):
            await client.runs.delete(going[0])
        with pytest.raises(APIStatusError):
            await client.request("runs", "POST", "/runs/bulk/delete", json={})


async def test_a_stop_whose_first_answer_was_lost_is_looked_up() -> None:
    """If the second attempt is refused because the first one took effect, the run shows that it did."""
    stopped, going = (answer(json={"id": "r", "status": status}) for status in ("stopped", "running"))
    async with RawServer(reset(), answer(409), stopped, reset(), answer(409), going) as server:
        async with client_of(server) as client:
            assert (await client.runs.stop("r")).state is State.CANCELLED
            with pytest.raises(ConflictError):
                await client.runs.stop("r")
    assert [seen.method for seen in server.requests] == ["POST", "POST", "GET"] * 2
