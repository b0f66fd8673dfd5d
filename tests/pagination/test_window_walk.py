"""Tests for walking windows concurrently: complete, each row once, ordered on request, and nothing left running."""

from __future__ import annotations

import asyncio
import gc
import pickle
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from event_loop import until
from listings import KINDS, Reached, ids_of, reached

from eachlabs_async import APIStatusError, Window
from eachlabs_async.emulator import Fault
from eachlabs_async.transport.arguments import rfc3339

SECOND = timedelta(seconds=1)
TICK = timedelta(microseconds=1)


@pytest.fixture
async def listing() -> AsyncIterator[Reached]:
    async with reached(KINDS[0], 500) as found:
        yield found


async def split(listing: Reached, parts: int, **filters: Any) -> list[Window]:
    now = listing.emulator.now
    return await listing.client.executions.windows(now - timedelta(days=61), now + SECOND, parts=parts, **filters)


def walkers() -> int:
    return sum("_walk_one" in repr(task) for task in asyncio.all_tasks())


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("concurrency", [1, 3, 50])
@pytest.mark.parametrize("parts", [1, 7, 20])
async def test_every_row_comes_once(listing: Reached, parts: int, concurrency: int, ordered: bool) -> None:
    """Ordered, the rows are those of one walk of the whole span; unordered, the same rows in any order."""
    windows = await split(listing, parts)
    walk = listing.client.executions.walk_windows(windows, concurrency=concurrency, ordered=ordered)
    rows = ids_of([row async for row in walk])
    assert sorted(rows) == sorted(listing.rows.ids())
    if ordered:
        assert rows == listing.rows.ids()
    assert listing.emulator.max_in_flight <= max(concurrency, parts)


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("ends", ["both", "from", "to", "none"])
async def test_rows_exactly_at_the_bounds_come_once(ordered: bool, ends: str) -> None:
    """Several rows have the time of a bound, whether or not the service includes its bounds."""
    async with reached(KINDS[0], 40) as listing:
        rows = listing.rows
        windows = await split(listing, 4)
        seams = [window.since for window in windows[1:]]
        for number, seam in enumerate(seams):
            for row_id in rows.ids()[number * 5 : number * 5 + 3]:
                rows.change(row_id, created_at=seam.isoformat())

        def strict(answer: Any, seen: Any) -> Any:
            first, last = datetime.fromisoformat(seen.query["from"]), datetime.fromisoformat(seen.query["to"])

            def kept(row: Any) -> bool:
                time = datetime.fromisoformat(row["created_at"])
                return (time != first or ends in ("both", "from")) and (time != last or ends in ("both", "to"))

            left = [row for row in answer["executions"] if kept(row)]
            gone = len(answer["executions"]) - len(left)
            return {**answer, "executions": left, "total_count": answer["total_count"] - gone}

        listing.emulator.faults.add(Fault.edit(strict))
        walk = listing.client.executions.walk_windows(windows, ordered=ordered)
        assert sorted(ids_of([row async for row in walk])) == sorted(rows.ids())


async def test_windows_walk_in_another_process_as_here(listing: Reached) -> None:
    """The windows are pickled, and each is walked on its own, with its filters."""
    windows = await split(listing, 5, status="success")
    rows: list[str] = []
    for window in pickle.loads(pickle.dumps(windows)):
        rows += ids_of([row async for row in listing.client.executions.walk_windows([window])])
    assert sorted(rows) == sorted(row["id"] for row in listing.rows if row["status"] == "success")


async def test_no_windows_are_no_rows(listing: Reached) -> None:
    """An empty list has no rows, and neither has a window whose only rows belong to its neighbors."""
    assert [row async for row in listing.client.executions.walk_windows([])] == []
    newest = datetime.fromisoformat(next(iter(listing.rows))["created_at"])
    beside = Window(newest - 3 * TICK, newest - 2 * TICK)
    assert [row async for row in listing.client.executions.walk_windows([beside])] == []
    assert listing.emulator.log[-1].query["to"] > newest.isoformat()


async def test_it_is_walked_once_and_checks_its_arguments(listing: Reached) -> None:
    """A second iteration is a RuntimeError; creating a walk sends nothing."""
    windows = await split(listing, 2)
    listing.emulator.reset_counters()
    walk = listing.client.executions.walk_windows(windows)
    for wrong, kind in ((0, ValueError), ("2", TypeError)):
        with pytest.raises(kind, match="concurrency"):
            listing.client.executions.walk_windows(windows, concurrency=wrong)
    assert not listing.requests
    aiter(walk)
    with pytest.raises(RuntimeError, match="walked once"):
        aiter(walk)


@pytest.mark.parametrize("ordered", [True, False])
async def test_leaving_early_leaves_nothing(listing: Reached, ordered: bool) -> None:
    """`break` in a block ends it at once, a bare `break` soon; aclose works before and after."""
    windows = await split(listing, 8)
    listing.emulator.faults.add(Fault.latency(30), after=5)
    async with listing.client.executions.walk_windows(windows, ordered=ordered, concurrency=6) as rows:
        async for _ in rows:
            break
    assert not walkers()
    await until(lambda: listing.emulator.in_flight == 0)
    listing.emulator.faults.clear()
    async for _ in listing.client.executions.walk_windows(windows, ordered=ordered):
        break
    gc.collect()
    await until(lambda: not walkers() and listing.emulator.in_flight == 0)
    walk = listing.client.executions.walk_windows(windows, ordered=ordered)
    rows = aiter(walk)
    await anext(rows)
    await walk.aclose()
    await walk.aclose()
    assert not walkers()
    with pytest.raises(StopAsyncIteration):
        await anext(rows)


@pytest.mark.parametrize("ordered", [True, False])
async def test_an_error_of_one_window_ends_the_walk(listing: Reached, ordered: bool) -> None:
    """The error is raised as it is, not in a group, and the other windows are stopped."""
    windows = await split(listing, 8)
    listing.emulator.faults.add(Fault.status(400), after=3, times=1)

    async def walk() -> None:
        async for _ in listing.client.executions.walk_windows(windows, ordered=ordered, concurrency=4):
            pass

    with pytest.raises(APIStatusError) as caught:
        await walk()
    assert caught.value.checkpoint is not None
    await until(lambda: not walkers() and listing.emulator.in_flight == 0)


@pytest.mark.parametrize("ordered", [True, False])
async def test_cancelled_it_ends_at_once(listing: Reached, ordered: bool) -> None:
    """Closing waits for no answer."""
    windows = await split(listing, 8)
    listing.emulator.faults.add(Fault.stalled_answer(), after=4)

    async def walk() -> None:
        async with listing.client.executions.walk_windows(windows, ordered=ordered) as rows:
            async for _ in rows:
                pass

    task = asyncio.create_task(walk())
    await until(lambda: listing.emulator.in_flight > 3)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        async with asyncio.timeout(1):
            await task
    assert not walkers()


@pytest.mark.parametrize("ordered", [True, False])
async def test_closed_by_another_task_it_tells_who_awaits_a_row(listing: Reached, ordered: bool) -> None:
    """Closing must not look like the end of the last window, and no task is left."""
    windows = await split(listing, 4)
    listing.emulator.faults.add(Fault.latency(30))
    walk = listing.client.executions.walk_windows(windows, ordered=ordered)

    async def consume() -> None:
        async for _ in walk:
            pass

    consumer = asyncio.create_task(consume())
    await until(lambda: listing.emulator.in_flight > 0)
    await walk.aclose()
    assert not walkers()
    with pytest.raises(RuntimeError, match="the walk was closed while a row was awaited"):
        await consumer
    with pytest.raises(RuntimeError, match="walked once"):
        aiter(walk)


async def test_unordered_a_slow_consumer_stops_the_fetching() -> None:
    """The buffer is a few pages per window, however many rows there are."""
    async with reached(KINDS[0], 3000, v1_depth=None) as listing:
        windows = await split(listing, 2)
        listing.emulator.reset_counters()
        walk = aiter(listing.client.executions.walk_windows(windows, concurrency=2, ordered=False, buffer_rows=400))
        await anext(walk)
        for _ in range(100):
            await asyncio.sleep(0.001)
        # For each window: the buffered pages, the current one and the one being added.
        assert listing.requests <= 2 * 4
        rest = [row async for row in walk]
        assert len(rest) == 2999


async def test_the_bound_holds_over_all_windows(listing: Reached) -> None:
    """Never more windows at once than `concurrency`."""
    windows = await split(listing, 12)
    listing.emulator.reset_counters()
    listing.emulator.faults.add(Fault.latency(0.001, jitter=0.005))
    assert len([row async for row in listing.client.executions.walk_windows(windows, concurrency=3)]) == 500
    assert listing.emulator.max_in_flight <= 3


async def test_rows_that_come_while_another_window_has_the_word_wait_for_no_request() -> None:
    """Unordered, rows that have arrived are delivered, however long the other window's answer takes."""
    async with reached(KINDS[0], 300) as listing:
        windows = await split(listing, 2)
        seams = {rfc3339(window.wider[0]): number for number, window in enumerate(windows)}
        faults = listing.emulator.faults
        faults.add(Fault.latency(0.1), when=lambda seen: seams[seen.query["from"]] == 0)
        faults.add(Fault.latency(30), when=lambda seen: seams[seen.query["from"]] == 1 and seen.query["offset"] != "0")
        async with listing.client.executions.walk_windows(windows, ordered=False) as rows, asyncio.timeout(5):
            walk = aiter(rows)
            first = await anext(walk)
            assert windows[1].holds(first)
            await asyncio.sleep(0.4)
            while not windows[0].holds(await anext(walk)):
                pass


async def test_leaving_the_block_starts_no_task_for_the_clean_up(listing: Reached) -> None:
    """The block itself closes the walk, even if no window is being walked any more."""
    before = asyncio.all_tasks()
    async with listing.client.executions.walk_windows(await split(listing, 1)) as rows:
        async for _ in rows:
            await until(lambda: not walkers())
            break
    for _ in range(3):
        assert not [task for task in asyncio.all_tasks() - before if "athrow" in repr(task)]
        await asyncio.sleep(0)
