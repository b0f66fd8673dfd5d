"""Ids that are not found: what the error says of an execution that may have been deleted, and where it says nothing."""

from __future__ import annotations

import pickle
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from raw_server import QUICK, RawServer, answer, client_of

from eachlabs_async import EachLabs, EachLabsError, NotFoundError, Poll, Prediction, TriggeredExecution
from eachlabs_async.emulator import Emulator

EAGER = Poll(first_s=0.01, cap_s=0.02)
ANYBODYS = "no such id, or deleted: organisations can delete executions by age"
OURS = "it does not exist, or no longer exists: organisations can delete executions by age"
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
    """Hold that an error has the service's words, then the hint, once, and that it survives pickle."""
    assert isinstance(error, NotFoundError)
    assert error.message == f"{words}; {hint}"
    assert error.message in str(error)
    assert error.args == (error.message,)
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


CALLS: dict[str, tuple[Callable[[EachLabs], Awaitable[Any]], str]] = {
    "prediction": (lambda client: client.predictions.get("x"), ANYBODYS),
    "workflow execution": (lambda client: client.workflow_executions.get("x"), ANYBODYS),
    "flow execution": (lambda client: client.flow_executions.get("w", "x"), ANYBODYS),
    "wait for a prediction": (lambda client: client.predictions.wait("x", poll=EAGER), OURS),
    "wait for an execution": (lambda client: client.workflow_executions.wait("x", poll=EAGER), OURS),
}


@pytest.mark.parametrize("call", CALLS)
async def test_an_execution_that_is_not_found_may_have_been_deleted(call: str) -> None:
    """The service's words come first; who waits, and so knows of it, is told that it may be gone since."""
    ask, hint = CALLS[call]
    async with RawServer(then=GONE) as server, client_of(server) as client:
        with pytest.raises(NotFoundError) as caught:
            await ask(client)
    says(caught.value, hint, "the service's own words")
    assert (caught.value.status, caught.value.attempts) == (404, 1)


async def test_what_was_there_while_it_was_waited_for_is_gone() -> None:
    """After an answer a 404 ends the wait, also of what was created just now, and says so."""
    running = answer(json={"id": "p", "execution_id": "e", "status": "running"})
    async with RawServer(running, GONE, running, GONE) as server, client_of(server) as client:
        with pytest.raises(NotFoundError) as caught:
            await client.predictions.wait(Prediction(id="p", status="running"), poll=EAGER)
        says(caught.value, OURS, "the service's own words")
        with pytest.raises(NotFoundError) as caught:
            await client.workflow_executions.wait(TriggeredExecution(execution_id="e", status="queued"), poll=EAGER)
        says(caught.value, OURS, "the service's own words")


async def test_ids_of_a_bulk_fetch_are_told_so_each() -> None:
    """An outcome has the hint of a plain get, an error that is no 404 has none."""
    async with RawServer(GONE, answer(403, json={"error": "no"}), then=GONE) as server, client_of(server) as client:
        done = await client.workflow_executions.get_many(["a", "b", "c"], concurrency=1).collect()
        says(done.errors["a"], ANYBODYS, "the service's own words")
        says(done.errors["c"], ANYBODYS, "the service's own words")
        assert isinstance(refused := done.errors["b"], EachLabsError)
        assert refused.message == "no"
        says((await client.predictions.get_many(["a"]).collect()).errors["a"], ANYBODYS, "the service's own words")


async def test_an_id_that_a_bulk_answer_leaves_out_may_have_been_deleted() -> None:
    """The words are ours, the hint is the same."""
    async with RawServer(then=answer(json={"executions": []})) as server, client_of(server) as client:
        done = await client.flow_executions.get_many("w", ["x"]).collect()
    says(done.errors["x"], ANYBODYS, "the bulk answer has no execution 'x'")


async def test_what_a_listing_gave_was_there(emulator: Emulator, client: EachLabs) -> None:
    """A row that is deleted between the listing and the reading of it is told to be gone."""
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
    """An id that the service does not know is an outcome that says so."""
    workflow = emulator.workflow_ids[0]
    async with client.workflow_executions.wait_many(workflow, ["nobody's"]) as outcomes:
        found = [outcome async for outcome in outcomes]
    says(found[0].error, OURS, "execution not found")


@pytest.mark.parametrize("kind", ["workflow", "model"])
async def test_what_a_map_started_may_be_gone_before_it_is_read(
    kind: str, emulator: Emulator, client: EachLabs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An execution that is deleted while it runs is an outcome that says so, and the others are not touched."""
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
    """Models, workflows, files and the runs of the other vendor are not deleted by age."""
    async with RawServer(then=GONE) as server, client_of(server) as client:
        for call in (
            client.models.get("x"),
            client.workflows.get("x"),
            client.runs.get("x"),
            client.runs.wait("x", poll=EAGER),
            client.workflow_executions.list("x").collect(),
        ):
            with pytest.raises(NotFoundError) as caught:
                await call
            assert caught.value.message == "the service's own words"
