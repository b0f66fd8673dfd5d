"""Tests for how the answers of a bulk fetch are decoded: together, and without losing one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import pytest
from bulk_jobs import execution, labs
from event_loop import turns
from internals import transport_of, window_of
from raw_server import RawServer, answer, client_of

from eachlabs_async.bulk import workers
from eachlabs_async.bulk.workers import SMALL_BODY
from eachlabs_async.emulator import Emulator
from eachlabs_async.errors import ResponseDecodeError
from eachlabs_async.records import WorkflowExecution
from eachlabs_async.transport.endpoints import GET_WORKFLOW_EXECUTION


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    async with Emulator(executions=20) as running:
        yield running


async def test_answers_of_any_size_come_out_alike() -> None:
    """Small answers are decoded together and large ones alone; each is the outcome of its own id."""

    def sized(seen: Any) -> Any:
        identity = seen.target.partition("?")[0].rsplit("/", 1)[1]
        text = "x" * (SMALL_BODY if int(identity) % 2 else 10)
        return answer(json={"execution_id": identity, "status": "completed", "output": text})

    async with RawServer(then=sized) as server, client_of(server) as client:
        result = await client.workflow_executions.get_many(map(str, range(100)), concurrency=8).collect()
    assert {one: value.execution_id for one, value in result.values.items()} == {str(n): str(n) for n in range(100)}
    assert {len(value.output) for value in result.values.values()} == {10, SMALL_BODY}


async def test_one_that_cannot_be_read_is_its_ids_alone() -> None:
    """Answers that arrived in the same iteration of the loop are decoded all the same."""

    def some(seen: Any) -> Any:
        return answer(json={"status": 5}) if "/3?" in seen.target else execution(seen)

    async with RawServer(then=some) as server, client_of(server) as client:
        result = await client.workflow_executions.get_many(map(str, range(20)), concurrency=20).collect()
    assert list(result.errors) == ["3"]
    assert isinstance(result.errors["3"], ResponseDecodeError)
    assert len(result.values) == 19


@pytest.mark.parametrize("ordered", [False, True])
async def test_a_reader_that_breaks_is_an_error_and_no_early_end(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch, ordered: bool
) -> None:
    """An unexpected exception is raised from the fetch and must not pass for the end of the ids."""

    def broken(body: bytes) -> Any:
        raise LookupError(len(body))

    monkeypatch.setattr(workers, "fast_reader", lambda kind: broken)
    ids = emulator.workflow_executions.ids()[:10]
    async with labs(emulator) as client:
        with pytest.raises(LookupError):
            await client.workflow_executions.get_many(ids, ordered=ordered).collect()


async def test_what_came_when_the_fetch_was_closed_is_dropped(emulator: Emulator) -> None:
    """An answer that is not yet decoded when the fetch is closed is dropped."""
    ids = emulator.workflow_executions.ids()[:10]
    async with labs(emulator) as client:
        many = client.workflow_executions.get_many(ids, concurrency=10)
        async for _ in many:
            window = window_of(many)
            await many.aclose()
            break
        assert window.closed
        reader = workers.DeferredReader(transport_of(client), GET_WORKFLOW_EXECUTION, WorkflowExecution)
        call: Any = SimpleNamespace(deadline=SimpleNamespace(started_at=0.0))
        reader.add(window, [], call, b"", asyncio.get_running_loop())
        # What `add` schedules would raise for an empty batch if it did not see that the window is closed.
        await turns()
        assert window.failure is None
        assert not window.ready
