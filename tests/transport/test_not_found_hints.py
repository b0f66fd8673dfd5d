"""Tests for ids that are not found: the error says what may have happened, and which ids the call takes."""

from __future__ import annotations

import pickle
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from raw_server import QUICK, RawServer, answer, client_of

from eachlabs_async import EachLabs, EachLabsError, NotFoundError, Poll, Prediction, TriggeredExecution
from eachlabs_async.emulator import Emulator
from eachlabs_async.transport.not_found_hints import IDS_TAKEN

EAGER = Poll(first_s=0.01, cap_s=0.02)
ANYBODYS = "no such id, or deleted: organisations can delete executions by age"
OURS = "it does not exist, or no longer exists: organisations can delete executions by age"
PREDICTIONS, WORKFLOWS, FLOWS, RUNS = (
    IDS_TAKEN[name] for name in ("predictions", "workflow_executions", "flow_executions", "runs")
)
GONE = answer(404, json={"error": "the service's own words"})


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    async with Emulator(executions=0, workflow_executions=12, workflows=1, step_seconds=0.05) as running:
        yield running


@pytest.fixture
async def client(emulator: Emulator) -> AsyncIterator[EachLabs]:
    async with EachLabs(emulator.api_key, hosts=emulator.hosts, retry=QUICK) as opened:
        yield opened


def says(error: Exception | None, hint: str, words: str) -> None:
    """Assert that an error has the service's message, then the hint, once, and that it survives pickle."""
    assert isinstance(error, NotFoundError)
    assert error.message == f"{words}; {hint}"
    assert error.message in str(error)
    assert error.args == (error.message,)
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


CALLS: dict[str, tuple[Callable[[EachLabs], Awaitable[Any]], str]] = {
    "prediction": (lambda client: client.predictions.get("x"), f"{ANYBODYS}; {PREDICTIONS}"),
    "workflow execution": (lambda client: client.workflow_executions.get("x"), f"{ANYBODYS}; {WORKFLOWS}"),
    "flow execution": (lambda client: client.flow_executions.get("w", "x"), f"{ANYBODYS}; {FLOWS}"),
    "cancel a prediction": (lambda client: client.predictions.cancel("x"), f"{ANYBODYS}; {PREDICTIONS}"),
    "wait for a prediction": (lambda client: client.predictions.wait("x", poll=EAGER), f"{OURS}; {PREDICTIONS}"),
    "wait for an execution": (lambda client: client.workflow_executions.wait("x", poll=EAGER), f"{OURS}; {WORKFLOWS}"),
    "run": (lambda client: client.runs.get("x"), RUNS),
    "wait for a run": (lambda client: client.runs.wait("x", poll=EAGER), RUNS),
    "stop a run": (lambda client: client.runs.stop("x"), RUNS),
    "delete a run": (lambda client: client.runs.delete("x"), RUNS),
}


@pytest.mark.parametrize("call", CALLS)
async def test_an_execution_that_is_not_found_may_have_been_deleted(call: str) -> None:
    """The service's message comes first; after a wait, the hint says that the execution may be gone since."""
    ask, hint = CALLS[call]
    async with RawServer(then=GONE) as server, client_of(server) as client:
        with pytest.raises(NotFoundError) as caught:
            await ask(client)
    says(caught.value, hint, "the service's own words")
    assert (caught.value.status, caught.value.attempts) == (404, 1)


async def test_what_was_there_while_it_was_waited_for_is_gone() -> None:
    """A 404 after a success ends the wait with this hint, even for an execution created just now."""
    running = answer(json={"id": "p", "execution_id": "e", "status": "running"})
    async with RawServer(running, GONE, running, GONE) as server, client_of(server) as client:
        with pytest.raises(NotFoundError) as caught:
            await client.predictions.wait(Prediction(id="p", status="running"), poll=EAGER)
        says(caught.value, f"{OURS}; {PREDICTIONS}", "the service's own words")
        with pytest.raises(NotFoundError) as caught:
            await client.workflow_executions.wait(TriggeredExecution(execution_id="e", status="queued"), poll=EAGER)
        says(caught.value, f"{OURS}; {WORKFLOWS}", "the service's own words")


async def test_ids_of_a_bulk_fetch_are_told_so_each() -> None:
    """Each outcome has the hint of a plain get; an error other than a 404 has none."""
    async with RawServer(GONE, answer(403, json={"error": "no"}), then=GONE) as server, client_of(server) as client:
        done = await client.workflow_executions.get_many(["a", "b", "c"], concurrency=1).collect()
        says(done.errors["a"], f"{ANYBODYS}; {WORKFLOWS}", "the service's own words")
        says(done.errors["c"], f"{ANYBODYS}; {WORKFLOWS}", "the service's own words")
        assert isinstance(refused := done.errors["b"], EachLabsError)
        assert refused.message == "no"
        done_too = await client.predictions.get_many(["a"]).collect()
        says(done_too.errors["a"], f"{ANYBODYS}; {PREDICTIONS}", "the service's own words")
        runs = await client.runs.get_many(["a"]).collect()
        says(runs.errors["a"], RUNS, "the service's own words")


async def test_an_id_that_a_bulk_answer_leaves_out_may_have_been_deleted() -> None:
    """The message is the library's, the hint is the same."""
    async with RawServer(then=answer(json={"executions": []})) as server, client_of(server) as client:
        done = await client.flow_executions.get_many("w", ["x"]).collect()
    says(done.errors["x"], f"{ANYBODYS}; {FLOWS}", "the bulk answer has no execution 'x'")


async def test_what_a_listing_gave_was_there(emulator: Emulator, client: EachLabs) -> None:
    """A row that is deleted between the listing and the get is reported as gone."""
    workflow = emulator.workflow_ids[0]
    ids = emulator.workflow_executions.ids()
    page = await client.workflow_executions.list(workflow).collect()
    rows = client.workflow_executions.list(workflow, limit=12)
    gone = ids[-1]
    outcomes: dict[str, Any] = {}
    async with rows.hydrate(concurrency=1) as fetch:
        async for outcome in fetch:
            if not outcomes:
                emulator.workflow_executions.remove(gone)
            outcomes[outcome.id] = outcome
    assert list(outcomes) == ids == [row.execution_id for row in page]
    says(outcomes[gone].error, OURS, "execution not found")
    assert [outcome.ok for outcome in outcomes.values()].count(False) == 1


async def test_many_that_are_waited_for_may_be_gone(emulator: Emulator, client: EachLabs) -> None:
    """An unknown id is an outcome with the hint."""
    workflow = emulator.workflow_ids[0]
    async with client.workflow_executions.wait_many(workflow, ["nobody's"]) as outcomes:
        found = [outcome async for outcome in outcomes]
    says(found[0].error, OURS, "execution not found")


@pytest.mark.parametrize("kind", ["workflow", "model"])
async def test_what_a_map_started_may_be_gone_before_it_is_read(
    kind: str, emulator: Emulator, client: EachLabs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An execution that is deleted while it runs is an outcome with the hint, and the others are not affected."""
    monkeypatch.setattr("eachlabs_async.jobs.map_watcher.GRACE_S", 0.1)
    inputs = [{"n": 0, "seconds": 0.2}, {"n": 1, "seconds": 30}]
    fetch: Any = client.predictions.map("flux-1-1-pro", inputs)
    if kind == "workflow":
        fetch = client.workflows.map(emulator.workflow_ids[0], "v1", inputs)
    found: dict[int, Any] = {}
    async with fetch as outcomes:
        async for outcome in outcomes:
            if not found:
                lost = next(one.id for one in emulator.submitted if one.inputs["n"] == 1)
                (emulator.workflow_executions if kind == "workflow" else emulator.predictions).remove(lost)
            found[outcome.index] = outcome
    assert found[0].ok
    says(found[1].error, OURS, "execution not found" if kind == "workflow" else "Prediction not found")


async def test_what_is_no_execution_is_just_not_found() -> None:
    """Models and workflows are not deleted by age, and have ids of one kind."""
    async with RawServer(then=GONE) as server, client_of(server) as client:
        for call in (
            client.models.get("x"),
            client.workflows.get("x"),
            client.workflow_executions.list("x").collect(),
        ):
            with pytest.raises(NotFoundError) as caught:
                await call
            assert caught.value.message == "the service's own words"


async def test_an_id_of_another_kind_leads_to_the_call_that_takes_it() -> None:
    """The error of the wrong call names the right one, which then finds the execution, with no further request."""
    async with Emulator(executions=20, workflow_executions=20, workflows=1) as emulator:
        async with EachLabs(emulator.api_key, hosts=emulator.hosts, runs_api_key=emulator.runs_api_key) as client:
            listed = await client.executions.list(max_rows=1).first()
            assert listed is not None
            emulator.reset_counters()
            for ask in (
                client.workflow_executions.get(listed.id),
                client.flow_executions.get(emulator.workflow_ids[0], listed.id),
                client.runs.get(listed.id),
            ):
                with pytest.raises(NotFoundError, match=r"from executions\.list (goes )?to predictions\.get"):
                    await ask
            assert (await client.predictions.get(listed.id)).id == listed.id
            workflow_execution = emulator.workflow_executions.ids()[0]
            with pytest.raises(NotFoundError, match="workflow_executions.list .* goes to workflow_executions.get"):
                await client.predictions.get(workflow_execution)
            assert (await client.workflow_executions.get(workflow_execution)).execution_id == workflow_execution
            assert emulator.requests.total() == 6
