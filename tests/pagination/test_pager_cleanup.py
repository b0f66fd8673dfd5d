"""Holds that a walk leaves nothing behind, however it is left: no task, no request, no socket, no memory."""

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
    """After `async with`, and after aclose, all that was asked for ahead is gone when the next line runs."""
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
    """The block itself closes the walk: nothing of it is left to a task of the loop's in the turns that follow."""
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
    """Without a block, the walk ends by itself when the loop is left."""
    async with reached(kind, 60) as listing:
        listing.emulator.faults.add(Fault.latency(30), after=3)
        async for _ in listing.list(5, look_ahead=6):
            if listing.emulator.in_flight:
                break
        gc.collect()
        await until(lambda: not others() and listing.emulator.in_flight == 0)


@every_kind
async def test_aclose_in_the_middle_of_a_page(kind: str) -> None:
    """A walk that was closed is over; closing it again, or before it began, does no harm."""
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
    """The end of the walk must not pass for the end of the listing, and nothing is left when `aclose` returns."""
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
    """The request that finds the server's time is given up like any other."""
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
    """No cancellation is swallowed for the sake of the closing, whichever comes first."""
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
    """In the loop's body, in on_progress, and where a page cannot be had."""
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
    """Wherever the cancellation strikes it passes at once, untouched, and the checkpoint is that of the last row."""
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
    """No answer, not even one that is held for ever, is waited for."""
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
    """The walk's next request says that the client is closed; nothing is left."""
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
    """However long the walk, what it holds does not grow with it."""
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
