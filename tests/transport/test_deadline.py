"""Holds the deadlines of calls: one timer for all, and the bookkeeping of cancellations that `asyncio.timeout` does."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from time import monotonic

import pytest

from eachlabs_async.transport.deadline import NEVER, Deadline, DeadlineTimer


class Passed(Exception):  # noqa: N818  # it is no error, it passes
    """What stands for `APITimeoutError` here."""


async def within(timer: DeadlineTimer, work: Callable[[], Awaitable[object]]) -> object:
    """Bound some work as `Transport.send` bounds a call."""
    deadline = timer.start(asyncio.get_running_loop(), reading=False)
    try:
        return await work()
    except asyncio.CancelledError:
        if not deadline.absorb_cancellation("deadline"):
            raise
    finally:
        timer.stop(deadline)
    raise Passed


async def forever() -> None:
    await asyncio.Event().wait()


async def test_a_call_in_time_is_left_alone() -> None:
    """It gives its result, and nothing of it is left but the timer handle."""
    timer = DeadlineTimer(5, NEVER)
    assert await within(timer, lambda: asyncio.sleep(0, "done")) == "done"
    assert not timer._active
    timer.close()
    assert timer._timer is None
    timer.close()


async def test_a_call_that_takes_too_long_is_interrupted() -> None:
    """After the deadline, not before, and the task is not left marked as cancelled."""
    timer, began = DeadlineTimer(0.05, NEVER), monotonic()
    with pytest.raises(Passed):
        await within(timer, forever)
    assert 0.049 < monotonic() - began < 2
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    await asyncio.sleep(0)


async def test_calls_fall_due_in_the_order_in_which_they_began() -> None:
    """One timer serves calls that began at different times, each at its own moment."""
    timer, order = DeadlineTimer(0.08, NEVER), []
    loop = asyncio.get_running_loop()

    async def call(name: int) -> None:
        began = loop.time()
        with pytest.raises(Passed):
            await within(timer, forever)
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
    timer, before = DeadlineTimer(0.1, NEVER), len(loop._scheduled)
    tasks = [asyncio.ensure_future(within(timer, forever)) for _ in range(1000)]
    await asyncio.sleep(0)
    assert len(timer._active) == 1000
    assert len(loop._scheduled) - before == 1
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(one, Passed) for one in results)
    assert not timer._active
    await asyncio.sleep(0.15)
    assert timer._timer is None


async def test_a_later_call_is_bounded_after_an_earlier_one_has_ended() -> None:
    """The timer that was set for a call which is long over rings for the oldest that is left."""
    timer = DeadlineTimer(0.4, NEVER)
    await within(timer, lambda: asyncio.sleep(0.02))
    began = monotonic()
    with pytest.raises(Passed):
        await within(timer, forever)
    assert 0.399 < monotonic() - began < 5


@pytest.mark.parametrize("first", ["caller", "deadline"])
async def test_the_callers_cancellation_wins(first: str) -> None:
    """Where caller and deadline cancel in one turn of the loop, in whatever order, the caller's counts."""
    timer = DeadlineTimer(30, NEVER)
    task = asyncio.ensure_future(within(timer, forever))
    await asyncio.sleep(0)
    (deadline,) = timer._active
    for who in (first, "caller" if first == "deadline" else "deadline"):
        if who == "caller":
            task.cancel("by the caller")
        else:
            deadline.interrupt("deadline")
    with pytest.raises(asyncio.CancelledError):
        await task
    assert task.cancelled()
    timer.close()


async def test_a_cancellation_that_was_there_before_does_not_count() -> None:
    """A task that was cancelled and caught it can still meet deadlines, as with `asyncio.timeout`."""
    timer = DeadlineTimer(0.02, NEVER)

    async def cancelled_once() -> int:
        task = asyncio.current_task()
        assert task is not None
        with contextlib.suppress(asyncio.CancelledError):
            await forever()
        assert task.cancelling() == 1
        with pytest.raises(Passed):
            await within(timer, forever)
        return task.cancelling()

    task = asyncio.ensure_future(cancelled_once())
    await asyncio.sleep(0)
    task.cancel()
    assert await task == 1


async def test_an_outer_timeout_that_passes_too_is_not_taken_for_ours() -> None:
    """A caller's `asyncio.timeout` of the same moment becomes the caller's `TimeoutError`."""
    timer = DeadlineTimer(0.03, NEVER)
    with pytest.raises((TimeoutError, Passed)):
        async with asyncio.timeout(0.03):
            await within(timer, forever)
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    await asyncio.sleep(0)


@pytest.mark.parametrize("outcome", ["value", "error"])
async def test_work_that_swallows_the_interruption_leaves_no_mark(outcome: str) -> None:
    """Its result or error stands, and the task is not left marked as cancelled, as with `asyncio.timeout`."""
    timer = DeadlineTimer(0.01, NEVER)

    async def swallow() -> str:
        try:
            await forever()
        except asyncio.CancelledError:
            if outcome == "error":
                raise KeyError(outcome) from None
        return outcome

    if outcome == "error":
        with pytest.raises(KeyError):
            await within(timer, swallow)
    else:
        assert await within(timer, swallow) == outcome
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_a_deadline_is_in_no_hurry_to_ring_early() -> None:
    """The end is the start plus the length, whatever other timers do."""
    loop = asyncio.get_running_loop()
    short, long = DeadlineTimer(0.01, NEVER), DeadlineTimer(30, NEVER)
    before = loop.time()
    deadlines: list[Deadline] = [short.start(loop, reading=False), long.start(loop, reading=False)]
    assert deadlines[0].expires_at - before >= 0.01
    assert deadlines[1].expires_at - before >= 30
    for timer, deadline in zip((short, long), deadlines, strict=True):
        timer.stop(deadline)
        timer.stop(deadline)
        timer.close()


def test_a_call_outside_of_a_task_is_refused() -> None:
    """There would be nothing to interrupt."""
    loop = asyncio.new_event_loop()
    try:
        with pytest.raises(RuntimeError, match="needs a running asyncio task"):
            DeadlineTimer(1, NEVER).start(loop, reading=False)
    finally:
        loop.close()


async def silent(timer: DeadlineTimer, *, after_s: float = 0.0) -> float:
    """Wait for a peer that never speaks, from `after_s` on; gives how long that took to be called silence."""
    loop = asyncio.get_running_loop()
    deadline = timer.start(loop, reading=not after_s)
    began = loop.time()
    try:
        if after_s:
            await asyncio.sleep(after_s)
            began = loop.time()
            timer.restart_read_timeout(deadline)
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        if not deadline.absorb_cancellation("read_timeout"):
            raise
    finally:
        timer.stop(deadline)
    return loop.time() - began


@pytest.mark.parametrize(("deadline_s", "read_timeout_s"), [(0.1, 6.0), (6.0, 0.1), (0.1, NEVER)])
async def test_a_bound_is_exact_after_others_were_met(deadline_s: float, read_timeout_s: float) -> None:
    """Calls that begin once the timer has rung for others are interrupted at their own moment, not at a later one."""
    timer = DeadlineTimer(deadline_s, read_timeout_s)
    for pause_s in (0.0, 0.0, 0.03, 0.15, 0.0):
        await asyncio.sleep(pause_s)
        began = monotonic()
        if deadline_s < read_timeout_s:
            with pytest.raises(Passed):
                await within(timer, forever)
        else:
            await silent(timer)
        assert 0.099 < monotonic() - began < 1
    timer.close()


async def test_silence_begins_when_one_listens() -> None:
    """However long after the start that is, and although the timer was set when nobody listened."""
    timer = DeadlineTimer(30, 0.1)
    took = await asyncio.gather(*(silent(timer, after_s=after_s) for after_s in (0.0, 0.02, 0.07, 0.13, 0.22)))
    assert all(0.099 < one < 1 for one in took), took
    assert not timer._active
    timer.close()


async def test_whoever_is_heard_is_not_silent() -> None:
    """Each part of an answer lets the silence begin anew, as long as the whole may take."""
    timer, loop = DeadlineTimer(0.4, 0.1), asyncio.get_running_loop()
    deadline = timer.start(loop, reading=True)
    with pytest.raises(asyncio.CancelledError):
        while True:
            await asyncio.sleep(0.02)
            timer.restart_read_timeout(deadline)
    assert deadline.interrupted_by == "deadline"
    assert 0.399 < loop.time() - deadline.started_at < 2
    assert deadline.absorb_cancellation("deadline")
    timer.stop(deadline)
    timer.close()


async def test_a_silence_that_was_swallowed_leaves_no_mark() -> None:
    """Who rests waits for nobody: an interruption that is under way is taken back, and none follows."""
    timer, loop = DeadlineTimer(30, 0.02), asyncio.get_running_loop()
    deadline = timer.start(loop, reading=True)
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.Event().wait()
    deadline.stop_read_timeout()
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    await asyncio.sleep(0.06)
    assert deadline.interrupted_by is None
    timer.stop(deadline)
    timer.close()


async def test_who_takes_long_to_end_is_not_interrupted_again() -> None:
    """The timer rings for others meanwhile, and leaves alone what it has interrupted already."""
    timer, loop = DeadlineTimer(0.03, NEVER), asyncio.get_running_loop()

    async def slow() -> int:
        deadline = timer.start(loop, reading=False)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await asyncio.sleep(0.15)
        finally:
            timer.stop(deadline)
        task = asyncio.current_task()
        assert task is not None
        return task.cancelling()

    first = asyncio.ensure_future(slow())
    await asyncio.sleep(0.015)
    with pytest.raises(Passed):
        await within(timer, forever)
    with pytest.raises(Passed):
        await within(timer, forever)
    assert await first == 0
    timer.close()
