"""Tests for hydrating a listing: full executions in its order, streamed, an outcome per row, ending together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from bulk_jobs import labs, own_id, pour
from event_loop import other_tasks, turns, until
from internals import assert_idle

from eachlabs_async import State
from eachlabs_async.emulator import Emulator, Fault
from eachlabs_async.errors import AuthenticationError, NotFoundError, PermissionDeniedError

LIST, GET = "workflow_executions.list", "workflow_executions.get"


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    async with Emulator(executions=0, workflow_executions=240, workflows=2, seed=4, unfinished=0.3) as emulator:
        yield emulator


def listed(emulator: Emulator) -> list[str]:
    return emulator.workflow_executions[emulator.workflow_ids[0]].ids()


@pytest.mark.parametrize("unified", [False, True])
@pytest.mark.parametrize("look_ahead", [0, 3])
async def test_rows_become_executions_in_the_listings_order(emulator: Emulator, look_ahead: int, unified: bool) -> None:
    """Each row comes once, in full, with its index, up to the end of the last page."""
    hosts = emulator.unified_hosts if unified else emulator.hosts
    emulator.faults.add(Fault.latency(0, jitter=0.005), endpoint=GET)
    async with labs(emulator, hosts=hosts) as client:
        pager = client.workflow_executions.list("workflow-1", limit=25, look_ahead=look_ahead)
        async with pager.hydrate(concurrency=8) as outcomes:
            got = [outcome async for outcome in outcomes]
        assert_idle(client)
    assert [outcome.id for outcome in got] == listed(emulator)
    assert [outcome.index for outcome in got] == list(range(120))
    assert all(outcome.unwrap().execution_id == outcome.id for outcome in got)
    assert emulator.requests == {LIST: 5, GET: 120}
    assert pager.stats.rows == 120


async def test_it_streams(emulator: Emulator) -> None:
    """Executions come before the listing is read to its end, and it is read no further than the window requires."""
    async with labs(emulator) as client:
        pager = client.workflow_executions.list("workflow-1", limit=10)
        async with pager.hydrate(concurrency=3, window=12) as outcomes:
            count = 0
            async for _ in outcomes:
                count += 1
                await turns()
                assert pager.stats.rows <= count + 12 + 10
                assert emulator.requests[GET] <= count + 12
    assert count == 120


@pytest.mark.parametrize("form", [dict, lambda have: have.get])
async def test_what_is_known_and_finished_is_not_fetched(emulator: Emulator, form: Any) -> None:
    """A restarted job walks again and fetches only missing executions and those that may have changed."""
    async with labs(emulator) as client:
        have = (await client.workflow_executions.list("workflow-1", max_rows=50).hydrate().collect()).values
        finished = [key for key, one in have.items() if one.is_finished]
        assert 10 < len(finished) < 45
        emulator.reset_counters()
        again = client.workflow_executions.list("workflow-1").hydrate(known=form(have))
        result = await again.collect()
    assert list(result.values) == listed(emulator)
    assert emulator.requests[GET] == 120 - len(finished)
    assert {own_id(seen) for seen in emulator.log if seen.endpoint == GET}.isdisjoint(finished)
    assert all(result.values[key] is have[key] for key in finished)
    assert again.stats.known == len(finished)


async def test_one_row_that_fails_is_one_outcome(emulator: Emulator) -> None:
    """A row that was deleted after it was listed is not found, and the others go on."""
    ids = listed(emulator)[:100]
    got = []
    async with labs(emulator) as client:
        async for outcome in client.workflow_executions.list("workflow-1", max_rows=100).hydrate(concurrency=2):
            if not got:
                emulator.workflow_executions.remove(ids[50])
            got.append(outcome)
    assert [outcome.id for outcome in got] == ids
    assert [outcome.index for outcome in got if not outcome.ok] == [50]
    assert isinstance(got[50].error, NotFoundError)


async def test_an_error_of_the_walk_comes_after_what_was_read(emulator: Emulator) -> None:
    """It has its checkpoint, and every row of the pages before has its outcome."""
    emulator.faults.add(Fault.status(403), endpoint=LIST, after=2)
    got: list[Any] = []
    async with labs(emulator) as client:
        pager = client.workflow_executions.list("workflow-1", limit=30, look_ahead=1)
        with pytest.raises(PermissionDeniedError) as caught:
            await pour(pager.hydrate(concurrency=4), got)
        assert [outcome.id for outcome in got] == listed(emulator)[:60]
        emulator.faults.clear()
        rest = client.workflow_executions.list("workflow-1", limit=30, resume=caught.value.checkpoint)
        await pour(rest.hydrate(), got)
        assert [outcome.id for outcome in got] == listed(emulator)
        with pytest.raises(NotFoundError, match="workflow not found"):
            await client.workflow_executions.list("none").hydrate().collect()


async def test_a_bad_key_ends_the_walk_too(emulator: Emulator) -> None:
    """An error that ends the fetch leaves no page in flight."""
    emulator.faults.add(Fault.status(401), endpoint=GET, after=5)
    emulator.faults.add(Fault.latency(0.01), endpoint=LIST, after=1)
    async with labs(emulator) as client:
        with pytest.raises(AuthenticationError):
            await client.workflow_executions.list("workflow-1", limit=10, look_ahead=4).hydrate().collect()
        await turns()
        assert not [task for task in other_tasks() if "Pager" in repr(task)]
        assert_idle(client)


@pytest.mark.parametrize("taken", [1, 2, 11, 30])
@pytest.mark.parametrize("look_ahead", [0, 4])
@pytest.mark.parametrize("pause", [0, 1, 4])
async def test_leaving_ends_the_walk_with_the_fetch(
    emulator: Emulator, look_ahead: int, taken: int, pause: int
) -> None:
    """Neither pages read ahead nor executions in flight outlive the block."""
    emulator.faults.add(Fault.latency(0.001, jitter=0.004))
    async with labs(emulator) as client:
        pager = client.workflow_executions.list("workflow-1", limit=10, look_ahead=look_ahead)
        count = 0
        async with pager.hydrate(concurrency=4) as outcomes:
            async for _ in outcomes:
                count += 1
                if count == taken:
                    break
            await turns(pause)
        ours = [task for task in other_tasks() if "Pager" in repr(task) or "BulkFetch" in repr(task)]
        assert not ours
        assert_idle(client)
        asked = emulator.requests[LIST]
        await asyncio.sleep(0.01)
        assert emulator.requests[LIST] - asked <= look_ahead  # what was on its way to the server already
        await until(lambda: emulator.in_flight == 0)


async def test_a_plain_loop_left_by_break_ends_the_walk(emulator: Emulator) -> None:
    """Without a block, it ends in the next iterations of the loop."""
    emulator.faults.add(Fault.latency(0.001, jitter=0.004))
    async with labs(emulator) as client:
        async for _ in client.workflow_executions.list("workflow-1", limit=10, look_ahead=4).hydrate():
            break
        await until(lambda: not [task for task in other_tasks() if "Pager" in repr(task) or "BulkFetch" in repr(task)])
        assert_idle(client)


async def test_cancelled_at_any_moment_it_is_gone(emulator: Emulator) -> None:
    """This holds while a page is in flight, or an execution, or both."""
    emulator.faults.add(Fault.latency(0.001, jitter=0.003))
    async with labs(emulator) as client:
        for step in range(20):
            pager = client.workflow_executions.list("workflow-1", limit=10, look_ahead=2)
            task = asyncio.ensure_future(pager.hydrate(concurrency=4).collect())
            await asyncio.sleep(step * 0.001)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            ours = [task for task in other_tasks() if "Pager" in repr(task) or "BulkFetch" in repr(task)]
            assert not ours
            assert_idle(client)


async def test_a_pager_is_hydrated_once(emulator: Emulator) -> None:
    """A second hydration is an error rather than an empty result, as a second walk is."""
    async with labs(emulator) as client:
        pager = client.workflow_executions.list("workflow-1", max_rows=3)
        assert len((await pager.hydrate().collect()).values) == 3
        with pytest.raises(RuntimeError, match="a Pager is walked once"):
            await pager.hydrate().collect()


@pytest.mark.parametrize("unified", [False, True])
async def test_model_executions_become_predictions_in_the_listings_order(unified: bool) -> None:
    """Each row of `executions.list` comes once, in full, with its index, the steps of workflows too."""
    async with Emulator(executions=230, workflows=1, seed=4, unfinished=0.1) as emulator:
        hosts = emulator.unified_hosts if unified else emulator.hosts
        emulator.faults.add(Fault.latency(0, jitter=0.005), endpoint="predictions.get")
        async with labs(emulator, hosts=hosts) as client:
            created = await client.predictions.create("flux-1-1-pro", {"prompt": "a boat"})
            await client.predictions.wait(created)
            step = await client.workflows.trigger(emulator.workflow_ids[0], "v1", {"prompt": "a boat"})
            await client.workflow_executions.wait(step)
            rows = await client.executions.list().collect()
            emulator.reset_counters()
            pager = client.executions.list(limit=50)
            got = [outcome async for outcome in pager.hydrate(concurrency=8)]
            assert_idle(client)
    assert len(rows) > 230
    assert [outcome.id for outcome in got] == [row.id for row in rows]
    assert [outcome.index for outcome in got] == list(range(len(rows)))
    for row, outcome in zip(rows, got, strict=True):
        prediction = outcome.unwrap()
        assert (prediction.id, prediction.state) == (row.id, row.state)
        assert (prediction.output == row.output) is (row.state is not State.FAILED)
    own = next(outcome.unwrap() for outcome in got if outcome.id == created.id)
    assert own.input == {"prompt": "a boat"}
    assert emulator.requests["predictions.get"] == len(rows)
    assert emulator.requests.total() - len(rows) == 5
