"""Tests for the semaphore of requests in flight: its order, its priorities, and that no slot is lost."""

from __future__ import annotations

import asyncio
import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from internals import single_calls_waiting

from eachlabs_async.transport.semaphore import BACKGROUND_SHARE, PrioritySemaphore


async def turns(count: int = 3) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


class Queue:
    """Starts tasks that acquire a semaphore, and records the order in which they succeed."""

    def __init__(self, size: int) -> None:
        self.semaphore = PrioritySemaphore(size)
        self.order: list[str] = []

    def start(self, name: str, *, background: bool = False) -> asyncio.Task[None]:
        async def enter() -> None:
            await self.semaphore.acquire(background=background)
            self.order.append(name)

        return asyncio.ensure_future(enter())


async def test_nobody_waits_while_a_place_is_free() -> None:
    """As many tasks as there are slots succeed without an iteration of the loop; the next one waits."""
    semaphore = PrioritySemaphore(2)
    for _ in range(2):
        coroutine = semaphore.acquire(background=False)
        with pytest.raises(StopIteration):
            coroutine.send(None)
    assert semaphore.available == 0
    waiting = asyncio.ensure_future(semaphore.acquire(background=False))
    await turns()
    assert not waiting.done()
    semaphore.release()
    await waiting
    assert semaphore.available == 0
    semaphore.release()
    semaphore.release()
    assert semaphore.available == semaphore.size == 2


async def test_those_who_wait_go_in_order() -> None:
    """Each queue is first come, first served."""
    for background in (False, True):
        queue = Queue(1)
        await queue.semaphore.acquire(background=False)
        tasks = [queue.start(str(n), background=background) for n in range(20)]
        await turns()
        for _ in tasks:
            queue.semaphore.release()
        await asyncio.gather(*tasks)
        assert queue.order == [str(n) for n in range(20)]


async def test_a_place_that_falls_free_is_not_overtaken() -> None:
    """A task that comes between the release and the wake-up waits behind the others."""
    queue = Queue(1)
    await queue.semaphore.acquire(background=False)
    first = queue.start("first")
    await turns()
    queue.semaphore.release()
    assert queue.semaphore.available == 0
    late = queue.start("late")
    await first
    await turns()
    assert queue.order == ["first"]
    queue.semaphore.release()
    await late


@pytest.mark.parametrize("before", range(2 * BACKGROUND_SHARE))
async def test_a_single_call_goes_before_the_crowd(before: int) -> None:
    """A lone single call gets the next slot, however long the queue of background calls is."""
    queue = Queue(1)
    await queue.semaphore.acquire(background=True)
    background = [queue.start("background", background=True) for _ in range(100)]
    await turns()
    for _ in range(before):
        queue.semaphore.release()
        await turns()
    single = queue.start("single")
    await turns()
    queue.semaphore.release()
    await turns()
    assert single.done()
    assert queue.order == ["background"] * before + ["single"]
    for _ in range(len(background) + 1 - before):
        queue.semaphore.release()
    await asyncio.gather(*background)
    assert queue.semaphore.available == 1


@pytest.mark.parametrize("waiting", [1, 2, 3, 10])
async def test_where_single_calls_come_without_end_the_crowd_has_its_share(waiting: int) -> None:
    """One slot in eight goes to a background call, however many single calls wait; never two in a row."""
    queue = Queue(1)
    await queue.semaphore.acquire(background=False)
    tasks = [queue.start("background", background=True) for _ in range(20)]
    await turns()
    for _ in range(5 * BACKGROUND_SHARE):
        while single_calls_waiting(queue.semaphore) < waiting:
            tasks.append(queue.start("single"))
            await turns()
        queue.semaphore.release()
        await turns()
    assert [n for n, name in enumerate(queue.order, 1) if name == "background"] == list(range(8, 41, 8))
    for _ in range(len(tasks) + 1 - 5 * BACKGROUND_SHARE):
        queue.semaphore.release()
    await asyncio.gather(*tasks)
    assert queue.semaphore.available == 1


async def test_one_grant_in_eight_is_the_crowds() -> None:
    """An endless stream of single calls does not starve a bulk job."""
    queue = Queue(1)
    await queue.semaphore.acquire(background=False)
    tasks = [queue.start("background", background=True) for _ in range(10)]
    tasks += [queue.start("single") for _ in range(200)]
    await turns()
    for _ in range(10 * BACKGROUND_SHARE):
        queue.semaphore.release()
        await turns()
    assert queue.order.count("background") == 10
    assert [n for n, name in enumerate(queue.order, 1) if name == "background"] == list(range(8, 81, 8))
    for _ in range(len(tasks) + 1 - 80):
        queue.semaphore.release()
    await asyncio.gather(*tasks)
    assert queue.semaphore.available == 1


@pytest.mark.parametrize("background", [False, True])
async def test_cancelled_while_waiting_leaves_the_queue(background: bool) -> None:
    """The slot goes to the next task."""
    queue = Queue(1)
    await queue.semaphore.acquire(background=False)
    gone, stays = queue.start("gone", background=background), queue.start("stays", background=background)
    await turns()
    gone.cancel()
    await turns()
    queue.semaphore.release()
    await stays
    assert gone.cancelled()
    queue.semaphore.release()
    assert queue.semaphore.available == 1


@pytest.mark.parametrize("others", [0, 1])
async def test_cancelled_at_the_grant_hands_the_place_on(others: int) -> None:
    """If a task gets a slot and is cancelled in the same iteration, the slot is not lost."""
    queue = Queue(1)
    await queue.semaphore.acquire(background=False)
    gone = queue.start("gone")
    rest = [queue.start("rest") for _ in range(others)]
    await turns()
    queue.semaphore.release()
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    assert gone.cancelled()
    await asyncio.gather(*rest)
    assert queue.semaphore.available == 1 - others


@pytest.mark.parametrize("others", [0, 1])
async def test_a_grant_passes_over_who_was_just_cancelled(others: int) -> None:
    """A slot that is released in the iteration in which the first task is cancelled goes to the next one."""
    queue = Queue(1)
    await queue.semaphore.acquire(background=False)
    gone = queue.start("gone")
    rest = [queue.start("rest") for _ in range(others)]
    await turns()
    gone.cancel()
    queue.semaphore.release()
    await asyncio.gather(gone, return_exceptions=True)
    assert gone.cancelled()
    await asyncio.gather(*rest)
    assert queue.order == ["rest"] * others
    assert queue.semaphore.available == 1 - others


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 4), st.integers(0, 2**32), st.integers(1, 40))
def test_no_storm_of_cancellations_loses_a_place(size: int, seed: int, count: int) -> None:
    """Whatever is cancelled when, at most `size` slots are in use, and all are free in the end."""
    dice = random.Random(seed)

    async def storm() -> None:
        semaphore = PrioritySemaphore(size)
        inside = most = 0

        async def visit() -> None:
            nonlocal inside, most
            for _ in range(dice.randrange(3)):
                await asyncio.sleep(0)
            await semaphore.acquire(background=dice.random() < 0.5)
            inside += 1
            most = max(most, inside)
            try:
                for _ in range(dice.randrange(4)):
                    await asyncio.sleep(0)
            finally:
                inside -= 1
                semaphore.release()

        tasks = [asyncio.ensure_future(visit()) for _ in range(count)]
        for _ in range(30):
            for task in tasks:
                if dice.random() < 0.05:
                    task.cancel()
            await asyncio.sleep(0)
        results: list[object] = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(one is None or isinstance(one, asyncio.CancelledError) for one in results), results
        assert most <= size
        assert semaphore.available == size

    asyncio.run(asyncio.wait_for(storm(), 10))


async def seconds_to_cancel(count: int, *, background: bool, last_first: bool) -> float:
    """Return the seconds that the cancellation of waiting tasks takes."""
    semaphore = PrioritySemaphore(1)
    await semaphore.acquire(background=False)
    tasks = [asyncio.ensure_future(semaphore.acquire(background=background)) for _ in range(count)]
    await turns()
    began = time.perf_counter()
    for task in reversed(tasks) if last_first else tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return time.perf_counter() - began


@pytest.mark.parametrize("background", [False, True])
async def test_leaving_the_queue_costs_the_same_from_any_position(background: bool) -> None:
    """Cancelling 20,000 waiting calls last to first takes about as long as first to last, not a multiple of it."""
    first_to_last = await seconds_to_cancel(20_000, background=background, last_first=False)
    last_to_first = await seconds_to_cancel(20_000, background=background, last_first=True)
    assert last_to_first < 5 * first_to_last
