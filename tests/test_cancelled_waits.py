"""Tests that a cancelled wait loses nothing: for every kind of stream, the next wait goes on."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from eachlabs_async import EachLabs, Page, RetryPolicy
from eachlabs_async.emulator import Emulator, Fault

ROWS = 250


@pytest.fixture(params=["compat", "unified"])
async def served(request: pytest.FixtureRequest) -> AsyncIterator[tuple[Emulator, EachLabs]]:
    """An emulator that takes 30 ms for an answer, and a client of each edition."""
    async with Emulator(executions=ROWS, seed=3, workflows=1) as emulator:
        hosts = emulator.hosts if request.param == "compat" else emulator.unified_hosts
        emulator.faults.add(Fault.latency(0.03))
        client = EachLabs(
            emulator.api_key, hosts=hosts, runs_api_key=emulator.runs_api_key, retry=RetryPolicy(base_s=0.01)
        )
        async with client:
            yield emulator, client


async def impatient(stream: Any, timeout_s: float = 0.007) -> list[Any]:
    """Iterate with a timeout for each wait that is shorter than an answer takes, and count the cancelled waits."""
    items, cancelled = [], 0
    async with stream as opened:
        iterator = aiter(opened)
        while True:
            try:
                items.append(await asyncio.wait_for(anext(iterator), timeout_s))
            except TimeoutError:
                cancelled += 1
                assert cancelled < 5_000
            except StopAsyncIteration:
                break
    assert cancelled
    return items


@pytest.mark.parametrize("look_ahead", [0, 3])
@pytest.mark.parametrize("listing", ["executions", "runs", "workflow_executions"])
async def test_a_walk_goes_on(served: tuple[Emulator, EachLabs], listing: str, look_ahead: int) -> None:
    """Every row comes once and in order, although some waits for a page were cancelled."""
    emulator, client = served
    make: dict[str, Callable[..., Any]] = {
        "executions": lambda **walk: client.executions.list(limit=30, **walk),
        "runs": lambda **walk: client.runs.list(size=30, **walk),
        "workflow_executions": lambda **walk: client.workflow_executions.list(
            emulator.workflow_ids[0], limit=30, **walk
        ),
    }
    whole = await make[listing]().collect()
    assert len(whole) > 200
    patience = 0.04 if look_ahead == 0 else 0.007
    emulator.faults.add(Fault.latency(0.06), after=2, times=4)
    assert await impatient(make[listing](look_ahead=look_ahead), patience) == whole


async def test_pages_go_on(served: tuple[Emulator, EachLabs]) -> None:
    """The same holds for the pages of a walk."""
    emulator, client = served
    whole = await client.executions.list(limit=30).collect()
    emulator.faults.add(Fault.latency(0.06), after=2, times=4)
    pages: list[Page[Any]] = []
    iterator = client.executions.list(limit=30).pages()
    while True:
        try:
            pages.append(await asyncio.wait_for(anext(iterator), 0.04))
        except TimeoutError:
            continue
        except StopAsyncIteration:
            break
    assert [row for page in pages for row in page.rows] == whole
    assert [page.number for page in pages] == list(range(1, len(pages) + 1))


@pytest.mark.parametrize("ordered", [True, False])
async def test_a_window_walk_goes_on(served: tuple[Emulator, EachLabs], ordered: bool) -> None:
    """Every row of every window comes once."""
    _, client = served
    whole = await client.executions.list(limit=100).collect()
    newest, oldest = whole[0].created_at, whole[-1].created_at
    windows = await client.executions.windows(oldest, newest, parts=4)
    rows = await impatient(client.executions.walk_windows(windows, ordered=ordered))
    assert Counter(row.id for row in rows) == Counter(row.id for row in whole if row.created_at < newest)


@pytest.mark.parametrize("ordered", [True, False])
async def test_a_bulk_fetch_goes_on(served: tuple[Emulator, EachLabs], ordered: bool) -> None:
    """Every id has one outcome and was requested once."""
    emulator, client = served
    ids = [row.execution_id for row in await client.workflow_executions.list(emulator.workflow_ids[0]).collect()]
    before = emulator.requests.copy()
    outcomes = await impatient(client.workflow_executions.get_many(ids, concurrency=16, ordered=ordered))
    assert Counter(outcome.id for outcome in outcomes) == Counter(ids)
    assert all(outcome.ok for outcome in outcomes)
    asked = emulator.requests - before
    assert sum(asked.values()) == len(ids)


@pytest.mark.parametrize("journaled", [True, False])
@pytest.mark.parametrize("kind", ["workflow", "prediction"])
async def test_a_map_goes_on(served: tuple[Emulator, EachLabs], kind: str, journaled: bool, tmp_path: Any) -> None:
    """Every input has one outcome and was executed once."""
    emulator, client = served
    journal = tmp_path / "journal" if journaled else None
    inputs = [{"n": number} for number in range(40)]
    if kind == "workflow":
        run: Any = client.workflows.map(emulator.workflow_ids[0], "v1", inputs, journal=journal)
    else:
        model = (await client.models.list(limit=1).first()).slug
        run = client.predictions.map(model, inputs, journal=journal)
    outcomes = await impatient(run, 0.005)
    assert sorted(outcome.index for outcome in outcomes) == list(range(40))
    assert all(outcome.ok for outcome in outcomes)
    assert len(emulator.submitted) == 40


async def test_a_loop_that_is_cancelled_outside_a_block_is_cleaned_up_soon(served: tuple[Emulator, EachLabs]) -> None:
    """Nothing refers to its iterator any more, so its requests are cancelled in the next iterations of the loop."""
    emulator, client = served
    emulator.faults.add(Fault.stalled_answer(), after=2)

    async def walk() -> None:
        async for _ in client.executions.list(limit=10, look_ahead=5):
            pass

    def left() -> set[str]:
        names = (getattr(task.get_coro(), "__qualname__", "") for task in asyncio.all_tasks())
        return {name for name in names if "Pager" in name or name == "walk"}

    task = asyncio.create_task(walk())
    while emulator.in_flight < 3:
        await asyncio.sleep(0.005)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    turns = 0
    while left():
        turns += 1
        assert turns < 20
        await asyncio.sleep(0)
