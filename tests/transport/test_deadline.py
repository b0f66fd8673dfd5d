"""Tests for the deadlines of calls: one timer serves all, and cancellations are counted as `asyncio.timeout` does."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from event_loop import turns
from internals import active_deadlines, is_armed

from eachlabs_async.transport.deadline import NEVER, Deadline, DeadlineTimer


class Passed(Exception):  # noqa: N818  # it is no error, it passes
    """Stands for `APITimeoutError`."""


class Clock:
    """The time of the running loop, which passes only when the test says so: nothing depends on a busy machine."""

    STEP_S = 0.001

    def __init__(self) -> None:
        self.now = asyncio.get_running_loop().time()

    async def advance(self, seconds: float) -> None:
        """Let time pass in small steps, with everything that is due."""
        end = self.now + seconds
        while self.now < end:
            self.now = min(end, self.now + self.STEP_S)
            await turns(4)

    async def took(self, work: Awaitable[Any]) -> float:
        """Let time pass until some work is done, and return how long that took."""
        began, task = self.now, asyncio.ensure_future(work)
        await turns(2)
        while not task.done() and self.now - began < 60:
            await self.advance(self.STEP_S)
        assert task.done() or task.cancel("it took more than a minute")
        await task
        return self.now - began


@pytest.fixture
async def clock(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Clock]:
    clock = Clock()
    with monkeypatch.context() as patch:
        patch.setattr(asyncio.get_running_loop(), "time", lambda: clock.now)
        yield clock


def about(seconds: float) -> Any:
    """Match a time that is exact but for a step of the clock and the shortest interval of a timer."""
    return pytest.approx(seconds + 0.003, abs=0.0031)


async def within(timer: DeadlineTimer, work: Callable[[], Awaitable[object]]) -> object:
    """Limit some work as `Transport.send` limits a call."""
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
    """It returns its result, and only the timer's handle is left."""
    timer = DeadlineTimer(5, NEVER)
    assert await within(timer, lambda: asyncio.sleep(0, "done")) == "done"
    assert not active_deadlines(timer)
    timer.close()
    assert not is_armed(timer)
    timer.close()


async def passes(timer: DeadlineTimer) -> None:
    """Wait until the deadline of a call passes, which leaves no mark on the task."""
    with pytest.raises(Passed):
        await within(timer, forever)
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_a_call_that_takes_too_long_is_interrupted(clock: Clock) -> None:
    """It is interrupted at its deadline, and the task is not left marked as cancelled."""
    assert await clock.took(passes(DeadlineTimer(0.05, NEVER))) == about(0.05)


async def test_calls_fall_due_in_the_order_in_which_they_began(clock: Clock) -> None:
    """One timer serves calls that began at different times, each at its own deadline."""
    timer, order = DeadlineTimer(0.08, NEVER), []

    async def call(name: int) -> None:
        await passes(timer)
        order.append((name, clock.now))

    tasks, began = [], clock.now
    for name in range(5):
        tasks.append(asyncio.ensure_future(call(name)))
        await clock.advance(0.01)
    await clock.took(asyncio.gather(*tasks))
    assert [name for name, _ in order] == [0, 1, 2, 3, 4]
    assert [at - began for _, at in order] == [about(0.08 + 0.01 * name) for name in range(5)]


async def test_many_calls_have_one_timer(clock: Clock) -> None:
    """The loop has one handle for a thousand calls, and none once all have ended and it has fired."""
    timer, handles = DeadlineTimer(0.1, NEVER), []
    loop: Any = asyncio.get_running_loop()
    call_at = loop.call_at
    loop.call_at = lambda *arguments: handles.append(call_at(*arguments)) or handles[-1]
    tasks = [asyncio.ensure_future(passes(timer)) for _ in range(1000)]
    await turns(2)
    del loop.call_at
    assert len(active_deadlines(timer)) == 1000
    assert len(handles) == 1
    await clock.took(asyncio.gather(*tasks))
    assert not active_deadlines(timer)
    await clock.advance(0.15)
    assert not is_armed(timer)


async def test_a_later_call_is_bounded_after_an_earlier_one_has_ended(clock: Clock) -> None:
    """A timer that was set for a call which has ended fires for the oldest one that is left."""
    timer = DeadlineTimer(0.4, NEVER)
    await clock.took(within(timer, lambda: asyncio.sleep(0.02)))
    assert await clock.took(passes(timer)) == about(0.4)


@pytest.mark.parametrize("first", ["caller", "deadline"])
async def test_the_callers_cancellation_wins(first: str) -> None:
    """If caller and deadline cancel in one iteration of the loop, in any order, the caller's counts."""
    timer = DeadlineTimer(30, NEVER)
    task = asyncio.ensure_future(within(timer, forever))
    await asyncio.sleep(0)
    (deadline,) = active_deadlines(timer)
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
    """A task that caught an earlier cancellation can still meet deadlines, as with `asyncio.timeout`."""
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
    """A caller's `asyncio.timeout` with the same end becomes the caller's `TimeoutError`."""
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
    """Its result or error counts, and the task is not left marked as cancelled, as with `asyncio.timeout`."""
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
    """It ends at its start plus its length, whatever other timers do."""
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
    """There is nothing to interrupt."""
    loop = asyncio.new_event_loop()
    try:
        with pytest.raises(RuntimeError, match="needs a running asyncio task"):
            DeadlineTimer(1, NEVER).start(loop, reading=False)
    finally:
        loop.close()


async def silent(timer: DeadlineTimer, *, after_s: float = 0.0) -> float:
    """Wait for a peer that sends nothing, from `after_s` on; return how long that took to time out."""
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
async def test_a_bound_is_exact_after_others_were_met(clock: Clock, deadline_s: float, read_timeout_s: float) -> None:
    """Calls that start after the timer fired for others are interrupted at their own time."""
    timer = DeadlineTimer(deadline_s, read_timeout_s)
    for pause_s in (0.0, 0.0, 0.03, 0.15, 0.0):
        await clock.advance(pause_s)
        assert await clock.took(passes(timer) if deadline_s < read_timeout_s else silent(timer)) == about(0.1)
    timer.close()


async def test_silence_begins_when_one_listens(clock: Clock) -> None:
    """This holds however long after the start that is, and if the timer was set before."""
    timer = DeadlineTimer(30, 0.1)
    calls = asyncio.gather(*(silent(timer, after_s=after_s) for after_s in (0.0, 0.02, 0.07, 0.13, 0.22)))
    await clock.took(calls)
    assert calls.result() == [about(0.1)] * 5
    assert not active_deadlines(timer)
    timer.close()


async def test_whoever_is_heard_is_not_silent(clock: Clock) -> None:
    """Each part of a response restarts the read timeout, up to the deadline."""
    timer, loop = DeadlineTimer(0.4, 0.1), asyncio.get_running_loop()

    async def heard() -> None:
        deadline = timer.start(loop, reading=True)
        with pytest.raises(asyncio.CancelledError):
            while True:
                await asyncio.sleep(0.02)
                timer.restart_read_timeout(deadline)
        assert deadline.interrupted_by == "deadline"
        assert deadline.absorb_cancellation("deadline")
        timer.stop(deadline)

    assert await clock.took(heard()) == about(0.4)
    timer.close()


async def test_a_silence_that_was_swallowed_leaves_no_mark(clock: Clock) -> None:
    """A call that stops waiting for the peer is not interrupted again, and its task has no mark."""
    timer, loop = DeadlineTimer(30, 0.02), asyncio.get_running_loop()

    async def swallows() -> None:
        deadline = timer.start(loop, reading=True)
        with contextlib.suppress(asyncio.CancelledError):
            await forever()
        deadline.stop_read_timeout()
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0
        await asyncio.sleep(0.06)
        assert deadline.interrupted_by is None
        timer.stop(deadline)

    assert await clock.took(swallows()) == about(0.08)
    timer.close()


async def test_who_takes_long_to_end_is_not_interrupted_again(clock: Clock) -> None:
    """The timer fires for other calls meanwhile, and does not interrupt a call twice."""
    timer, loop = DeadlineTimer(0.03, NEVER), asyncio.get_running_loop()

    async def slow() -> int:
        deadline = timer.start(loop, reading=False)
        try:
            await forever()
        except asyncio.CancelledError:
            await asyncio.sleep(0.15)
        finally:
            timer.stop(deadline)
        task = asyncio.current_task()
        assert task is not None
        return task.cancelling()

    first = asyncio.ensure_future(slow())
    await clock.advance(0.015)
    for _ in range(2):
        assert await clock.took(passes(timer)) == about(0.03)
    await clock.took(first)
    assert first.result() == 0
    timer.close()
