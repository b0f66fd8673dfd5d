"""Holds the deadlines of calls: one timer for all, and the bookkeeping of cancellations that `asyncio.timeout` does."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from time import monotonic

import pytest

from eachlabs_async._deadline import Deadline, Lane


class Passed(Exception):  # noqa: N818
    """What stands for `APITimeoutError` here."""


async def within(lane: Lane, work: Callable[[], Awaitable[object]]) -> object:
    """Bound some work as `Transport.send` bounds a call."""
    deadline = lane.enter(asyncio.get_running_loop())
    try:
        return await work()
    except asyncio.CancelledError:
        if not deadline.took_effect():
            raise
    finally:
        lane.leave(deadline)
    raise Passed


async def forever() -> None:
    await asyncio.Event().wait()


async def test_a_call_in_time_is_left_alone() -> None:
    """It gives its result, and nothing of the lane's is left but the timer."""
    lane = Lane(5)
    assert await within(lane, lambda: asyncio.sleep(0, "done")) == "done"
    assert not lane._running
    lane.close()
    assert lane._timer is None
    lane.close()


async def test_a_call_that_takes_too_long_is_interrupted() -> None:
    """After the length of the lane, not before, and the task is not left marked as cancelled."""
    lane, began = Lane(0.05), monotonic()
    with pytest.raises(Passed):
        await within(lane, forever)
    assert 0.049 < monotonic() - began < 2
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    await asyncio.sleep(0)


async def test_calls_fall_due_in_the_order_in_which_they_began() -> None:
    """One timer serves calls that began at different times, each at its own moment."""
    lane, order = Lane(0.08), []
    loop = asyncio.get_running_loop()

    async def call(name: int) -> None:
        began = loop.time()
        with pytest.raises(Passed):
            await within(lane, forever)
        order.append(name)
        assert loop.time() - began >= 0.0799

    tasks = []
    for name in range(5):
        tasks.append(asyncio.ensure_future(call(name)))
        await asyncio.sleep(0.01)
    await asyncio.gather(*tasks)
    assert order == [0, 1, 2, 3, 4]


async def test_many_calls_have_one_timer() -> None:
    """The loop holds a single handle for a thousand calls, and none once all have ended and it has rung."""
    loop = asyncio.get_running_loop()
    lane, before = Lane(0.1), len(loop._scheduled)  # type: ignore[attr-defined]
    tasks = [asyncio.ensure_future(within(lane, forever)) for _ in range(1000)]
    await asyncio.sleep(0)
    assert len(lane._running) == 1000
    assert len(loop._scheduled) - before == 1  # type: ignore[attr-defined]
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(one, Passed) for one in results)
    assert lane._timer is None
    assert not lane._running


async def test_a_later_call_is_bounded_after_an_earlier_one_has_ended() -> None:
    """The timer that was set for a call which is long over rings for the oldest that is left."""
    lane = Lane(0.4)
    await within(lane, lambda: asyncio.sleep(0.02))
    began = monotonic()
    with pytest.raises(Passed):
        await within(lane, forever)
    assert 0.399 < monotonic() - began < 5


@pytest.mark.parametrize("first", ["caller", "deadline"])
async def test_the_callers_cancellation_wins(first: str) -> None:
    """Where caller and deadline cancel in one turn of the loop, in whatever order, the caller's counts."""
    lane = Lane(30)
    task = asyncio.ensure_future(within(lane, forever))
    await asyncio.sleep(0)
    (deadline,) = lane._running
    for who in (first, "caller" if first == "deadline" else "deadline"):
        if who == "caller":
            task.cancel("by the caller")
        else:
            deadline.interrupt()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert task.cancelled()
    lane.close()


async def test_a_cancellation_that_was_there_before_does_not_count() -> None:
    """A task that was cancelled and caught it can still meet deadlines, as with `asyncio.timeout`."""
    lane = Lane(0.02)

    async def cancelled_once() -> int:
        task = asyncio.current_task()
        assert task is not None
        with contextlib.suppress(asyncio.CancelledError):
            await forever()
        assert task.cancelling() == 1
        with pytest.raises(Passed):
            await within(lane, forever)
        return task.cancelling()

    task = asyncio.ensure_future(cancelled_once())
    await asyncio.sleep(0)
    task.cancel()
    assert await task == 1


async def test_an_outer_timeout_that_passes_too_is_not_taken_for_ours() -> None:
    """A caller's `asyncio.timeout` of the same moment becomes the caller's `TimeoutError`."""
    lane = Lane(0.03)
    with pytest.raises((TimeoutError, Passed)):
        async with asyncio.timeout(0.03):
            await within(lane, forever)
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    await asyncio.sleep(0)


@pytest.mark.parametrize("outcome", ["value", "error"])
async def test_work_that_swallows_the_interruption_leaves_no_mark(outcome: str) -> None:
    """Its result or error stands, and the task is not left marked as cancelled, as with `asyncio.timeout`."""
    lane = Lane(0.01)

    async def swallow() -> str:
        try:
            await forever()
        except asyncio.CancelledError:
            if outcome == "error":
                raise KeyError(outcome) from None
        return outcome

    if outcome == "error":
        with pytest.raises(KeyError):
            await within(lane, swallow)
    else:
        assert await within(lane, swallow) == outcome
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_a_deadline_is_in_no_hurry_to_ring_early() -> None:
    """The end is the start plus the length, whatever other lanes do."""
    loop = asyncio.get_running_loop()
    short, long = Lane(0.01), Lane(30)
    before = loop.time()
    deadlines: list[Deadline] = [short.enter(loop), long.enter(loop)]
    assert deadlines[0].ends - before >= 0.01
    assert deadlines[1].ends - before >= 30
    for lane, deadline in zip((short, long), deadlines, strict=True):
        lane.leave(deadline)
        lane.leave(deadline)
        lane.close()


def test_a_call_outside_of_a_task_is_refused() -> None:
    """There would be nothing to interrupt."""
    loop = asyncio.new_event_loop()
    try:
        with pytest.raises(RuntimeError, match="needs a running asyncio task"):
            Lane(1).enter(loop)
    finally:
        loop.close()
