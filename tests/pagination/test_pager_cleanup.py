"""Tests that a walk leaves no task, request, socket or memory behind, however it ends."""

from __future__ import annotations

import asyncio
import gc
import random
import tracemalloc
import weakref
from typing import Any

import pytest
from event_loop import until
from listings import KINDS, Reached, ids_of, reached

from eachlabs_async import APIStatusError, EachLabsError
from eachlabs_async.emulator import Fault

every_kind = pytest.mark.parametrize("kind", KINDS)


def others() -> set[asyncio.Task[Any]]:
    """The tasks of the walk: all but the test's own and the emulator's."""
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    return {task for task in tasks if "_fetch" in repr(task) or "_walk_one" in repr(task)}


@every_kind
async def test_leaving_the_block_leaves_nothing_at_once(kind: str) -> None:
    """After `async with` and `aclose()`, all requests sent ahead have ended."""
    async with reached(kind, 60) as listing:
        listing.emulator.faults.add(Fault.latency(30), after=3)
        async with listing.list(5, look_ahead=6) as rows:
            async for _ in rows:
                if listing.emulator.in_flight:
                    assert others()
                    break
        assert not others()
        await until(lambda: listing.emulator.in_flight == 0)


@every_kind
@pytest.mark.parametrize("look_ahead", [0, 2])
async def test_leaving_the_block_starts_no_task_for_the_clean_up(kind: str, look_ahead: int) -> None:
    """The block itself closes the walk and leaves nothing to a later task of the loop."""
    async with reached(kind, 60) as listing:
        before = asyncio.all_tasks()
        async with listing.list(100, look_ahead=look_ahead) as rows:
            async for _ in rows:
                break
        for _ in range(3):
            assert not [task for task in asyncio.all_tasks() - before if "athrow" in repr(task)]
            await asyncio.sleep(0)


@every_kind
async def test_a_bare_break_leaves_nothing_soon(kind: str) -> None:
    """Without a block, leaving the loop ends the walk."""
    async with reached(kind, 60) as listing:
        listing.emulator.faults.add(Fault.latency(30), after=3)
        async for _ in listing.list(5, look_ahead=6):
            if listing.emulator.in_flight:
                break
        gc.collect()
        await until(lambda: not others() and listing.emulator.in_flight == 0)


@every_kind
async def test_aclose_in_the_middle_of_a_page(kind: str) -> None:
    """A closed walk cannot continue; closing it again, or before it begins, has no effect."""
    async with reached(kind, 60) as listing:
        listing.emulator.faults.add(Fault.latency(30), after=4)
        pager = listing.list(5, look_ahead=6)
        walk = aiter(pager)
        for _ in range(7):
            await anext(walk)
        await pager.aclose()
        assert not others()
        with pytest.raises(StopAsyncIteration):
            await anext(walk)
        await pager.aclose()
        await listing.list(5).aclose()


@every_kind
@pytest.mark.parametrize("look_ahead", [0, 6])
@pytest.mark.parametrize("asked", [0, 2])
async def test_closed_by_another_task_it_tells_who_awaits_a_row(kind: str, look_ahead: int, asked: int) -> None:
    """Closing the walk must not look like the end of the listing, and nothing is left when `aclose` returns."""
    async with reached(kind, 60) as listing:
        listing.emulator.faults.add(Fault.latency(30), after=asked)
        pager = listing.list(5, look_ahead=look_ahead)
        consumer = asyncio.create_task(pager.collect())
        await until(lambda: listing.requests > asked)
        await pager.aclose()
        assert not others()
        with pytest.raises(RuntimeError, match="the walk was closed while a row was awaited"):
            await consumer
        assert listing.requests <= asked + 1 + look_ahead
        with pytest.raises(RuntimeError, match="walked once"):
            aiter(pager)
        await until(lambda: listing.emulator.in_flight == 0)


async def test_closed_while_it_pins_a_snapshot_it_tells_so_too() -> None:
    """The request for the server's time is cancelled like any other."""
    async with reached("executions.list compat", 10) as listing:
        listing.emulator.faults.add(Fault.latency(30))
        pager = listing.list(5, snapshot=True)
        consumer = asyncio.create_task(pager.collect())
        await until(lambda: listing.requests == 1)
        await pager.aclose()
        with pytest.raises(RuntimeError, match="the walk was closed while a row was awaited"):
            await consumer


@pytest.mark.parametrize("turns", range(4))
async def test_closed_and_cancelled_at_once_it_is_cancelled(turns: int) -> None:
    """No cancellation is lost to the closing, whichever comes first."""
    async with reached("executions.list compat", 10) as listing:
        listing.emulator.faults.add(Fault.latency(30))
        pager = listing.list(5)
        consumer = asyncio.create_task(pager.collect())
        await until(lambda: listing.requests == 1)
        closing = asyncio.create_task(pager.aclose())
        for _ in range(turns % 2):
            await asyncio.sleep(0)
        consumer.cancel()
        if turns < 2:
            consumer.cancel()
        await closing
        with pytest.raises(asyncio.CancelledError):
            await consumer


@every_kind
async def test_an_exception_of_the_callers_leaves_nothing(kind: str) -> None:
    """For errors in the loop body, in on_progress, and of a request."""
    async with reached(kind, 60) as listing:

        class OwnError(Exception):
            pass

        def fail(_: object) -> None:
            raise OwnError

        async def in_the_body() -> None:
            async with listing.list(5, look_ahead=6) as rows:
                async for _ in rows:
                    raise OwnError

        with pytest.raises(OwnError):
            await in_the_body()
        with pytest.raises(OwnError):
            await listing.list(5, look_ahead=6, on_progress=fail).collect()
        listing.emulator.faults.add(Fault.status(400), after=2, times=1)
        with pytest.raises(APIStatusError):
            await listing.list(5, look_ahead=6).collect()
        assert not others()
        await until(lambda: listing.emulator.in_flight == 0)


@every_kind
async def test_cancelled_at_random_points_a_walk_leaves_nothing_and_goes_on(kind: str) -> None:
    """A cancellation at any point passes through at once, and the checkpoint is that of the last row."""
    async with reached(kind, 60) as listing:
        dice = random.Random(kind)
        listing.emulator.faults.add(Fault.latency(0.0, jitter=0.004))
        for _ in range(25):
            pager = listing.list(4, look_ahead=dice.choice([0, 1, 5]))
            rows: list[Any] = []

            async def walk(pager: Any = pager, rows: list[Any] = rows) -> None:
                async with pager as walked:
                    async for row in walked:
                        rows.append(row)
                        await asyncio.sleep(0)

            task = asyncio.create_task(walk())
            await asyncio.sleep(dice.uniform(0, 0.03))
            task.cancel()
            async with asyncio.timeout(1):
                await asyncio.gather(task, return_exceptions=True)
            assert not others()
            rest = await listing.list(9, resume=pager.checkpoint).collect()
            assert ids_of(rows + rest) == listing.rows.ids()
        await until(lambda: listing.emulator.in_flight == 0)


@every_kind
async def test_cancellation_is_prompt(kind: str) -> None:
    """Closing waits for no answer, not even one that never comes."""
    async with reached(kind, 60) as listing:
        listing.emulator.faults.add(Fault.stalled_answer(), after=2)
        task = asyncio.create_task(listing.list(5, look_ahead=4).collect())
        await until(lambda: listing.emulator.in_flight > 2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            async with asyncio.timeout(1):
                await task
        assert not others()


async def test_a_client_that_is_closed_meanwhile_ends_the_walk(listing: Reached) -> None:
    """The next request of the walk raises because the client is closed; nothing is left."""
    walk = aiter(listing.list(5, look_ahead=3))
    await anext(walk)
    await listing.client.close()

    async def walk_on() -> None:
        async for _ in walk:
            pass

    with pytest.raises(EachLabsError, match="closed"):
        await walk_on()
    assert not others()


async def test_a_pager_that_is_never_walked_is_just_dropped(listing: Reached) -> None:
    """No I/O, no task, no warning, and nothing keeps it alive."""
    pager = listing.list(5, look_ahead=4)
    gone = weakref.ref(pager)
    del pager
    gc.collect()
    assert gone() is None
    assert not listing.requests


async def test_a_walk_keeps_no_pages() -> None:
    """The memory of a walk does not grow with its length."""
    async with reached(KINDS[0], 3000, v1_depth=None) as listing:
        listing.emulator.warm()
        held: list[int] = []
        tracemalloc.start()
        try:
            async for page in listing.list(20, look_ahead=4).pages():
                if page.number in (50, 140):
                    gc.collect()
                    held.append(tracemalloc.get_traced_memory()[0])
        finally:
            tracemalloc.stop()
        # The ids of 1,800 rows, and no more: a row alone takes several times as much.
        assert held[1] - held[0] < 1800 * 400


@pytest.fixture
async def listing() -> Any:
    async with reached(KINDS[0], 60) as found:
        yield found
